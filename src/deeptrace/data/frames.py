"""Traces on a video's frames and back, for annotation tools that count frames where we have seconds.

Frame i, counted from 0, is shown from i / fps to (i + 1) / fps. What a format cannot hold, or an export does not make
clear, is never dropped in silence: it goes into `Notes`, which say each kind of it once, with how often.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from deeptrace.geometry import Box, Keyframe, Tube, hull
from deeptrace.schema import Category, Media, Sample, Trace

__all__ = ["ANY_KIND", "Notes", "TraceFrames", "frame_count", "frames_of_trace", "needed_boxes", "trace_of_boxes"]

ANY_KIND = "trace"
"""The label of a trace of which no kind is known, for tools that want one."""

# Tools write pixels with two decimals: two rounded corners and what lies between them are within this of each other.
ROUNDING_PIXELS = 0.02
# A time is on its frame if it is no further off than the rounding of a float makes it.
ROUNDING_S = 1e-6


@dataclass
class Notes:
    """What has to be said of an import or export, each kind once."""

    found: dict[str, list[str]] = field(default_factory=dict)

    def add(self, where: str, what: str) -> None:
        """Note `what`, in the same words each time, of the thing that `where` names."""
        self.found.setdefault(what, []).append(where)

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
        keys: the frames at which its motion may change, `first` among them.
    """

    trace: Trace
    first: int
    end: int
    boxes: tuple[Box, ...]
    keys: frozenset[int]


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
    if trace.keyframes:
        tube = Tube(onset_s=first / fps, offset_s=end / fps, keyframes=trace.keyframes)
        boxes = tuple(Box.from_fractions(*row) for row in tube.corners_at(np.arange(first, end) / fps))
    else:
        boxes = () if trace.box is None else (trace.box,) * (end - first)
    keys = {first, *(round(key.time_s * fps) for key in trace.keyframes)}
    return TraceFrames(trace, first, end, boxes, frozenset(key for key in keys if first <= key < end))


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


def trace_of_boxes(
    boxes: Mapping[int, Box],
    first: int,
    end: int,
    fps: float,
    *,
    categories: Iterable[Category] = (),
    score: float | None = None,
    explanation: str = "",
) -> Trace:
    """The trace of one unbroken segment of frames.

    Args:
        boxes: by frame, linear between them; none for a trace without a place.
        first: index of the segment's first frame.
        end: index of the frame after its last.
        fps: frames per second.
        categories, score, explanation: as for `Trace`.
    """
    keys = [Keyframe(time_s=frame / fps, box=box) for frame, box in sorted(boxes.items())]
    return Trace(
        categories=tuple(categories),
        onset_s=first / fps,
        offset_s=end / fps,
        score=score,
        box=hull(key.box for key in keys) if keys else None,
        keyframes=tuple(keys) if len(keys) > 1 else (),  # of one that stands still the box alone says where
        explanation=explanation,
    )
