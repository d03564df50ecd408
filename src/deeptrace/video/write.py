"""Write frames to a video file that browsers play, with the times they carry."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import av
import av.error
import numpy as np
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream
from numpy.typing import NDArray

from deeptrace.errors import SettingsError, VideoError
from deeptrace.io.atomic import atomic_path
from deeptrace.video.encoders import Codec, encoder_options, ordinary_priority
from deeptrace.video.frame import Frame

__all__ = ["Codec", "write_video"]

# Counts of 1/90000 s: exact for 24, 25, 30, 50 and 60 fps, 10 us for anything else, and what MPEG uses. MP4 has 31 bits
# for the time between pictures: slower videos count in coarser units, and faster ones in finer units.
_TICKS = 90_000
_COARSER_TICKS = (_TICKS, 1000, 1)
_MAX_STEP_TICKS, _MAX_PLAIN_FPS = 1 << 30, 1000
_GIF_TIME_BASE = Fraction(1, 100)
_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".gif")


class _Settings(NamedTuple):
    fps: float
    crf: int
    codec: Codec
    preset: str | None
    threads: int
    b_frames: bool | None


class _Item(NamedTuple):
    time_s: float
    image: NDArray[np.uint8]
    timed: bool


def write_video(
    path: str | os.PathLike[str],
    frames: Iterable[NDArray[np.uint8]] | Iterable[Frame],
    *,
    fps: float,
    crf: int = 18,
    codec: Codec = "libx264",
    preset: str | None = None,
    threads: int = 1,
    b_frames: bool | None = None,
) -> None:
    """Encode `frames` to `path`, streaming; nothing is left at `path` unless the whole file was written.

    Pictures of odd width or height are padded by repeating the last column or row, because 4:2:0 video has even
    sizes. A box in fractions of the unpadded picture is off by less than one pixel in the padded one.

    Args:
        path: .mp4, .mov, .mkv, .webm or .gif, as fits the codec.
        frames: (H, W, 3) uint8 RGB arrays, or `Frame`s, whose times are kept (variable rate).
        fps: rate of plain arrays; of `Frame`s the duration of the last one.
        crf: constant quality; lower is better and larger. Ignored for gif.
        codec: "libx264" plays everywhere; "libx265" (tagged hvc1), "libvpx-vp9", "libsvtav1", "gif".
        preset: the encoder's own speed name or number; None for a quick default.
        b_frames: let H.264 and H.265 reorder pictures: smaller files, but MP4 then misstates the duration of a
            variable-rate clip. None: for plain arrays only.
        threads: encoding threads; equal frames and settings give equal files at the same count.

    Raises:
        SettingsError: no frames, a wrong shape or dtype, times that do not rise, an unknown codec or suffix.
        VideoError: the file cannot be written.
    """
    if not 0 < fps < float("inf"):
        raise SettingsError("fps", f"expected a positive number but got {fps}")
    if (suffix := Path(path).suffix).lower() not in _SUFFIXES:
        raise SettingsError(str(path), f"expected a name that ends in {', '.join(_SUFFIXES)} but got {suffix!r}")
    try:
        with atomic_path(path, error=VideoError) as scratch:
            _encode(scratch, str(path), frames, _Settings(fps, crf, codec, preset, threads, b_frames))
    except (av.error.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise VideoError(str(path), f"cannot be written ({reason})", "Check the folder and its space.") from None


def _encode(scratch: Path, name: str, frames: Iterable[Any], asked: _Settings) -> None:
    stamped = _stamped(name, frames, asked.fps)
    first = next(stamped, None)
    if first is None:
        raise SettingsError(name, "expected at least one frame to write but got none")
    time_base = _GIF_TIME_BASE if asked.codec == "gif" else _time_base(asked.fps)
    step = max(round(1 / asked.fps / time_base), 1)
    reorder = asked.b_frames if asked.b_frames is not None else not first.timed
    muxer = {"movflags": "+faststart"} if scratch.suffix.lower() in _SUFFIXES[:3] else {}
    with av.open(str(scratch), mode="w", options=muxer) as container:
        stream = _add_stream(container, first.image, asked, time_base, reorder=reorder)
        with ordinary_priority():
            container.start_encoding()
        last = -1
        for item in chain([first], stamped):
            picture = _picture(item.image, gif=asked.codec == "gif")
            picture.pts = max(round(item.time_s / time_base), last + 1)
            picture.time_base, picture.duration = time_base, step
            last = picture.pts
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def _time_base(fps: float) -> Fraction:
    """The unit in which pictures at about this rate are timed."""
    ticks = next((ticks for ticks in _COARSER_TICKS if ticks / fps <= _MAX_STEP_TICKS), 1)
    return Fraction(1, ticks * max(min(math.ceil(fps / _MAX_PLAIN_FPS), (1 << 31) // _TICKS), 1))


def _add_stream(
    container: OutputContainer, image: NDArray[np.uint8], asked: _Settings, time_base: Fraction, *, reorder: bool
) -> VideoStream:
    height, width = image.shape[:2]
    slow = asked.fps < 1
    rate = Fraction(1 / asked.fps if slow else asked.fps).limit_denominator(1001)
    rate = 1 / rate if slow else rate
    options = encoder_options(asked.codec, asked.crf, asked.preset, reorder=reorder)
    try:
        stream = container.add_stream(asked.codec, rate=rate, options=options)
    except ValueError as error:  # PyAV's answer to a codec that the container cannot hold
        raise SettingsError("codec", str(error), "Give the file another suffix.") from None
    assert isinstance(stream, VideoStream)
    context = stream.codec_context
    if asked.codec == "gif":
        stream.width, stream.height, stream.pix_fmt = width, height, "rgb8"
        context.time_base = time_base
        return stream
    stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
    context.time_base = time_base
    context.thread_count = asked.threads
    context.color_range = ColorRange.MPEG
    context.colorspace = Colorspace.ITU709
    context.color_primaries, context.color_trc = 1, 1  # BT.709
    if asked.codec == "libx265":
        context.codec_tag = "hvc1"
    return stream


def _picture(image: NDArray[np.uint8], *, gif: bool) -> VideoFrame:
    height, width = image.shape[:2]
    if gif:
        return VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24").reformat(format="rgb8")
    if width % 2 or height % 2:
        image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    picture = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    return picture.reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG, threads=1
    )


def _stamped(name: str, frames: Iterable[Any], fps: float) -> Iterator[_Item]:
    """Arrays or Frames as items, checked."""
    shape: tuple[int, ...] | None = None
    last = -1.0
    for index, item in enumerate(frames):
        timed = isinstance(item, Frame)
        time_s, image = (item.time_s, item.image) if timed else (index / fps, np.asarray(item))
        if image.ndim == 2:
            image = np.repeat(image[..., None], 3, axis=2)
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise SettingsError(name, f"expected (H, W, 3) uint8 but frame {index} is {image.shape} {image.dtype}")
        if shape is not None and image.shape != shape:
            raise SettingsError(name, f"expected frames of one size but frame {index} is {image.shape}, not {shape}")
        if not last < time_s < float("inf"):
            raise SettingsError(name, f"expected rising times but frame {index} is at {time_s} s after {last} s")
        shape, last = image.shape, time_s
        yield _Item(time_s, image, timed)
