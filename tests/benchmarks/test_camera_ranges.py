"""The range of camera footage behind a curve: how it is measured, and whether the shipped one holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from camera_ranges import camera_ranges as measured
from deeptrace.detectors import Analysis
from deeptrace.detectors.curves import CURVES, camera_range, camera_ranges
from deeptrace.inference import DetectRun, Job, expand_inputs
from deeptrace.schema import Label, Outcome, Verdict

REAL = Verdict(video="a.mp4", outcome=Outcome.SCORED, label=Label.REAL)


def clip(values: np.ndarray) -> Analysis:
    """A clip of which all curves are the same."""
    return Analysis(
        REAL, {name: [(float(at), float(value)) for at, value in enumerate(values)] for name in CURVES.values()}
    )


def test_each_clip_weighs_the_same_however_long() -> None:
    short, long = clip(np.linspace(0, 1, 11)), clip(np.linspace(1, 2, 1001))
    low, high = measured([short, long]).ranges["residual"]
    assert (low, high) == (pytest.approx(0.1, abs=0.01), pytest.approx(1.9, abs=0.01))


def test_every_curve_has_a_shipped_range() -> None:
    known = camera_ranges()
    assert known.ranges.keys() == CURVES.keys()
    assert known.percentiles == (5.0, 95.0)
    for name in CURVES.values():
        ends = camera_range(name)
        assert ends is not None
        assert 0 < ends[0] < ends[1]
    assert camera_range("some other curve") is None


@pytest.mark.slow
def test_nine_tenths_of_camera_footage_lie_in_the_shipped_range(corpus_dir: Path) -> None:
    clips = sorted((corpus_dir / "real").iterdir())[::7]
    with DetectRun(expand_inputs([str(path) for path in clips]), job=Job(evidence=True)) as run:
        found = list(run.results())
    for name in CURVES.values():
        ends = camera_range(name)
        assert ends is not None
        inside = [np.mean([ends[0] <= value <= ends[1] for _, value in one.curves[name]]) for one in found]
        assert 0.8 < np.mean(inside) < 0.98, name
