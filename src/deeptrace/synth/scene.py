"""What a clip offers to a trace: its shots, its motion, the camera's motion, its noise.

Everything here runs on a small copy of the frames (`WORK_SIDE` pixels along the longer side), so that the cost of
a scene does not grow with the size of the video. Coordinates of that copy are called *work pixels*.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import cv2
import numpy as np

from deeptrace.errors import SettingsError
from deeptrace.plural import plural
from deeptrace.synth.affine import Affine, fit_similarity, identity

__all__ = ["WORK_SIDE", "Scene", "Shot", "find_shots"]

WORK_SIDE = 160
_GRID_STEP = 6  # every sixth work pixel takes part in the fit of the camera's motion


@dataclass(frozen=True)
class Shot:
    """Frames [start, stop) between two cuts."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def find_shots(small: np.ndarray) -> list[Shot]:
    """Split frames where the picture changes at once.

    A cut is a frame whose difference to the one before is large in itself and against the clip's usual one. Where it
    is not very large, the histogram must change too: fast motion leaves that alone.

    Args:
        small: (T, h, w, 3) uint8.
    """
    if len(small) < 3:
        return [Shot(0, len(small))]
    thumbs = np.stack([cv2.resize(frame, (32, 32), interpolation=cv2.INTER_AREA) for frame in small])
    step = np.abs(np.diff(thumbs.astype(np.float32), axis=0)).mean(axis=(1, 2, 3))
    histograms = np.stack([_histogram(thumb) for thumb in thumbs])
    change = np.abs(np.diff(histograms, axis=0)).sum(axis=1) / 2
    usual = np.median(step)
    abrupt, plain = step > max(14.0, 4.0 * usual), step > max(28.0, 6.0 * usual)
    cuts = [int(i) + 1 for i in np.flatnonzero(plain | (abrupt & (change > 0.35)))]
    edges = [0, *cuts, len(small)]
    return [Shot(a, b) for a, b in pairwise(edges)]


def _histogram(thumb: np.ndarray) -> np.ndarray:
    counts = np.concatenate([np.bincount(thumb[..., c].ravel() >> 4, minlength=16) for c in range(3)])
    return counts.astype(np.float32) / thumb[..., 0].size / 3


