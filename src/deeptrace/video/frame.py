"""Frame: one decoded picture with the moment at which it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Frame", "Picture", "Pixels"]

Picture = NDArray[np.uint8]
Pixels = Literal["rgb", "gray"]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of a video.

    Attributes:
        time_s: when it is first shown, in seconds after the first shown frame, from the file's own timestamps.
        image: (H, W, 3) uint8 RGB, or (H, W) uint8 full-range luma when gray was asked for. Upright, C-contiguous.
        closer: the same at another size, where a `Closer` look was asked for.
    """

    time_s: float
    image: Picture
    closer: Picture | None = None
