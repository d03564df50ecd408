"""Beyond the paper: traces matched one to one, in space and time, and an overall that REAL/FAKE cannot inflate.

All values are shares in [0, 1] or seconds. Only traces behind a FAKE count as asserted. A video enters the trace
metrics when its traces are known: a real one has none, a generated one must have at least one annotated box.
Predictions on a generated video without annotated boxes are neither right nor wrong.

**Grounded overall** = trace quality x clean share, times 100.

- *Trace quality*: sum of the vIoU of matched traces with vIoU >= 0.3, over hits + misses / 2 + false traces / 2, on
  generated videos. It is the panoptic quality of image segmentation with tubes in place of segments: recognition (F1)
  times how well the recognised are placed.
- *Clean share*: the share of real videos that got a REAL and no asserted trace.

Why a product: it is at most its smaller factor, so neither can make up for the other. All REAL has quality 0; all FAKE
with any box has clean share 0; a perfect classifier that grounds nothing has quality 0, and one that puts a full-frame
or centre box on every FAKE gets what such boxes are worth as traces. The paper's overall, in contrast, gives a perfect
classifier without any grounding 25 of 100 for the accuracy, and about 20 more when it always says "from 0 s".

**Average precision** of traces, COCO-style: predictions by score, each takes the best free true trace above a
threshold. As in pycocotools: greedy matching in order of score within a video, then precision at 101 recalls, 0, 0.01,
... 1, each the best precision at that recall or beyond. One difference, so that the order of a file decides nothing:
predictions with the same score enter the curve together, as in scikit-learn's. Without ties the two are equal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deeptrace.metrics.arrays import Bools, Floats, Ints, PairColumns, sum_by
from deeptrace.metrics.matching import TracePairs, match_traces
from deeptrace.metrics.paper import Sums

__all__ = [
    "HIT_VIOU",
    "RankedTraces",
    "asserted_matches",
    "rank_traces",
    "trace_average_precision",
    "trace_sums",
    "videos_with_known_traces",
]

HIT_VIOU = 0.3
"""Least vIoU of a hit in recall, precision and trace quality, the lower threshold of spatio-temporal grounding."""


def videos_with_known_traces(columns: PairColumns) -> Bools:
    """Real videos, and generated ones with an annotated box, (N,)."""
    boxed = np.bincount(columns.true.video[columns.true.has_box], minlength=len(columns)) > 0
    return np.asarray((columns.truth == 0) | ((columns.truth == 1) & boxed))


def asserted_matches(columns: PairColumns, pairs: TracePairs) -> TracePairs:
    """Matched pairs of true traces and asserted predictions."""
    return match_traces(pairs.take(columns.asserted[pairs.predicted]), columns.true.video)


def trace_sums(columns: PairColumns, matched: TracePairs) -> Sums:
    """Numerators and denominators by video of the trace metrics.

    - `tiou`, `viou`: over all true traces; one that nobody found has 0.
    - `matched_box_iou`, `matched_tiou`, `matched_viou`: over matched pairs alone; read them beside the recall.
    - `onset_error_s`, `offset_error_s`: over matched pairs in which both sides say so.
    - `category_jaccard`: over matched pairs in which both sides name a category.
    - `recall_viou_30`, `precision_viou_30`, `trace_quality`: with hits at vIoU 0.3.
    - `false_traces_per_real_video`, `clean_share`: over real videos; a failed answer is not clean.
    """
    true, predicted = columns.true, columns.predicted
    count = len(columns)
    fake, real = columns.truth == 1, (columns.truth == 0).astype(float)
    grounded = fake & videos_with_known_traces(columns)
    counted = true.has_box & grounded[true.video]
    asserted = columns.asserted & grounded[predicted.video]
    matched = matched.take(counted[matched.true])
    video = true.video[matched.true]

    def total(values: Floats) -> Floats:
        keep = ~np.isnan(values)
        return sum_by(video[keep], values[keep], count)

    def mean(values: Floats) -> tuple[Floats, Floats]:
        known = ~np.isnan(values)
        return total(values), sum_by(video[known], None, count)

    n_true = sum_by(true.video[counted], None, count)
    timed = counted & ~np.isnan(true.filled_span(columns.duration_s)[:, 1])
    n_timed = sum_by(true.video[timed], None, count)
    n_said = sum_by(predicted.video[asserted], None, count)
    hit = matched.overlap >= HIT_VIOU
    hits = total(hit.astype(float))
    errors = np.abs(true.span[matched.true] - predicted.span[matched.predicted])
    kinds_a, kinds_b = true.kinds[matched.true], predicted.kinds[matched.predicted]
    with np.errstate(invalid="ignore", divide="ignore"):
        jaccard = (kinds_a & kinds_b).sum(1) / (kinds_a | kinds_b).sum(1)
    jaccard = np.where(kinds_a.any(1) & kinds_b.any(1), jaccard, np.nan)
    on_real = sum_by(predicted.video[columns.asserted], None, count) * real
    return {
        "tiou": (total(matched.tiou), n_timed),
        "viou": (total(matched.overlap), n_true),
        "matched_box_iou": mean(matched.box_iou),
        "matched_tiou": mean(matched.tiou),
        "matched_viou": mean(matched.overlap),
        "onset_error_s": mean(errors[:, 0]),
        "offset_error_s": mean(errors[:, 1]),
        "category_jaccard": mean(jaccard),
        "recall_viou_30": (hits, n_true),
        "precision_viou_30": (hits, n_said),
        "trace_quality": (total(np.where(hit, matched.overlap, 0.0)), (n_true + n_said) / 2),
        "false_traces_per_real_video": (on_real * (columns.said >= 0), real * (columns.said >= 0)),
        "clean_share": (real * (columns.said == 0), real),
    }


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

    Examples:
        >>> hit, score = np.array([True, False]), np.array([0.9, 0.8])
        >>> ranked = RankedTraces(hit, score, np.array([0, 0]), true_per_video=np.array([1.0]))
        >>> float(trace_average_precision(ranked))
        1.0
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
