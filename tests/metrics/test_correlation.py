"""Rank correlations are SciPy's where SciPy has them, and hold what intervals and groups promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau, somersd, spearmanr

from deeptrace.metrics.correlation import kendall, spearman

BOTH = [kendall, spearman]
few = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=4, max_size=30)


def drawn(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Two related scores with many ties."""
    x = rng.integers(0, 6, count).astype(float)
    return x, np.round(x + rng.normal(0, 2, count))


@pytest.mark.parametrize("seed", range(5))
def test_over_all_it_is_scipy_s(seed: int) -> None:
    x, y = drawn(np.random.default_rng(seed), 60)
    groups = [str(number % 7) for number in range(60)]
    assert kendall(x, y, groups, within=False).value == pytest.approx(kendalltau(x, y).statistic)
    assert spearman(x, y, groups, within=False).value == pytest.approx(spearmanr(x, y).statistic)
    assert kendall(x, y, groups, within=False, ties="y").value == pytest.approx(somersd(y, x).statistic)


@given(few)
def test_of_one_group_within_and_over_all_are_the_same(rows: list[tuple[int, int]]) -> None:
    x, y = (np.array(column, float) for column in zip(*rows, strict=True))
    for measure in BOTH:
        inside, over = (measure(x, y, ["a"] * len(x), within=within, resamples=2) for within in (True, False))
        if over.value is None:
            assert inside.value is None
        else:
            assert inside.value == pytest.approx(over.value)
            assert -1 <= over.value <= 1
        assert inside.interval is None  # one group is no sample of groups


@given(few, st.integers(1, 3))
def test_order_and_scale_change_nothing(rows: list[tuple[int, int]], parts: int) -> None:
    x, y = (np.array(column, float) for column in zip(*rows, strict=True))
    groups = np.array([str(number % parts) for number in range(len(x))])
    turned = np.random.default_rng(0).permutation(len(x))
    for measure in BOTH:
        for within in (True, False):
            ours = measure(x, y, list(groups), within=within, resamples=2).value
            same = measure(np.exp(x[turned]), y[turned] * 3 - 1, list(groups[turned]), within=within, resamples=2).value
            other = measure(-x, y, list(groups), within=within, resamples=2).value
            assert (ours is None) == (same is None) == (other is None)
            if ours is not None:
                assert same == pytest.approx(ours)
                assert other == pytest.approx(-ours)


@pytest.mark.parametrize("measure", BOTH)
def test_within_groups_a_difference_between_them_counts_for_nothing(measure) -> None:
    """Each generator's clips are ordered the wrong way, and generators the right way."""
    x = np.concatenate([10 * g + np.arange(5.0) for g in range(8)])
    y = np.concatenate([10 * g - np.arange(5.0) for g in range(8)])
    groups = [str(g) for g in range(8) for _ in range(5)]
    assert measure(x, y, groups, within=True).value == pytest.approx(-1)
    assert measure(x, y, groups, within=False).value > 0.7
    assert measure(x, y, groups, within=True).interval == pytest.approx((-1, -1))


@pytest.mark.parametrize("measure", BOTH)
@pytest.mark.parametrize("within", [True, False])
def test_intervals_draw_groups_not_clips(measure, within: bool) -> None:
    """Copies of the clips of a group are no new evidence: the interval stays."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=40), rng.normal(size=40)
    groups = np.array([str(number % 8) for number in range(40)])
    once = measure(x, y, list(groups), within=within)
    many = measure(np.repeat(x, 5), np.repeat(y, 5), list(np.repeat(groups, 5)), within=within)
    assert once.interval is not None
    assert many.interval is not None
    assert np.subtract(*many.interval) == pytest.approx(np.subtract(*once.interval), abs=0.06)


@pytest.mark.parametrize("measure", BOTH)
def test_the_interval_covers_the_truth(measure) -> None:
    """Of 40 worlds in which a score knows nothing, about two intervals of 95 % miss zero."""
    missed = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=90), rng.normal(size=90)
        groups = [str(number // 6) for number in range(90)]
        found = measure(x, y, groups, within=True, resamples=400).interval
        assert found is not None
        missed += not found[0] <= 0 <= found[1]
    assert missed <= 7


@pytest.mark.parametrize("measure", BOTH)
@pytest.mark.parametrize("within", [True, False])
def test_without_an_order_there_is_no_value(measure, within: bool) -> None:
    found = measure(np.ones(4), np.arange(4.0), ["a", "a", "b", "b"], within=within)
    assert (found.value, found.interval) == (None, None)
