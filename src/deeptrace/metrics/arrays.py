"""Samples and verdicts as columns: read once, so that every metric is a few numpy calls however many videos."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeptrace.geometry import Interval, Tube
from deeptrace.plural import plural
from deeptrace.schema import Category, Label, Sample, Trace, Verdict

__all__ = ["KINDS", "PairColumns", "TraceColumns", "columns_of", "trace_columns"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

KINDS: tuple[Category, ...] = tuple(Category)
"""Order of the columns of `TraceColumns.kinds`."""
_KIND_INDEX = {kind: index for index, kind in enumerate(KINDS)}
_NO_BOX = (np.nan,) * 4


@dataclass(frozen=True, slots=True)
class TraceColumns:
    """Traces of many videos, in order of video.

    Attributes:
        video: index of the video, (T,), rising.
        box: corners in fractions, (T, 4); NaN where there is no box.
        span: onset and offset in seconds, (T, 2); NaN where not known.
        score: confidence, (T,); NaN for annotations.
        kinds: which of the nine categories, (T, 9), in the order of `KINDS`.
        texts: explanations; "" where there is none.
        tubes: traces that move (two keyframes or more) or have gaps, by index.
        gaps: when a trace is not to be seen within its life, by index; of most traces nothing.
    """

    video: Ints
    box: Floats
    span: Floats
    score: Floats
    kinds: Bools
    texts: tuple[str, ...]
    tubes: dict[int, Tube]
    gaps: dict[int, tuple[Interval, ...]]

    def __len__(self) -> int:
        return len(self.video)

    @property
    def has_box(self) -> Bools:
        """Where a box is known, (T,)."""
        return ~np.isnan(self.box[:, 0])

    def filled_span(self, duration_s: Floats) -> Floats:
        """Spans (T, 2) with what the words leave open: no onset is the start of the video, no offset its end.

        So does a viewer read "starting at 1.2 seconds". NaN where an offset is missing and `duration_s` (N,) too.
        """
        onset = np.where(np.isnan(self.span[:, 0]), 0.0, self.span[:, 0])
        offset = np.where(np.isnan(self.span[:, 1]), duration_s[self.video], self.span[:, 1])
        return np.stack([onset, np.maximum(offset, onset)], axis=1)


@dataclass(frozen=True, slots=True)
class SegmentColumns:
    """S scored frames or windows of N videos.

    Attributes:
        video: index of its video, (S,).
        score: higher is more likely generated, (S,).
        frames: sampled frames that it is the score of, at least 1, (S,).
    """

    video: Ints
    score: Floats
    frames: Floats


@dataclass(frozen=True, slots=True)
class PairColumns:
    """N videos: what is true and what was said.

    Attributes:
        truth: ground truth, 1 generated, 0 real, -1 not known, (N,).
        said: 1 FAKE, 0 REAL, -1 no verdict or a failed one, (N,).
        p_fake: stated probability, (N,); NaN where there is none.
        duration_s: of the sample, else of the verdict's media, (N,); NaN where neither says.
        sources: generator or origin, "unknown" where the sample does not say.
        outcomes: outcome of each verdict; "missing" where there is no verdict.
        true: annotated traces.
        predicted: traces of the verdicts, in the verdicts' order.
        segments: scores of frames and windows, where verdicts have them.
    """

    truth: Ints
    said: Ints
    p_fake: Floats
    duration_s: Floats
    sources: tuple[str, ...]
    outcomes: tuple[str, ...]
    true: TraceColumns
    predicted: TraceColumns
    segments: SegmentColumns

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def asserted(self) -> Bools:
        """Which predicted traces stand behind a FAKE; a REAL verdict's traces are below its threshold, (P,)."""
        return np.asarray(self.said[self.predicted.video] == 1)

    @property
    def confidence(self) -> Floats:
        """What ranks predicted traces, (P,): the trace's score, else its video's p_fake, else 1 of FAKE, 0 of REAL."""
        video = self.predicted.video
        fallback = np.where(np.isnan(self.p_fake), (self.said == 1).astype(float), self.p_fake)[video]
        return np.asarray(np.where(np.isnan(self.predicted.score), fallback, self.predicted.score))


