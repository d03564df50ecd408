"""Unpack zips, also those cut into numbered parts, without a joined copy, and without trusting their names."""

from __future__ import annotations

import bisect
import io
import os
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path, PurePosixPath

from deeptrace.errors import DataError
from deeptrace.io.atomic import atomic_path

__all__ = ["JoinedFile", "unpack"]

COPY_BYTES = 1 << 20
# Deflate cannot do better than about 1032 to 1; videos do not shrink at all.
MAX_RATIO = 1100
_IGNORED = ("__MACOSX/",)


class JoinedFile(io.RawIOBase):
    """Files read as if they were one, end to end: what `cat part.001 part.002 ...` would give, seekable."""

    def __init__(self, paths: Sequence[str | os.PathLike[str]]) -> None:
        self._paths = [Path(path) for path in paths]
        self._starts = [0, *accumulate(path.stat().st_size for path in self._paths)]
        self._at = 0
        self._open: tuple[int, io.BufferedReader] | None = None

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The position in the joined bytes."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move in the joined bytes; returns the new position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._starts[-1]}[whence]
        if base + offset < 0:
            raise ValueError(f"negative position {base + offset}")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill `buffer` up to the end of the part it begins in; returns the bytes read."""
        if self._at >= self._starts[-1]:
            return 0
        index = bisect.bisect_right(self._starts, self._at) - 1
        if self._open is None or self._open[0] != index:
            self._drop()
            self._open = (index, self._paths[index].open("rb"))
        file = self._open[1]
        file.seek(self._at - self._starts[index])
        count = file.readinto(buffer)
        self._at += count
        return count

    def close(self) -> None:
        """Close the part that is open."""
        self._drop()
        super().close()

    def _drop(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None


def unpack(
    parts: Sequence[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    *,
    expect: str = "",
    on_progress: Callable[[str, int, int], None] | None = None,
) -> int:
    """Unpack a zip, whole or cut into `parts`, into `folder`; returns the files written.

    A file that is there with the right size is left alone, so that a run that was killed goes on. Each file is
    checked (CRC) and only then put in its place.

    Args:
        parts: the zip, or its parts in order.
        folder: folder to write to.
        expect: folder that the files belong in ("videos"); put before names that do not begin with it.
        on_progress: called with (name, files done, files in all).

    Raises:
        DataError: no zip, a part missing or damaged, a name that leads out of `folder`, a link, or a file that
            would unpack to more than a zip can hold honestly.
    """
    name = f"{parts[0]}" if len(parts) == 1 else f"{parts[0]} and {len(parts) - 1} more"
    base = Path(folder)
    try:
        with JoinedFile(parts) as raw, io.BufferedReader(raw) as joined, zipfile.ZipFile(joined) as archive:
            members = list(_members(archive, name, expect))
            _check_space(members, base, name)
            written = 0
            for done, (info, path) in enumerate(members, 1):
                written += _extract(archive, info, base / path)
                if on_progress is not None:
                    on_progress(str(path), done, len(members))
            return written
    except zipfile.BadZipFile as error:
        raise DataError(name, f"is damaged or not a whole zip: {error}", "Fetch it again.") from error
    except (NotImplementedError, RuntimeError) as error:  # a compression, or a password, that zipfile cannot do
        raise DataError(name, f"cannot be unpacked: {error}") from error
    except FileNotFoundError as error:
        raise DataError(name, f"a part is missing: {error.filename}") from error


def _members(archive: zipfile.ZipFile, name: str, expect: str) -> Iterator[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """The files of `archive` and where they go, each checked."""
    for info in archive.infolist():
        if info.is_dir() or info.filename.startswith(_IGNORED):
            continue
        path = PurePosixPath(info.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in path.parts[0] or not path.name:
            raise DataError(name, f"holds a file that leads out of the folder: {info.filename!r}")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise DataError(name, f"holds a link, {info.filename!r}")
        if info.file_size > MAX_RATIO * max(info.compress_size, 1024):
            raise DataError(name, f"{info.filename!r} would unpack {info.compress_size} bytes to {info.file_size}")
        yield info, path if not expect or path.parts[0] == expect else PurePosixPath(expect) / path


def _check_space(members: Sequence[tuple[zipfile.ZipInfo, PurePosixPath]], base: Path, name: str) -> None:
    base.mkdir(parents=True, exist_ok=True)
    needed = sum(info.file_size for info, path in members if not _is_there(info, base / path))
    free = shutil.disk_usage(base).free
    if needed > free:
        raise DataError(name, f"needs {needed / 1e9:.1f} GB on disk, {free / 1e9:.1f} GB are free")


def _is_there(info: zipfile.ZipInfo, target: Path) -> bool:
    return target.is_file() and target.stat().st_size == info.file_size


def _extract(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> int:
    if _is_there(info, target):
        return 0
    with atomic_path(target) as scratch, archive.open(info) as source, open(scratch, "wb") as sink:
        shutil.copyfileobj(source, sink, COPY_BYTES)  # zipfile checks the CRC at the end
    return 1
