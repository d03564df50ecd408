"""Which predicted trace is which true one: overlaps of all pairs within a video, and the best one-to-one assignment.

The overlap of a pair is its vIoU: box and time together. A time that one side leaves open is read as a viewer reads it
(no onset: from the start; no offset: to the end of the video), so that saying nothing about time earns nothing. Only
where the length of the video is not known, and so its end neither, does the box IoU alone decide. A pair in which one
side has no box has overlap 0. Where a trace has gaps, only the time outside them is its own: tIoU and vIoU set the
moments at which both are to be seen against those at which either is.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeptrace.geometry import Box, Interval, Keyframe, Tube, box_iou, segments_tiou, temporal_iou, tube_viou
from deeptrace.metrics.arrays import Bools, Floats, Ints, TraceColumns

__all__ = ["TracePairs", "match_traces", "trace_pairs"]


@dataclass(frozen=True, slots=True)
class TracePairs:
    """Pairs of a true and a predicted trace of the same video; all of them, or the matched ones.

    Attributes:
        true: index into the true traces, (K,).
        predicted: index into the predicted traces, (K,).
        box_iou: IoU of the boxes (unions over life), (K,); NaN where one has none.
        tiou: temporal IoU, open ends filled, (K,); NaN where a span is not known.
        overlap: what matching goes by: vIoU, else box IoU, else 0, (K,).
    """

    true: Ints
    predicted: Ints
    box_iou: Floats
    tiou: Floats
    overlap: Floats

    def __len__(self) -> int:
        return len(self.true)

    def take(self, keep: Bools | Ints) -> TracePairs:
        """Some of the pairs."""
        return TracePairs(
            self.true[keep], self.predicted[keep], self.box_iou[keep], self.tiou[keep], self.overlap[keep]
        )


def trace_pairs(true: TraceColumns, predicted: TraceColumns, duration_s: Floats) -> TracePairs:
    """All pairs within each video, with their overlaps.

    Args:
        true, predicted: traces of the same N videos.
        duration_s: length of each video, (N,); NaN where not known.

    Examples:
        >>> from deeptrace.metrics.arrays import trace_columns
        >>> from deeptrace.schema import Trace
        >>> box = Box(x0=0.0, y0=0.0, x1=0.5, y1=1.0)
        >>> true, said = trace_columns([[Trace(box=box)]]), trace_columns([[Trace(box=box, onset_s=2.0)]])
        >>> trace_pairs(true, said, np.array([4.0])).overlap.tolist()  # right place, half of the time
        [0.5]
    """
    left, right = _same_video(true.video, predicted.video, len(duration_s))
    boxes = box_iou(true.box[left], predicted.box[right])
    spans_a, spans_b = true.filled_span(duration_s), predicted.filled_span(duration_s)
    tiou = temporal_iou(spans_a[left], spans_b[right])
    for k in np.flatnonzero((tiou > 0) & _any_of(true.gaps, left, predicted.gaps, right)):
        tiou[k] = segments_tiou(_seen(true, int(left[k]), spans_a), _seen(predicted, int(right[k]), spans_b))
    # A box that stands still: the volume IoU is the box IoU times the temporal IoU, exactly.
    overlap = np.where(np.isnan(tiou), boxes, boxes * tiou)
    if true.tubes or predicted.tubes:
        moving = [
            k
            for k in np.flatnonzero((boxes > 0) & (tiou > 0))
            if int(left[k]) in true.tubes or int(right[k]) in predicted.tubes
        ]
        overlap[moving] = tube_viou(
            [_tube(true, int(left[k]), spans_a) for k in moving],
            [_tube(predicted, int(right[k]), spans_b) for k in moving],
        )
    return TracePairs(left, right, boxes, tiou, np.nan_to_num(overlap, nan=0.0))


def _any_of(gaps_a: Container[int], left: Ints, gaps_b: Container[int], right: Ints) -> Bools:
    """Which pairs (K,) have a trace with gaps."""
    if not gaps_a and not gaps_b:
        return np.zeros(len(left), dtype=bool)
    return np.array([a in gaps_a or b in gaps_b for a, b in zip(left.tolist(), right.tolist(), strict=True)])


def _seen(columns: TraceColumns, index: int, spans: Floats) -> tuple[Interval, ...]:
    """When a trace is to be seen."""
    onset, offset = spans[index].tolist()
    return Interval(onset_s=onset, offset_s=offset).without(columns.gaps.get(index, ()))


def match_traces(pairs: TracePairs, true_video: Ints) -> TracePairs:
    """The one-to-one assignment with the largest sum of overlaps in each video (Hungarian); overlap 0 is no match.

    Args:
        pairs: all pairs, as from `trace_pairs`.
        true_video: video of each true trace.

    Examples:
        >>> from deeptrace.metrics.arrays import trace_columns
        >>> from deeptrace.schema import Trace
        >>> left, right = Box(x0=0.0, y0=0.0, x1=0.5, y1=1.0), Box(x0=0.5, y0=0.0, x1=1.0, y1=1.0)
        >>> true = trace_columns([[Trace(box=left), Trace(box=right)]])
        >>> said = trace_columns([[Trace(box=right)]])
        >>> pairs = trace_pairs(true, said, np.array([4.0]))
        >>> matched = match_traces(pairs, true.video)
        >>> matched.true.tolist(), matched.predicted.tolist(), matched.overlap.tolist()
        ([1], [0], [1.0])
    """
    pairs = pairs.take(pairs.overlap > 0)
    if not len(pairs):
        return pairs
    video = true_video[pairs.true]
    starts = np.flatnonzero(np.r_[True, video[1:] != video[:-1]])
    ends = np.r_[starts[1:], len(video)]
    kept: list[NDArray[np.int64]] = [starts[ends - starts == 1]]
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        if end - start > 1:
            kept.append(start + _assign(pairs.true[start:end], pairs.predicted[start:end], pairs.overlap[start:end]))
    return pairs.take(np.sort(np.concatenate(kept)))


def _same_video(a: Ints, b: Ints, videos: int) -> tuple[Ints, Ints]:
    """Indices of all pairs with equal video, ordered by video; both inputs are sorted."""
    count_b = np.bincount(b, minlength=videos)
    first_b = np.cumsum(count_b) - count_b
    times = count_b[a]
    left = np.repeat(np.arange(len(a)), times)
    within = np.arange(len(left)) - np.repeat(np.cumsum(times) - times, times)
    return left.astype(np.int64), (np.repeat(first_b[a], times) + within).astype(np.int64)


def _assign(true: Ints, predicted: Ints, overlap: Floats) -> NDArray[np.int64]:
    """Positions (into the given pairs) of the assignment with the largest sum."""
    rows, row = np.unique(true, return_inverse=True)
    cols, col = np.unique(predicted, return_inverse=True)
    if len(rows) == 1 or len(cols) == 1:
        return np.array([int(overlap.argmax())], dtype=np.int64)
    from scipy.optimize import linear_sum_assignment  # half a second to import, and few videos need it

    table = np.zeros((len(rows), len(cols)))
    where = np.full((len(rows), len(cols)), -1, dtype=np.int64)
    table[row, col], where[row, col] = overlap, np.arange(len(overlap))
    chosen: Ints = where[linear_sum_assignment(table, maximize=True)]
    return chosen[chosen >= 0]


def _tube(columns: TraceColumns, index: int, spans: Floats) -> Tube:
    if index in columns.tubes:
        return columns.tubes[index]
    x0, y0, x1, y1 = columns.box[index].tolist()
    onset, offset = spans[index].tolist()
    key = Keyframe(time_s=onset, box=Box(x0=x0, y0=y0, x1=x1, y1=y1))
    return Tube(onset_s=onset, offset_s=offset, keyframes=(key,), gaps=columns.gaps.get(index, ()))