@dataclass(frozen=True)
class Scene:
    """A clip and what was measured of it.

    Attributes:
        frames: (T, H, W, 3) uint8 RGB, never written to.
        times_s: (T,) seconds, rising.
        small: (T, h, w, 3) uint8, the work-size copy.
        scale: work pixels per video pixel.
        shots: segments between cuts.
    """

    frames: np.ndarray
    times_s: np.ndarray
    small: np.ndarray
    scale: float
    shots: list[Shot]

    @classmethod
    def of(cls, frames: np.ndarray, times_s: np.ndarray) -> Scene:
        """Analyse a clip.

        Raises:
            SettingsError: the arrays have another shape, type or order than stated.
        """
        frames = np.asarray(frames)
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
            raise SettingsError("frames", f"expected (T, H, W, 3) uint8 but got {frames.shape} {frames.dtype}")
        times = np.asarray(times_s, dtype=np.float64)
        if times.shape != frames.shape[:1] or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
            raise SettingsError("times_s", f"expected {plural(len(frames), 'rising time')} but got shape {times.shape}")
        height, width = frames.shape[1:3]
        scale = min(1.0, WORK_SIDE / max(height, width))
        size = (max(8, round(width * scale)), max(8, round(height * scale)))
        small = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames])
        return cls(frames, times, small, size[0] / width, find_shots(small))

    # -- time -----------------------------------------------------------------------------------------------------

    @cached_property
    def frame_s(self) -> float:
        """Usual time from one frame to the next; 1/25 for a single frame."""
        return float(np.median(np.diff(self.times_s))) if len(self.times_s) > 1 else 0.04

    def end_s(self, index: int) -> float:
        """When frame `index` gives way to the next one."""
        last = index + 1 >= len(self.times_s)
        return float(self.times_s[index] + self.frame_s if last else self.times_s[index + 1])

    # -- motion ---------------------------------------------------------------------------------------------------

    @cached_property
    def gray(self) -> list[np.ndarray]:
        """T grey work-size frames."""
        return [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in self.small]

    @cached_property
    def picture(self) -> np.ndarray:
        """(h, w) bool: what is no black bar at the border; all of it when the clip is dark throughout."""
        brightest = self.small[:: max(1, len(self.small) // 8)].max(axis=(0, 3))
        rows, cols = brightest.max(axis=1) > 28, brightest.max(axis=0) > 28
        if not rows.any():
            return np.ones_like(brightest, dtype=bool)
        y, x = np.flatnonzero(rows), np.flatnonzero(cols)
        inside = np.zeros_like(brightest, dtype=bool)
        inside[y[0] : y[-1] + 1, x[0] : x[-1] + 1] = True
        return inside

    @cached_property
    def flows(self) -> np.ndarray:
        """(T - 1, h, w, 2) float32: where each work pixel goes in the next frame, in work pixels; 0 over a cut."""
        # The fast presets stop at a quarter of the size and miss small things that move against a large background;
        # half the size without the variational step finds them in the same time.
        engine = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        engine.setFinestScale(1)
        engine.setVariationalRefinementIterations(0)
        count, (height, width) = len(self.gray), self.gray[0].shape
        flows = np.zeros((max(count - 1, 0), height, width, 2), np.float32)
        cuts = {shot.start for shot in self.shots}
        for i in range(count - 1):
            if i + 1 not in cuts and min(height, width) >= 16:
                flows[i] = engine.calc(self.gray[i], self.gray[i + 1], flows[i])
        return flows

    @cached_property
    def camera(self) -> list[Affine]:
        """T - 1 similarities, frame to next frame, in work pixels: the motion that most of the picture shares."""
        height, width = self.gray[0].shape
        ys, xs = np.mgrid[2:height:_GRID_STEP, 2:width:_GRID_STEP]
        points = np.stack([xs.ravel(), ys.ravel()], axis=1).astype(np.float32)
        return [
            fit_similarity(points, flow[ys.ravel(), xs.ravel()], max_turn=0.15, max_zoom=0.12) for flow in self.flows
        ]

    def own_motion(self, index: int) -> np.ndarray:
        """(h, w) speed against the camera around frame `index`, in work pixels a frame, averaged over a few frames."""
        height, width = self.gray[0].shape
        if not len(self.flows):
            return np.zeros((height, width), np.float32)
        ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
        first = int(np.clip(index - 1, 0, len(self.flows) - 1))
        total = np.zeros((height, width), np.float32)
        picked = range(first, min(first + 3, len(self.flows)))
        for i in picked:
            m = self.camera[i]
            rest_x = self.flows[i, ..., 0] - (m[0, 0] * xs + m[0, 1] * ys + m[0, 2] - xs)
            rest_y = self.flows[i, ..., 1] - (m[1, 0] * xs + m[1, 1] * ys + m[1, 2] - ys)
            total += cv2.magnitude(rest_x.astype(np.float32), rest_y.astype(np.float32))
        return cv2.GaussianBlur(total / len(picked), (0, 0), 2.0)

    def texture(self, index: int) -> np.ndarray:
        """(h, w) local gradient strength of frame `index`, in grey levels a work pixel."""
        gray = self.gray[index].astype(np.float32)
        slope = cv2.magnitude(cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1)) / 8
        return cv2.GaussianBlur(slope, (0, 0), 3.0)


def carry(steps: list[Affine], anchor: int, shot: Shot, count: int) -> list[Affine]:
    """Chain frame-to-next-frame maps into maps from frame `anchor` to every frame of `shot` (identity elsewhere)."""
    path = [identity() for _ in range(count)]
    for t in range(anchor + 1, shot.stop):
        path[t] = (np.vstack([steps[t - 1], [0, 0, 1]]) @ np.vstack([path[t - 1], [0, 0, 1]]))[:2]
    for t in range(anchor - 1, shot.start - 1, -1):
        path[t] = (np.linalg.inv(np.vstack([steps[t], [0, 0, 1]])) @ np.vstack([path[t + 1], [0, 0, 1]]))[:2]
    return path
