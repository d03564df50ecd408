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
"""

from __future__ import annotations

import numpy as np

from deeptrace.metrics.columns import Bools, Floats, PairColumns, sum_by
from deeptrace.metrics.matching import TracePairs, match_traces
from deeptrace.metrics.paper import Sums

__all__ = ["HIT_VIOU", "asserted_matches", "trace_sums", "videos_with_known_traces"]

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
