"""Whether two runs over the same videos differ: paired bootstrap intervals and permutation p-values, by video.

Both use the pairing: a resample draws the same videos for both runs, a permutation swaps the two runs' results of a
video. Videos that are hard for everybody then cancel out, and rows of one video never count as independent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deeptrace.metrics import auroc, average_precision, metric_sums, percentile_interval
from deeptrace.metrics.columns import Bools, Floats
from deeptrace.metrics.intervals import bootstrap_weights, ratio
from deeptrace.trace import Label, Sample, Verdict

__all__ = ["Difference", "RunColumns", "paired_differences", "ranked_videos", "run_columns"]

Values = dict[str, Floats]
_RANKED: dict[str, Callable[..., Floats]] = {
    "per_video.auroc": auroc,
    "per_video.average_precision": average_precision,
}
_SECONDS_OR_SHARES = "traces."
_BLOCK = 500


@dataclass(frozen=True, slots=True)
class RunColumns:
    """One run over N videos, as the statistics need it.

    Attributes:
        names: ratio metrics, in the order of the columns of `sums`.
        sums: numerator and denominator of each video, (N, 2 * metrics).
        p_fake: stated probability, (N,); NaN where there is none.
    """

    names: tuple[str, ...]
    sums: Floats
    p_fake: Floats


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric of run b against run a.

    Attributes:
        a, b: the two values, in the metric's unit.
        difference: b - a.
        interval: 95 %, paired bootstrap; None where some resamples have no value.
        p_value: two-sided, paired permutation.
    """

    a: float
    b: float
    difference: float
    interval: tuple[float, float] | None
    p_value: float


def run_columns(
    samples: Sequence[Sample],
    verdicts: Sequence[Verdict | None],
    scores: Mapping[tuple[str, int], float | None],
) -> RunColumns:
    """The columns of a run over `samples`."""
    sums = metric_sums(samples, verdicts, explanation_scores=scores)
    table = np.stack([part for pair in sums.values() for part in pair], axis=1)
    p_fake = np.array([None if v is None else v.p_fake for v in verdicts], dtype=float)
    return RunColumns(tuple(sums), table, p_fake)


def paired_differences(
    samples: Sequence[Sample],
    a: RunColumns,
    b: RunColumns,
    *,
    resamples: int = 2000,
    permutations: int = 2000,
    seed: int = 0,
) -> dict[str, Difference]:
    """Every metric that both runs have, by "block.metric".

    Composite metrics (the overalls) are formed anew in every resample and permutation. AUROC and average precision
    are taken over the videos for which both runs state a probability.
    """
    truth, ranked = _truth(samples), ranked_videos(samples, a, b)
    ones = np.ones((1, len(samples)))
    at_a, at_b = (_weighted(run, ones, truth, ranked) for run in (a, b))
    known = [name for name, value in at_a.items() if not np.isnan(value[0]) and not np.isnan(at_b[name][0])]
    drawn: dict[str, list[Floats]] = {name: [] for name in known}
    for weights in bootstrap_weights(len(samples), resamples=resamples, seed=seed) if len(samples) else ():
        one, other = (_weighted(run, weights, truth, ranked) for run in (a, b))
        for name in known:
            drawn[name].append(other[name] - one[name])
    p_values = _permuted(a, b, truth, ranked, {n: float((at_b[n] - at_a[n])[0]) for n in known}, permutations, seed)
    return {
        name: Difference(
            a=float(at_a[name][0]),
            b=float(at_b[name][0]),
            difference=float((at_b[name] - at_a[name])[0]),
            interval=percentile_interval(np.concatenate(drawn[name])) if drawn[name] else None,
            p_value=p_values[name],
        )
        for name in known
    }


def ranked_videos(samples: Sequence[Sample], a: RunColumns, b: RunColumns) -> Bools:
    """The videos (N,) whose truth is known and for which both runs state a probability."""
    return (_truth(samples) >= 0) & ~np.isnan(a.p_fake) & ~np.isnan(b.p_fake)


def _truth(samples: Sequence[Sample]) -> np.ndarray:
    """1 generated, 0 real, -1 not known; (N,)."""
    return np.array([{Label.FAKE: 1, Label.REAL: 0, None: -1}[sample.label] for sample in samples])


def _weighted(run: RunColumns, weights: Floats, truth: np.ndarray, ranked: Bools) -> Values:
    """Every metric (R,) of weights (R, N)."""
    values = _ratios(run.names, weights @ run.sums)
    if ranked.any():
        for name, measure in _RANKED.items():
            values[name] = measure(truth[ranked].astype(float), run.p_fake[ranked], weights=weights[:, ranked])
    return values


def _ratios(names: Sequence[str], totals: Floats) -> Values:
    """Metrics in their units out of sums (R, 2 * metrics), the overalls with them."""
    values = {
        name: (1.0 if name.startswith(_SECONDS_OR_SHARES) else 100.0) * ratio(totals[:, 2 * at], totals[:, 2 * at + 1])
        for at, name in enumerate(names)
    }
    accuracy, explanation, iou, time = (
        values[f"paper.{name}"] for name in ("accuracy", "explanation", "bbox_iou", "time_distance")
    )
    values["paper.overall"] = (accuracy + explanation + iou + 100.0 - time) / 4
    values["grounded.overall"] = values["grounded.trace_quality"] * values["grounded.clean_share"] / 100.0
    return values


def _permuted(
    a: RunColumns,
    b: RunColumns,
    truth: np.ndarray,
    ranked: Bools,
    observed: Mapping[str, float],
    permutations: int,
    seed: int,
) -> dict[str, float]:
    """Share of random swaps with at least the observed difference, the observed arrangement counted in."""
    rng = np.random.default_rng(seed)
    change = np.nan_to_num(b.sums - a.sums)
    total_a, total_b = np.nan_to_num(a.sums).sum(0), np.nan_to_num(b.sums).sum(0)
    y = truth[ranked].astype(float)
    extreme = dict.fromkeys(observed, 0)
    for start in range(0, permutations, _BLOCK):
        swap = rng.integers(0, 2, size=(min(_BLOCK, permutations - start), len(truth)), dtype=np.int8).astype(bool)
        moved = swap.astype(float) @ change
        one, other = _ratios(a.names, total_a + moved), _ratios(b.names, total_b - moved)
        for name, measure in _RANKED.items():
            if name in observed:
                first = np.where(swap[:, ranked], b.p_fake[ranked], a.p_fake[ranked])
                second = np.where(swap[:, ranked], a.p_fake[ranked], b.p_fake[ranked])
                one[name] = np.array([measure(y, p) for p in first])
                other[name] = np.array([measure(y, p) for p in second])
        for name, value in observed.items():
            extreme[name] += int((np.abs(other[name] - one[name]) >= abs(value) - 1e-9).sum())
    return {name: (1 + count) / (1 + permutations) for name, count in extreme.items()}
