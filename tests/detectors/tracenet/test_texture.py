"""Texture statistics: what they tell apart, and the counting against plain Python loops."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests.detectors.tracenet.clips import flickering, panning

from deeptrace.detectors.tracenet.texture import Tally, quantised, texture_names, texture_statistics
from deeptrace.schema import MIN_FRAMES


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    return panning(6, 256, 300, seed=3)


def blocks_of(statistics: np.ndarray) -> dict[str, np.ndarray]:
    """The statistics by block."""
    names = [name.rpartition(".")[0] for name in texture_names()]
    assert len(names) == len(statistics)
    return {name: statistics[[other == name for other in names]] for name in dict.fromkeys(names)}


def test_the_same_frames_give_the_same_numbers(clip: np.ndarray) -> None:
    np.testing.assert_array_equal(texture_statistics(list(clip)), texture_statistics(list(clip.copy())))


def test_frequencies_sum_to_one_before_their_roots(clip: np.ndarray) -> None:
    for name, block in blocks_of(texture_statistics(list(clip))).items():
        shares = block.astype(np.float64) ** 2
        if name.endswith(("_in_time", "_carried")):  # a code and its negative share one place, with their mean
            assert 2 * shares.sum() - shares[-1] == pytest.approx(1.0, abs=1e-5), name
        else:
            assert shares.sum() == pytest.approx(1.0, abs=1e-5), name


@pytest.mark.parametrize("shape", [(4, 256, 256), (9, 256, 454), (24, 454, 256), (5, 256, 256)])
def test_there_are_as_many_numbers_whatever_the_size_and_length(shape: tuple[int, int, int]) -> None:
    statistics = texture_statistics(list(panning(*shape)))
    assert statistics.shape == (len(texture_names()),)
    assert statistics.dtype == np.float32
    assert np.isfinite(statistics).all()


def test_names_are_unique() -> None:
    assert len(set(texture_names())) == len(texture_names())


def test_too_few_frames_are_refused(clip: np.ndarray) -> None:
    with pytest.raises(ValueError, match=f"at least {MIN_FRAMES} frames but got {MIN_FRAMES - 1}"):
        texture_statistics(list(clip[: MIN_FRAMES - 1]))


def test_only_the_middle_of_the_picture_is_read(clip: np.ndarray) -> None:
    framed = clip.copy()
    framed[:, :16] = framed[:, -16:] = 255
    framed[:, :, :36] = framed[:, :, -36:] = 0
    np.testing.assert_array_equal(texture_statistics(list(framed)), texture_statistics(list(clip)))


def test_a_still_clip_is_certain_in_time(clip: np.ndarray) -> None:
    blocks = blocks_of(texture_statistics([clip[0]] * 5))
    for name in ("step", "step_change", "step_fine", "unexplained", "red_step", "blue_unexplained"):
        assert blocks[name].max() == pytest.approx(1.0), name
        assert (blocks[name] > 0).sum() == 1


def test_flicker_is_seen_between_frames_and_not_within_them(clip: np.ndarray) -> None:
    calm = blocks_of(texture_statistics(list(clip)))
    wild = blocks_of(texture_statistics(list(flickering(clip, slice(64, 192), slice(80, 208), slice(0, 6)))))
    moved = {name: float(np.linalg.norm(wild[name] - calm[name])) for name in calm}
    assert moved["unexplained"] > 0.3
    assert moved["unexplained"] > 3 * moved["first_1_1"]


SHAPES = st.tuples(st.integers(5, 9), st.integers(5, 9))
LEVELS = SHAPES.flatmap(lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 4)))
PICTURES = SHAPES.flatmap(lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 255)))


def slow_triples(levels: np.ndarray, axis: int) -> Counter[tuple[int, int, int]]:
    """Shares of triples, each under the smallest of itself, its mirror image and their negatives."""
    rows = levels if axis else levels.T
    triples = [tuple(int(v) - 2 for v in row[k : k + 3]) for row in rows for k in range(len(row) - 2)]
    found: Counter[tuple[int, int, int]] = Counter()
    for a, b, c in triples:
        found[min((a, b, c), (c, b, a), (-a, -b, -c), (-c, -b, -a))] += 1
    return found


def slow_patterns(picture: np.ndarray) -> np.ndarray:
    shares = np.zeros(10)
    around = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
    for y in range(1, picture.shape[0] - 1):
        for x in range(1, picture.shape[1] - 1):
            ring = [picture[y + dy, x + dx] > picture[y, x] for dy, dx in around]
            turns = sum(ring[k] != ring[k - 1] for k in range(8))
            shares[sum(ring) if turns <= 2 else 9] += 1
    return shares / shares.sum()


def counted(levels: np.ndarray, *axes: int) -> np.ndarray:
    tally = Tally()
    tally.triples("x", levels, *axes)
    return tally.frequencies()["x"]


@given(LEVELS, st.sampled_from([0, 1]))
@settings(max_examples=40)
def test_triples_are_counted_as_a_loop_counts_them(levels: np.ndarray, axis: int) -> None:
    shares, slow = counted(levels, axis), slow_triples(levels, axis)
    assert shares.shape == (39,)
    assert shares.sum() == pytest.approx(1.0)
    slow_shares = np.sort(np.array(list(slow.values())) / slow.total())
    np.testing.assert_allclose(np.sort(shares[shares > 0]), slow_shares)


@given(LEVELS)
@settings(max_examples=30)
def test_a_triple_its_mirror_image_and_its_negative_are_one(levels: np.ndarray) -> None:
    for axis in (0, 1):
        shares = counted(levels, axis)
        np.testing.assert_allclose(counted(np.ascontiguousarray(levels[::-1, ::-1]), axis), shares)
        np.testing.assert_allclose(counted(4 - levels, axis), shares)
        np.testing.assert_allclose(counted(np.ascontiguousarray(levels.T), 1 - axis), shares)


def test_every_class_has_its_own_place() -> None:
    triples = [(a, b, c) for a in range(5) for b in range(5) for c in range(5)]
    places: dict[tuple[int, int, int], int] = {}
    for triple in triples:
        shares = counted(np.array([triple], np.uint8), 1)
        (key,) = slow_triples(np.array([triple]), 1)
        assert places.setdefault(key, int(shares.argmax())) == int(shares.argmax())
    assert sorted(places.values()) == list(range(39))


@given(PICTURES)
@settings(max_examples=30)
def test_patterns_are_counted_as_a_loop_counts_them(picture: np.ndarray) -> None:
    for given_picture in (picture, picture.astype(np.float32)):
        tally = Tally()
        tally.patterns("x", given_picture)
        np.testing.assert_allclose(tally.frequencies()["x"], slow_patterns(picture))


def test_slices_are_counted_apart() -> None:
    volume = np.random.default_rng(0).integers(0, 255, (6, 5, 7), np.uint8)
    tally = Tally()
    tally.slice_patterns("x", volume)
    slow = np.mean([slow_patterns(volume[:, k]) for k in range(5)], axis=0)
    np.testing.assert_allclose(tally.frequencies()["x"], slow)


@pytest.mark.parametrize("reach", [2, 4])
def test_a_joint_share_is_the_mean_of_both_signs(reach: int) -> None:
    rng = np.random.default_rng(reach)
    residuals = [rng.normal(0, 2, (9, 11)).astype(np.float32) for _ in range(2)]
    tally = Tally()
    tally.joint("x", residuals, reach)
    side = 2 * reach + 1
    slow = np.zeros(side * side)
    for a, b in zip(*(np.clip(np.rint(r), -reach, reach).ravel() for r in residuals), strict=True):
        for sign in (1, -1):
            slow[int(sign * a + reach) + side * int(sign * b + reach)] += 0.5 / residuals[0].size
    np.testing.assert_allclose(tally.frequencies()["x"], slow[: (side * side + 1) // 2])


@given(arrays(np.float32, (4, 5), elements=st.floats(-300, 300, width=32)), st.sampled_from([1, 2, 4]))
def test_levels_are_rounded_and_cut_off(residual: np.ndarray, step: int) -> None:
    slow = np.clip(np.rint(residual / step), -2, 2) + 2
    np.testing.assert_array_equal(quantised(residual, step), slow.astype(np.uint8))


def test_pictures_of_one_size_count_alike() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.integers(0, 5, (2, 8, 8), np.uint8)
    tally = Tally()
    tally.triples("x", one, 0, 1)
    tally.triples("x", other, 0, 1)
    np.testing.assert_allclose(tally.frequencies()["x"], (counted(one, 0, 1) + counted(other, 0, 1)) / 2)
