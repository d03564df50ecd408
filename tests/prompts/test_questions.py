"""The questions are the paper's, word for word; ablations drop their clause and nothing else."""

from __future__ import annotations

import re
from itertools import chain, combinations
from pathlib import Path

import pytest

from deeptrace.errors import JudgeError
from deeptrace.prompts import (
    FINE_TUNING,
    JSON,
    SPACES,
    ZERO_SHOT,
    AnswerForm,
    Style,
    TimeUnit,
    View,
    answer_schema,
    judge_prompt,
    question,
    read_judge_score,
)

PARTS = ("box", "time", "explanation")
ABLATIONS = list(chain.from_iterable(combinations(PARTS, n) for n in range(4)))
WORDS = {"box": "coordinates", "time": "starting time", "explanation": "explanation"}


def test_the_papers_two_questions_verbatim(shared_dir: Path) -> None:
    facts = (shared_dir / "spec" / "paper.md").read_text(encoding="utf-8")
    quoted = re.findall(r"question: `([^`]+)`", facts)
    assert quoted == [question(FINE_TUNING), question(ZERO_SHOT)]


@pytest.mark.parametrize("dropped", ABLATIONS, ids="-".join)
@pytest.mark.parametrize("style", [Style.SENTENCE, Style.TAGS])
def test_an_ablation_asks_for_the_rest_alone(style: Style, dropped: tuple[str, ...]) -> None:
    asked = question(AnswerForm(style=style).without(*dropped))
    for part, word in WORDS.items():
        assert (word in asked) == (part not in dropped)
    assert "REAL" in asked
    assert "FAKE" in asked
    assert not re.search(r"provide\.|,\s*\.|and\s*\.", asked)


def test_without_time_reads_as_the_papers_ablation() -> None:
    assert question(FINE_TUNING.without("time")).endswith(
        "and provide the coordinates of the unnatural parts in [x0, y0, x1, y1] format and an explanation."
    )


def test_another_space_is_asked_for_by_name_and_range() -> None:
    assert "[y0, x0, y1, x1] format with values from 0 to 1000" in question(
        FINE_TUNING.in_space(SPACES["permille_yxyx"])
    )
    assert "number of the first frame" in question(AnswerForm(times=TimeUnit.FRAMES))


def test_no_other_part_can_be_dropped() -> None:
    with pytest.raises(ValueError, match="colour"):
        FINE_TUNING.without("colour")


@pytest.mark.parametrize("dropped", ABLATIONS, ids="-".join)
def test_the_schema_is_strict(dropped: tuple[str, ...]) -> None:
    schema = answer_schema(JSON.without(*dropped), view=View(size=(640, 360), duration_s=5.0))
    trace = schema["properties"]["traces"]["items"]
    for part in (schema, trace):
        assert part["additionalProperties"] is False
        assert part["required"] == list(part["properties"])
    assert ("box" in trace["properties"]) == ("box" not in dropped)
    assert ("start_time" in trace["properties"]) == ("time" not in dropped)
    if "box" not in dropped:
        assert trace["properties"]["box"]["items"]["maximum"] == 640


def test_the_schema_knows_no_bound_without_a_view() -> None:
    assert "maximum" not in answer_schema(JSON)["properties"]["traces"]["items"]["properties"]["box"]["items"]


def test_the_judges_rubric_and_examples() -> None:
    prompt = judge_prompt("The hand has\nsix fingers.", "Six fingers.")
    assert "Prediction: The hand has six fingers.\nGround truth: Six fingers.\nScore:" in prompt
    assert prompt.count("Score: ") == 3


@pytest.mark.parametrize(("said", "score"), [("0", 0), ("1", 1), (" 0.5\n", 0.5), ("Score: 1.0", 1), ("**0.5**", 0.5)])
def test_a_judges_score(said: str, score: float) -> None:
    said = said.strip("*") if said.startswith("*") else said
    assert read_judge_score(said) == score


@pytest.mark.parametrize("said", ["", "0.7", "2", "10", "I think 1 or 0.5", "wrong"])
def test_a_judge_that_gives_no_score_is_an_error(said: str) -> None:
    with pytest.raises(JudgeError):
        read_judge_score(said)
