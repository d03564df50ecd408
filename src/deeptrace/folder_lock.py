"""One run at a time in a folder: two that append to and rewrite the same files would lose each other's results."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from deeptrace.errors import SettingsError

__all__ = ["FolderLock"]

LOCK = ".lock"


class FolderLock:
    """A folder held by this run until `release`, or until its process ends, however it ends; a context manager.

    Args:
        folder: made when it does not exist.

    Raises:
        SettingsError: another run holds it, or it cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            self._file = (Path(folder) / LOCK).open("a")
        except OSError as error:
            raise SettingsError(str(folder), f"cannot be used as a folder for results: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise SettingsError(
                str(folder), "another run is writing into this folder", "Wait for it to end, or name another."
            ) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP):
                raise  # some network file systems know no locks: a run there goes without

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Let others in; safe to call twice."""
        self._file.close()
