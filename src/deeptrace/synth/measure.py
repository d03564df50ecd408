"""Numbers that explanations quote, measured on the pixels of a clip before and after."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["change", "sharpness"]


def sharpness(picture: np.ndarray, weight: np.ndarray) -> float:
    """Root mean square of the Laplacian of the lightly smoothed luma, over `weight`; in grey levels.

    Args:
        picture: (h, w, 3) uint8 or float32 RGB.
        weight: (h, w) in [0, 1].
    """
    gray = cv2.cvtColor(np.clip(picture, 0, 255).astype(np.float32), cv2.COLOR_RGB2GRAY)
    edges = cv2.Laplacian(cv2.GaussianBlur(gray, (0, 0), 1.0), cv2.CV_32F)
    total = float(weight.sum())
    return float(np.sqrt((weight * edges * edges).sum() / total)) if total > 0 else 0.0


def change(before: np.ndarray, after: np.ndarray, weight: np.ndarray) -> float:
    """Mean absolute difference of two pictures (h, w, 3) over `weight` (h, w), in grey levels."""
    gap = np.abs(before.astype(np.float32) - after.astype(np.float32)).mean(axis=-1)
    total = float(weight.sum())
    return float((gap * weight).sum() / total) if total > 0 else 0.0
