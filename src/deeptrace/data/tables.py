"""Rows of a table, whichever kind of file it is."""

from __future__ import annotations

import csv
import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from deeptrace.io.jsonl import iter_objects, open_text

__all__ = ["iter_table_rows"]


def iter_table_rows(
    path: str | os.PathLike[str], *, columns: Collection[str] | None = None
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The rows of a Parquet or CSV file, of JSON lines or a JSON list, as a stream, with their number from 1.

    Args:
        path: of the file, which its suffix tells; URLs work (fsspec).
        columns: those of use; of a Parquet file no others are read. None for all.

    Raises:
        MissingExtraError: it is a Parquet file, and pyarrow is not installed.
        DataError: the file cannot be read.
    """
    name = str(path).lower()
    if name.endswith(".parquet"):
        from deeptrace.data.exporters.parquet import iter_parquet_rows

        yield from iter_parquet_rows(path, columns=columns)
    elif name.endswith(".csv"):
        with open_text(path, newline="") as file:
            yield from enumerate(csv.DictReader(file), 1)
    else:
        yield from iter_objects(path)
