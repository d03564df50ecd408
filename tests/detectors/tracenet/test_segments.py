from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeptrace.detectors.tracenet.model import MOST_WINDOWS, SegmentKeeper, WindowScores
from deeptrace.detectors.tracenet.windows import Window

FRAMES = 4


def add(keeper: SegmentKeeper, number: int, presence: float, fresh: int = 0) -> None:
    """Window `number`, FRAMES frames of one second each, its maps filled with its number."""
    times = np.arange(number * FRAMES - fresh, (number + 1) * FRAMES, dtype=float)
    frames = len(times)
    window = Window(times, np.full((frames, 2, 3, 3), float(number)), None, None, fresh)
    maps = np.full((frames, 3, 3), float(number))
    kinds = np.full((frames, 9, 1, 1), float(number))
    keeper.add(window, WindowScores(None, None, 0.0, maps, np.full((frames, 3, 3), presence), kinds))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=3 * MOST_WINDOWS))
@settings(max_examples=25)
def test_the_strongest_windows_are_kept_in_order(presences: list[float]) -> None:
    keeper = SegmentKeeper()
    for number, presence in enumerate(presences):
        add(keeper, number, presence)
    segments = keeper.segments(end_s=len(presences) * FRAMES)
    times = np.concatenate([segment.times_s for segment in segments])
    kept = sorted({int(time) // FRAMES for time in times})
    assert len(times) == len(kept) * FRAMES
    assert len(kept) == min(len(presences), MOST_WINDOWS)
    assert (np.diff(times) > 0).all()
    left_out = [p for number, p in enumerate(presences) if number not in kept]
    assert not left_out or max(left_out) <= min(presences[number] for number in kept)


def test_neighbours_are_joined_and_gaps_are_not() -> None:
    keeper = SegmentKeeper()
    strong = {*range(5), *range(30, 30 + MOST_WINDOWS - 5)}
    for number in range(100):
        add(keeper, number, 0.9 if number in strong else 0.1)
    first, second = keeper.segments(end_s=400.0)
    np.testing.assert_array_equal(first.times_s, np.arange(5 * FRAMES))
    assert first.end_s == 5 * FRAMES  # when the next window begins, kept or not
    assert second.times_s[0] == 30 * FRAMES
    assert second.end_s == (30 + MOST_WINDOWS - 5) * FRAMES
    for segment in (first, second):
        count = len(segment.times_s)
        assert {len(segment.evidence), len(segment.where), len(segment.present), len(segment.kinds)} == {count}
        np.testing.assert_array_equal(segment.where[:, 0, 0], segment.times_s // FRAMES)


def test_the_last_stretch_ends_with_the_video() -> None:
    keeper = SegmentKeeper()
    add(keeper, 0, 0.5)
    (segment,) = keeper.segments(end_s=4.7)
    assert segment.end_s == 4.7


def test_only_fresh_frames_are_kept() -> None:
    keeper = SegmentKeeper()
    add(keeper, 0, 0.5)
    add(keeper, 1, 0.5, fresh=2)
    (segment,) = keeper.segments(end_s=8.0)
    np.testing.assert_array_equal(segment.times_s, np.arange(2 * FRAMES))


def test_memory_does_not_grow_with_the_video() -> None:
    import tracemalloc

    keeper = SegmentKeeper()
    sizes = []
    tracemalloc.start()
    try:
        for number in range(10 * MOST_WINDOWS):
            add(keeper, number, (number * 37 % 101) / 101)
            if number % (2 * MOST_WINDOWS) == MOST_WINDOWS:
                sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert sizes[-1] == pytest.approx(sizes[0], rel=0.5)


def test_no_windows_are_no_stretches() -> None:
    assert SegmentKeeper().segments(end_s=0.0) == []
