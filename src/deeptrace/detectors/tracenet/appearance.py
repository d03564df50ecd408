"""What the middle of the picture looks like to a net that learned to see on photographs, and was not trained further.

A camera's clips and a generator's differ in more than texture: in shading, in outlines, in how parts belong together.
The clips at hand are too few to learn to see such things from, so they are read off a net that was trained on a million
photographs (EfficientNet-Lite0; see `weights/NOTICE`), as the mean of each channel of its last four stages.

It looks at the same central square as `texture`, at the same size, in two moments of a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from deeptrace.detectors.tracenet.texture import central_square
from deeptrace.errors import ModelError

__all__ = ["BACKBONE_NAME", "DIMENSIONS", "SIDE", "appearance_statistics", "open_session", "shipped_folder"]

_UNUSABLE = tuple(
    getattr(ort_errors, name)
    for name in ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented", "RuntimeException")
)


def shipped_folder() -> Path:
    """Where the package keeps its nets."""
    return Path(str(files("deeptrace.detectors.tracenet") / "weights"))


def open_session(path: Path, weights: bytes) -> onnxruntime.InferenceSession:
    """A session on one thread.

    Args:
        path: name of the file in errors.
        weights: the file's bytes.

    Raises:
        ModelError: ONNX Runtime cannot run it.
    """
    options: Any = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # videos are the unit of parallel work; spinning threads would fight over cores
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
    except _UNUSABLE as error:
        raise ModelError(str(path), f"cannot be run: {str(error).splitlines()[0]}", "Reinstall deeptrace.") from None


BACKBONE_NAME = "appearance.onnx"
DIMENSIONS = 704
SIDE = 216
_MOMENTS = (0.2, 0.8)


def appearance_statistics(frames: Sequence[np.ndarray]) -> np.ndarray:
    """The statistics (DIMENSIONS,) float32 of one segment of video.

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