def trace_columns(traces: Sequence[Iterable[Trace]]) -> TraceColumns:
    """The columns of one list of traces a video.

    Examples:
        >>> columns = trace_columns([[Trace(onset_s=1.0, explanation="It melts.")], []])
        >>> columns.video.tolist(), columns.texts, columns.has_box.tolist()
        ([0], ('It melts.',), [False])
    """
    video: list[int] = []
    flat: list[Trace] = []
    for index, group in enumerate(traces):
        for trace in group:
            video.append(index)
            flat.append(trace)
    kinds = np.zeros((len(flat), len(KINDS)), dtype=bool)
    tubes: dict[int, Tube] = {}
    for row, trace in enumerate(flat):
        for kind in trace.categories:
            kinds[row, _KIND_INDEX[kind]] = True
        if (len(trace.keyframes) > 1 or trace.gaps) and (tube := trace.tube) is not None:
            tubes[row] = tube
    return TraceColumns(
        video=np.array(video, dtype=np.int64),
        box=np.array([_corners(t) for t in flat], dtype=float).reshape(-1, 4),
        span=np.array([(t.onset_s, t.offset_s) for t in flat], dtype=float).reshape(-1, 2),
        score=np.array([t.score for t in flat], dtype=float),
        kinds=kinds,
        texts=tuple(t.explanation for t in flat),
        tubes=tubes,
        gaps={row: trace.gaps for row, trace in enumerate(flat) if trace.gaps},
    )


def columns_of(samples: Sequence[Sample], verdicts: Sequence[Verdict | None]) -> PairColumns:
    """The columns of samples and their verdicts, index by index; None is a sample without a prediction.

    Raises:
        ValueError: not one verdict (or None) a sample.

    Examples:
        >>> columns = columns_of([Sample(video_id="a", path="a.mp4", label=Label.FAKE)], [None])
        >>> columns.truth.tolist(), columns.said.tolist(), columns.outcomes
        ([1], [-1], ('missing',))
    """
    if len(samples) != len(verdicts):
        got = f"{plural(len(samples), 'sample')} and {plural(len(verdicts), 'verdict')}"
        raise ValueError(f"expected one verdict a sample but got {got}")
    code = {Label.FAKE: 1, Label.REAL: 0, None: -1}
    durations = [
        s.media.duration_s if s.media is not None else v.media.duration_s if v is not None and v.media else None
        for s, v in zip(samples, verdicts, strict=True)
    ]
    return PairColumns(
        truth=np.array([code[s.label] for s in samples], dtype=np.int64),
        said=np.array([-1 if v is None else code[v.label] for v in verdicts], dtype=np.int64),
        p_fake=np.array([None if v is None else v.p_fake for v in verdicts], dtype=float),
        duration_s=np.array([duration or None for duration in durations], dtype=float),
        sources=tuple(s.source or "unknown" for s in samples),
        outcomes=tuple("missing" if v is None else v.outcome.value for v in verdicts),
        true=trace_columns([s.traces for s in samples]),
        predicted=trace_columns([() if v is None else v.traces for v in verdicts]),
        segments=_segment_columns(verdicts),
    )


def _segment_columns(verdicts: Sequence[Verdict | None]) -> SegmentColumns:
    rows = [
        (index, one.score, count)
        for index, verdict in enumerate(verdicts)
        if verdict is not None and verdict.segment_scores
        for one, count in zip(verdict.segment_scores, _frame_counts(verdict), strict=True)
    ]
    table = np.array(rows, dtype=float).reshape(-1, 3)
    return SegmentColumns(table[:, 0].astype(np.int64), table[:, 1], table[:, 2])


def _frame_counts(verdict: Verdict) -> Floats:
    """(segments,) sampled frames in each; one for a frame by itself, and where nobody says which were sampled."""
    times = np.array(verdict.media.sampled_times_s if verdict.media is not None else (), dtype=float)
    onset, offset = np.array([(one.onset_s, one.offset_s) for one in verdict.segment_scores]).T
    offset[-1] = np.nextafter(offset[-1], np.inf)  # the last one ends with the last frame, which is its own
    inside = np.searchsorted(times, offset) - np.searchsorted(times, onset)
    return np.asarray(np.maximum(inside, 1), float)


def sum_by(index: Ints, values: Floats | Bools | None, count: int) -> Floats:
    """Sums (count,) of `values` by `index`; of ones where `values` is None.

    Examples:
        >>> sum_by(np.array([0, 0, 2]), np.array([1.0, 2.0, 4.0]), 3).tolist()
        [3.0, 0.0, 4.0]
    """
    return np.bincount(index, None if values is None else values.astype(float), count).astype(float)


def _corners(trace: Trace) -> tuple[float, ...]:
    box = trace.box
    if box is not None:
        return (box.x0, box.y0, box.x1, box.y1)
    return trace.tube.box.as_tuple() if trace.keyframes and trace.tube is not None else _NO_BOX
