"""A private folder for clips on their way to a worker; nothing of it outlives the server, nor the next one's start."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Scratch"]

log = logging.getLogger(__name__)

_PREFIX = "deeptrace-serve-"
_LOCK = ".lock"


class Scratch:
    """Made by `open`, removed by `close`. What servers that were killed left behind is removed by `open`, too.

    Args:
        parent: folder to make it in; None for the system's.
    """

    def __init__(self, parent: str | None = None) -> None:
        self._parent = Path(parent or tempfile.gettempdir())

    def open(self) -> None:
        """Make the folder, readable by this user alone."""
        _sweep(self._parent)
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._parent))
        # Locked before it has its name: a server that starts at this moment must not take the folder for a left one.
        unnamed = self.path / ".new"
        self._lock = os.open(unnamed, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        unnamed.rename(self.path / _LOCK)

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """A folder for one request, gone with it."""
        folder = Path(tempfile.mkdtemp(dir=self.path))
        try:
            yield folder
        finally:
            # A worker that nobody waits for may still be writing a map there.
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _sweep(within: Path) -> None:
    """Remove this user's folders whose server is gone: its lock went with it."""
    for folder in within.glob(f"{_PREFIX}*"):
        try:
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            lock = os.open(folder / _LOCK, os.O_RDWR)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
            log.info("removed %s, left by a server that was killed", folder)
        except OSError:
            pass  # in use
        finally:
            os.close(lock)
