"""Average precision of traces, COCO-style: predictions by score, each takes the best free true trace above a threshold.

As in pycocotools: greedy matching in order of score within a video, then precision at 101 recalls, 0, 0.01, ... 1, each
the best precision at that recall or beyond. One difference, so that the order of a file decides nothing: predictions
with the same score enter the curve together, as in scikit-learn's. Without ties the two are equal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deeptrace.metrics.columns import Bools, Floats, Ints, PairColumns
from deeptrace.metrics.matching import TracePairs

__all__ = ["RankedTraces", "rank_traces", "trace_average_precision"]

RECALLS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True, slots=True)
class RankedTraces:
    """Predictions in order of score, for one threshold and one class.

    Attributes:
        hit: whether the prediction took a true trace, (P,).
        score: falling, (P,).
        video: index of its video, (P,).
        true_per_video: true traces in each video, (N,).
    """

    hit: Bools
    score: Floats
    video: Ints
    true_per_video: Floats


def rank_traces(
    columns: PairColumns,
    pairs: TracePairs,
    *,
    threshold: float,
    known: Bools,
    true_of_kind: Bools | None = None,
    predicted_of_kind: Bools | None = None,
) -> RankedTraces:
    """Greedy matching at a vIoU threshold.

    Args:
        columns: the videos.
        pairs: all pairs of their traces (`trace_pairs`).
        threshold: least overlap of a hit, inclusive.
        known: videos of which the true traces are known, (N,): real ones, and generated ones with annotated boxes.
        true_of_kind, predicted_of_kind: masks over true and predicted traces, to look at one category.
    """
    true, predicted = columns.true, columns.predicted
    use_true = true.has_box & known[true.video]
    use_predicted = known[predicted.video] & (columns.said[predicted.video] >= 0)
    if true_of_kind is not None and predicted_of_kind is not None:
        use_true, use_predicted = use_true & true_of_kind, use_predicted & predicted_of_kind
    confidence = columns.confidence
    near = pairs.take(
        (pairs.overlap >= min(threshold, 1 - 1e-10)) & use_true[pairs.true] & use_predicted[pairs.predicted]
    )
    order = np.lexsort((near.true, -near.overlap, near.predicted, -confidence[near.predicted]))
    taken = np.zeros(len(true), dtype=bool)
    hit = np.zeros(len(predicted), dtype=bool)
    for t, p in zip(near.true[order].tolist(), near.predicted[order].tolist(), strict=True):
        if not (taken[t] or hit[p]):
            taken[t] = hit[p] = True
    ranked = np.flatnonzero(use_predicted)
    ranked = ranked[np.argsort(-confidence[ranked], kind="stable")]
    counts = np.bincount(true.video[use_true], minlength=len(columns)).astype(float)
    return RankedTraces(hit[ranked], confidence[ranked], predicted.video[ranked], counts)


def trace_average_precision(ranked: RankedTraces, *, weights: Floats | None = None) -> Floats:
    """Average precision in [0, 1]; NaN where there is no true trace.

    Args:
        ranked: from `rank_traces`.
        weights: how often each video counts, (R, N) for R resamples; the result is then (R,).
    """
    w = np.ones((1, len(ranked.true_per_video))) if weights is None else weights
    total = w @ ranked.true_per_video
    score = ranked.score
    last = np.flatnonzero(np.r_[score[1:] != score[:-1], True]) if len(score) else np.zeros(0, dtype=int)
    each = w[:, ranked.video]
    true = np.cumsum(each * ranked.hit, axis=1)[:, last]
    count = np.cumsum(each, axis=1)[:, last]
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.nan_to_num(true / count)
        recall = true / total[:, None]
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    out = np.full(len(w), np.nan)
    padded = np.concatenate([best, np.zeros((len(w), 1))], axis=1)
    for r in np.flatnonzero(total > 0):
        out[r] = padded[r, np.searchsorted(recall[r] + 1e-12, RECALLS, side="left")].mean()
    return out if weights is not None else np.asarray(out[0])
