"""From a decoded picture to an upright array of square pixels at the size asked for."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from deeptrace.video.frame import Picture, Pixels
from deeptrace.video.scaling import Scaler, has_planes

__all__ = ["Orientation", "Upright", "nearest_matrix", "square_size"]

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
        scaled: whether a size was asked for, and the arrays are to be what `Scaler` makes of any form of the clip;
            else they are the picture as it is.
    """

    def __init__(
        self, orientation: Orientation, size: tuple[int, int], pixels: Pixels, *, scaled: bool = False
    ) -> None:
        self._orientation = orientation
        self._stored_size = orientation.size(*size)
        self._pixels = pixels
        self._scaler = Scaler(self._stored_size, pixels) if scaled else None
        self._converter = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> Picture:
        """The picture as (H, W, 3) uint8 RGB, or (H, W) uint8 full-range luma."""
        if self._scaler is None:
            image = self._converted(frame, self._stored_size, self._pixels)
        elif has_planes(frame):
            image = self._scaler.of_frame(frame, _matrix(frame))
        else:
            rgb = self._converted(frame, (frame.width, frame.height), "rgb")
            image = self._scaler.of_rgb(rgb, self._scaler.coding_of(rgb))
        return self._orientation.apply(image)

    def _converted(self, frame: VideoFrame, size: tuple[int, int], pixels: Pixels) -> Picture:
        """The stored picture at (width, height), RGB or luma."""
        width, height = size
        see_through = any(part.is_alpha for part in frame.format.components) or frame.format.has_palette
        out = self._converter.reformat(
            frame,
            width=width,
            height=height,
            format="rgba" if see_through else "rgb24" if pixels == "rgb" else "gray",
            src_colorspace=_matrix(frame),
            dst_color_range=ColorRange.JPEG,
            interpolation=Interpolation.FAST_BILINEAR,
            threads=1,
        )
        image = np.asarray(out.to_ndarray(), dtype=np.uint8)
        if see_through:
            image = _over_black(image)
            if pixels == "gray":
                image = _luma(image)
        return image


class Matrix(NamedTuple):
    """A colour matrix that FFmpeg's scaler knows."""

    label: str
    swscale: Colorspace


_BT709, _BT601, _BT2020 = (
    Matrix("BT.709", Colorspace.ITU709),
    Matrix("BT.601", Colorspace.ITU601),
    Matrix("BT.2020", Colorspace.BT2020),
)
# Numbers of ITU-T H.273, table 4. The scaler takes 1, 4 to 7 and 9; 0 is RGB, 2 unspecified, 3 reserved.
_UNSTATED = {0, 2, 3}
_TAKEN = {1, 4, 5, 6, 7, 9} | _UNSTATED
# BT.2020 of constant luminance, SMPTE ST 2085, ICtCp and IPT-C2 are all made for pictures in BT.2020's colours.
_NEAR_BT2020 = {10, 11, 14, 15}
_DERIVED, _BY_PRIMARIES = {12, 13}, {1: _BT709, 5: _BT601, 6: _BT601, 9: _BT2020}


def nearest_matrix(frame: VideoFrame) -> Matrix | None:
    """The matrix that stands for one that FFmpeg's scaler does not know; None where it knows the frame's own."""
    number = frame.colorspace
    if frame.format.is_rgb or number in _TAKEN:
        return None
    if number in _NEAR_BT2020:
        return _BT2020
    if number in _DERIVED and frame.color_primaries in _BY_PRIMARIES:
        return _BY_PRIMARIES[frame.color_primaries]
    return _usual_matrix(frame)


def _usual_matrix(frame: VideoFrame) -> Matrix:
    return _BT709 if frame.height >= 720 else _BT601


def _matrix(frame: VideoFrame) -> Colorspace | None:
    near = nearest_matrix(frame)
    if near is not None:
        return near.swscale
    return _usual_matrix(frame).swscale if frame.colorspace in _UNSTATED and not frame.format.is_rgb else None


def _over_black(image: Picture) -> Picture:
    color, alpha = image[..., :3], image[..., 3:]
    if alpha.min() == 255:
        return np.ascontiguousarray(color)
    return np.asarray((color.astype(np.uint16) * alpha + 127) // 255, dtype=np.uint8)


def _luma(image: Picture) -> Picture:
    return np.asarray(np.rint(image @ np.array([0.299, 0.587, 0.114])), dtype=np.uint8)
