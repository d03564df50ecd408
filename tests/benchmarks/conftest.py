"""The benchmarks are scripts: their folder is put on the path, as running one of them does."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))


@pytest.fixture(scope="session")
def clip() -> np.ndarray:
    """(20, 128, 160, 3) uint8: a bright patch that crosses a textured background, read-only."""
    rng = np.random.default_rng(0)
    back, skin = (cv2.GaussianBlur(rng.normal(0, 1, size), (0, 0), 2.0) for size in ((128, 160, 3), (40, 40, 3)))
    frames = np.repeat(np.clip(110 + 200 * back, 0, 255)[None], 20, axis=0)
    for index, frame in enumerate(frames):
        frame[50:90, 10 + 5 * index : 50 + 5 * index] = np.clip([220, 150, 60] + 150 * skin, 0, 255)
    frames = frames.astype(np.uint8)
    frames.setflags(write=False)
    return frames


@pytest.fixture(scope="session")
def times() -> np.ndarray:
    """(20,) seconds, 8 frames a second."""
    return np.arange(20) / 8
