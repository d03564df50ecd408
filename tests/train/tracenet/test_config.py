from __future__ import annotations

import json
from pathlib import Path

import pytest

from deeptrace.errors import SettingsError
from deeptrace.train.tracenet.config import TraceNetConfig


def written(folder: Path, content: object) -> Path:
    path = folder / "config.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_file_is_read_with_defaults_and_changes_on_top(tmp_path: Path) -> None:
    path = written(tmp_path, {"data": "somewhere", "steps": 9})
    config = TraceNetConfig.read(path, steps=11, workers=3)
    assert (config.data, config.steps, config.workers) == (Path("somewhere"), 11, 3)
    assert config.folds == TraceNetConfig(data=Path("x")).folds


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"data": "x", "stepz": 3}, "stepz"),
        ({"data": "x", "folds": 1}, "folds"),
        ({"data": "x", "learning_rate": 0}, "learning_rate"),
        ({"data": "x", "steps": "many"}, "steps"),
        ({}, "data"),
    ],
)
def test_a_field_that_makes_no_sense_is_named(tmp_path: Path, fields: dict, named: str) -> None:
    with pytest.raises(SettingsError, match=named) as caught:
        TraceNetConfig.read(written(tmp_path, fields))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "data: x", "[]", "3"])
def test_what_is_no_json_object_is_said(tmp_path: Path, content: str) -> None:
    with pytest.raises(SettingsError, match=r"config\.json: not (JSON|a JSON object)"):
        TraceNetConfig.read(written(tmp_path, content))


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such config"):
        TraceNetConfig.read(tmp_path / "nothing.json")
