"""Annotation passes: several annotators a clip."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deeptrace.data import group_rounds, match_rounds, read_reward_data, read_rounds
from deeptrace.errors import DataError
from deeptrace.geometry import Box
from deeptrace.schema import Category, Trace

PASS = {
    "file": "generated/a.mp4",
    "annotator": "c",
    "cannot_tell": False,
    "traces": [
        {
            "categories": ["unexpected_move", "object_distortion"],
            "box": [0.2, 0.1, 0.78, 1],
            "onset_s": 0.7,
            "offset_s": 2.0,
            "explanation": "It slides.",
            "confidence": 0.35,
        }
    ],
}


def write(path: Path, *rounds: dict) -> Path:
    path.write_text("".join(json.dumps(item) + "\n" for item in rounds), encoding="utf-8")
    return path


def test_a_pass_is_read_with_its_traces(tmp_path: Path) -> None:
    (item,) = read_rounds(write(tmp_path / "passes.jsonl", PASS))
    assert (item.file, item.annotator, item.cannot_tell) == ("generated/a.mp4", "c", False)
    assert item.traces == (
        Trace(
            categories=(Category.UNEXPECTED_MOVE, Category.OBJECT_DISTORTION),
            box=Box(x0=0.2, y0=0.1, x1=0.78, y1=1),
            onset_s=0.7,
            offset_s=2.0,
            explanation="It slides.",
            score=0.35,
        ),
    )


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"box": [0.5, 0.5, 0.2, 0.2]}, "trace 1"),
        ({"box": [0.5, 0.5]}, "trace 1"),
        ({"onset_s": 3.0}, "trace 1"),
        ({"confidence": 2}, "trace 1"),
        ({"categories": ["sparkle"]}, "trace 1, categories: no such category: sparkle"),
    ],
)
def test_nonsense_in_a_trace_is_named(tmp_path: Path, change: dict, where: str) -> None:
    wrong = PASS | {"traces": [PASS["traces"][0] | change]}
    with pytest.raises(DataError, match=f"passes.jsonl, row 2, {where}"):
        read_rounds(write(tmp_path / "passes.jsonl", PASS, wrong))


def test_passes_are_grouped_by_clip_and_no_annotator_counts_twice(tmp_path: Path) -> None:
    rounds = read_rounds(write(tmp_path / "passes.jsonl", PASS, PASS | {"annotator": "d"}))
    assert [item.annotator for item in group_rounds(rounds)["generated/a.mp4"]] == ["c", "d"]
    with pytest.raises(DataError, match="annotator 'c' has two rounds"):
        group_rounds([*rounds, rounds[0]])


@pytest.mark.corpus
def test_the_corpus_has_two_passes_for_every_generated_clip(corpus_dir: Path) -> None:
    rounds = read_rounds(corpus_dir / "passes.jsonl")
    matched, unmatched = match_rounds(read_reward_data(corpus_dir), rounds)
    assert (len(rounds), len(matched), unmatched) == (464, 232, [])
    assert {len(group) for group in matched.values()} == {2}
    assert sum(len(item.traces) for item in rounds) == 1084
