"""Bootstrap intervals and permutation tests with the video as the unit: its rows and traces are drawn together.

A metric here is a ratio of sums over videos, given by each video's numerator and denominator. Resampling videos is then
one matrix product for all metrics and all resamples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from deeptrace.metrics.arrays import Floats

__all__ = ["bootstrap_ratios", "bootstrap_weights", "clustered_weights", "paired_permutation", "percentile_interval"]

_CELLS = 8_000_000  # of a resampling matrix held at once: 64 MB


def bootstrap_weights(videos: int, *, resamples: int = 2000, seed: int = 0) -> Iterator[Floats]:
    """How often each video is drawn, in blocks (R, N) of at most 64 MB; all blocks together are `resamples` rows.

    The same seed draws the same videos, whatever the metric.

    Examples:
        >>> drawn = next(bootstrap_weights(4, resamples=3, seed=0))
        >>> drawn.shape, drawn.sum(axis=1).tolist()  # each resample draws as many videos as there are
        ((3, 4), [4.0, 4.0, 4.0])
    """
    rng = np.random.default_rng(seed)
    block = max(1, min(resamples, _CELLS // max(videos, 1)))
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = rng.integers(0, videos, size=(rows, videos)) + np.arange(rows)[:, None] * videos
        yield np.bincount(drawn.ravel(), minlength=rows * videos).reshape(rows, videos).astype(float)


def clustered_weights(classes: ArrayLike, groups: Sequence[str], *, resamples: int = 2000, seed: int = 0) -> Floats:
    """How often each video is drawn, (resamples, N), where whole groups are drawn within each class.

    Videos of one generator or source are alike, so that more of them say less than as many of others; and each class is
    drawn by itself, so that none is ever empty.

    Args:
        classes: of each video, (N,).
        groups: of each video, (N,).
        resamples: number of resamples.
        seed: of the drawing.

    Examples:
        >>> drawn = clustered_weights([1, 1, 0], ["a", "a", "b"], resamples=2)
        >>> drawn.tolist()  # one group a class: there is nothing to draw
        [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    """
    of_class, of_group = np.asarray(classes), np.asarray(groups, dtype=str)
    weights = np.ones((resamples, len(of_class)))
    for number, one in enumerate(np.unique(of_class)):
        mine = of_class == one
        names, place = np.unique(of_group[mine], return_inverse=True)
        drawn = np.concatenate(list(bootstrap_weights(len(names), resamples=resamples, seed=seed + number)))
        weights[:, mine] = drawn[:, place]
    return weights


def bootstrap_ratios(
    sums: Mapping[str, tuple[Floats, Floats]], *, resamples: int = 2000, seed: int = 0
) -> dict[str, Floats]:
    """Resampled values (resamples,) of each ratio metric; NaN where a resample has nothing to divide by.

    Args:
        sums: metric -> numerator and denominator of each video, both (N,).
        resamples: number of resamples.
        seed: of the drawing.

    Examples:
        >>> right, rows = np.array([1.0, 0.0, 1.0, 1.0]), np.ones(4)
        >>> values = bootstrap_ratios({"accuracy": (right, rows)}, resamples=500)["accuracy"]
        >>> values.shape, bool(0.0 <= values.min() <= 0.75 <= values.max() <= 1.0)
        ((500,), True)
    """
    if not sums:
        return {}
    table = np.stack([part for pair in sums.values() for part in pair], axis=1)
    if not len(table):
        return {name: np.full(resamples, np.nan) for name in sums}
    drawn = np.concatenate([w @ table for w in bootstrap_weights(len(table), resamples=resamples, seed=seed)])
    return {name: ratio(drawn[:, 2 * i], drawn[:, 2 * i + 1]) for i, name in enumerate(sums)}


def percentile_interval(values: Floats, *, level: float = 0.95) -> tuple[float, float] | None:
    """The central `level` of resampled values; None when any is NaN (a metric that some resamples do not have).

    Examples:
        >>> percentile_interval(np.linspace(0.0, 1.0, 101), level=0.5)
        (0.25, 0.75)
        >>> print(percentile_interval(np.array([0.5, np.nan])))
        None
    """
    if not len(values) or np.isnan(values).any():
        return None
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_permutation(
    a: tuple[Floats, Floats], b: tuple[Floats, Floats], *, permutations: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Whether two runs over the same videos differ in a ratio metric.

    Under the hypothesis that they do not, the two runs' results of a video could be swapped; the p-value is the share
    of random swaps with at least the observed |difference|, the observed arrangement counted in.

    Args:
        a, b: numerator and denominator of each video, (N,), of run a and run b.
        permutations: number of random swaps.
        seed: of the swaps.

    Returns:
        (difference a - b, two-sided p-value); NaN and NaN when a run has nothing to divide by.

    Raises:
        ValueError: not the same number of videos.

    Examples:
        >>> rows = np.ones(8)
        >>> better, worse = (np.ones(8), rows), (np.zeros(8), rows)
        >>> difference, p_value = paired_permutation(better, worse)
        >>> difference, p_value < 0.05
        (1.0, True)
        >>> paired_permutation(better, better)
        (0.0, 1.0)
    """
    if len(a[0]) != len(b[0]):
        raise ValueError(f"expected two runs over the same videos but got {len(a[0])} and {len(b[0])}")
    num_a, den_a, num_b, den_b = (np.asarray(part, dtype=float) for part in (*a, *b))
    observed = float(ratio(num_a.sum(), den_a.sum()) - ratio(num_b.sum(), den_b.sum()))
    if np.isnan(observed):
        return observed, float("nan")
    change = np.stack([num_b - num_a, den_b - den_a], axis=1)
    rng = np.random.default_rng(seed)
    block = max(1, min(permutations, _CELLS // max(len(num_a), 1)))
    extreme = 0
    for start in range(0, permutations, block):
        swap = rng.integers(0, 2, size=(min(block, permutations - start), len(num_a)), dtype=np.int8).astype(float)
        moved = swap @ change
        first = ratio(num_a.sum() + moved[:, 0], den_a.sum() + moved[:, 1])
        second = ratio(num_b.sum() - moved[:, 0], den_b.sum() - moved[:, 1])
        extreme += int((np.abs(first - second) >= abs(observed) - 1e-12).sum())
    return observed, (1 + extreme) / (1 + permutations)


def ratio(numerator: Floats | float, denominator: Floats | float) -> Floats:
    """numerator / denominator, NaN where there is nothing to divide by.

    Examples:
        >>> ratio(1.0, 2.0).item(), ratio(np.array([1.0, 0.0]), np.array([4.0, 0.0])).tolist()
        (0.5, [0.25, nan])
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(np.asarray(denominator) > 0, np.divide(numerator, denominator), np.nan))
