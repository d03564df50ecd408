"""Lists and lines of JSON objects: read whole or one at a time, with the row of what is wrong."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptrace.errors import DataError
from deeptrace.io.jsonl import iter_objects, write_json, write_lines, write_list

ODD = ["a\u2028b", "a\u2029b", "a\x85b", "a\rb", "a\r\nb", "a\x1cb", "\x0b", "\udcff", "\ufeff"]
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(), below, max_size=3),
    max_leaves=8,
)
objects = st.lists(st.dictionaries(st.text(), values, max_size=3), max_size=5)


def read(path: Path) -> list[dict[str, Any]]:
    numbered = list(iter_objects(path))
    assert [number for number, _ in numbered] == list(range(1, len(numbered) + 1))
    return [value for _, value in numbered]


@given(objects)
def test_what_was_written_comes_back(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> None:
    folder = tmp_path_factory.mktemp("rows")
    assert write_list(rows, folder / "a.json") == write_lines(rows, folder / "a.jsonl") == len(rows)
    assert read(folder / "a.json") == read(folder / "a.jsonl") == rows
    assert (folder / "a.jsonl").read_bytes().count(b"\n") == len(rows)


@pytest.mark.parametrize("text", ODD)
def test_lines_end_at_a_line_feed_and_nowhere_else(tmp_path: Path, text: str) -> None:
    rows = [{"name": text, text: 1}, {"name": "next"}]
    write_lines(rows, tmp_path / "a.jsonl")
    write_list(rows, tmp_path / "a.json")
    write_json({"rows": rows}, tmp_path / "b.json")
    assert read(tmp_path / "a.jsonl") == read(tmp_path / "a.json") == rows
    assert json.loads((tmp_path / "b.json").read_bytes())["rows"] == rows


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("", []),
        (" \n\n", []),
        ("[]", []),
        ("\n [ ] \n", []),
        ('{"a": 1}', [{"a": 1}]),
        ('\n{"a": 1}\r\n\r\n  {"a": 2}  \r\n', [{"a": 1}, {"a": 2}]),
        ('\n\n[\n{"a": 1},\n\n{"a": 2}\n]\n', [{"a": 1}, {"a": 2}]),
    ],
)
def test_blank_lines_and_spaces_are_nothing(tmp_path: Path, text: str, rows: list[dict[str, Any]]) -> None:
    for mark, name in ((b"", "a.json"), (b"\xef\xbb\xbf", "b.json")):
        (tmp_path / name).write_bytes(mark + text.encode())
        assert read(tmp_path / name) == rows
    with gzip.open(tmp_path / "a.json.gz", "wt") as file:
        file.write(text)
    assert read(tmp_path / "a.json.gz") == rows


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[{"a": 1}, {"a": ', "row 2: not JSON: Expecting value"),
        ('[{"a": 1}, {"b": "c', "row 2: not JSON: Unterminated string"),
        ('[{"a": 1}', "row 2: the list is cut off before its closing bracket"),
        ('[{"a": 1},', "row 2: the list is cut off before its closing bracket"),
        ("[", "row 1: the list is cut off before its closing bracket"),
        ('[{"a": 1} {"a": 2}]', "row 2: not JSON: there is no comma before it"),
        ('[{"a": 1}, ]', "row 2: not JSON: Expecting value"),
        ('[{"a": 1}, 3]', "row 2: expected an object but got int"),
        ('[{"a": 1}, {"a": [NaN]}]', "row 2: NaN is not a number that JSON knows"),
        ('[{"a": 1}] [', "x.json: not JSON: there is text after the list's closing bracket"),
        ("[" * 200_000, "row 1: nested too deeply"),
        ('{"a": 1}\n\n{"a": Infinity}', "row 2: Infinity is not a number"),
        ('{"a": 1}\n{"a": 2} {"a": 3}\n', "row 2: not JSON: there is more after the first value"),
        ('{"a": 1}\n{"a": \n2}', "row 2: not JSON"),
        ('{"a": 1}\n[1]\n', "row 2: expected an object but got list"),
        ("video_id,split\n1,2\n", "row 1: not JSON"),
    ],
)
def test_what_is_wrong_is_named_by_file_and_row(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        list(iter_objects(path))
    assert problem in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path.name}/x.json")


def test_rows_before_the_fault_are_given(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"a": 1}\n{"a": 2}\nnonsense')
    rows = iter_objects(tmp_path / "x.jsonl")
    assert [next(rows), next(rows)] == [(1, {"a": 1}), (2, {"a": 2})]
    with pytest.raises(DataError, match="row 3"):
        next(rows)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "b.json").write_bytes(b"[\xff\xfe\x00]")
    with gzip.open(tmp_path / "whole.json.gz", "wt") as file:
        file.write(json.dumps([{"a": "b" * 1000}]))
    (tmp_path / "cut.json.gz").write_bytes((tmp_path / "whole.json.gz").read_bytes()[:-12])
    for name, problem in (
        ("no.json", "no such file"),
        ("", "is a folder, not a file"),
        ("b.json", "not UTF-8 text"),
        ("cut.json.gz", "cannot be read"),
    ):
        with pytest.raises(DataError, match=problem):
            list(iter_objects(tmp_path / name))
