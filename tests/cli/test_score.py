from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.reward.conftest import corner_clip, expected
from typer.testing import CliRunner

from deeptrace.cli.main import app
from deeptrace.errors import DataError, SettingsError
from deeptrace.video import write_video

LEVELS = {"cat": [40, 160, 90], "dog": [200, 20], "gone": []}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, corner: str):
    """The command in a folder of clips, one folder a prompt; rewards are those of `CornerDetector`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for prompt, levels in LEVELS.items():
        (tmp_path / "clips" / prompt).mkdir(parents=True)
        for level in levels:
            write_video(tmp_path / "clips" / prompt / f"{level:03}.mp4", corner_clip(level), fps=8.0, crf=0)
    (tmp_path / "clips" / "gone" / "x.mp4").write_bytes(b"broken")

    def call(*args: object) -> Any:
        return CliRunner().invoke(app, ["score", "--detector", corner, *map(str, args)])

    return call


def lines(result: Any, kind: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    return [row for row in rows if row["kind"] == kind]


def test_each_clip_has_a_row_and_a_failure_no_number(run) -> None:
    result = run("clips", "--json")
    assert result.exit_code == 1
    rows = lines(result, "clip")
    assert [Path(row["video"]).name for row in rows] == ["040.mp4", "090.mp4", "160.mp4", "020.mp4", "200.mp4", "x.mp4"]
    rewards = [row["reward"] for row in rows]
    assert [row["error"] for row in rows[:5]] == [None] * 5
    assert rewards[:5] == pytest.approx([expected(n) for n in (40, 90, 160, 20, 200)], abs=0.03)
    assert rewards[5] is None
    assert rows[5]["error"]
    assert rows[0]["reward"] == pytest.approx(rows[0]["authenticity"] * rows[0]["trace_factor"])
    assert "1 of 6 could not be scored" in result.stderr


def test_best_pairs_and_files(run, tmp_path: Path) -> None:
    result = run(
        "clips", "--folder-is", "prompt", "--best-of", 2, "--pairs", "--keep-duplicates", "--out", "kept", "--json"
    )
    picks = lines(result, "best")
    assert [(pick["prompt"], Path(pick["best"] or "none").name) for pick in picks] == [
        ("cat", "040.mp4"), ("dog", "020.mp4"), ("gone", "none")
    ]  # fmt: skip
    pairs = lines(result, "pair")
    names = [(Path(pair["chosen"]).name, Path(pair["rejected"]).name) for pair in pairs]
    assert names == [("040.mp4", "160.mp4"), ("020.mp4", "200.mp4")]
    written = sorted(path.name for path in (tmp_path / "kept").iterdir())
    assert {"best.jsonl", "pairs.csv", "pairs.jsonl", "rewards.jsonl", "verdicts.jsonl"} <= set(written)
    kept = [json.loads(line) for line in (tmp_path / "kept" / "pairs.jsonl").read_text().splitlines()]
    assert [{"kind": "pair"} | row for row in kept] == pairs
    again = run("clips", "--folder-is", "prompt", "--best-of", 3, "--out", "kept", "--resume", "--json")
    assert "6 were analysed before" in again.stderr
    assert lines(again, "clip") == lines(result, "clip")


def test_pairs_where_rewards_lie_close_together_and_what_is_in_none(run, tmp_path: Path) -> None:
    for level in (100, 104, 108):
        (tmp_path / "close" / "cup").mkdir(parents=True, exist_ok=True)
        write_video(tmp_path / "close" / "cup" / f"{level}.mp4", corner_clip(level), fps=8.0, crf=0)
    args = ("close", "clips/gone", "--folder-is", "prompt", "--pairs", "--pairs-per-prompt", 9, "--keep-duplicates")
    table = run(*args, "--min-margin", 0.5, "--out", "kept")
    assert "3 pairs; left out: none. Clips in no pair: 1 without a reward." in table.stdout
    (row, *_) = lines(run(*args, "--out", "kept", "--resume", "--json"), "pair")
    assert (Path(row["chosen"]).name, Path(row["rejected"]).name) == ("100.mp4", "108.mp4")
    assert row["margin"] < 0.05
    assert 2 <= row["relative_margin"] <= 6**0.5 + 1e-6, "the range of three numbers"
    args = (*args, "--out", "kept", "--resume")  # the clips are scored by now
    absolute = run(*args, "--margin", "absolute")
    assert "0 pairs; left out: 3 too close. Clips in no pair: 1 without a reward." in absolute.stdout
    assert lines(run(*args, "--margin", "absolute", "--min-margin", 0.02, "--json"), "pair")
    assert isinstance(run(*args, "--min-margin", 0).exception, SettingsError)


def test_rank_by_a_table_of_clips(run, tmp_path: Path) -> None:
    rows = [
        {"video": f"clips/{prompt}/{level:03}.mp4", "prompt": prompt, "generator": "low" if level < 100 else "high"}
        for prompt, levels in LEVELS.items()
        for level in levels
    ]
    (tmp_path / "clips.jsonl").write_text("\n".join(map(json.dumps, rows)))
    result = run("--clips", "clips.jsonl", "--rank", "--json")
    assert result.exit_code == 0
    ranks = lines(result, "rank")
    assert [(row["generator"], row["clips"]) for row in ranks] == [("low", 3), ("high", 2)]
    assert ranks[0]["first_share"] is None, "two prompts say nothing of it"
    table = run("--clips", "clips.jsonl", "--rank", "--best-of", 3)
    for words in ("generator", "low", "95 %", "cat", "best", "6 prompts or more", "No clip was left out."):
        assert words in table.stdout


def test_what_best_of_leaves_out_is_said_and_the_top_k_are_listed(run, tmp_path: Path) -> None:
    args = ("clips", "--folder-is", "prompt", "--best-of", 1, "--top-k", 2, "--out", "kept")
    table = run(*args)
    assert "Clips left out: 3 beyond the first N of their prompt." in table.stdout
    top = [json.loads(line) for line in (tmp_path / "kept" / "top.jsonl").read_text().splitlines()]
    assert [(row["prompt"], row["place"], Path(row["video"]).name) for row in top] == [
        ("cat", 1, "040.mp4"), ("cat", 2, "090.mp4"), ("dog", 1, "020.mp4"), ("dog", 2, "200.mp4")
    ]  # fmt: skip
    rows = run(*args, "--resume", "--json")
    assert [{"kind": "top"} | row for row in top] == lines(rows, "top")
    assert [row["left_out"] for row in lines(rows, "best")] == [2, 1, 0]


def test_the_table_for_people(run) -> None:
    result = run("clips/cat")
    assert result.exit_code == 0
    for words in ("040.mp4", "authenticity", "higher is better", "unexpected move"):
        assert words in result.stdout


def test_what_cannot_be_chosen_is_said_before_the_work(run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("worked")

    monkeypatch.setattr("deeptrace.inference.executor.open_executor", refuse)
    assert run().exit_code == 2
    result = run("clips/cat", "--best-of", 2)
    assert isinstance(result.exception, DataError)
    assert "no clip has a prompt" in str(result.exception)
    assert isinstance(run("clips/cat", "--rank").exception, DataError)
