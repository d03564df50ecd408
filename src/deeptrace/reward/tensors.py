"""Video tensors as frames: the layout and the value range are the trainer's, and checked.

Trainers hand over five different layouts in three value ranges. Which one it is cannot be told from the numbers (a
video of 3 frames fits two layouts, a dark one two ranges), so nothing is guessed: each adapter states its own, a user
of `Reward` states theirs, and what does not fit it is an error that says what came instead.

Tensors are read by what they can do (`detach`, `cpu`, `numpy`), on any device and of any float type; torch is not
imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

from deeptrace.errors import SettingsError

__all__ = [
    "AXES", "RANGES", "Frames", "Tensor", "Unusable", "ValueRange", "frames_of_batch", "frames_of_clip", "is_array",
]  # fmt: skip

ValueRange = tuple[float, float]
"""What the darkest and the brightest pixel value are: (0, 255) of uint8, (0, 1) or (-1, 1) of floats."""

Frames = NDArray[np.uint8]
"""One clip: (T, H, W, 3) RGB."""

AXES = {"B": "batch", "T": "time", "C": "channels", "H": "height", "W": "width"}
RANGES: tuple[ValueRange, ...] = ((0, 255), (0, 1), (-1, 1))

_SLACK = 4e-3  # half a grey level of 255 and the rounding of bfloat16 at 1
_SHAPES = {1: "single values", 2: "matrices", 3: "an image", 4: "one clip or a batch of images", 5: "a batch of clips"}


@runtime_checkable
class Tensor(Protocol):
    """A torch tensor, or what can be read like one."""

    @property
    def shape(self) -> Any:
        """Sizes of the axes."""

    def detach(self) -> Any:
        """The values without their history."""

    def cpu(self) -> Any:
        """The values on the host."""

    def numpy(self) -> Any:
        """The values as an array."""


@dataclass(frozen=True)
class Unusable:
    """A clip that cannot be scored, though the batch it came in is fine.

    Attributes:
        name: which clip.
        reason: why, one line.
    """

    name: str
    reason: str


def is_array(value: Any) -> TypeGuard[Tensor | NDArray[Any]]:
    """Whether a value is an array or a tensor."""
    return isinstance(value, (np.ndarray, Tensor))


def frames_of_batch(batch: Any, *, layout: str, value_range: ValueRange | None, caller: str) -> list[Frames | Unusable]:
    """Every clip of a batch, in order.

    Args:
        batch: a tensor or array of five axes, or a sequence of clips of four.
        layout: its axes in order, letters of `AXES`: "BTCHW".
        value_range: one of `RANGES`; None for (0, 255) if the values are uint8.
        caller: name of the adapter, for errors.

    Returns:
        A clip, or for one with NaN or infinite values why it cannot be scored.

    Raises:
        SettingsError: no such layout or range, another number of axes, not 3 channels, another dtype, or values out of
            range.
    """
    layout = _checked_layout(layout, batch, caller, batched=True)
    of_clip = layout.replace("B", "")
    if isinstance(batch, (list, tuple)):
        return [
            frames_of_clip(clip, layout=of_clip, value_range=value_range, caller=caller, name=f"clip {index}")
            for index, clip in enumerate(batch)
        ]
    array = _array(batch, caller)
    _check_shape(array, layout, caller)
    clips = np.moveaxis(array, layout.index("B"), 0)
    return [_frames(clip, of_clip, value_range, caller, f"clip {index}") for index, clip in enumerate(clips)]


def frames_of_clip(
    clip: Any, *, layout: str, value_range: ValueRange | None, caller: str, name: str = "clip"
) -> Frames | Unusable:
    """One clip of four axes; otherwise as `frames_of_batch`."""
    layout = _checked_layout(layout, clip, caller, batched=False)
    array = _array(clip, caller)
    _check_shape(array, layout, caller)
    return _frames(array, layout, value_range, caller, name)


def _checked_layout(layout: str, values: Any, caller: str, *, batched: bool) -> str:
    letters = str(layout).upper().replace("F", "T")  # frames, as many papers have it
    wanted = "BTCHW" if batched else "TCHW"
    if sorted(letters) != sorted(wanted):
        shape = f" for values of shape {tuple(values.shape)}" if is_array(values) else ""
        raise SettingsError(
            caller,
            f"expected a layout of {len(wanted)} axes, each of {', '.join(wanted)} once, but got {layout!r}{shape}",
            f"For example {wanted!r}.",
        )
    return letters


def _array(tensor: Any, caller: str) -> NDArray[Any]:
    """A numpy view of an array, or a copy of a tensor on the host; bfloat16, which numpy lacks, becomes float32."""
    if isinstance(tensor, np.ndarray):
        return tensor
    if not isinstance(tensor, Tensor):
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


def _frames(
    clip: NDArray[Any], layout: str, value_range: ValueRange | None, caller: str, name: str
) -> Frames | Unusable:
    """(T, H, W, 3) uint8 of one clip whose shape has been checked."""
    low, high = _checked_range(clip, value_range, caller, name)
    if clip.dtype == np.uint8:
        return np.ascontiguousarray(clip.transpose([layout.index(axis) for axis in "THWC"]))
    least, most = float(clip.min()), float(clip.max())  # NaN where there is one
    if not np.isfinite([least, most]).all():
        return Unusable(name, "has NaN or infinite pixel values")
    if least < low - _SLACK or most > high + _SLACK:
        raise SettingsError(
            caller, f"expected values from {low:g} to {high:g} but {name} has {least:.4g} to {most:.4g}", "Rescale."
        )
    in_order = clip.transpose([layout.index(axis) for axis in "TCHW"])
    shown = np.empty((in_order.shape[0], *in_order.shape[2:], 3), np.uint8)
    levels = np.empty(in_order.shape[1:], np.float32)
    for index, frame in enumerate(in_order):  # one at a time stays in the cache: many times as fast
        np.subtract(frame, low, out=levels, casting="same_kind")
        np.multiply(levels, 255 / (high - low), out=levels)
        np.rint(levels, out=levels)
        np.clip(levels, 0, 255, out=levels)
        cv2.merge(list(levels.astype(np.uint8)), shown[index])
    return shown


def _checked_range(clip: NDArray[Any], value_range: ValueRange | None, caller: str, name: str) -> ValueRange:
    """The range of a clip's values, once it goes with their dtype."""
    got = f"{'values' if name == caller else name} of shape {clip.shape} and dtype {clip.dtype}"
    if value_range is None:
        if clip.dtype == np.uint8:
            return RANGES[0]
        raise SettingsError(
            caller,
            f"got {got}, which do not say what black and white are in them",
            "Give value_range=(0, 1) or (-1, 1).",
        )
    if tuple(value_range) not in RANGES:
        known = ", ".join(map(str, RANGES))
        raise SettingsError(caller, f"expected a value range of {known} but got {value_range!r} for {got}")
    low, high = value_range
    if high == 255 and clip.dtype != np.uint8:
        raise SettingsError(
            caller, f"expected uint8 values from 0 to 255 but got {got}", "Round them, or scale them to (0, 1)."
        )
    if high != 255 and clip.dtype.kind != "f":
        raise SettingsError(
            caller, f"expected floats from {low:g} to {high:g} but got {got}", "uint8 has the range (0, 255)."
        )
    return low, high
