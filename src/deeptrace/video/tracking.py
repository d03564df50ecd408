"""A box that follows what is in it through a video, and as few keyframes as say the same.

Median flow (Kalal, Mikolajczyk and Matas, "Forward-Backward Error", ICPR 2010): points in the box are followed to the
next frame and back; those that do not come back to where they began are left out, and the box moves by the median of
the others and grows by the median of the ratios of their distances.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deeptrace.geometry import Box, Keyframe
from deeptrace.video.frame import Frame

__all__ = ["follow_box", "thinned"]

_GRID = 12
"""Points a side."""
_LOST_PX, _LEAST_POINTS = 3.0, 8
"""Median error of the way there and back beyond which, and points below which, nothing is followed any more."""
_LEAST_SIDE_PX = 4.0
_FLOW: dict[str, Any] = {
    "winSize": (21, 21),
    "maxLevel": 4,
    "criteria": (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 0.03),
}

Points = NDArray[np.float32]


def follow_box(frames: Iterable[Frame], box: Box) -> list[Keyframe]:
    """Where a box is in each frame, as long as what is in it can be followed.

    Args:
        frames: grey, (H, W) uint8, in order; the box is that of the first.
        box: in fractions of the frame.

    Returns:
        A keyframe a frame, the first with `box`; fewer than frames where what is in the box was lost (covered, out of
        the frame, without structure, or changed too much from one frame to the next).
    """
    found: list[Keyframe] = []
    before: NDArray[np.uint8] | None = None
    sides_px = np.zeros(4)
    for frame in frames:
        grey = frame.image
        size = np.array([grey.shape[1], grey.shape[0]] * 2, dtype=float)
        if before is None:
            sides_px = np.array(box.as_tuple()) * size
            found.append(Keyframe(time_s=frame.time_s, box=box))
        else:
            moved_px = _moved(before, grey, sides_px)
            if moved_px is None:
                break
            sides_px = moved_px
            inside = np.clip(sides_px / size, 0.0, 1.0)
            if (inside[2:] - inside[:2]).min() * size.min() < _LEAST_SIDE_PX:
                break
            found.append(Keyframe(time_s=frame.time_s, box=Box.from_fractions(*inside.round(6).tolist())))
        before = grey
    return found


def _moved(
    before: NDArray[np.uint8], now: NDArray[np.uint8], sides_px: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """The sides (x0, y0, x1, y1) of a box in the next frame, in pixels; None where it is lost."""
    shown = np.clip(sides_px, 0, [before.shape[1] - 1, before.shape[0] - 1] * 2)
    across, down = (np.linspace(shown[at], shown[at + 2], _GRID + 2)[1:-1] for at in (0, 1))
    points: Points = np.stack(np.meshgrid(across, down), axis=-1).reshape(-1, 1, 2).astype(np.float32)
    there, went = _flow(before, now, points)
    back, came = _flow(now, before, there)
    error = np.linalg.norm((back - points).reshape(-1, 2), axis=1)
    kept = went & came & np.isfinite(error)
    if kept.sum() < _LEAST_POINTS or np.median(error[kept]) > _LOST_PX:
        return None
    kept &= error <= np.median(error[kept])
    old, new = points.reshape(-1, 2)[kept], there.reshape(-1, 2)[kept]
    if len(old) < _LEAST_POINTS:
        return None
    middle, half = (sides_px[:2] + sides_px[2:]) / 2 + np.median(new - old, axis=0), (sides_px[2:] - sides_px[:2]) / 2
    half = half * _growth(old, new)
    return np.concatenate([middle - half, middle + half])


def _flow(before: NDArray[np.uint8], now: NDArray[np.uint8], points: Points) -> tuple[Points, NDArray[np.uint8]]:
    """Where points go, and which of them were found."""
    flow: Any = cv2.calcOpticalFlowPyrLK  # its types know no points to begin with
    there, found, _ = flow(before, now, points, None, **_FLOW)
    return there, found.ravel() == 1


def _growth(old: Points, new: Points) -> float:
    """How much larger things have become: the median ratio of the distances of points, within what a frame can do."""
    first, second = np.triu_indices(len(old), 1)
    was = np.linalg.norm(old[first] - old[second], axis=1)
    apart = was > 1.0
    if not apart.any():
        return 1.0
    ratios = np.linalg.norm(new[first] - new[second], axis=1)[apart] / was[apart]
    return float(np.clip(np.median(ratios), 0.9, 1.1))


def thinned(keys: Sequence[Keyframe], *, tolerance: float = 0.006) -> list[Keyframe]:
    """As few of the keyframes as say where the box is to within `tolerance` of the frame, by linear interpolation.

    Ramer, Douglas and Peucker, over the four sides together; the first and the last stay.

    Examples:
        >>> def key(time_s, x0):
        ...     return Keyframe(time_s=time_s, box=Box(x0=x0, y0=0.0, x1=x0 + 0.1, y1=0.1))
        >>> [one.time_s for one in thinned([key(0.0, 0.0), key(1.0, 0.1), key(2.0, 0.2), key(3.0, 0.2)])]
        [0.0, 2.0, 3.0]
    """
    if len(keys) < 3:
        return list(keys)
    times_s = np.array([key.time_s for key in keys])
    sides = np.array([key.box.as_tuple() for key in keys])
    kept, open_ = {0, len(keys) - 1}, [(0, len(keys) - 1)]
    while open_:
        first, last = open_.pop()
        if last - first < 2:
            continue
        part = ((times_s[first + 1 : last] - times_s[first]) / (times_s[last] - times_s[first]))[:, None]
        off = np.abs(sides[first] + part * (sides[last] - sides[first]) - sides[first + 1 : last]).max(axis=1)
        if off.max() > tolerance:
            at = first + 1 + int(off.argmax())
            kept.add(at)
            open_ += [(first, at), (at, last)]
    return [keys[at] for at in sorted(kept)]
