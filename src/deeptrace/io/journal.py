"""Lines that survive: append-only files of JSON objects, each on the disk before the next is begun.

A kill at any moment costs at most the line that was being written: a cut-off line is closed by a line feed when the
file is next opened, and passed over when it is read.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from deeptrace.errors import SettingsError
from deeptrace.io.atomic import naming
from deeptrace.io.jsonl import as_line, write_lines

__all__ = ["Journal", "Lines", "read_lines"]

log = logging.getLogger(__name__)


class Lines:
    """An append-only file of JSON objects, one a line; `add` may be called from several threads.

    Args:
        path: made, with its folder, when it does not exist.

    Raises:
        SettingsError: it cannot be read or written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._cut_off = False
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._open()
        except OSError as error:
            raise SettingsError(str(path), f"cannot be used to keep results: {error.strerror}") from error

    def read(self) -> Iterator[dict[str, Any]]:
        """The objects that are there, in their order; see `read_lines`."""
        return read_lines(self.path)

    def add(self, *values: Mapping[str, Any], synced: bool = True) -> None:
        """Write objects, and wait until the disk has them unless that is not wanted.

        Raises:
            ValueError: one holds what JSON cannot carry.
            OSError: the disk is full, or may not be written any more; what was there is whole.
        """
        rest = memoryview(b"".join(as_line(value) for value in values))
        with self._lock:
            if self._cut_off:
                rest = memoryview(b"\n" + rest.tobytes())
            self._cut_off = True
            with naming(self.path):
                while rest:  # unbuffered, so that nothing that the disk refused is written later
                    rest = rest[self._file.write(rest) :]
                self._cut_off = False
                if synced:
                    os.fsync(self._file.fileno())

    def keep(self, wanted: Callable[[dict[str, Any]], bool]) -> None:
        """Drop the lines that are not wanted, all at once, and those that are cut off."""
        with self._lock:
            self._file.close()
            write_lines((line for line in read_lines(self.path) if wanted(line)), self.path, synced=True)
            self._open()

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> None:
        self._file = self.path.open("ab", buffering=0)
        self._cut_off = bool(self._file.tell()) and not _ends_line(self.path)


class Journal(Mapping[str, dict[str, Any]]):
    """Records by key, in a file of lines. Of several with one key the last counts.

    Args:
        path: as of `Lines`.

    Raises:
        SettingsError: it cannot be read or written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._lines = Lines(path)
        self._records = {line["key"]: line for line in self._lines.read() if isinstance(line.get("key"), str)}

    def add(self, key: str, record: Mapping[str, Any]) -> None:
        """Write one record and wait until the disk has it."""
        line = {"key": key, **record}
        self._lines.add(line)
        self._records[key] = line

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self._lines.close()

    def __getitem__(self, key: str) -> dict[str, Any]:
        return self._records[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of an append-only file, in order; none when there is no such file. Lines that a kill has cut off are
    passed over, and counted in the log.
    """
    broken = 0
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        for line in file:  # of a file of bytes, lines end at b"\n" alone
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                value = None
            if isinstance(value, dict):
                yield value
            else:
                broken += bool(line.strip())
    if broken:
        log.warning("%s: %d line(s) cut off or damaged, passed over", path, broken)


def _ends_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
