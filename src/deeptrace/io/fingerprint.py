"""What changes when the content of a file or an object in a store does."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from pathlib import Path
from typing import NamedTuple

from deeptrace.io.journal import Lines
from deeptrace.urls import same_clip

__all__ = ["ContentHashes", "Read", "fingerprint", "read_content", "sha256_of"]

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


class Read(NamedTuple):
    """What was read of a file or object.

    Attributes:
        content: what stands for its content; None when it could not be read.
        stamp: what changes when the file does, for `ContentHashes.learn`; None where that is not certain.
    """

    content: str | None
    stamp: str | None = None


def read_content(path: str) -> Read:
    """What stands for the content of a file or object, read now; see `ContentHashes.of`."""
    if _is_remote(path):
        return Read(_store_key(path))
    try:
        before = _stamp(path)
        content = sha256_of(path)
        settled = time.time() - os.stat(path).st_ctime > SETTLED_S and _stamp(path) == before
    except (OSError, ValueError):
        return Read(None)
    return Read(content, before if settled else None)


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
        if not _is_remote(path) and (known := self._known.get(os.path.abspath(path))) is not None:
            try:
                if known[0] == _stamp(path):
                    return known[1]
            except (OSError, ValueError):
                return None
        read = read_content(path)
        self.learn(path, read)
        return read.content

    def learn(self, path: str, read: Read) -> None:
        """Remember what was read of a file, here or on another machine that sees the same files."""
        if read.content is None or read.stamp is None:
            return
        name = os.path.abspath(path)
        self._known[name] = (read.stamp, read.content)
        self._lines.add({"file": name, "stamp": read.stamp, "content": read.content}, synced=False)

    def close(self) -> None:
        """Close the memory; safe to call twice."""
        self._lines.close()


def _is_remote(path: str) -> bool:
    return "://" in path and not path.lower().startswith("file://")


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
