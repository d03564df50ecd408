"""Dense optical flow between small grey pictures: DIS (Kroeger et al. 2016) as OpenCV ships it, its fastest preset."""

from __future__ import annotations

import threading
from functools import cache

import cv2
import numpy as np

__all__ = ["looked_up", "optical_flow", "places"]

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


def looked_up(picture: np.ndarray, lookup: np.ndarray) -> np.ndarray:
    """`picture` (S, S) or (S, S, C) read, linearly, at the column and row that `lookup` (S, S, 2) names."""
    # OpenCV takes both coordinates as one array, its type stubs do not
    moved = cv2.remap(picture, lookup, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    return np.asarray(moved)


@cache
def places(side: int) -> np.ndarray:
    """Column and row of every pixel of a square picture, (side, side, 2) float32. Shared: do not write into it."""
    line = np.arange(side, dtype=np.float32)
    return np.stack(np.meshgrid(line, line), axis=-1)
