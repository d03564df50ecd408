"""The needle in the hay: what counts as found, and a run over real files that is not asked twice."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.train.tracenet.made import row, write_clip

import needle
from deeptrace.errors import DataError


def answer(*chances: float, needle_at: tuple[float, float] | None) -> needle.Answer:
    windows = [(3.0 * number, chance) for number, chance in enumerate(chances)]
    return needle.Answer(max(chances), "unclear", windows, needle_at)


def test_a_window_lies_in_the_needle_with_more_than_half_of_it() -> None:
    assert answer(0.1, 0.2, 0.3, 0.4, needle_at=(4.4, 8.4)).in_needle.tolist() == [False, True, True, False]
    assert answer(0.1, 0.2, 0.3, 0.4, needle_at=(1.0, 5.0)).in_needle.tolist() == [True, True, False, False]
    assert not answer(0.1, 0.2, needle_at=None).in_needle.any()


@pytest.mark.parametrize("onset", np.linspace(0, 8, 17))
def test_some_window_always_lies_in_it(onset: float) -> None:
    assert answer(*[0.0] * 5, needle_at=(onset, onset + needle.NEEDLE_S)).in_needle.any()


def test_figures_of_a_perfect_and_of_a_blind_detector() -> None:
    without = (answer(0.1, 0.1, 0.2, needle_at=None), answer(0.2, 0.1, 0.1, needle_at=None))
    perfect = tuple(answer(0.1, 0.9, 0.1, needle_at=(2.5, 6.5)) for _ in range(2))
    figures = needle.figures_of(without, perfect)
    assert figures["highest window lies in the needle"] == 1.0
    assert figures["AUROC of windows in a needle against all others"] == 1.0
    assert figures["a window drawn at random does"] == pytest.approx(1 / 3)
    blind = tuple(answer(0.9, 0.1, 0.1, needle_at=(2.5, 6.5)) for _ in range(2))
    assert needle.figures_of(without, blind)["highest window lies in the needle"] == 0.0


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips of each class that last five seconds."""
    folder = tmp_path_factory.mktemp("data")
    rows = []
    for number in range(3):
        for fake, name in ((False, "real"), (True, "generated")):
            path = f"{name}/{name}_{number}.mp4"
            write_clip(folder / path, 2 * number + fake, seconds=5.0, flicker=fake)
            rows.append(row(path, f"{name}{number}", fake))
    (folder / "all_data.json").write_text(json.dumps(rows))
    return folder


def test_a_second_run_only_prints(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [str(data), "--videos", "2", "--seconds", "9", "--out", str(tmp_path)]
    assert needle.main(asked) == 0
    first = capsys.readouterr().out
    assert "2 videos of 9 s" in first
    kept = {path: path.read_bytes() for path in tmp_path.glob("*.jsonl")}
    assert len(kept) == 2
    for path, lines in kept.items():
        windows = [json.loads(line)["windows"] for line in lines.splitlines()]
        seconds = 9.0 if path.stem == "without" else 13.0
        assert [len(one) for one in windows] == [-(-seconds // 3)] * 2
    assert needle.main(asked) == 0
    assert capsys.readouterr().out == first
    assert {path: path.read_bytes() for path in tmp_path.glob("*.jsonl")} == kept


def test_clips_that_were_learned_from_are_no_hay(data: Path, tmp_path: Path) -> None:
    from deeptrace.io.fingerprint import sha256_of
    from deeptrace.train.tracenet.clips import read_clips

    clips = read_clips(data)
    card = json.loads((needle.shipped_folder() / needle.CARD_NAME).read_text())
    card["trained_on"]["clips_sha256"] = [sha256_of(clip.path)[:16] for clip in clips if "real" in clip.name]
    (tmp_path / needle.CARD_NAME).write_text(json.dumps(card))
    with pytest.raises(DataError, match="learned from all clips of a class"):
        needle.unseen(clips, tmp_path)
