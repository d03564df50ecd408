"""Lines that survive: an append-only JSONL file of records by key, each on the disk before the next is begun.

A kill at any moment costs at most the line that was being written: a cut-off line is closed by a newline when the file
is next opened, and passed over when it is read. Of several records with one key the last counts.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from deeptrace.errors import SettingsError

__all__ = ["Journal"]

log = logging.getLogger(__name__)


class Journal(Mapping[str, dict[str, Any]]):
    """Records by key, open for appending; `add` may be called from several threads.

    Args:
        path: made, with its folder, when it does not exist.

    Raises:
        SettingsError: it cannot be read or written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._records = dict(_records(self.path))
            self._file = self.path.open("ab")
            if self._file.tell() and not _ends_line(self.path):
                self._file.write(b"\n")
        except OSError as error:
            raise SettingsError(str(path), f"cannot be used to keep results: {error.strerror}") from error

    def add(self, key: str, record: Mapping[str, Any]) -> None:
        """Write one record and wait until the disk has it."""
        line = json.dumps({"key": key, **record}, ensure_ascii=False, allow_nan=False)
        with self._lock:
            self._file.write(line.encode("utf-8", "backslashreplace") + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
            self._records[key] = {"key": key, **record}

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self._file.close()

    def __getitem__(self, key: str) -> dict[str, Any]:
        return self._records[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        self.close()


def _records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    if not path.exists():
        return
    broken = 0
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                record = json.loads(line)
                yield record["key"], record
            except (ValueError, KeyError, TypeError):
                broken += bool(line.strip())
    if broken:
        log.warning("%s: %d line(s) cut off or damaged, passed over", path, broken)


def _ends_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
