"""JSON lists and JSON lines: read with the file and row of what is wrong, written whole or not at all.

Lines end at a line feed and nowhere else: U+2028 and its like may stand in a file's name or in a model's answer.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn, TextIO

from deeptrace.errors import DataError
from deeptrace.io.atomic import atomic_path, short_name

__all__ = ["as_line", "iter_objects", "open_text", "write_json", "write_lines", "write_list"]

Object = dict[str, Any]

_SPACE = " \t\r\n"


def iter_objects(path: str | os.PathLike[str]) -> Iterator[tuple[int, Object]]:
    """The objects of a JSON list or of a JSON-lines file, with their number, counted from 1.

    Which of the two it is, the first character tells. Lines are read one at a time, a list as a whole. `path` may be a
    URL (fsspec) and may be gzipped.

    Raises:
        DataError: no such file, not UTF-8, not JSON, NaN or Infinity in it, or an item that is no object; the
            subject names file and row.
    """
    name = short_name(path)
    with open_text(path) as file:
        numbered = enumerate((line for line in file if not line.isspace()), 1)
        first = next(numbered, None)
        if first is None:
            return
        if first[1].lstrip().startswith("["):
            yield from _listed(first[1] + file.read(), name)
            return
        yield 1, _object(_parsed(first[1], f"{name}, row 1"), f"{name}, row 1")
        for number, line in numbered:
            yield number, _object(_parsed(line, f"{name}, row {number}"), f"{name}, row {number}")


@contextmanager
def open_text(path: str | os.PathLike[str], *, newline: str = "\n") -> Iterator[TextIO]:
    """A text file or URL (fsspec), opened for reading as UTF-8, with or without a byte order mark.

    Args:
        path: of the file; gzipped ones are unpacked as they are read.
        newline: as `open` takes it.

    Raises:
        DataError: it does not exist, may not be read, or is not UTF-8.
    """
    import fsspec  # with all that it brings; most callers only write

    try:
        with fsspec.open(str(path), "rt", encoding="utf-8-sig", compression="infer", newline=newline) as file:
            yield file
    except FileNotFoundError as error:
        raise DataError(str(path), "no such file") from error
    except IsADirectoryError as error:
        raise DataError(str(path), "is a folder, not a file") from error
    except UnicodeDecodeError as error:
        raise DataError(str(path), f"not UTF-8 text: {error}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(str(path), f"cannot be read: {error}") from error


def _listed(text: str, name: str) -> Iterator[tuple[int, Object]]:
    """The objects of a JSON list."""
    try:
        items = _DECODER.decode(text)
    except (ValueError, RecursionError):
        _raise_at_row(text, name)
    del text  # as large as the file
    for number, item in enumerate(items, 1):
        yield number, _object(item, f"{name}, row {number}")


def _raise_at_row(text: str, name: str) -> NoReturn:
    """Say in which row of a list that is no JSON the fault lies."""
    at, number = text.index("[") + 1, 0
    while True:
        at = _past(text, at, _SPACE)
        if number:
            if text[at : at + 1] == "]":
                raise DataError(name, "not JSON: there is text after the list's closing bracket")
            if at < len(text) and text[at] != ",":
                raise DataError(f"{name}, row {number + 1}", "not JSON: there is no comma before it")
            at = _past(text, at + 1, _SPACE)
        number += 1
        where = f"{name}, row {number}"
        if at >= len(text):
            raise DataError(where, "the list is cut off before its closing bracket")
        _, at = _parsed_at(text, at, where)


def _past(text: str, at: int, skipped: str) -> int:
    while at < len(text) and text[at] in skipped:
        at += 1
    return at


def _parsed(line: str, where: str) -> Any:
    """The one value of a line."""
    value, end = _parsed_at(line, _past(line, 0, _SPACE), where)
    if line[end:].strip(_SPACE):
        raise DataError(where, f"not JSON: there is more after the first value (character {end})")
    return value


def _parsed_at(text: str, at: int, where: str) -> tuple[Any, int]:
    """The value that begins at `at`, and where it ends."""
    try:
        return _DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        raise DataError(where, f"not JSON: {error.msg} (character {error.pos - at} of the row)") from error
    except ValueError as error:
        raise DataError(where, str(error)) from error
    except RecursionError as error:
        raise DataError(where, "nested too deeply") from error


def _object(value: Any, where: str) -> Object:
    if not isinstance(value, dict):
        raise DataError(where, f"expected an object but got {type(value).__name__}")
    return value


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a number that JSON knows; use null for a missing value")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def as_line(value: Mapping[str, Any]) -> bytes:
    """One JSON line, with its end. A name that is no UTF-8 comes back as it was."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace") + b"\n"


def write_json(value: Any, path: str | os.PathLike[str], *, synced: bool = False) -> None:
    """Write one JSON value as `indent=2` prints it."""
    text = json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    with atomic_path(path, synced=synced) as scratch:
        scratch.write_bytes(text.encode("utf-8", "backslashreplace"))


def write_list(objects: Iterable[Mapping[str, Any]], path: str | os.PathLike[str]) -> int:
    """Write a JSON list, one object after the other as `indent=2` would print it; returns how many."""
    count = 0
    with atomic_path(path) as scratch, open(scratch, "wb") as file:
        file.write(b"[")
        for count, item in enumerate(objects, 1):
            body = json.dumps(item, ensure_ascii=False, indent=2, allow_nan=False)
            file.write((",\n" if count > 1 else "\n").encode() + body.encode("utf-8", "backslashreplace"))
        file.write(b"\n]\n")
    return count


def write_lines(objects: Iterable[Mapping[str, Any]], path: str | os.PathLike[str], *, synced: bool = False) -> int:
    """Write JSON lines; returns how many."""
    count = 0
    with atomic_path(path, synced=synced) as scratch, open(scratch, "wb") as file:
        for count, item in enumerate(objects, 1):  # noqa: B007 - the count is the result
            file.write(as_line(item))
    return count
