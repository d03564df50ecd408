"""Through an encoder and straight back through the decoder: compression damage without a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Literal

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace

from deeptrace.video.encoders import encoder_options
from deeptrace.video.frame import Frame, Picture
from deeptrace.video.orientation import Orientation, Upright

__all__ = ["recode"]

_TIME_BASE = Fraction(1, 90_000)
_DECODERS = {"libx264": "h264", "libx265": "hevc"}


def recode(
    frames: Iterable[Frame], *, codec: Literal["libx264", "libx265"], crf: int, preset: str = "medium"
) -> Iterator[Frame]:
    """The frames after encoding and decoding, with their own times and size; all frames of one size.

    Streaming: the encoder looks ahead by up to about 60 frames, and that many wait inside it.
    """
    times: dict[int, float] = {}
    encoder: VideoCodecContext | None = None
    decoder = av.CodecContext.create(_DECODERS[codec], "r")
    assert isinstance(decoder, VideoCodecContext)
    back: Upright | None = None
    shape: tuple[int, ...] = ()

    def shown(pictures: Iterable[VideoFrame]) -> Iterator[Frame]:
        for picture in pictures:
            assert back is not None
            assert picture.pts is not None
            image = back(picture)[: shape[0], : shape[1]]
            yield Frame(times.pop(picture.pts), np.ascontiguousarray(image))

    for frame in frames:
        if encoder is None:
            shape = frame.image.shape
            encoder = _encoder(codec, shape, crf, preset)
            back = Upright(Orientation(), (encoder.width, encoder.height), "rgb")
        picture = _padded(frame.image)
        picture.pts, picture.time_base = round(frame.time_s / _TIME_BASE), _TIME_BASE
        times[picture.pts] = frame.time_s
        for packet in encoder.encode(picture):
            yield from shown(decoder.decode(packet))
    if encoder is None:
        return
    for packet in encoder.encode(None):
        yield from shown(decoder.decode(packet))
    yield from shown(decoder.decode(None))


def _encoder(codec: Literal["libx264", "libx265"], shape: tuple[int, ...], crf: int, preset: str) -> VideoCodecContext:
    encoder = av.CodecContext.create(codec, "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height = shape[1] + shape[1] % 2, shape[0] + shape[0] % 2
    encoder.pix_fmt, encoder.time_base = "yuv420p", _TIME_BASE
    encoder.color_range, encoder.colorspace = ColorRange.MPEG, Colorspace.ITU709
    encoder.color_primaries, encoder.color_trc = 1, 1
    encoder.thread_count = 1
    encoder.options = encoder_options(codec, crf, preset)
    return encoder


def _padded(image: Picture) -> VideoFrame:
    height, width = image.shape[:2]
    if width % 2 or height % 2:
        image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    picture = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    return picture.reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG, threads=1
    )
