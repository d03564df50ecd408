"""From a decoded picture to an upright array of square pixels at the size asked for."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from deeptrace.video.frame import Picture, Pixels

__all__ = ["Orientation", "Upright"]

# Sample aspect ratios beyond this are damage, not anamorphic film (the widest in use is 2:1).
_MAX_ASPECT = 4


@dataclass(frozen=True, slots=True)
class Orientation:
    """How a stored picture becomes upright: transpose first, then mirror."""

    transpose: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    @classmethod
    def of(cls, frame: VideoFrame) -> Orientation:
        """The orientation in the frame's display matrix, to the nearest quarter turn; upright when it has none.

        The matrix (FFmpeg, libavutil/display.h) maps stored to shown points: x' = a x + c y, y' = b x + d y.
        """
        try:
            data = frame.side_data["DISPLAYMATRIX"]  # type: ignore[typeddict-item]
        except KeyError:
            return cls()
        a, b, _, c, d, *_ = np.frombuffer(bytes(data), dtype="=i4").tolist()
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(False, mirror_x=a < 0, mirror_y=d < 0)
        return cls(True, mirror_x=c < 0, mirror_y=b < 0)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Upright (width, height) of a stored size, or the stored size of an upright one."""
        return (height, width) if self.transpose else (width, height)

    def apply(self, image: Picture) -> Picture:
        """The upright picture, C-contiguous, of a stored (H, W, ...) one."""
        if self.transpose:
            image = image.swapaxes(0, 1)
        if self.mirror_x:
            image = image[:, ::-1]
        if self.mirror_y:
            image = image[::-1]
        return np.ascontiguousarray(image)


def square_size(width: int, height: int, aspect: Fraction | None) -> tuple[int, int]:
    """Size in square pixels of a stored size, widened or narrowed by its sample aspect ratio, as players do."""
    if not aspect or aspect == 1 or not (Fraction(1, _MAX_ASPECT) <= aspect <= _MAX_ASPECT):
        return width, height
    return max(round(width * aspect), 1), height


class Upright:
    """Converts the decoded pictures of one stream; keeps the scaler's tables between them.

    Transparent pictures are laid over black. Pictures whose file does not name its colour matrix are read as BT.709
    from 720 lines up and BT.601 below, as players do. High dynamic range is not tone-mapped: such pictures look
    flat, and the reader says so.

    Args:
        orientation: how stored pictures become upright.
        size: (width, height) of the upright arrays.
        pixels: "rgb" or "gray".
    """

    def __init__(self, orientation: Orientation, size: tuple[int, int], pixels: Pixels) -> None:
        self._orientation = orientation
        self._stored_size = orientation.size(*size)
        self._pixels = pixels
        self._scaler = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> Picture:
        """The picture as (H, W, 3) uint8 RGB, or (H, W) uint8 full-range luma."""
        width, height = self._stored_size
        see_through = any(part.is_alpha for part in frame.format.components) or frame.format.has_palette
        out = self._scaler.reformat(
            frame,
            width=width,
            height=height,
            format="rgba" if see_through else "rgb24" if self._pixels == "rgb" else "gray",
            src_colorspace=_matrix(frame),
            dst_color_range=ColorRange.JPEG,
            interpolation=Interpolation.FAST_BILINEAR,
            threads=1,
        )
        image = np.asarray(out.to_ndarray(), dtype=np.uint8)
        if see_through:
            image = _over_black(image)
            if self._pixels == "gray":
                image = _luma(image)
        return self._orientation.apply(image)


def _matrix(frame: VideoFrame) -> Colorspace | None:
    if frame.format.is_rgb or frame.colorspace not in (0, 2, 3):  # 0 is RGB, 2 unspecified, 3 reserved
        return None
    return Colorspace.ITU709 if frame.height >= 720 else Colorspace.ITU601


def _over_black(image: Picture) -> Picture:
    color, alpha = image[..., :3], image[..., 3:]
    if alpha.min() == 255:
        return np.ascontiguousarray(color)
    return np.asarray((color.astype(np.uint16) * alpha + 127) // 255, dtype=np.uint8)


def _luma(image: Picture) -> Picture:
    return np.asarray(np.rint(image @ np.array([0.299, 0.587, 0.114])), dtype=np.uint8)
