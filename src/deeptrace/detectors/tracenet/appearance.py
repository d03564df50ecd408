"""What the middle of the picture looks like to a net that learned to see on photographs, and was not trained further.

A camera's clips and a generator's differ in more than texture: in shading, in outlines, in how parts belong together.
The clips at hand are too few to learn to see such things from, so they are read off a net that was trained on a million
photographs (EfficientNet-Lite0; see `weights/NOTICE`), as the mean of each channel of its last four stages.

It looks at the same central square as `texture`, at the same size, in two moments of a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import onnxruntime

from deeptrace.detectors.tracenet.sessions import open_session, shipped_folder
from deeptrace.detectors.tracenet.texture import central_square
from deeptrace.errors import ModelError

__all__ = ["BACKBONE_NAME", "DIMENSIONS", "SIDE", "appearance_statistics"]

BACKBONE_NAME = "appearance.onnx"
DIMENSIONS = 704
SIDE = 216
_MOMENTS = (0.2, 0.8)


def appearance_statistics(frames: Sequence[np.ndarray]) -> np.ndarray:
    """The statistics (DIMENSIONS,) float32 of one stretch of video.

    Args:
        frames: at least two neighbouring sampled frames, RGB uint8 (H, W, 3), short side 256.

    Raises:
        ModelError: the net is missing or damaged.
    """
    moments = [round((len(frames) - 2) * share) for share in _MOMENTS]
    squares = np.stack([central_square(frames[moment]) for moment in moments])
    return np.asarray(_backbone().run(None, {"pictures": squares})[0], np.float32)


@cache
def _backbone() -> onnxruntime.InferenceSession:
    path = shipped_folder() / BACKBONE_NAME
    try:
        return open_session(path, path.read_bytes())
    except OSError as error:
        raise ModelError(str(path), f"cannot be read: {error.strerror}", "Reinstall deeptrace.") from None
