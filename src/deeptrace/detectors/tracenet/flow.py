"""Dense optical flow between small grey pictures: DIS (Kroeger et al. 2016) as OpenCV ships it, its fastest preset."""

from __future__ import annotations

import threading
from functools import cache

import cv2
import numpy as np

__all__ = ["optical_flow", "pixels"]

_engines = threading.local()


def optical_flow(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Where each pixel of `here` is in `there`: (H, W, 2) float32 offsets in pixels.

    Args:
        here, there: (H, W) uint8.
    """
    engine = getattr(_engines, "dis", None)
    if engine is None:  # one a thread: the engine keeps buffers
        engine = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)  # type: ignore[attr-defined]
        _engines.dis = engine
    return np.asarray(engine.calc(here, there, None))


@cache
def pixels(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Column and row of every pixel, (H, W) float32 each. Shared: do not write into them."""
    xs, ys = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return xs, ys
