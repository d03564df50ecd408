from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from deeptrace.detectors.tracenet.tubes import TubeSettings, best_box, find_tubes, kinds_in, presence_tubes
from deeptrace.geometry import Box

GRID = 32
STEP_S = 0.125


def blob(heat: np.ndarray, moments: slice, rows: slice, columns: slice, level: float) -> Box:
    """Heat up a part; its box."""
    heat[moments, rows, columns] = level
    return Box(x0=columns.start / GRID, y0=rows.start / GRID, x1=columns.stop / GRID, y1=rows.stop / GRID)


def tubes_of(heat: np.ndarray, **settings: float) -> list:
    times = np.arange(len(heat)) * STEP_S
    return find_tubes(heat, times, len(heat) * STEP_S, TubeSettings(**settings))


@given(arrays(np.float64, (6, 6), elements=st.floats(0, 1)).filter(lambda heat: heat.sum() > 0))
@settings(max_examples=60)
def test_the_best_box_is_the_one_that_trying_all_finds(heat: np.ndarray) -> None:
    scores = {}
    spans = [(a, b) for a in range(6) for b in range(a + 2, 7)]
    for y0, y1 in spans:
        for x0, x1 in spans:
            inside = heat[y0:y1, x0:x1].sum()
            scores[x0, y0, x1, y1] = inside / ((y1 - y0) * (x1 - x0) + heat.sum() - inside)
    box, expected = best_box(heat)
    assert expected == pytest.approx(max(scores.values()))
    cells = tuple(round(v * 6) for v in box.as_tuple())
    assert scores[cells] == pytest.approx(expected)


def test_the_expected_iou_is_the_iou_where_the_map_is_sure() -> None:
    heat = np.zeros((GRID, GRID))
    heat[4:12, 8:24] = 1.0
    box, expected = best_box(heat)
    assert box.as_tuple() == (8 / GRID, 4 / GRID, 24 / GRID, 12 / GRID)
    assert expected == pytest.approx(1.0)


SPANS = st.tuples(st.integers(0, 24), st.integers(5, 20)).filter(lambda s: s[0] + s[1] <= GRID)


@given(SPANS, SPANS, st.integers(0, 16), st.integers(5, 24), st.floats(0.3, 1.0))
@settings(max_examples=30)
def test_a_planted_blob_comes_back(
    rows: tuple[int, int], columns: tuple[int, int], start: int, length: int, level: float
) -> None:
    heat = np.full((24, GRID, GRID), 0.002)
    stop = min(start + length, 24)
    box = blob(heat, slice(start, stop), slice(rows[0], sum(rows)), slice(columns[0], sum(columns)), level)
    found = tubes_of(heat, most=1)
    assert len(found) == 1
    tube = found[0].tube
    assert tube.box.iou(box) > 0.99
    assert tube.onset_s == pytest.approx(start * STEP_S)
    assert tube.offset_s == pytest.approx(stop * STEP_S)
    assert found[0].heat == pytest.approx(level)
    assert found[0].mask.sum() == (stop - start) * rows[1] * columns[1]


def test_two_blobs_are_two_tubes_the_hotter_first() -> None:
    heat = np.full((24, GRID, GRID), 0.002)
    cooler = blob(heat, slice(12, 22), slice(20, 30), slice(20, 30), 0.75)
    hotter = blob(heat, slice(2, 12), slice(2, 12), slice(2, 12), 0.9)
    first, second, *rest = tubes_of(heat)
    assert first.tube.box.iou(hotter) > 0.95
    assert second.tube.box.iou(cooler) > 0.95
    assert (second.tube.onset_s, second.tube.offset_s) == (12 * STEP_S, 22 * STEP_S)
    assert first.heat > second.heat
    assert not rest


def test_what_is_much_cooler_is_no_tube() -> None:
    heat = np.zeros((24, GRID, GRID))
    blob(heat, slice(0, 24), slice(2, 12), slice(2, 12), 0.9)
    blob(heat, slice(0, 24), slice(20, 30), slice(20, 30), 0.3)
    assert len(tubes_of(heat)) == 1
    assert len(tubes_of(heat, next_share=0.3)) == 2


