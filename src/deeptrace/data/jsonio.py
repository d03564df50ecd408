"""JSON lists and JSON lines as streams: one object at a time in, one at a time out, files replaced whole or not at all.

A 10 GB list needs no more memory than its largest object.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn, TextIO

import fsspec

from deeptrace.errors import DataError

__all__ = ["atomic_path", "iter_objects", "open_text", "short_name", "write_lines", "write_list"]

CHUNK_CHARS = 1 << 20
MAX_OBJECT_CHARS = 1 << 26
_SPACE = " \t\r\n"


def iter_objects(path: str | os.PathLike[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON list or of a JSON-lines file, with their number, counted from 1.

    Which of the two it is, the first character tells. `path` may be a URL (fsspec) and may be gzipped.

    Raises:
        DataError: no such file, not UTF-8, not JSON, NaN or Infinity in it, or an item that is no object; the
            subject names file and row.
    """
    name = short_name(path)
    with open_text(path) as file:
        yield from _objects(file, name)


@contextmanager
def open_text(path: str | os.PathLike[str]) -> Iterator[TextIO]:
    """A text file or URL (fsspec), opened for reading as UTF-8, with or without a byte order mark.

    Raises:
        DataError: it does not exist, may not be read, or is not UTF-8.
    """
    try:
        with fsspec.open(str(path), "rt", encoding="utf-8-sig", compression="infer") as file:
            yield file
    except FileNotFoundError as error:
        raise DataError(str(path), "no such file") from error
    except IsADirectoryError as error:
        raise DataError(str(path), "is a folder, not a file") from error
    except UnicodeDecodeError as error:
        raise DataError(str(path), f"not UTF-8 text: {error}") from error
    except OSError as error:
        raise DataError(str(path), f"cannot be read: {error}") from error


def _objects(file: TextIO, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    text, at, number, in_list, ended = file.read(CHUNK_CHARS), 0, 0, False, False
    while True:
        at, text, ended = _skip(file, text, at, (_SPACE + ",") if number else _SPACE, ended)
        if number == 0 and not in_list and text[at : at + 1] == "[":
            in_list, at = True, at + 1
            continue
        if at >= len(text):
            if in_list:
                raise DataError(f"{name}, row {number + 1}", "the list is cut off before its closing bracket")
            return
        if in_list and text[at] == "]":
            return
        number += 1
        value, at, text, ended = _decode(decoder, file, text, at, ended, f"{name}, row {number}")
        if not isinstance(value, dict):
            raise DataError(f"{name}, row {number}", f"expected an object but got {type(value).__name__}")
        yield number, value


def _skip(file: TextIO, text: str, at: int, skipped: str, ended: bool) -> tuple[int, str, bool]:
    """Move on to the next character that is not in `skipped`, reading more where needed."""
    while True:
        while at < len(text) and text[at] in skipped:
            at += 1
        if at < len(text) or ended:
            return at, text, ended
        text, at = file.read(CHUNK_CHARS), 0
        ended = not text


def _decode(
    decoder: json.JSONDecoder, file: TextIO, text: str, at: int, ended: bool, where: str
) -> tuple[Any, int, str, bool]:
    """Decode one value at `at`, reading more until it is whole."""
    wanted = CHUNK_CHARS
    while True:
        try:
            value, end = decoder.raw_decode(text, at)
            return value, end, text, ended
        except json.JSONDecodeError as error:
            if ended or len(text) - at > MAX_OBJECT_CHARS or _hopeless(error, text):
                raise DataError(where, f"not JSON: {error.msg} (character {error.pos - at} of the row)") from error
        except ValueError as error:
            raise DataError(where, str(error)) from error
        except RecursionError as error:
            raise DataError(where, "nested too deeply") from error
        more = file.read(wanted)  # doubled each time, so that a large object is not decoded once a chunk
        wanted, ended = wanted * 2, not more
        text, at = text[at:] + more, 0


def _hopeless(error: json.JSONDecodeError, text: str) -> bool:
    """Whether reading on cannot mend `error`: it lies well before the end and is no open string."""
    return not error.msg.startswith("Unterminated string") and error.pos < len(text) - 64


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a number that JSON knows; use null for a missing value")


def write_list(objects: Iterable[Mapping[str, Any]], path: str | os.PathLike[str]) -> int:
    """Write a JSON list, one object after the other as `indent=2` would print it; returns how many."""
    count = 0
    with atomic_path(path) as scratch, open(scratch, "w", encoding="utf-8") as file:
        file.write("[")
        for count, item in enumerate(objects, 1):
            body = json.dumps(item, ensure_ascii=False, indent=2, allow_nan=False)
            file.write((",\n" if count > 1 else "\n") + body)
        file.write("\n]\n")
    return count


def write_lines(objects: Iterable[Mapping[str, Any]], path: str | os.PathLike[str]) -> int:
    """Write JSON lines; returns how many."""
    count = 0
    with atomic_path(path) as scratch, open(scratch, "w", encoding="utf-8") as file:
        for count, item in enumerate(objects, 1):  # noqa: B007 - the count is the result
            file.write(json.dumps(item, ensure_ascii=False, allow_nan=False) + "\n")
    return count


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A scratch path beside `path` that takes its place when the block ends well, and is removed when not.

    Raises:
        DataError: the folder cannot be made or written to.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(prefix=f".{target.name}.", suffix=target.suffix, dir=target.parent)
    except OSError as error:
        raise DataError(str(target), f"cannot be written: {error}") from error
    os.close(handle)
    try:
        yield Path(scratch)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(scratch, 0o666 & ~umask)  # mkstemp makes files that only their owner may read
        os.replace(scratch, target)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(scratch)


def short_name(path: str | os.PathLike[str]) -> str:
    """A file as messages name it: with its folder, because every dataset has an all_data.json."""
    return "/".join(str(path).replace("\\", "/").split("/")[-2:])
