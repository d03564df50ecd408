from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deeptrace.cli.main import app
from deeptrace.detectors.vlm.openai.profiles import profile_of
from deeptrace.detectors.vlm.paper_models import PAPER_MODELS, paper_model
from deeptrace.prompts import coordinate_space


def test_the_names_are_those_of_the_papers_table(shared_dir: Path) -> None:
    with (shared_dir / "spec" / "table2_test.csv").open(newline="") as file:
        named = [row["model"] for row in csv.DictReader(file) if row["group"] == "baseline"]
    assert [model.name for model in PAPER_MODELS] == named


def test_every_fact_is_there_or_said_to_be_missing() -> None:
    assert len({model.model_id for model in PAPER_MODELS}) == 13
    for model in PAPER_MODELS:
        assert model.note or (model.space and model.licence), model.name
        assert (model.weights_gib is None) == model.served, model.name
        if model.space is not None:
            coordinate_space(model.space)


def test_sampling_is_the_papers() -> None:
    said = {model.name: str(model.sampling) for model in PAPER_MODELS}
    assert said.pop("Video-LLaVa 7B") == "8 frames"
    assert said.pop("LLaVa-One-Vision 7B") == "1 fps, at most 20"
    assert set(said.values()) == {"2 fps"}


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-4.1", "GPT 4.1"),
        ("gpt-5-2025-08-07", "GPT 5"),
        ("qwen2.5-vl-7b-instruct", "Qwen 2.5 VL 7B"),
        ("Qwen/Qwen2.5-VL-72B-Instruct", "Qwen 2.5 VL 72B"),
        ("gpt-5-mini", None),
        ("Qwen/Qwen2.5-VL-7B-Instruct-AWQ", None),
        ("", None),
    ],
)
def test_models_are_known_by_their_served_names(model: str, name: str | None) -> None:
    found = paper_model(model)
    assert (found.name if found else None) == name


@pytest.mark.parametrize("model", PAPER_MODELS, ids=lambda model: model.name)
def test_the_detector_takes_space_and_sampling_from_the_list(model) -> None:
    profile = profile_of(model.model_id)
    assert profile.sampling == model.sampling
    assert profile.space == (model.space or "resized_pixels")


def test_the_command_lists_all_thirteen() -> None:
    runner = CliRunner()
    rows = json.loads(runner.invoke(app, ["detectors", "--json"]).stdout)
    listed = {row["paper"]["model"]: row for row in rows if "paper" in row}
    assert list(listed) == [model.name for model in PAPER_MODELS]
    assert listed["Qwen 2.5 VL 32B"]["name"] == "openai:Qwen/Qwen2.5-VL-32B-Instruct@URL"
    assert listed["GPT 5"]["paper"]["space"] is None
    table = runner.invoke(app, ["detectors"], env={"COLUMNS": "160"})
    assert table.exit_code == 0
    for model in PAPER_MODELS:
        assert model.name in table.stdout
