from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from deeptrace.detectors.tracenet.evidence import CHANNELS, GRID
from deeptrace.detectors.tracenet.temporal_extent import (
    EXTENT_FEATURES,
    MOMENT_FEATURES,
    TemporalExtent,
    coverage,
    extent_features,
    likeliest_extent,
)
from deeptrace.detectors.tracenet.tubes import FoundTube
from deeptrace.geometry import Box, Interval, Keyframe, Tube

STEP_S = 0.125
END_S = 7.0
FRAMES = 32
BOX = Box(x0=0.25, y0=0.25, x1=0.75, y1=0.5)
RESIDUAL = MOMENT_FEATURES + CHANNELS.index("residual")


def extent(**weights: float) -> TemporalExtent:
    """Lives that look at some features, named `f0`, `f1`, ..."""
    given = [weights.get(f"f{k}", 0.0) for k in range(EXTENT_FEATURES)]
    return TemporalExtent(
        mean=(0.0,) * EXTENT_FEATURES, spread=(1.0,) * EXTENT_FEATURES, weights=tuple(given), bias=0.0
    )


def segment(alive: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Evidence whose residual rises in BOX while `alive`, presence that says nothing, and times from 3 s on."""
    evidence = np.zeros((FRAMES, len(CHANNELS), GRID, GRID), np.float32)
    evidence[alive, CHANNELS.index("residual")] += 2.0 * coverage(BOX)
    return evidence, np.full((FRAMES, GRID, GRID), 0.1, np.float32), 3.0 + np.arange(FRAMES) * STEP_S


def found(first: int, stop: int, times: np.ndarray) -> FoundTube:
    mask = np.zeros((FRAMES, GRID, GRID), bool)
    mask[first:stop, 8:16, 8:24] = True
    keys = tuple(Keyframe(time_s=float(times[k]), box=BOX) for k in range(first, stop, 4))
    tube = Tube(onset_s=float(times[first]), offset_s=float(times[stop - 1]) + STEP_S, keyframes=keys)
    return FoundTube(tube, 0.5, mask)


@given(arrays(np.float64, st.integers(1, 9), elements=st.floats(0.0, 1.0)), st.data())
@settings(max_examples=60)
def test_the_likeliest_life_is_the_one_that_trying_all_finds(chances: np.ndarray, data: st.DataObject) -> None:
    steps = data.draw(arrays(np.float64, len(chances), elements=st.floats(0.05, 1.0)))
    times = np.cumsum(steps) - steps[0]
    end_s = float(times[-1] + steps[0])
    shown = np.diff(np.append(times, end_s))

    def expected(a: int, b: int) -> float:
        inside = (chances * shown)[a:b].sum()
        return inside / (shown[a:b].sum() + (chances * shown).sum() - inside)

    life = likeliest_extent(chances, times, end_s)
    best = max(expected(a, b) for a in range(len(chances)) for b in range(a + 1, len(chances) + 1))
    assert expected(life.start, life.stop) == pytest.approx(best)


@pytest.mark.parametrize("alive", [slice(6, 20), slice(12, 32), slice(0, 9)])
@pytest.mark.parametrize("seen", [slice(0, 32), slice(10, 14)])
def test_a_tube_lives_as_long_as_its_evidence_shows(alive: slice, seen: slice) -> None:
    evidence, present, times = segment(alive)
    tube = found(seen.start, seen.stop, times)
    lived = extent(**{f"f{RESIDUAL}": 20.0}).over_extent(tube, evidence, present, times, END_S)
    wanted = Interval(onset_s=3.0 + alive.start * STEP_S, offset_s=3.0 + alive.stop * STEP_S)
    assert lived.tube.interval.tiou(wanted) > 0.8
    moments = lived.mask.any(axis=(1, 2))
    assert times[moments][0] == lived.tube.onset_s
    assert lived.tube.offset_s == pytest.approx(times[moments][-1] + STEP_S)
    assert lived.heat == tube.heat
    assert lived.tube.box.iou(BOX) == pytest.approx(1.0)
    assert (lived.mask.any(axis=0) == tube.mask.any(axis=0)).all()


def test_what_does_not_change_is_there_all_the_time() -> None:
    evidence, present, times = segment(slice(0, 32))
    lived = extent(**{f"f{RESIDUAL}": 20.0}).over_extent(found(8, 20, times), evidence, present, times, END_S)
    assert lived.tube.interval == Interval(onset_s=3.0, offset_s=END_S)


def test_a_long_stretch_is_searched_around_the_tube_only() -> None:
    frames = 160
    times = np.arange(frames) * STEP_S
    evidence = np.zeros((frames, len(CHANNELS), GRID, GRID), np.float32)
    mask = np.zeros((frames, GRID, GRID), bool)
    mask[80:88, 8:16, 8:24] = True
    tube = FoundTube(Tube.constant(BOX, Interval(onset_s=10.0, offset_s=11.0)), 0.5, mask)
    lived = extent().over_extent(tube, evidence, np.full((frames, GRID, GRID), 0.1), times, 20.0)
    assert lived.tube.interval == Interval(onset_s=7.0, offset_s=14.0)  # 3 s before its first and after its last frame


def test_later_moments_count_more_where_traces_come_late() -> None:
    evidence, present, times = segment(slice(0, 32))
    late = extent(f0=40.0).model_copy(update={"bias": -20.0})
    lived = late.over_extent(found(0, FRAMES, times), evidence, present, times, END_S)
    assert lived.tube.onset_s == pytest.approx(5.0, abs=2 * STEP_S)  # half way, where chances pass one half
    assert lived.tube.offset_s == END_S


@given(st.floats(-3, 3), st.floats(0, 100))
@settings(max_examples=20)
def test_what_is_the_same_all_the_time_says_nothing(level: float, start_s: float) -> None:
    evidence, present, times = segment(slice(0, 32))
    plain = extent_features(evidence, present, BOX, times, 7.0)
    shifted = extent_features(evidence + np.float32(level), present, BOX, times - 3.0 + start_s, 4.0 + start_s)
    np.testing.assert_allclose(shifted, plain, atol=1e-4)


def test_one_frame_is_a_life() -> None:
    evidence, present, times = (part[:1] for part in segment(slice(0, 32)))
    tube = found(0, 1, times)
    lived = extent(f0=1.0).over_extent(replace(tube, mask=tube.mask[:1]), evidence, present, times, 3.5)
    assert lived.tube.interval == Interval(onset_s=3.0, offset_s=3.5)


def test_features_are_as_many_as_said() -> None:
    evidence, present, times = segment(slice(4, 9))
    features = extent_features(evidence, present, BOX, times, 7.0)
    assert features.shape == (FRAMES, EXTENT_FEATURES)
    assert np.isfinite(features).all()
    assert features[:, RESIDUAL].argmax() in range(4, 9)
