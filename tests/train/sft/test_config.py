"""The config of a fine-tuning: read strictly, and every recipe of the examples is one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deeptrace.errors import SettingsError
from deeptrace.prompts import FINE_TUNING, SPACES
from deeptrace.train.sft.config import SftConfig
from deeptrace.train.vlm.settings import FormSettings, ViewSettings, detector_settings

EXAMPLES = Path(__file__).parents[3] / "examples"
LEAST = {"model": {"base": "m"}, "data": [{"path": "d"}], "out": "o"}


@pytest.mark.parametrize("recipe", sorted(EXAMPLES.glob("sft_*.json")), ids=lambda path: path.stem)
def test_every_recipe_is_a_config(recipe: Path) -> None:
    config = SftConfig.read(recipe)
    assert config.validation is not None
    assert config.form.form.space in SPACES.values()


def test_the_recipes_are_those_of_the_paper_and_faster_ones() -> None:
    names = {path.stem.removeprefix("sft_") for path in EXAMPLES.glob("sft_*.json")}
    paper = {"qwen2_5_vl_7b_paper": (1.0, 20, 2), "videollama3_7b_paper": (2.0, 180, 1)}
    assert paper.keys() <= names
    for name, (fps, frames, batch) in paper.items():
        config = SftConfig.read(EXAMPLES / f"sft_{name}.json")
        assert (config.view.fps, config.view.max_frames, config.batch) == (fps, frames, batch)
        assert (config.learning_rate, config.epochs, config.form.form) == (1e-5, 1, FINE_TUNING)
    for size in ("qwen2_5_vl_3b", "qwen2_5_vl_7b", "qwen2_5_vl_32b_lora", "videollama3_2b", "videollama3_7b"):
        assert size in names


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 0}, "learning_rate: Input should be greater than 0"),
        ({"model": {"base": "m", "tuning": "half"}}, "model.tuning: "),
        ({"speed": 2}, "speed: no such field. Is it seed?"),
        ({"data": []}, "data: List should have at least 1 item"),
        ({"pack_tokens": 4096, "batch": 2}, "batch must be 1"),
        ({"model": {"base": "m", "tuning": "qlora"}, "sharding": "fsdp"}, "4-bit weights are not sharded"),
    ],
)
def test_what_makes_no_sense_is_said(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    file = tmp_path / "sft.json"
    file.write_text(json.dumps(LEAST | changes))
    with pytest.raises(SettingsError) as error:
        SftConfig.read(file)
    assert message in str(error.value)
    assert str(file) in str(error.value)


def test_a_folder_and_a_missing_file_are_no_config(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(SettingsError, match="no such config"):
            SftConfig.read(path)


def test_the_trained_model_is_asked_what_it_learned() -> None:
    form = FormSettings(time=False, explanation=False, space="permille")
    found = detector_settings(ViewSettings(fps=1.0, max_frames=7), form)
    assert (found["form"], found["without"], found["space"]) == ("fine-tuning", ["time", "explanation"], "permille")
    assert (found["fps"], found["max_frames"]) == (1.0, 7)
