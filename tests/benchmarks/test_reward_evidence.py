"""The parts of the ladder and the selection, and a run of both on a corpus of three made clips."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from tests.needs import needs

from deeptrace.data import write_reward_data
from deeptrace.schema import Label, Media, Sample
from deeptrace.video import write_video

needs("sklearn")  # of the training that the scripts read folds of
ROOT = Path(__file__).resolve().parents[2]


@given(st.lists(st.integers(0, 5), min_size=6, max_size=6))
def test_rank_correlation_is_that_of_scipy(values: list[int]):
    from evidence import rank_rows

    order = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    ours = rank_rows(np.array([values], float), order)[0]
    if len(set(values)) == 1:
        assert ours == 0.0
    else:
        assert ours == pytest.approx(spearmanr(values, order).statistic)


def test_an_interval_draws_whole_groups():
    from evidence import mean_of, with_interval

    values = np.array([[1.0]] * 50 + [[0.0]] * 50)
    by_row = with_interval(values, mean_of)
    by_group = with_interval(values, mean_of, ["a"] * 50 + ["b"] * 50)
    assert by_row[0] == by_group[0] == 0.5
    assert by_row[1] > 0.35
    assert by_group[1:] == (0.0, 1.0)  # both groups may be the same one


def test_ties_are_picked_by_chance():
    from reward_selection import picked

    values = np.array([[1.0, 1.0, 0.0], [0.2, 0.1, 0.9]])
    severities = np.array([[0.3, 0.7, 0.1], [0.5, 0.9, 0.4]])
    share, regret = picked(values, severities)
    assert share == pytest.approx([0.0, 1.0])
    assert regret == pytest.approx([0.4, 0.0])


def test_a_chart_holds_every_line_and_escapes_its_words():
    from curves import Series, chart

    svg = chart("a < b", [Series("x & y", [0, 1], [0.2, 0.4]), Series("flat", [0, 1], [0.2, 0.2])], x="t", y="v")
    assert svg.count("<polyline") == 2
    assert "a &lt; b" in svg
    assert "x &amp; y" in svg


def test_the_ladder_keeps_the_trace_and_raises_its_severity(clip: np.ndarray, times: np.ndarray):
    from deeptrace.schema import Category
    from deeptrace.synth import Scene
    from deeptrace.train.tracenet.flaws import LEVELS, ladder

    rungs = list(ladder(Scene.of(clip, times), Category.OBJECT_DISTORTION, seed=(1, 2)))
    changed = [float(np.abs(r.astype(int) - clip).mean()) for r in rungs]
    assert len(rungs) == len(LEVELS) - 1
    assert changed == sorted(changed)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "sizes"),
    [("reward_ladder", ["--clips=1", "--kind=object_distortion"]), ("reward_selection", ["--sets=1"])],
)
def test_the_scripts_run(tmp_path: Path, clip: np.ndarray, script: str, sizes: list[str]):
    corpus = small_corpus(tmp_path / "corpus", clip)
    command = [sys.executable, str(ROOT / "benchmarks" / f"{script}.py"), *sizes, "--detector=tracenet"]
    command += [f"--data={corpus}", f"--out={tmp_path / 'out'}"]
    first = subprocess.run(command, capture_output=True, text=True, timeout=200, check=True)
    again = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert first.stdout == again.stdout  # the second run only prints
    assert "baseline:d3" in first.stdout
    assert json.loads((tmp_path / "out" / "figures.json").read_text())


def small_corpus(root: Path, clip: np.ndarray) -> Path:
    """One camera clip, and a source with its edit."""
    media = Media(width=160, height=128, duration_s=2.5, fps=8, frames=20)
    (root / "matched").mkdir(parents=True)
    for name in ("a.mp4", "matched/p__real.mp4", "matched/p__edit.mp4"):
        write_video(root / name, clip if "edit" not in name else clip[::-1], fps=8)
    sources = {"a.mp4": "camera", "matched/p__real.mp4": "matched:p"}
    write_reward_data(
        [Sample(video_id=p, path=p, label=Label.REAL, source=s, media=media) for p, s in sources.items()],
        root / "all_data.json",
    )
    (root / "manifest.csv").write_text("file,pair_id,origin_repo\nmatched/p__edit.mp4,p,someone/page\n")
    return root