def test_no_heat_is_no_tube() -> None:
    assert tubes_of(np.zeros((5, GRID, GRID))) == []


@given(arrays(np.float64, (5, 8, 8), elements=st.floats(0, 1)))
@settings(max_examples=40)
def test_tubes_lie_in_the_stretch_apart_and_few(heat: np.ndarray) -> None:
    settings_ = TubeSettings()
    found = find_tubes(heat, np.arange(5) * STEP_S, 5 * STEP_S, settings_)
    assert len(found) <= settings_.most
    for index, one in enumerate(found):
        assert 0.0 <= one.tube.onset_s < one.tube.offset_s <= 5 * STEP_S
        assert 0.0 <= one.heat <= 1.0
        assert one.mask.any()
        assert all(one.tube.onset_s <= key.time_s < one.tube.offset_s for key in one.tube.keyframes)
        for other in found[:index]:
            assert one.tube.box.iou(other.tube.box) <= max(settings_.apart, 0.5)


def test_keyframes_follow_what_moves() -> None:
    heat = np.full((24, GRID, GRID), 0.002)
    for k in range(24):
        heat[k, 10:18, k // 2 : k // 2 + 10] = 0.9
    (found, *_) = tubes_of(heat)
    left = [key.box.x0 for key in found.tube.keyframes]
    assert len(left) >= 4
    assert left == sorted(left)
    assert left[-1] - left[0] > 0.06  # half of what it moves while it is hottest: see `_keyframes`


def test_one_frame_is_enough_for_a_tube() -> None:
    heat = np.zeros((1, GRID, GRID))
    box = blob(heat, slice(0, 1), slice(4, 12), slice(4, 12), 0.8)
    (found,) = tubes_of(heat)
    assert found.tube.box.iou(box) > 0.99
    assert (found.tube.onset_s, found.tube.offset_s) == (0.0, STEP_S)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (2, 2), (3, 8), (8, 3)])
def test_a_map_need_not_be_square(shape: tuple[int, int]) -> None:
    """Keyframes are read off the part of the map that their tube's box covers."""
    heat = np.full(shape, 0.9)
    box, expected = best_box(heat)
    assert box.as_tuple() == (0.0, 0.0, 1.0, 1.0)
    assert expected == pytest.approx(0.9)


@pytest.mark.parametrize("level", [0.02, 0.9])
def test_presence_is_read_relative_to_its_highest(level: float) -> None:
    present = np.full((24, GRID, GRID), 0.01 * level)
    box = blob(present, slice(6, 14), slice(4, 14), slice(10, 22), level)
    (found,) = presence_tubes(present, np.arange(24) * STEP_S, 24 * STEP_S)
    assert found.tube.box.iou(box) > 0.95
    assert (found.tube.onset_s, found.tube.offset_s) == (6 * STEP_S, 14 * STEP_S)
    assert found.heat == pytest.approx(level)


def test_no_presence_is_no_tube() -> None:
    assert presence_tubes(np.zeros((5, GRID, GRID)), np.arange(5) * STEP_S, 5 * STEP_S) == []


def test_kinds_are_those_inside_the_tube() -> None:
    kinds = np.zeros((4, 9, GRID // 2, GRID // 2))
    kinds[:, 0] = 1.0
    kinds[1:3, :, 2:4, 2:4] = 0.0
    kinds[1:3, 5, 2:4, 2:4] = 1.0
    mask = np.zeros((4, GRID, GRID), bool)
    np.testing.assert_allclose(kinds_in(kinds, mask), kinds.mean(axis=(0, 2, 3)))  # without a tube, everywhere
    mask[1:3, 4:8, 4:8] = True
    np.testing.assert_allclose(kinds_in(kinds, mask), np.eye(9)[5])


@pytest.mark.parametrize("level", [0.0, 1.5e-8])
def test_a_sure_no_holds_no_tube(level: float) -> None:
    assert tubes_of(np.full((12, GRID, GRID), level)) == []
