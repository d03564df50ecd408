"""Traces on a video's frames and back, for annotation tools that count frames where we have seconds.

Frame i, counted from 0, is shown from i / fps to (i + 1) / fps. What a format cannot hold, or an export does not make
clear, is never dropped in silence: it goes into `Notes`, which say each kind of it once, with how often.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from deeptrace.geometry import Box, Interval, Keyframe, Tube, hull
from deeptrace.schema import Category, Media, Sample, Trace

__all__ = [
    "ANY_KIND",
    "Notes",
    "TraceFrames",
    "frame_count",
    "frames_of_trace",
    "joined_boxes",
    "needed_boxes",
    "parts_between",
    "trace_of_boxes",
]

ANY_KIND = "trace"
"""The label of a trace of which no kind is known, for tools that want one."""

# Tools write pixels with two decimals: two rounded corners and what lies between them are within this of each other.
ROUNDING_PIXELS = 0.02
# A time is on its frame if it is no further off than the rounding of a float makes it.
ROUNDING_S = 1e-6


@dataclass
class Notes:
    """What has to be said of an import or export, each kind once.

    Attributes:
        found: the places of each thing to be said.
        left_out: how many videos an export could not write.
    """

    found: dict[str, list[str]] = field(default_factory=dict)
    left_out: int = 0

    def add(self, where: str, what: str) -> None:
        """Note `what`, in the same words each time, of the thing that `where` names."""
        self.found.setdefault(what, []).append(where)

    def leave_out(self, video_id: str, why: str) -> None:
        """Note, and count, that a whole video is not written; `why` in the same words each time."""
        self.add(f"video {video_id}", f"{why} and was left out")
        self.left_out += 1

    def count(self, what: str) -> int:
        """How often `what` was noted."""
        return len(self.found.get(what, ()))

    def lines(self) -> list[str]:
        """One line a kind: where it was met first, what it is, and how often it was met besides."""
        return [
            f"{places[0]}: {what}" + (f" (and {len(places) - 1} more like it)" if len(places) > 1 else "")
            for what, places in self.found.items()
        ]


@dataclass(frozen=True)
class TraceFrames:
    """One trace on the frames of its video.

    Attributes:
        trace: the trace itself.
        first: index of its first frame.
        end: index of the frame after its last; more than `first`.
        boxes: its box in each frame from `first` on; empty where it has no box.
        keys: the frames at which its motion may change or its box comes back, `first` among them.
        gaps: [first, end) of each run of frames in which its box is off, in order and apart.
    """

    trace: Trace
    first: int
    end: int
    boxes: tuple[Box, ...]
    keys: frozenset[int]
    gaps: tuple[tuple[int, int], ...] = ()

    @property
    def segments(self) -> list[tuple[int, int]]:
        """[first, end) of each run of frames in which it is to be seen."""
        starts = [self.first, *(end for _, end in self.gaps)]
        ends = [*(first for first, _ in self.gaps), self.end]
        return [(start, end) for start, end in zip(starts, ends, strict=True) if start < end]

    @property
    def seen(self) -> Iterator[tuple[int, Box]]:
        """Each frame in which its box is to be seen, with the box."""
        for start, end in self.segments if self.boxes else ():
            yield from ((frame, self.boxes[frame - self.first]) for frame in range(start, end))


def frame_count(media: Media) -> int:
    """How many frames a video has: as stated, else its duration times its rate; at least 1."""
    return max(media.frames or round(media.duration_s * (media.fps or 0.0)), 1)


def frames_of_trace(
    trace: Trace, sample: Sample, number: int, notes: Notes, *, exact_times: bool = False
) -> TraceFrames:
    """A trace on the frames of its sample, whose media states a rate.

    A trace without an onset is taken to be there from the first frame on, one without an end to the last; a time
    between two frames goes to the nearer one. What is lost by it is noted.

    Args:
        trace: the trace to put on frames.
        sample: whose trace it is.
        number: of the trace, for notes.
        notes: takes what is lost.
        exact_times: whether onset and end are kept beside the frames, so that only keyframes can lose anything.
    """
    media, where = sample.media, f"video {sample.video_id}, trace {number}"
    if media is None or media.fps is None:
        raise ValueError(f"expected a sample with a stated frame rate but got {sample.video_id!r}")
    frames, fps = frame_count(media), media.fps
    onset = 0.0 if trace.onset_s is None else trace.onset_s
    offset = frames / fps if trace.offset_s is None else trace.offset_s
    first = min(round(onset * fps), frames - 1)
    end = min(max(round(offset * fps), first + 1), frames)
    if max(onset, offset) * fps > frames + 1:
        notes.add(where, "lasts beyond the end of its video and was cut off there")
    elif not exact_times and trace.onset_s is None:
        notes.add(where, "states no time and was put on every frame")
    elif not exact_times and trace.offset_s is None:
        notes.add(where, "states no end and was put on every frame from its onset on")
    elif not exact_times and _between_frames((onset, offset), fps):
        notes.add(where, "begins or ends between two frames, which was put on the nearer one")
    if _between_frames([key.time_s for key in trace.keyframes], fps):
        notes.add(where, "has a keyframe between two frames, which was put on the nearer one")
    gaps = _gaps_on_frames(trace, first, end, fps, where, notes, exact_times=exact_times)
    if (gaps and gaps[0][0] == first) or (gaps and gaps[-1][1] == end):
        notes.add(where, "is off where it begins or ends, and was put on the frames in between")
        first = gaps.pop(0)[1] if gaps[0][0] == first else first
        end = gaps.pop()[0] if gaps and gaps[-1][1] == end else end
    if trace.keyframes:
        tube = Tube(onset_s=first / fps, offset_s=end / fps, keyframes=trace.keyframes)
        boxes = tuple(Box.from_fractions(*row) for row in tube.corners_at(np.arange(first, end) / fps))
    else:
        boxes = () if trace.box is None else (trace.box,) * (end - first)
    keys = {first, *(round(key.time_s * fps) for key in trace.keyframes), *(back for _, back in gaps)}
    return TraceFrames(trace, first, end, boxes, frozenset(key for key in keys if first <= key < end), tuple(gaps))


def _gaps_on_frames(
    trace: Trace, first: int, end: int, fps: float, where: str, notes: Notes, *, exact_times: bool
) -> list[tuple[int, int]]:
    """The runs of frames in [first, end) in which a trace is off."""
    if not exact_times and _between_frames([s for gap in trace.gaps for s in (gap.onset_s, gap.offset_s)], fps):
        notes.add(where, "is switched off or on between two frames, which was put on the nearer one")
    gaps: list[tuple[int, int]] = []
    for gap in trace.gaps:
        low, high = max(round(gap.onset_s * fps), first), min(round(gap.offset_s * fps), end)
        if low < high and gaps and gaps[-1][1] == low:
            gaps[-1] = (gaps[-1][0], high)
        elif low < high:
            gaps.append((low, high))
    if gaps == [(first, end)]:
        notes.add(where, "is never on, which has no place here; it was put on every frame of its life")
        return []
    return gaps


def _between_frames(times_s: Iterable[float], fps: float) -> bool:
    return any(abs(time - round(time * fps) / fps) > ROUNDING_S for time in times_s)


def needed_boxes(
    boxes: Mapping[int, Box], media: Media, *, keys: Collection[int] = (), odd: Collection[int] = ()
) -> dict[int, Box]:
    """The boxes by frame that the others follow from, linearly between them and unmoved after the last.

    Tools write every frame, most of them interpolated. Keyframes and the first frame are kept. What lies between two
    keyframes is the line between them; what comes after the last is kept where it does not follow, because some tools
    move a box towards a frame at which the object is gone already.

    Args:
        boxes: of one unbroken segment, by frame.
        media: gives the size of a pixel.
        keys: the frames that a person set; none where the tool does not say.
        odd: frames that are looked at though they lie between two keyframes, because the tool interpolates otherwise.
    """
    last_key = max((key for key in keys if key in boxes), default=-1)
    frames = sorted(frame for frame in boxes if frame in keys or frame > last_key or frame in odd)
    if not frames:
        return {}
    if (first := min(boxes)) not in frames:
        frames.insert(0, first)
    rows = np.array([boxes[frame].as_tuple() for frame in frames]) * ([media.width, media.height] * 2)
    anchors = sorted({0, *(at for at, frame in enumerate(frames) if frame in keys)})
    if not _still(rows, anchors[-1], len(frames) - 1):
        anchors.append(len(frames) - 1)
    kept = set(anchors)
    for low, high in pairwise(anchors):
        kept.update(_corners(np.array(frames, dtype=float), rows, low, high))
    order = sorted(kept)
    while len(order) > 1 and frames[order[-1]] not in keys and _still(rows, order[-2], order[-1]):
        kept.discard(order.pop())  # a box that has come to rest says nothing more
    return {frames[at]: boxes[frames[at]] for at in sorted(kept)}


def _still(rows: NDArray[np.float64], low: int, high: int) -> bool:
    """Whether a path (N, 4) in pixels rests between two of its points."""
    return bool(np.abs(rows[low : high + 1] - rows[low]).max() <= ROUNDING_PIXELS)


def _corners(times: NDArray[np.float64], rows: NDArray[np.float64], low: int, high: int) -> Iterator[int]:
    """Where between two points of a path (N, 4) in pixels it leaves the line (Douglas and Peucker's rule)."""
    spans = [(low, high)]
    while spans:
        low, high = spans.pop()
        if high - low < 2:
            continue
        share = (times[low + 1 : high] - times[low]) / (times[high] - times[low])
        apart = np.abs(rows[low + 1 : high] - rows[low] - share[:, None] * (rows[high] - rows[low])).max(axis=1)
        if apart.max() > ROUNDING_PIXELS:
            middle = low + 1 + int(apart.argmax())
            yield middle
            spans += [(low, middle), (middle, high)]


def parts_between(
    boxes: Mapping[int, Box], first: int, end: int, gaps: Iterable[tuple[int, int]]
) -> list[tuple[dict[int, Box], int, int]]:
    """The boxes of [first, end) as segments (boxes, first, end), apart by `gaps`; one that holds a box is none."""
    free = [(low, high) for low, high in gaps if first < low < high < end and not any(low <= f < high for f in boxes)]
    free = [gap for at, gap in enumerate(free) if not at or free[at - 1][1] <= gap[0]]
    ends = pairwise([first, *(frame for gap in free for frame in gap), end])
    return [
        ({frame: box for frame, box in boxes.items() if low <= frame < high}, low, high)
        for at, (low, high) in enumerate(ends)
        if at % 2 == 0
    ]


def joined_boxes(
    segments: Sequence[tuple[Mapping[int, Box], int, int]], *, off: Mapping[int, Box] | None = None
) -> tuple[dict[int, Box], tuple[tuple[int, int], ...]]:
    """The boxes of segments as those of one trace that is off in between, and the gaps [first, end).

    Args:
        segments: boxes by frame, first frame and end of each, in order and apart.
        off: the box of a frame at which the trace is switched off, where a tool says it; else it stays where it was.
    """
    whole: dict[int, Box] = {}
    gaps: list[tuple[int, int]] = []
    for at, (boxes, _, end) in enumerate(segments):
        whole |= boxes
        back = segments[at + 1][1] if at + 1 < len(segments) else None
        if back is not None and back > end:
            gaps.append((end, back))
            if (off or {}).get(end) is not None:
                whole[end] = (off or {})[end]
            elif boxes:
                whole[end] = boxes[max(boxes)]
    return whole, tuple(gaps)


def trace_of_boxes(
    boxes: Mapping[int, Box],
    first: int,
    end: int,
    fps: float,
    *,
    categories: Iterable[Category] = (),
    score: float | None = None,
    explanation: str = "",
    gaps: Iterable[tuple[int, int]] = (),
) -> Trace:
    """The trace of one segment of frames.

    Args:
        boxes: by frame, linear between them; none for a trace without a place.
        first: index of the segment's first frame.
        end: index of the frame after its last.
        fps: frames per second.
        categories, score, explanation: as for `Trace`.
        gaps: [first, end) of the frames in between at which it is off.
    """
    if len(set(boxes.values())) == 1:
        boxes = {min(boxes): boxes[min(boxes)]}
    keys = [Keyframe(time_s=frame / fps, box=box) for frame, box in sorted(boxes.items())]
    return Trace(
        categories=tuple(categories),
        onset_s=first / fps,
        offset_s=end / fps,
        score=score,
        box=hull(key.box for key in keys) if keys else None,
        keyframes=tuple(keys) if len(keys) > 1 else (),  # of one that stands still the box alone says where
        explanation=explanation,
        gaps=tuple(Interval(onset_s=low / fps, offset_s=high / fps) for low, high in gaps),
    )
