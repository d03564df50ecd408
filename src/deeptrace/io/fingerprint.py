"""What changes when the content of a file or an object in a store does."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from pathlib import Path

from deeptrace.io.journal import Lines
from deeptrace.urls import same_clip

__all__ = ["ContentHashes", "fingerprint", "sha256_of"]

log = logging.getLogger(__name__)

SETTLED_S = 2.0
"""A file that changed less than so many seconds before it was read may change again within the same tick of the clock
that times of files are kept by; what was read of it is not remembered."""


def sha256_of(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(path: str) -> str | None:
    """What changes when the file's content does, without reading it: size and modification time, or the store's key.

    None when the file cannot be found; then nothing said of it before counts.
    """
    if "://" in path:
        return _store_key(path)
    try:
        stat = Path(path).stat()
    except (OSError, ValueError):
        return None
    return f"size:{stat.st_size} mtime_ns:{stat.st_mtime_ns}"


class ContentHashes:
    """Hashes of files' bytes. What was hashed is remembered beside size, times and number of the file, in a file that
    may be lost at no more cost than reading again.

    Args:
        memory: of what was hashed; made when it does not exist.
    """

    def __init__(self, memory: Path) -> None:
        self._lines = Lines(memory)
        self._known: dict[str, tuple[str, str]] = {
            str(line["file"]): (str(line["stamp"]), str(line["content"]))
            for line in self._lines.read()
            if {"file", "stamp", "content"} <= line.keys()
        }

    def of(self, path: str) -> str | None:
        """What stands for the content: a hash of the bytes of a local file, the store's key of a remote one.

        None when the file cannot be read, or the store does not answer.
        """
        if "://" in path and not path.lower().startswith("file://"):
            return _store_key(path)
        name = os.path.abspath(path)
        try:
            before = _stamp(name)
            known = self._known.get(name)
            if known is not None and known[0] == before:
                return known[1]
            content = sha256_of(name)
            settled = time.time() - os.stat(name).st_ctime > SETTLED_S and _stamp(name) == before
        except (OSError, ValueError):
            return None
        if settled:
            self._known[name] = (before, content)
            self._lines.add({"file": name, "stamp": before, "content": content}, synced=False)
        return content

    def close(self) -> None:
        """Close the memory; safe to call twice."""
        self._lines.close()


def _stamp(path: str) -> str:
    """What a file cannot keep when its bytes change: its last change cannot be set back, its modification time can."""
    stat = os.stat(path)
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}"


def _store_key(url: str) -> str | None:
    if url.lower().startswith(("http://", "https://")):
        return f"url:{same_clip(url)}"  # nothing better is known without asking; what lies there counts as unchanging
    import fsspec

    try:
        fs, name = fsspec.url_to_fs(url)
        return f"key:{fs.ukey(name)}"
    except Exception as error:  # noqa: BLE001  the edge to somebody else's network; opening the URL will say what is wrong
        log.debug("no key for %s: %s", same_clip(url), type(error).__name__)
        return None
