"""How good a sample is, measured without the reward: against the one right clip, and against held-out renders.

The reward never sees the prompt, the render or these numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from scipy.linalg import sqrtm

from closing_the_loop.world import Render

__all__ = ["CHECKS", "check", "frechet", "looks"]

CHECKS = {
    "error": "root of the mean squared difference to the render, grey levels",
    "shape": "IoU of what differs from the background with what should",
    "texture": "correlation with the render inside the things",
    "count": "share of frames with the right number of separate things",
    "off path": "pixels between where a thing fits best and where it should be",
    "consistency": "mean of shape, texture and count",
}
_CHANGED = 24  # grey levels
_SMALLEST = 8  # pixels of a thing that counts
_REACH = 4  # pixels searched around a thing's place


def check(frames: np.ndarray, render: Render) -> dict[str, float]:
    """Every one of `CHECKS` of a sample (FRAMES, SIDE, SIDE, 3) uint8; the first frame, which is given, is left out."""
    ours, right = frames[1:].astype(np.float32), render.frames[1:].astype(np.float32)
    back = render.background.astype(np.float32)
    seen, due = (np.abs(clip - back).max(axis=3) > _CHANGED for clip in (ours, right))
    either = (seen | due).sum(axis=(1, 2))
    shape = np.divide((seen & due).sum(axis=(1, 2)), either, out=np.ones(len(seen)), where=either > 0)
    count = [_blobs(a) == _blobs(b) for a, b in zip(seen, due, strict=True)]
    texture, off = [], []
    for mask in render.masks:
        for a, b, m in zip(ours, right, mask[1:], strict=True):
            if (m > 0.5).sum() >= _SMALLEST:
                texture.append(_correlation(a[m > 0.5], b[m > 0.5]))
                off.append(_shift(a, b, m > 0.5))
    values = {
        "error": float(np.sqrt(np.mean((ours - right) ** 2))),
        "shape": float(shape.mean()),
        "texture": float(np.mean(texture)) if texture else 1.0,
        "count": float(np.mean(count)),
        "off path": float(np.mean(off)) if off else 0.0,
    }
    return values | {"consistency": float(np.mean([values[name] for name in ("shape", "texture", "count")]))}


def looks(frames: np.ndarray) -> np.ndarray:
    """(12,) simple features of a clip: sharpness, change, unevenness of change and colour, their mean and spread."""
    clip = frames.astype(np.float32)
    gray = clip.mean(axis=3)
    step = np.abs(np.diff(gray, axis=0))
    bend = np.abs(np.diff(gray, n=2, axis=0))
    moved = step > 8
    rows = [
        np.array([np.abs(cv2.Laplacian(g, cv2.CV_32F)).mean() for g in gray]),
        step.mean(axis=(1, 2)),
        np.quantile(step, 0.97, axis=(1, 2)),
        bend.mean(axis=(1, 2)),
        moved.mean(axis=(1, 2)),
        np.ptp(clip, axis=3).mean(axis=(1, 2)),
    ]
    return np.array([statistic for row in rows for statistic in (row.mean(), row.std())])


def frechet(clips: Sequence[np.ndarray], reference: Sequence[np.ndarray]) -> float:
    """Fréchet distance of two sets of clips by `looks`, in spreads of the reference."""
    ours, theirs = (np.log(np.stack([looks(c) for c in some]) + 0.1) for some in (clips, reference))
    center, spread = theirs.mean(axis=0), theirs.std(axis=0) + 1e-6
    ours, theirs = (ours - center) / spread, (theirs - center) / spread
    ridge = 1e-6 * np.eye(len(center))  # some features never vary in a small set
    first, second = np.cov(ours.T) + ridge, np.cov(theirs.T) + ridge
    cross = np.real(sqrtm(first @ second))
    apart = ours.mean(axis=0) - theirs.mean(axis=0)
    return float(apart @ apart + np.trace(first + second - 2 * cross))


def _blobs(mask: np.ndarray) -> int:
    _, _, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    return int((statistics[1:, cv2.CC_STAT_AREA] >= _SMALLEST).sum())


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    length = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / length) if length > 1e-6 else 0.0


def _shift(frame: np.ndarray, right: np.ndarray, mask: np.ndarray) -> float:
    """How far from its place the thing, as the render has it, fits the frame best; at most about 1.4 * _REACH."""
    ys, xs = np.nonzero(mask)
    part = right[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
    weight = np.repeat(mask[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1, None], 3, axis=2).astype(np.float32)
    wide = cv2.copyMakeBorder(frame, _REACH, _REACH, _REACH, _REACH, cv2.BORDER_REPLICATE)
    around = wide[ys.min() : ys.max() + 1 + 2 * _REACH, xs.min() : xs.max() + 1 + 2 * _REACH]
    costs = cv2.matchTemplate(around, part, cv2.TM_SQDIFF, mask=weight)
    y, x = np.unravel_index(int(costs.argmin()), costs.shape)
    return float(np.hypot(x - _REACH, y - _REACH))
