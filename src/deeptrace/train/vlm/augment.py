"""Crops of time and frame under which every box and time that an answer states stays true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from deeptrace.geometry import Box, Keyframe, gaps_between, hull
from deeptrace.prompts import View
from deeptrace.schema import Trace
from deeptrace.train.vlm.settings import AugmentSettings

__all__ = ["Clip", "augment", "crop_frame", "crop_time"]

_TRIES = 8
_LEAST_FRAMES = 2


@dataclass(frozen=True)
class Clip:
    """Frames as they are shown to a model.

    Attributes:
        frames: (T, H, W, 3) uint8.
        times_s: true time of each, rising.
        size: (width, height) of the part of the original video that they show, in its pixels.
        duration_s: seconds of it.
    """

    frames: np.ndarray
    times_s: tuple[float, ...]
    size: tuple[float, float]
    duration_s: float

    def view(self, resized: tuple[float, float] | None = None) -> View:
        """What the model is shown, for the numbers in an answer; `resized` is the size of frame that it sees."""
        return View(size=self.size, resized=resized, duration_s=self.duration_s, frame_times_s=self.times_s)


def augment(
    clip: Clip, traces: Sequence[Trace], settings: AugmentSettings, rng: np.random.Generator
) -> tuple[Clip, tuple[Trace, ...]]:
    """A random crop in time and of the frame, each with the chance of `settings`, and the traces as they are then.

    No trace is lost: time crops hold at least half of each trace's life that is known, frame crops hold each box.
    """
    traces = tuple(traces)
    if settings.least_time < 1 and rng.random() < settings.chance:
        clip, traces = _random_time(clip, traces, settings.least_time, rng)
    if settings.least_side < 1 and rng.random() < settings.chance:
        clip, traces = _random_frame(clip, traces, settings.least_side, rng)
    return clip, traces


def crop_time(
    clip: Clip, traces: Sequence[Trace], start_s: float, end_s: float
) -> tuple[Clip, tuple[Trace, ...]] | None:
    """The frames in [start_s, end_s), their times counted from `start_s`, and the traces cut to it.

    None where that would leave fewer than two frames, less than half of some trace or none of its frames, or put the
    onset of a trace without a known end outside.
    """
    kept = [k for k, time_s in enumerate(clip.times_s) if start_s <= time_s < end_s]
    if len(kept) < _LEAST_FRAMES:
        return None
    times = tuple(clip.times_s[k] - start_s for k in kept)
    cut = []
    for trace in traces:
        within = _cut(trace, start_s, end_s)
        if within is None or (_seen(trace, clip.times_s) and not _seen(within, times)):
            return None
        cut.append(within)
    return replace(clip, frames=clip.frames[kept], times_s=times, duration_s=end_s - start_s), tuple(cut)


def crop_frame(clip: Clip, traces: Sequence[Trace], window: Box) -> tuple[Clip, tuple[Trace, ...]]:
    """The part of the frames in `window`, brought to whole pixels of them, and the boxes as fractions of it.

    Raises:
        ValueError: nothing of a trace's box lies in the window.
    """
    height, width = clip.frames.shape[1:3]
    x0, y0 = (int(np.floor(low * side)) for low, side in ((window.x0, width), (window.y0, height)))
    x1, y1 = (int(np.ceil(high * side)) for high, side in ((window.x1, width), (window.y1, height)))
    window = Box.from_pixels_xyxy(x0, y0, x1, y1, width=width, height=height)

    def moved(box: Box) -> Box:
        corners = np.array(box.as_tuple()) - [window.x0, window.y0, window.x0, window.y0]
        return Box.from_fractions(*(corners / [window.width, window.height, window.width, window.height]))

    size = (clip.size[0] * window.width, clip.size[1] * window.height)
    shown = replace(clip, frames=np.ascontiguousarray(clip.frames[:, y0:y1, x0:x1]), size=size)
    return shown, tuple(
        trace.model_copy(
            update={
                "box": None if trace.box is None else moved(trace.box),
                "keyframes": tuple(key.model_copy(update={"box": moved(key.box)}) for key in trace.keyframes),
            }
        )
        for trace in traces
    )


def _random_time(
    clip: Clip, traces: tuple[Trace, ...], least: float, rng: np.random.Generator
) -> tuple[Clip, tuple[Trace, ...]]:
    for _ in range(_TRIES):
        length = clip.duration_s * rng.uniform(least, 1.0)
        start = rng.uniform(0.0, clip.duration_s - length)
        found = crop_time(clip, traces, start, start + length)
        if found is not None:
            return found
    return clip, traces


def _random_frame(
    clip: Clip, traces: tuple[Trace, ...], least: float, rng: np.random.Generator
) -> tuple[Clip, tuple[Trace, ...]]:
    boxes = [box for trace in traces for box in (trace.box, *(key.box for key in trace.keyframes)) if box is not None]
    must = hull(boxes) if boxes else None
    sides = []
    for low, high in ((must.x0, must.x1), (must.y0, must.y1)) if must else ((0.5, 0.5), (0.5, 0.5)):
        length = max(rng.uniform(least, 1.0), high - low)
        first, last = max(high - length, 0.0), min(low, 1.0 - length)
        start = rng.uniform(first, max(first, last)) if length < 1 else 0.0  # last < first: rounding
        sides.append((start, min(start + length, 1.0)))
    return crop_frame(clip, traces, Box.from_fractions(sides[0][0], sides[1][0], sides[0][1], sides[1][1]))


def _cut(trace: Trace, start_s: float, end_s: float) -> Trace | None:
    """The trace within a segment, counted from its start; None where that would no longer be it."""
    onset, offset = trace.onset_s, trace.offset_s
    if onset is None:
        return trace if offset is None and not trace.keyframes else None
    if offset is None:
        if not start_s <= onset < end_s:
            return None
        gaps = gaps_between(trace.gaps, start_s, end_s)
        keys = _shifted(trace, start_s, end_s)
        return trace.model_copy(update={"onset_s": onset - start_s, "keyframes": keys, "gaps": gaps})
    shared = min(offset, end_s) - max(onset, start_s)
    if shared < (offset - onset) / 2 or shared < 0 or not onset < end_s:
        return None
    keyframes = _shifted(trace, start_s, end_s)
    return trace.model_copy(
        update={
            "onset_s": max(onset - start_s, 0.0),
            "offset_s": min(offset, end_s) - start_s,
            "keyframes": keyframes,
            "gaps": gaps_between(trace.gaps, start_s, end_s),
            "box": hull(key.box for key in keyframes) if keyframes else trace.box,
        }
    )


def _seen(trace: Trace, times_s: Sequence[float]) -> bool:
    """Whether a frame is shown during the trace's life, as far as that is known."""
    onset, offset = trace.onset_s or 0.0, np.inf if trace.offset_s is None else trace.offset_s
    times_s = [time_s for time_s in times_s if not any(gap.onset_s <= time_s < gap.offset_s for gap in trace.gaps)]
    return any(onset <= time_s < offset for time_s in times_s)


def _shifted(trace: Trace, start_s: float, end_s: float) -> tuple[Keyframe, ...]:
    """Keyframes within the segment, with the box at its ends where the trace goes beyond it."""
    tube = trace.tube
    if tube is None or not trace.keyframes:
        return ()
    low, high = max(tube.onset_s, start_s), min(tube.offset_s, end_s)
    times = sorted({low, high, *(key.time_s for key in trace.keyframes if low < key.time_s < high)})
    corners = tube.corners_at(times)
    return tuple(
        Keyframe(time_s=time_s - start_s, box=Box.from_fractions(*row))
        for time_s, row in zip(times, corners.tolist(), strict=True)
    )
