"""A trainer's batch of video tensors as frames: the layout and the value range are the trainer's, and checked.

Trainers hand over five different layouts in three value ranges. Which one it is cannot be told from the numbers (a
video of 3 frames fits two layouts, a dark one two ranges), so nothing is guessed: each adapter states its own, and
what does not fit it is an error that says what came instead.

Tensors are read by what they can do (`detach`, `cpu`, `numpy`), on any device and of any float type; torch is not
imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from deeptrace.errors import SettingsError

__all__ = ["AXES", "Frames", "Unusable", "Values", "frames_of_batch", "frames_of_clip"]

Values = Literal["bytes", "unit", "signed"]
"""What a pixel value is: uint8 0..255, a float in [0, 1], or a float in [-1, 1]."""

Frames = NDArray[np.uint8]
"""One clip: (T, H, W, 3) RGB."""

AXES = {"B": "batch", "F": "frames", "C": "channels", "H": "height", "W": "width"}

_LIMITS = {"unit": (0.0, 1.0), "signed": (-1.0, 1.0)}
_SLACK = 4e-3  # half a grey level of 255 and the rounding of bfloat16 at 1
_SHAPES = {1: "single values", 2: "matrices", 3: "an image", 4: "one clip or a batch of images", 5: "a batch of clips"}


@dataclass(frozen=True)
class Unusable:
    """A clip that cannot be scored, though the batch it came in is fine.

    Attributes:
        name: which clip.
        reason: why, one line.
    """

    name: str
    reason: str


def frames_of_batch(batch: Any, *, layout: str, values: Values, caller: str) -> list[Frames | Unusable]:
    """Every clip of a batch, in order.

    Args:
        batch: a tensor or array of five axes, or a sequence of clips of four.
        layout: its axes in order, letters of `AXES`, "B" first: "BFCHW".
        values: its value range.
        caller: who is told what is wrong.

    Returns:
        A clip, or for one with NaN or infinite values why it cannot be scored.

    Raises:
        SettingsError: another number of axes, not 3 channels, another dtype or values out of range.
    """
    if isinstance(batch, (list, tuple)):
        return [
            frames_of_clip(clip, layout=layout[1:], values=values, caller=caller, name=f"clip {index}")
            for index, clip in enumerate(batch)
        ]
    array = _array(batch, caller)
    _check_shape(array, layout, caller)
    return [_frames(clip, layout[1:], values, caller, f"clip {index}") for index, clip in enumerate(array)]


def frames_of_clip(clip: Any, *, layout: str, values: Values, caller: str, name: str = "clip") -> Frames | Unusable:
    """One clip of four axes; otherwise as `frames_of_batch`."""
    array = _array(clip, caller)
    _check_shape(array, layout, caller)
    return _frames(array, layout, values, caller, name)


def _array(tensor: Any, caller: str) -> NDArray[Any]:
    """A numpy view of an array, or a copy of a tensor on the host; bfloat16, which numpy lacks, becomes float32."""
    if isinstance(tensor, np.ndarray):
        return tensor
    if not all(hasattr(tensor, verb) for verb in ("detach", "cpu", "numpy")):
        raise SettingsError(caller, f"expected a tensor or an array of videos but got {type(tensor).__name__}")
    tensor = tensor.detach()
    if "bfloat16" in str(tensor.dtype):
        tensor = tensor.float()
    return np.asarray(tensor.cpu().numpy())


def _check_shape(array: NDArray[Any], layout: str, caller: str) -> None:
    wanted = f"({', '.join(layout)})"
    if array.ndim != len(layout):
        what = _SHAPES.get(array.ndim, f"{array.ndim} axes")
        raise SettingsError(caller, f"expected videos of shape {wanted} but got {array.shape}, which is {what}")
    if not all(array.shape):
        raise SettingsError(caller, f"expected videos of shape {wanted} but got {array.shape}, which is empty")
    channels = array.shape[layout.index("C")]
    if channels != 3:
        raise SettingsError(
            caller,
            f"expected videos of shape {wanted} with 3 channels but got {array.shape}, which has {channels} there",
            "Another layout? Permute the axes. Latents? Decode them first.",
        )


def _frames(clip: NDArray[Any], layout: str, values: Values, caller: str, name: str) -> Frames | Unusable:
    """(F, H, W, 3) uint8 of one clip whose shape has been checked."""
    if values == "bytes":
        if clip.dtype != np.uint8:
            raise SettingsError(caller, f"expected uint8 values from 0 to 255 but got {clip.dtype}")
        return np.ascontiguousarray(clip.transpose([layout.index(axis) for axis in "FHWC"]))
    low, high = _LIMITS[values]
    if clip.dtype.kind != "f":
        raise SettingsError(caller, f"expected floats from {low:g} to {high:g} but got {clip.dtype}")
    least, most = float(clip.min()), float(clip.max())  # NaN where there is one
    if not np.isfinite([least, most]).all():
        return Unusable(name, "has NaN or infinite pixel values")
    if least < low - _SLACK or most > high + _SLACK:
        raise SettingsError(
            caller, f"expected values from {low:g} to {high:g} but {name} has {least:.4g} to {most:.4g}", "Rescale."
        )
    in_order = clip.transpose([layout.index(axis) for axis in "FCHW"])
    shown = np.empty((in_order.shape[0], *in_order.shape[2:], 3), np.uint8)
    levels = np.empty(in_order.shape[1:], np.float32)
    for index, frame in enumerate(in_order):  # one at a time stays in the cache: many times as fast
        np.subtract(frame, low, out=levels, casting="same_kind")
        np.multiply(levels, 255 / (high - low), out=levels)
        np.rint(levels, out=levels)
        np.clip(levels, 0, 255, out=levels)
        cv2.merge(list(levels.astype(np.uint8)), shown[index])
    return shown
