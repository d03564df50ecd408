"""Sensor and codec noise: how much a clip has, and fresh noise like it.

Resampling averages neighbours and so takes noise away. Were it not put back, missing noise would tell an injected
region from its surroundings better than the trace itself does.
"""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["Grain"]

_KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)  # Immerkaer (1996); gain 6 for white noise
_TILE = 320


class Grain:
    """Noise with the strength and the neighbour correlation of a clip.

    Attributes:
        sigma: standard deviation in grey levels, measured in the flattest parts of a few frames.
    """

    def __init__(self, frames: np.ndarray, rng: np.random.Generator) -> None:
        picked = frames[:: max(1, len(frames) // 3)][:3]
        self.sigma = float(np.median([_noise_of(frame) for frame in picked]))
        self._tile = _tile(rng)
        self._rng = rng

    def like(self, shape: tuple[int, ...], share: float = 1.0) -> np.ndarray:
        """Fresh noise (h, w, 3) float32 with `share` of the clip's standard deviation."""
        height, width = shape[:2]
        dy, dx = (int(v) for v in self._rng.integers(0, _TILE, 2))
        rows = (np.arange(height) + dy) % _TILE
        cols = (np.arange(width) + dx) % _TILE
        return np.asarray(self._tile[rows][:, cols] * np.float32(self.sigma * share))


def _noise_of(frame: np.ndarray) -> float:
    """Noise of the flatter half of a frame, in grey levels."""
    step = max(1, max(frame.shape[:2]) // 512)
    height, width = (frame.shape[0] // step, frame.shape[1] // step)
    top, left = (frame.shape[0] - height) // 2, (frame.shape[1] - width) // 2
    gray = cv2.cvtColor(frame[top : top + height, left : left + width], cv2.COLOR_RGB2GRAY).astype(np.float32)
    rough = np.abs(cv2.filter2D(gray, -1, _KERNEL))
    blocks = cv2.resize(rough, (max(width // 8, 1), max(height // 8, 1)), interpolation=cv2.INTER_AREA)
    # the lowest third holds the flat parts; for Gaussian noise the mean of |x| is 0.798 sigma
    return float(np.percentile(blocks, 33) / 6.0 / 0.798)


def _tile(rng: np.random.Generator) -> np.ndarray:
    """(320, 320, 3) float32 of unit variance: mostly common to the channels, a little correlated in space."""
    common = rng.standard_normal((_TILE, _TILE, 1), dtype=np.float32)
    own = rng.standard_normal((_TILE, _TILE, 3), dtype=np.float32)
    noise = cv2.GaussianBlur(0.85 * common + 0.5 * own, (3, 3), 0.55)
    return np.asarray(noise / noise.std(), dtype=np.float32)
