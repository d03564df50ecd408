"""Sampling plans: properties that hold for every duration, rate and count."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptrace.errors import SettingsError
from deeptrace.video.sampling import Moments, Pacer, played_index, times_at_fps, times_limited, uniform_times

durations = st.one_of(st.just(0.0), st.floats(1e-6, 8000))
rates = st.floats(0.05, 120)
clips = st.lists(st.floats(0.001, 2.0), min_size=1, max_size=60).map(
    lambda steps: [sum(steps[:k]) for k in range(len(steps))]
)


@given(durations, st.integers(1, 500))
def test_uniform_times_are_in_range_and_even(duration_s: float, count: int) -> None:
    times = uniform_times(duration_s, count)
    assert all(0 <= t < duration_s or t == duration_s == 0 for t in times)
    assert len(times) == (count if duration_s > 0 else 1)
    gaps = [b - a for a, b in pairwise(times)]
    assert all(gap == pytest.approx(duration_s / count, rel=1e-6, abs=1e-9) for gap in gaps)


@given(st.floats(0, 100), rates)
def test_times_at_fps_start_at_zero_and_stop_before_the_end(duration_s: float, fps: float) -> None:
    times = times_at_fps(duration_s, fps)
    assert times[0] == 0.0
    assert times[-1] < duration_s or len(times) == 1
    # half-open: one more step would reach the end
    assert times[-1] + 1 / fps >= duration_s - 1e-6


@given(st.floats(0, 100), rates, st.integers(1, 64))
def test_capped_times_are_the_same_plan_at_a_lower_rate(duration_s: float, fps: float, most: int) -> None:
    times = times_limited(duration_s, fps=fps, max_frames=most)
    assert 1 <= len(times) <= most
    assert times[0] == 0.0
    assert len(times) == min(most, len(times_at_fps(duration_s, fps)))
    assert all(t < duration_s or t == 0 for t in times)


@given(clips, st.one_of(st.none(), rates), st.floats(0, 20))
def test_pacer_keeps_at_most_one_frame_a_slot(times: list[float], fps: float | None, start_s: float) -> None:
    pacer = Pacer(fps, start_s)
    kept = [t for t in times if pacer.keep(t)]
    assert all(t >= start_s for t in kept)
    assert all(a < b for a, b in pairwise(kept))
    late = [t for t in times if t >= start_s]
    assert kept[:1] == late[:1]
    if fps is None:
        assert kept == late
    else:
        # In any stretch of k slots there are at most k + 1 kept frames.
        for i, a in enumerate(kept):
            for j in range(i + 1, len(kept)):
                assert j - i <= (kept[j] - a) * fps + 2


@given(clips, rates, st.floats(0, 20))
def test_pacer_says_beforehand_what_it_keeps(times: list[float], fps: float, start_s: float) -> None:
    foretold, pacer = Pacer(fps, start_s), Pacer(fps, start_s)
    around = zip([None, *times[:-1]], times, [*times[1:], None], strict=True)
    assert [foretold.wants(a, t, b) for a, t, b in around] == [pacer.keep(t) for t in times]


@given(clips, st.lists(st.floats(-1, 100), max_size=8))
def test_moments_want_exactly_the_frames_on_screen(times: list[float], asked: list[float]) -> None:
    moments = Moments(asked)
    around = zip([None, *times[:-1]], times, [*times[1:], None], strict=True)
    wanted = {t for a, t, b in around if moments.wants(a, t, b)}
    assert wanted == {times[played_index(times, t)] for t in asked}


@pytest.mark.parametrize("fps", [8.0, 10.0, 23.976, 24.0, 25.0, 29.97, 30.0, 59.94])
def test_milliseconds_do_not_lose_frames(fps: float) -> None:
    pacer = Pacer(fps)
    assert all(pacer.keep(round(k / fps, 3)) for k in range(1000))


@pytest.mark.parametrize(
    "call",
    [
        lambda: Pacer(0.0),
        lambda: Pacer(float("nan")),
        lambda: uniform_times(1.0, 0),
        lambda: uniform_times(-1.0, 3),
        lambda: times_at_fps(1.0, 0.0),
        lambda: times_at_fps(float("inf"), 2.0),
        lambda: times_limited(1.0, fps=1.0, max_frames=0),
        lambda: played_index([], 0.0),
    ],
)
def test_plans_that_make_no_sense(call: object) -> None:
    with pytest.raises(SettingsError):
        call()  # type: ignore[operator]
