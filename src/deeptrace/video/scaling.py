"""One way to a picture's size, for files, arrays and tensors: a clip's frames are the same whatever it came as.

Nearly every video file holds 8-bit planes of luma and of half-size chroma (4:2:0). Their sized frames are made from
those planes by swscale's quickest filter, which leaves its mark in every pixel, and detectors are trained on that. So
whatever comes as something else (RGB arrays and tensors, RGB codecs, animated images, 4:2:2, 4:4:4, more than 8 bits)
becomes such planes at its full size first, and then goes the same way.

RGB is of two sorts. What a generator made is converted as encoders do it: by the matrix that is usual for its size, one
chroma sample for the mean of four pixels. What was decoded from 4:2:0 still has its planes in it, and those are looked
for: to convert it anew would add the rounding of two conversions, enough to move a detector that counts how
neighbouring grey levels go together. Which sort it is can be told, because FFmpeg decodes the planes of decoded RGB to
exactly that RGB again, under one matrix and one range, and no planes at all to RGB of another origin.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from av import CodecContext, Packet
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from deeptrace.video.frame import Picture, Pixels

__all__ = ["Coding", "Scaler", "has_planes"]

Levels = NDArray[np.float32]
Planes = tuple[Picture, Picture, Picture]
"""Luma (H, W), blue and red chroma, both ((H + 1) // 2, (W + 1) // 2); uint8."""

_PLANAR = re.compile(r"yuvj?(420|422|444)p(9le|10le|12le|14le|16le)?")
_PLAIN = ("yuv420p", "yuvj420p")

_STRIPE_PIXELS = 1 << 17  # converted at once: what a processor's cache holds
# Blocks of 2 x 2 pixels each way, at most, that tell what RGB was decoded from; and pixels, at least.
_SAMPLE_BLOCKS, _FEWEST_PIXELS = 48, 256
# The share of pixels that come out the same is above 0.99 for decoded RGB in its own coding, below 0.6 in another, and
# below 0.4 for other RGB; it is above 0.75 after the first of the rounds already.
_ROUNDS = 3
_MAY_BE, _IS = 0.65, 0.9
# A level of chroma moves RGB by less than two levels, of which rounding can hide one: what looks like 0.4 is one.
_EAGER = 1.25


class Coding(NamedTuple):
    """How planes stand for RGB."""

    matrix: Colorspace
    full_range: bool


class Scaler:
    """Pictures at one size; keeps FFmpeg's tables between them.

    Args:
        size: (width, height).
        pixels: "rgb" for (H, W, 3), "gray" for (H, W) full-range luma.
    """

    def __init__(self, size: tuple[int, int], pixels: Pixels) -> None:
        self._size, self._pixels = size, pixels
        self._reformatter = VideoReformatter()
        self._coders: dict[tuple[int, int], _Coder] = {}

    def of_frame(self, frame: VideoFrame, matrix: Colorspace | None) -> Picture:
        """The picture of a decoded frame that `has_planes`; a `matrix` of None is the one that the frame names."""
        if frame.format.name not in _PLAIN:
            plain = self._coder(frame.height, frame.width).frame(_plain_planes(frame))
            plain.colorspace, plain.color_range = frame.colorspace, frame.color_range
            frame = plain
        return self._scaled(frame, matrix)

    def of_rgb(self, image: Picture, decoded_from: Coding | None) -> Picture:
        """The picture of an (H, W, 3) array, which goes the same way if it has this size already.

        Args:
            image: the array.
            decoded_from: see `coding_of`.
        """
        height, width = image.shape[:2]
        even, coding = _even(image), decoded_from or Coding(_usual_matrix(height), full_range=False)
        planes_of = _encoded if decoded_from is None else self._undone
        rows = max(_STRIPE_PIXELS // even.shape[1], 2) // 2 * 2
        stripes = [planes_of(even[top : top + rows], coding) for top in range(0, even.shape[0], rows)]
        luma, blue, red = (np.concatenate(parts) for parts in zip(*stripes, strict=True))
        frame = self._coder(height, width).frame((luma[:height, :width], blue, red), coding)
        return self._scaled(frame, coding.matrix)

    def coding_of(self, image: Picture) -> Coding | None:
        """What an (H, W, 3) array was decoded from; None where that was no 8-bit 4:2:0, or not done by FFmpeg.

        None also for the odd heights that few codecs have, which FFmpeg decodes in another way.
        """
        sample = _sampled(_even(image))
        whole = _whole(sample) > 0
        coloured = whole & (np.ptp(sample, axis=-1) > 2)  # any grey is on the full range's levels
        for matrix in sorted((Colorspace.ITU601, Colorspace.ITU709), key=lambda one: one != _usual_matrix(len(image))):
            for full_range in (False, True):
                coding, telling = Coding(matrix, full_range), coloured if full_range else whole
                if np.count_nonzero(telling) < _FEWEST_PIXELS:
                    continue
                if self._share(sample, coding, telling, 1) > _MAY_BE and self._share(sample, coding, telling) > _IS:
                    return coding
        return None

    def _share(self, sample: Picture, coding: Coding, telling: NDArray[np.bool_], rounds: int = _ROUNDS) -> float:
        """The share of the pixels in `telling` that the planes found for them are decoded to."""
        again = self._coder(*sample.shape[:2]).decoded(self._undone(sample, coding, rounds), coding)
        return float((again == sample)[telling].all(axis=-1).mean())

    def _undone(self, image: Picture, coding: Coding, rounds: int = _ROUNDS) -> Planes:
        """The planes that RGB of even sides was decoded from, as far as clipped colours leave them to be known."""
        planes, coder, clipping = _encoded(image, coding), self._coder(*image.shape[:2]), _Clipping.of(image, coding)
        matrix = _to_planes(coding) * np.float32(_EAGER)
        for _ in range(rounds):
            missing = _array(cv2.subtract(image, coder.decoded(planes, coding), dtype=cv2.CV_32F))
            luma = _array(cv2.transform(missing, matrix[:1]))
            if clipping is None:
                means = _halved(missing)
            else:
                luma[clipping.where] *= clipping.gain
                means = _halved(_array(cv2.copyTo(missing, clipping.whole))) * clipping.of_four
            blue, red = cv2.split(np.rint(cv2.transform(means, matrix[1:])))
            planes = _plus(planes, (np.rint(luma), _array(blue), _array(red)))
        return planes

    def _scaled(self, frame: VideoFrame, matrix: Colorspace | None) -> Picture:
        out = self._reformatter.reformat(
            frame,
            width=self._size[0],
            height=self._size[1],
            format="rgb24" if self._pixels == "rgb" else "gray",
            src_colorspace=matrix,
            dst_color_range=ColorRange.JPEG,
            interpolation=Interpolation.FAST_BILINEAR,
            threads=1,
        )
        return np.ascontiguousarray(out.to_ndarray(), dtype=np.uint8)

    def _coder(self, height: int, width: int) -> _Coder:
        if (height, width) not in self._coders:
            self._coders[height, width] = _Coder(height, width)
        return self._coders[height, width]


class _Coder:
    """Planes of one size as FFmpeg's frames, and what it decodes them to."""

    def __init__(self, height: int, width: int) -> None:
        decoder = CodecContext.create("rawvideo", "r")
        decoder.width, decoder.height, decoder.pix_fmt = width, height, "yuv420p"
        # Where H.264 has its chroma samples; a decoder's option is the only way to say it of a frame.
        decoder.options = {"chroma_sample_location": "left"}
        self._decoder, self._reformatter = decoder, VideoReformatter()

    def frame(self, planes: Planes, coding: Coding | None = None) -> VideoFrame:
        """A frame, which names its coding if there is one."""
        (frame,) = self._decoder.decode(Packet(b"".join(plane.tobytes() for plane in planes)))
        if coding is not None:
            frame.colorspace = coding.matrix
            frame.color_range = ColorRange.JPEG if coding.full_range else ColorRange.MPEG
        return frame

    def decoded(self, planes: Planes, coding: Coding) -> Picture:
        """The (H, W, 3) RGB that FFmpeg makes of planes at their own size."""
        out = self._reformatter.reformat(
            self.frame(planes, coding),
            format="rgb24",
            src_colorspace=coding.matrix,
            dst_color_range=ColorRange.JPEG,
            interpolation=Interpolation.FAST_BILINEAR,
            threads=1,
        )
        return np.asarray(out.to_ndarray(), dtype=np.uint8)


class _Clipping(NamedTuple):
    """Where values are 0 or 255, which stand for all beyond and so say little of the planes.

    Attributes:
        whole: (H, W), not 0 where none of a pixel's three values is.
        of_four: (H / 2, W / 2, 1), by how much a block's mean grows when it is that of its whole pixels alone.
        where: y and x of the N pixels that are not whole.
        gain: (N,), by how much the weighted mean of such a pixel's values grows when it is that of the others alone.
    """

    whole: Picture
    of_four: Levels
    where: tuple[NDArray[np.intp], ...]
    gain: Levels

    @classmethod
    def of(cls, image: Picture, coding: Coding) -> _Clipping | None:
        """That of RGB of even sides; None where nothing is clipped."""
        whole = _whole(image)
        if cv2.countNonZero(whole) == whole.size:
            return None
        share, where, weights = _halved((whole > 0).astype(np.float32)), np.nonzero(whole == 0), _to_planes(coding)[0]
        told = ((image[where] > 0) & (image[where] < 255)) @ weights
        gain = _array(weights.sum() / np.maximum(told, 0.2))  # blue alone, a tenth of luma, is not taken at its word
        return cls(whole, _array(1 / np.maximum(share, 0.25))[..., None], where, gain)


def has_planes(frame: VideoFrame) -> bool:
    """Whether a decoded frame holds luma and chroma that `Scaler.of_frame` takes; any other is taken as RGB."""
    return _PLANAR.fullmatch(frame.format.name) is not None


def _usual_matrix(height: int) -> Colorspace:
    """The matrix of a picture that names none, as players choose it."""
    return Colorspace.ITU709 if height >= 720 else Colorspace.ITU601


@cache
def _to_planes(coding: Coding) -> Levels:
    """(3, 3): luma and chroma, without their offsets, of red, green and blue (ITU-R BT.601 and BT.709)."""
    red, blue = (0.2126, 0.0722) if coding.matrix == Colorspace.ITU709 else (0.299, 0.114)
    luma = np.array([red, 1 - red - blue, blue])
    to_blue = (np.array([0, 0, 1]) - luma) / (2 * (1 - blue))
    to_red = (np.array([1, 0, 0]) - luma) / (2 * (1 - red))
    of_luma, of_chroma = (1.0, 1.0) if coding.full_range else (219 / 255, 224 / 255)
    return np.array([luma * of_luma, to_blue * of_chroma, to_red * of_chroma], np.float32)


def _encoded(image: Picture, coding: Coding) -> Planes:
    """The planes of RGB of even sides."""
    values, matrix = image.astype(np.float32), _to_planes(coding)
    luma = _array(cv2.transform(values, matrix[:1]))
    blue, red = cv2.split(cv2.transform(_halved(values), matrix[1:]))
    black = np.uint8(0 if coding.full_range else 16)
    return _plus(
        (np.full(luma.shape, black), np.full(blue.shape, 128, np.uint8), np.full(red.shape, 128, np.uint8)),
        (luma, _array(blue), _array(red)),
    )


def _plus(planes: Planes, change: tuple[Levels, Levels, Levels]) -> Planes:
    """Planes and a change of them, in whole levels."""
    luma, blue, red = (
        np.asarray(cv2.add(plane, more, dtype=cv2.CV_8U), np.uint8) for plane, more in zip(planes, change, strict=True)
    )
    return luma, blue, red


def _halved(values: Levels) -> Levels:
    """The means of 2 x 2 neighbours, of even sides."""
    height, width = values.shape[:2]
    return _array(cv2.resize(values, (width // 2, height // 2), interpolation=cv2.INTER_AREA))


def _array(values: Any) -> Levels:
    """Values with the type that they have: OpenCV's stubs do not say it."""
    return np.asarray(values, np.float32)


def _whole(image: Picture) -> Picture:
    """(H, W), 255 where none of a pixel's values is 0 or 255, else 0."""
    return np.asarray(cv2.inRange(image, (1, 1, 1), (254, 254, 254)), np.uint8)


def _even(image: Picture) -> Picture:
    """The image with its last row or column twice where their number is odd."""
    down, across = (side % 2 for side in image.shape[:2])
    return np.pad(image, ((0, down), (0, across), (0, 0)), mode="edge") if down or across else image


def _sampled(image: Picture) -> Picture:
    """At most _SAMPLE_BLOCKS blocks of 2 x 2 pixels each way, from all over an image of even sides, side by side."""
    high, wide = (side // 2 for side in image.shape[:2])
    down, across = (-(-side // _SAMPLE_BLOCKS) for side in (high, wide))
    blocks = image.reshape(high, 2, wide, 2, 3)[::down, :, ::across]
    return np.ascontiguousarray(blocks).reshape(2 * blocks.shape[0], 2 * blocks.shape[2], 3)


def _plain_planes(frame: VideoFrame) -> Planes:
    """The planes of a frame that `has_planes`, at 8 bits and 4:2:0."""
    bits = frame.format.components[0].bits
    kind = np.dtype(np.uint8 if bits == 8 else np.uint16)
    found: list[Picture] = []
    for plane in frame.planes:
        rows = np.frombuffer(memoryview(plane), kind).reshape(-1, plane.line_size // kind.itemsize)
        levels: NDArray[Any] = rows[: plane.height, : plane.width]
        if found and plane.width == frame.width > 1:  # 4:4:4
            levels = _paired(levels, axis=1)
        if found and plane.height == frame.height > 1:  # 4:4:4 and 4:2:2
            levels = _paired(levels, axis=0)
        found.append(np.asarray(cv2.convertScaleAbs(levels, alpha=1 / (1 << (bits - 8))), np.uint8))
    luma, blue, red = found
    return luma, blue, red


def _paired(levels: NDArray[Any], axis: int) -> Levels:
    """The means of pairs along an axis, in which the last of an odd number stands alone."""
    count = levels.shape[axis]
    first = np.arange(0, count, 2)
    one, other = (levels.take(places, axis).astype(np.float32) for places in (first, np.minimum(first + 1, count - 1)))
    return _array((one + other) / 2)
