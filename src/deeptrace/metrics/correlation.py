"""Rank correlation of two scores of the same clips, over all clips and within their groups, with clustered intervals.

Clips of one generator resemble each other, so intervals draw generators, not clips. A correlation over all clips is
also one between generators; within a generator it says whether a score orders that generator's own clips.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from deeptrace.metrics.arrays import Floats
from deeptrace.metrics.intervals import bootstrap_weights, percentile_interval

__all__ = ["Correlation", "kendall", "spearman"]

_ROWS = 200
"""Resamples of ranks held at once."""


@dataclass(frozen=True)
class Correlation:
    """A correlation in [-1, 1].

    Attributes:
        value: None where there is nothing to order.
        interval: 95 %, from drawing groups; None with fewer than two groups, or where some draws have no value.
        groups: number of groups that it rests on.
    """

    value: float | None
    interval: tuple[float, float] | None
    groups: int

    def as_json(self) -> dict[str, object]:
        """One object."""
        interval = None if self.interval is None else list(self.interval)
        return {"value": self.value, "interval": interval, "groups": self.groups}


def kendall(
    x: Floats,
    y: Floats,
    groups: Sequence[str],
    *,
    within: bool,
    ties: Literal["both", "y"] = "both",
    resamples: int = 2000,
    seed: int = 0,
) -> Correlation:
    """Kendall's tau-b: pairs ordered alike less pairs ordered otherwise, over the root of pairs that differ in each.

    Args:
        x, y: two scores (N,), finite.
        groups: of each clip.
        within: count only pairs of one group.
        ties: "both" for tau-b, symmetric; "y" divides by the pairs that differ in `y` (Somers' D), where `y` is the
            truth and a tie in `x` is a pair left unordered.
        resamples: draws of groups.
        seed: of the draws.

    Returns:
        In [-1, 1]; a draw that takes a group twice pairs its clips with their copies' neighbours.

    Source: Kendall, The treatment of ties in ranking problems, Biometrika 1945; Somers, American Sociological Review
    1962.

    Examples:
        >>> x, y = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 3.0, 2.0, 2.0])
        >>> round(kendall(x, y, ["a"] * 4, within=False).value, 3)
        0.183
    """
    names, at = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    members = [np.flatnonzero(at == number) for number in range(len(names))]
    sums = np.zeros((len(names), len(names), 3))
    for a, mine in enumerate(members):
        for b, theirs in enumerate(members[a:] if not within else [mine], a):
            dx = np.sign(x[mine][:, None] - x[theirs])
            dy = np.sign(y[mine][:, None] - y[theirs])
            found = np.array([(dx * dy).sum(), (dx != 0).sum(), (dy != 0).sum()])
            sums[a, b] = found / 2 if a == b else found  # each pair of a group stands there both ways

    def of(agreed: Floats) -> Floats:
        below = agreed[..., 2] if ties == "y" else np.sqrt(agreed[..., 1] * agreed[..., 2])
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.where(below > 0, agreed[..., 0] / below, np.nan))

    own = sums[np.arange(len(names)), np.arange(len(names))]
    if within:
        drawn = (w @ own for w in bootstrap_weights(len(names), resamples=resamples, seed=seed))
        counted = int((own[:, 2] > 0).sum())
    else:
        drawn = (_both_drawn(w, sums) for w in bootstrap_weights(len(names), resamples=resamples, seed=seed))
        counted = len(names)
    return _estimate(float(of(sums.sum(axis=(0, 1)))), np.concatenate([of(one) for one in drawn]), counted)


def _both_drawn(weights: Floats, sums: Floats) -> Floats:
    """(R, 3): sums of pairs (G, G, 3), each as often as both of its groups are drawn, (R, G)."""
    return np.stack([((weights @ sums[..., k]) * weights).sum(axis=1) for k in range(sums.shape[2])], axis=-1)


def spearman(
    x: Floats, y: Floats, groups: Sequence[str], *, within: bool, resamples: int = 2000, seed: int = 0
) -> Correlation:
    """Spearman's rho: the correlation of ranks, tied values sharing the mean of theirs.

    Args:
        x, y: two scores (N,), finite.
        groups: of each clip.
        within: rank each group by itself, and correlate ranks less their group's mean.
        resamples: draws of groups.
        seed: of the draws.

    Source: Spearman, American Journal of Psychology 1904; within groups it is the pooled correlation of centred ranks.

    Examples:
        >>> x, y = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 3.0, 2.0, 2.0])
        >>> round(spearman(x, y, ["a"] * 4, within=False).value, 3)
        0.316
    """
    names, at = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    if not within:
        value = _rank_correlation(x, y, np.ones((1, len(x))))[0]
        return _estimate(
            float(value), np.concatenate(list(_drawn_ranks(x, y, at, len(names), resamples, seed))), len(names)
        )
    sums = np.zeros((len(names), 3))
    for number in range(len(names)):
        mine = at == number
        one = np.ones((1, int(mine.sum())))
        a, b = (_ranks(score[mine], one)[0] - (mine.sum() + 1) / 2 for score in (x, y))
        sums[number] = (a * b).sum(), (a * a).sum(), (b * b).sum()
    drawn = np.concatenate([w @ sums for w in bootstrap_weights(len(names), resamples=resamples, seed=seed)])
    return _estimate(float(_ratio(sums.sum(axis=0))), _ratio(drawn), int((sums[:, 2] > 0).sum()))


def _ratio(sums: Floats) -> Floats:
    below = np.sqrt(sums[..., 1] * sums[..., 2])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(below > 1e-12, sums[..., 0] / below, np.nan))


def _drawn_ranks(x: Floats, y: Floats, at: np.ndarray, groups: int, resamples: int, seed: int) -> Iterator[Floats]:
    for weights in bootstrap_weights(groups, resamples=resamples, seed=seed):
        for start in range(0, len(weights), _ROWS):
            yield _rank_correlation(x, y, weights[start : start + _ROWS][:, at])


def _rank_correlation(x: Floats, y: Floats, weights: Floats) -> Floats:
    """(R,) correlation of ranks among clips that are there as often as `weights` (R, N) say."""
    total = weights.sum(axis=1, keepdims=True)
    a, b = (_ranks(score, weights) - (total + 1) / 2 for score in (x, y))
    return _ratio(np.stack([(weights * one).sum(axis=1) for one in (a * b, a * a, b * b)], axis=-1))


def _ranks(values: Floats, weights: Floats) -> Floats:
    """(R, N) mean ranks from 1, ties shared, of values (N,) that are there as often as `weights` (R, N) say."""
    _, level = np.unique(values, return_inverse=True)
    counts = np.zeros((len(weights), int(level.max()) + 1))
    for row, counted in zip(weights, counts, strict=True):
        counted += np.bincount(level, weights=row, minlength=len(counted))
    below = np.cumsum(counts, axis=1) - counts
    return np.asarray((below + (counts + 1) / 2)[:, level])


def _estimate(value: float, drawn: Floats, groups: int) -> Correlation:
    if np.isnan(value):
        return Correlation(None, None, groups)
    return Correlation(value, percentile_interval(drawn) if groups > 1 else None, groups)
