"""The needle in the hay: what counts as found, and a run over real files that is not asked twice."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.train.tracenet.made import row, write_clip

from deeptrace.benchmark.robustness.needle import NEEDLE_S, Hay, Said, needle_figures
from deeptrace.benchmark.robustness.run import measure_robustness
from deeptrace.errors import DataError
from deeptrace.io.journal import read_lines
from deeptrace.schema import Trace, Verdict


def said(*chances: float, needle: tuple[float, float] | None, onset_s: float | None = None) -> Said:
    windows = tuple((3.0 * number, chance) for number, chance in enumerate(chances))
    p_fake = max(chances)
    traces = () if onset_s is None else (Trace(onset_s=onset_s),)
    label = "FAKE" if p_fake >= 0.5 else "REAL"
    verdict = Verdict(video="", outcome="scored", label=label, p_fake=p_fake, traces=traces)
    return Said(verdict, windows, needle, 3.0 * len(chances))


def test_a_window_lies_in_the_needle_with_more_than_half_of_it() -> None:
    assert said(0.1, 0.2, 0.3, 0.4, needle=(4.4, 8.4)).in_needle.tolist() == [False, True, True, False]
    assert said(0.1, 0.2, 0.3, 0.4, needle=(1.0, 5.0)).in_needle.tolist() == [True, True, False, False]
    assert not said(0.1, 0.2, needle=None).in_needle.any()


@pytest.mark.parametrize("onset", np.linspace(0, 8, 17))
def test_some_window_always_lies_in_it(onset: float) -> None:
    assert said(*[0.0] * 5, needle=(onset, onset + NEEDLE_S)).in_needle.any()


def test_figures_of_a_perfect_and_of_a_blind_detector() -> None:
    without = [said(0.1, 0.1, 0.2, needle=None), said(0.2, 0.1, 0.1, needle=None)]
    perfect = [said(0.1, 0.9, 0.1, needle=(2.5, 6.5), onset_s=3.0) for _ in range(2)]
    found = needle_figures(list(zip(without, perfect, strict=True)), Hay(2, 9.0))
    assert (found.window_hit.value, found.windows.value, found.peak.value, found.trace_hit.value) == (1, 1, 1, 1)
    assert found.window_hit.interval is None  # of two long videos
    assert found.window_by_chance == pytest.approx(1 / 3, abs=1e-3)
    assert (found.row.auroc.value, found.row.accused.value, found.row.found.value) == (1.0, 0.0, 1.0)
    blind = [said(0.9, 0.1, 0.1, needle=(2.5, 6.5), onset_s=0.0) for _ in range(2)]
    missed = needle_figures(list(zip(without, blind, strict=True)), Hay(2, 9.0))
    assert (missed.window_hit.value, missed.trace_hit.value) == (0.0, 0.0)


def test_a_detector_that_names_no_time_and_shows_no_windows() -> None:
    plain = [Said(said(p, needle=None).verdict, (), needle, 9.0) for p, needle in ((0.1, None), (0.9, (2.0, 6.0)))]
    found = needle_figures([(plain[0], plain[1])], Hay(1, 9.0))
    assert found.window_hit.value is None
    assert found.trace_hit.value is None
    assert found.row.auroc.value == 1.0


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of each class that last five seconds."""
    folder = tmp_path_factory.mktemp("data")
    rows = []
    for number in range(2):
        for fake, name in ((False, "real"), (True, "generated")):
            path = f"{name}/{name}_{number}.mp4"
            write_clip(folder / path, 2 * number + fake, seconds=5.0, flicker=fake)
            rows.append(row(path, f"{name}{number}", fake))
    (folder / "all_data.json").write_text(json.dumps(rows))
    return folder


def test_long_videos_are_made_and_asked_about_once(data: Path, tmp_path: Path) -> None:
    how = {"split": "all", "only": ["needle"], "clips": 2, "workers": 1, "resamples": 20, "hay": Hay(1, 9.0)}
    found = measure_robustness(data, out=tmp_path, **how)
    assert found.needle is not None
    assert (found.needle.videos, found.needle.row.real, found.needle.row.generated) == (1, 1, 1)
    assert found.needle.window_hit.value is not None
    lines = list(read_lines(tmp_path / "journal.jsonl"))
    windows = [len(line["record"]["windows"]) for line in lines if "windows" in line["record"]]
    assert sorted(windows) == [3, 5]  # 9 s, and 13 s with the needle, in windows of 3 s
    again = measure_robustness(data, out=tmp_path, resume=True, **how)
    assert again == found
    assert len(list(read_lines(tmp_path / "journal.jsonl"))) == len(lines)


def test_no_needle_without_a_clip_as_long(tmp_path: Path) -> None:
    rows = []
    for fake, name in ((False, "real"), (True, "generated")):
        write_clip(tmp_path / f"{name}.mp4", int(fake), seconds=2.0, flicker=fake)
        rows.append(row(f"{name}.mp4", name, fake))
    (tmp_path / "all_data.json").write_text(json.dumps(rows))
    with pytest.raises(DataError, match="there is no needle"):
        measure_robustness(
            tmp_path, split="all", detector="baseline:npr", only=["needle"], out=tmp_path / "run", workers=1
        )
    both = measure_robustness(
        tmp_path, split="all", detector="baseline:npr", only=["still", "needle"], out=tmp_path / "both", workers=1
    )
    assert ([one.name for one in both.rows], both.needle) == (["as_is", "still"], None)
    assert "there is no needle" in both.failed[0]
