"""RewardData rows as Parquet, and back without loss.

The release's fields become typed columns, further scalar fields (`votes`, `confidence`) columns of their own, and
`row_json` holds the row verbatim: a table cannot tell a missing field from a null one, the text can.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any

from deeptrace.errors import DataError, MissingExtraError
from deeptrace.io.atomic import atomic_path

__all__ = ["iter_parquet_rows", "write_parquet_rows"]

BATCH_ROWS = 5_000
ROW_JSON = "row_json"
_KINDS = {
    "video_id": "text",
    "video_type": "text",
    "video_path": "text",
    "video_source": "text",
    "video_prompt": "text",
    "video_mime_type": "text",
    "video_width": "whole",
    "video_height": "whole",
    "video_frame_rate": "number",
    "video_frame_count": "whole",
    "video_duration": "number",
    "split": "text",
    "faketrace_bbox": "box",
    "faketrace_first_frame": "whole",
    "faketrace_duration": "number",
    "faketrace_explanations": "text",
    "faketrace_check_applies": "texts",
}
_PYTHON = {"text": (str,), "whole": (int,), "number": (int, float), "flag": (bool,)}


def write_parquet_rows(rows: Iterable[Mapping[str, Any]], path: str | os.PathLike[str]) -> int:
    """Write rows to one Parquet file, in batches; returns how many.

    Columns for fields beyond the release's are those that the first batch holds with one scalar type.

    Raises:
        MissingExtraError: pyarrow is not installed.
        DataError: the file cannot be written.
    """
    arrow, parquet = _pyarrow()
    stream = iter(rows)
    first = list(islice(stream, BATCH_ROWS))
    kinds = _KINDS | _further(first)
    schema = arrow.schema([(name, _arrow_type(arrow, kind)) for name, kind in kinds.items()] + [(ROW_JSON, "string")])
    count = 0
    with atomic_path(path) as scratch, parquet.ParquetWriter(scratch, schema, compression="zstd") as writer:
        rest = iter(lambda: list(islice(stream, BATCH_ROWS)), [])
        for batch in chain([first], rest):
            columns: dict[str, list[Any]] = {
                name: [_fitting(row.get(name), kind) for row in batch] for name, kind in kinds.items()
            }
            columns[ROW_JSON] = [json.dumps(dict(row), ensure_ascii=False, allow_nan=False) for row in batch]
            writer.write_table(arrow.table(columns, schema=schema))
            count += len(batch)
    return count


def iter_parquet_rows(
    path: str | os.PathLike[str], *, columns: Collection[str] | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a Parquet file with their number, counted from 1: `row_json` where there, else the columns.

    From columns alone, a null is taken for a missing field.

    Args:
        path: of the file; URLs work (fsspec).
        columns: the columns to read, of those that there are; None for `row_json` or all.

    Raises:
        MissingExtraError: pyarrow is not installed.
        DataError: the file is missing or no Parquet file.
    """
    import fsspec

    arrow, parquet = _pyarrow()
    try:
        with fsspec.open(str(path), "rb") as file, parquet.ParquetFile(file) as stored:
            wanted = None if columns is None else [name for name in stored.schema_arrow.names if name in columns]
            number = 0
            for batch in stored.iter_batches(batch_size=BATCH_ROWS, columns=wanted):
                for row in batch.to_pylist():
                    number += 1
                    text = row.get(ROW_JSON)
                    yield number, json.loads(text) if text else {k: v for k, v in row.items() if v is not None}
    except FileNotFoundError as error:
        raise DataError(str(path), "no such file") from error
    except (arrow.ArrowException, OSError) as error:
        raise DataError(str(path), f"cannot be read: no readable Parquet file: {error}") from error


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("Parquet files", "bench") from error
    return pyarrow, pyarrow.parquet


def _further(rows: list[Mapping[str, Any]]) -> dict[str, str]:
    """Kinds of the scalar fields of `rows` that the release does not have."""
    values: dict[str, list[Any]] = {}
    for row in rows:
        for name, value in row.items():
            if name not in _KINDS and name != ROW_JSON and value is not None:
                values.setdefault(name, []).append(value)
    kinds = {}
    for name, stated in values.items():
        kind = next((k for k in ("flag", "text", "whole", "number") if all(_is(v, k) for v in stated)), None)
        if kind is not None:
            kinds[name] = kind
    return kinds


def _is(value: object, kind: str) -> bool:
    return isinstance(value, _PYTHON[kind]) and (kind == "flag" or not isinstance(value, bool))


def _fitting(value: Any, kind: str) -> Any:
    """`value` as its column can hold it, or None; `row_json` has it in any case."""
    if kind == "box":
        sides = ("left", "top", "width", "height")
        whole = isinstance(value, Mapping) and all(_is(value.get(side), "number") for side in sides)
        return {side: float(value[side]) for side in sides} if whole else None
    if kind == "texts":
        return value if isinstance(value, list) and all(isinstance(item, str) for item in value) else None
    if kind == "whole" and isinstance(value, float) and value.is_integer():
        return int(value)
    if not _is(value, kind):
        return None
    return float(value) if kind == "number" else value


def _arrow_type(arrow: Any, kind: str) -> Any:
    if kind == "box":
        return arrow.struct([(side, arrow.float64()) for side in ("left", "top", "width", "height")])
    if kind == "texts":
        return arrow.list_(arrow.string())
    return {"text": arrow.string(), "whole": arrow.int64(), "number": arrow.float64(), "flag": arrow.bool_()}[kind]
