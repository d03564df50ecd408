"""Where a true trace is after its clip was cropped or cut: exact for boxes that move linearly."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from deeptrace.geometry import Box, Interval, Keyframe, Tube, gaps_between
from deeptrace.schema import Trace

__all__ = ["crop_box", "crop_trace", "cut_trace"]


def crop_box(box: Box, window: Box) -> Box | None:
    """`box` in fractions of `window`, clipped to it; None when they do not overlap."""
    try:
        return Box.from_fractions(
            (box.x0 - window.x0) / window.width,
            (box.y0 - window.y0) / window.height,
            (box.x1 - window.x0) / window.width,
            (box.y1 - window.y0) / window.height,
        )
    except ValueError:
        return None


def crop_trace(trace: Trace, window: Box, *, min_visible: float = 0.25) -> Trace | None:
    """The trace in a clip of which only `window` is left.

    Its life shrinks to the time between its first and its last visible moment. None when, over that time, less than
    `min_visible` of its area is left on average.

    Args:
        trace: in the whole picture. Without a box it is returned as it is: nobody knows where it was.
        window: what is kept of the picture.
        min_visible: smallest share of area, in [0, 1], with which a trace still counts.
    """
    if trace.box is None:
        return trace
    tube = trace.tube
    if tube is None:
        box = crop_box(trace.box, window)
        if box is None or trace.box.overlap(window) < min_visible * trace.box.area:
            return None
        return trace.model_copy(update={"box": box, "keyframes": ()})
    visible = [Interval(onset_s=begin, offset_s=end) for begin, end in _visible(tube, window)]
    segments = [(part.onset_s, part.offset_s) for one in visible for part in one.without(tube.gaps)]
    if not segments or _mean_share(tube, window, segments) < min_visible:
        return None
    boxes: dict[float, Box] = {}
    for begin, end in segments:
        # A box that comes into sight has no area at the border itself, so its first keyframe stands just inside.
        inset = (end - begin) * 1e-4
        for time, inside in ((begin, begin + inset), (end, end - inset)):
            for moment in (time, inside):
                box = crop_box(Box.from_fractions(*tube.corners_at([moment])[0]), window)
                if box is not None:
                    boxes.setdefault(moment, box)
                    break
    keys = tuple(Keyframe(time_s=t, box=boxes[t]) for t in sorted(boxes))
    if not keys:
        return None
    onset, offset = segments[0][0], segments[-1][1]
    cropped = Tube(onset_s=onset, offset_s=offset, keyframes=keys, gaps=tube.gaps)
    return trace.model_copy(
        update={
            "onset_s": cropped.onset_s,
            "offset_s": cropped.offset_s,
            "box": cropped.box,
            "keyframes": cropped.keyframes if trace.keyframes else (),
        }
    )


def cut_trace(trace: Trace, start_s: float, end_s: float) -> Trace | None:
    """The trace in the segment [start_s, end_s) of its clip, in that segment's own time; None when it is not in it."""
    onset, offset = trace.onset_s, trace.offset_s
    if (onset is not None and onset >= end_s) or (offset is not None and offset <= start_s and offset != onset):
        return None
    if offset is not None and offset == onset and not start_s <= offset < end_s:
        return None
    inside_it = Interval(onset_s=max(onset or 0.0, start_s), offset_s=end_s if offset is None else min(offset, end_s))
    if not inside_it.without(trace.gaps):
        return None
    update: dict[str, object] = {
        "onset_s": None if onset is None else max(onset, start_s) - start_s,
        "offset_s": None if offset is None else min(offset, end_s) - start_s,
        "gaps": gaps_between(trace.gaps, start_s, end_s),
    }
    tube = trace.tube
    if trace.keyframes and tube is not None:
        begin, stop = max(tube.onset_s, start_s), min(tube.offset_s, end_s)
        inside = [key.time_s for key in tube.keyframes if begin < key.time_s < stop]
        times = sorted({begin, *inside, stop})
        keys = tuple(
            Keyframe(time_s=t - start_s, box=Box.from_fractions(*row))
            for t, row in zip(times, tube.corners_at(times), strict=True)
        )
        gaps = gaps_between(tube.gaps, start_s, end_s)
        cut = Tube(onset_s=begin - start_s, offset_s=stop - start_s, keyframes=keys, gaps=gaps)
        update |= {"keyframes": keys, "box": cut.box}
    return trace.model_copy(update=update)


def _visible(tube: Tube, window: Box) -> list[tuple[float, float]]:
    """Segments of the tube, between knots, over which part of its box is in the window."""
    times = _knots(tube, window)
    segments = list(pairwise(times)) or [(times[0], times[0])]
    middles = tube.corners_at([(a + b) / 2 for a, b in segments])
    return [span for span, left in zip(segments, _left(middles, window), strict=True) if left > 0]


def _mean_share(tube: Tube, window: Box, segments: list[tuple[float, float]], samples: int = 8) -> float:
    """Mean over time, from first to last visible moment, of the share of the box's area that is in the window."""
    begin, end = segments[0][0], segments[-1][1]
    steps = (np.arange(samples * len(segments)) + 0.5) / (samples * len(segments))
    corners = tube.corners_at(begin + (end - begin) * steps)
    whole = (corners[:, 2:] - corners[:, :2]).prod(axis=1)
    return float((_left(corners, window) / np.maximum(whole, 1e-12)).mean())


def _left(corners: np.ndarray, window: Box) -> np.ndarray:
    """Areas (N,) of boxes (N, 4) inside `window`."""
    limits = _corner(window)
    low, high = np.maximum(corners[:, :2], limits[:2]), np.minimum(corners[:, 2:], limits[2:])
    return np.asarray(np.clip(high - low, 0.0, None).prod(axis=1))


def _knots(tube: Tube, window: Box) -> list[float]:
    """Times between which every side of the clipped box moves linearly, from onset to offset."""
    base = sorted({tube.onset_s, tube.offset_s, *(k.time_s for k in tube.keyframes)})
    base = [t for t in base if tube.onset_s <= t <= tube.offset_s]
    rows = tube.corners_at(base)
    limits = _corner(window)
    extra: set[float] = set()
    for (t0, t1), (row0, row1) in zip(pairwise(base), pairwise(rows), strict=True):
        for side in range(4):
            # A side matters where it crosses either border of the window along its axis.
            for limit in (limits[side % 2], limits[side % 2 + 2]):
                a, b = row0[side] - limit, row1[side] - limit
                if a * b < 0:
                    extra.add(float(t0 + (t1 - t0) * a / (a - b)))
    return sorted({*base, *extra})


def _corner(box: Box) -> np.ndarray:
    return np.array(box.as_tuple())
