"""Files that are replaced whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deeptrace.errors import DataError, DeeptraceError
from deeptrace.urls import public_url

__all__ = ["atomic_path", "naming", "remove_leftovers", "short_name"]

_MARK = ".part"
_NAME_CHARS = 40
"""How much of a file's name its scratch file's carries: a name may be as long as a file system allows."""


_REFUSED = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
"""What a disk answers to a write, without saying to which file."""


@contextmanager
def naming(path: str | os.PathLike[str], *, scratch: str | None = None) -> Iterator[None]:
    """Let an error of the disk inside the block name the file that is being written, as `OSError.filename`.

    Args:
        path: of the file, as the user knows it.
        scratch: the name that it has meanwhile.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _REFUSED if error.filename is None else error.filename == scratch:
            error.filename = str(path)
        raise


@contextmanager
def atomic_path(
    path: str | os.PathLike[str], *, error: type[DeeptraceError] = DataError, synced: bool = False
) -> Iterator[Path]:
    """A scratch path beside `path` that takes its place when the block ends well, and is removed when not.

    It ends as `path` does, so that an encoder that goes by the suffix writes what is wanted. A device or a pipe
    (/dev/null, /dev/stdout, a shell's `>(command)`) is never replaced: the content is written to it.

    Args:
        path: of the file; its folder is made if missing.
        error: what to raise where it cannot be written.
        synced: wait until the disk has the content before it takes the old one's place.

    Raises:
        error: the folder cannot be made or written to, or `path` cannot be replaced. What the block raises is left
            as it is; an `OSError` of the disk names `path`.
    """
    target = Path(path)
    stream = _is_stream(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(
            prefix=f".{target.stem[:_NAME_CHARS]}.",
            suffix=f"{_MARK}{target.suffix}",
            dir=None if stream else target.parent,
        )
    except OSError as reason:
        raise _cannot(error, target, reason) from None
    os.close(handle)
    try:
        with naming(target, scratch=scratch):
            yield Path(scratch)
        try:
            if stream:
                _pour(scratch, target)
            else:
                _replace(scratch, target, synced=synced)
        except OSError as reason:
            raise _cannot(error, target, reason) from None
    finally:
        with suppress(FileNotFoundError):
            os.unlink(scratch)


def _is_stream(target: Path) -> bool:
    """Whether a name is that of a device or a pipe, or the system's name of an open file (/dev/stdout, /dev/fd/3)."""
    if target.is_symlink() and target.parent.resolve().parts[1:2] in (("dev",), ("proc",)):
        return True
    return target.exists() and not target.is_file() and not target.is_dir()


def _pour(scratch: str, target: Path) -> None:
    with open(scratch, "rb") as file, open(target, "wb") as out:
        shutil.copyfileobj(file, out)


def _replace(scratch: str, target: Path, *, synced: bool) -> None:
    umask = os.umask(0)
    os.umask(umask)
    os.chmod(scratch, 0o666 & ~umask)  # mkstemp makes files that only their owner may read
    if synced:
        with open(scratch, "rb") as file:
            os.fsync(file.fileno())
    os.replace(scratch, target)


def remove_leftovers(folder: Path) -> None:
    """Remove the scratch files that a killed process has left in `folder`; nobody else may be writing there."""
    for path in folder.glob(f".*{_MARK}*"):
        with suppress(OSError):
            path.unlink()


def short_name(path: str | os.PathLike[str]) -> str:
    """A file as messages name it: with its folder, because every dataset has an all_data.json."""
    return "/".join(public_url(str(path)).replace("\\", "/").split("/")[-2:])


def _cannot(error: type[DeeptraceError], target: Path, reason: OSError) -> DeeptraceError:
    return error(str(target), f"cannot be written ({reason.strerror or reason})", "Check the folder and its space.")
