"""Encode clips so that their files differ in nothing but the pictures.

H.264 at a constant bit rate with filler: with the usual constant quality, the size of a file tells how hard its
pictures were to encode, and generated ones are easier.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from uuid import uuid4

import av
import av.error
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream
from numpy.typing import NDArray

from deeptrace.errors import VideoError

__all__ = ["write_constant"]


def write_constant(
    path: str | os.PathLike[str], images: Iterable[NDArray[np.uint8]], *, fps: int, bit_rate: int
) -> int:
    """Encode (H, W, 3) uint8 RGB images of even size to an MP4 without sound; returns how many.

    Args:
        path: replaced whole, or not at all.
        images: of one size.
        fps: frames per second, every frame as long as the next.
        bit_rate: bits per second, held by filler where the pictures need fewer.

    Raises:
        VideoError: no image, or the file cannot be written.
    """
    target = Path(path)
    scratch = target.with_name(f".{target.stem}.{uuid4().hex[:8]}.part.mp4")
    count = 0
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(scratch), "w", options={"movflags": "+faststart"}) as container:
            stream: VideoStream | None = None
            for image in images:
                if stream is None:
                    stream = _stream(container, image, fps, bit_rate)
                picture = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24").reformat(
                    format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
                )
                picture.pts, picture.time_base = count, Fraction(1, fps)
                container.mux(stream.encode(picture))
                count += 1
            if stream is None:
                raise VideoError(str(target), "expected at least one frame to write but got none")
            container.mux(stream.encode(None))
        os.replace(scratch, target)
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError(str(target), f"cannot be written ({getattr(error, 'strerror', None) or error})") from error
    finally:
        scratch.unlink(missing_ok=True)
    return count


def _stream(container: av.container.OutputContainer, image: NDArray[np.uint8], fps: int, bit_rate: int) -> VideoStream:
    rate = str(bit_rate)
    group = 2 * fps
    options = {
        "preset": "veryfast",
        "x264-params": f"nal-hrd=cbr:force-cfr=1:keyint={group}:min-keyint={group}:scenecut=0:bframes=0:vbv-init=0.5",
        "minrate": rate,
        "maxrate": rate,
        "bufsize": str(bit_rate // 2),
    }
    stream = container.add_stream("libx264", rate=fps, options=options)
    assert isinstance(stream, VideoStream)
    stream.height, stream.width = image.shape[:2]
    stream.pix_fmt, stream.bit_rate = "yuv420p", bit_rate
    context = stream.codec_context
    context.time_base, context.thread_count = Fraction(1, fps), 1
    context.color_range, context.colorspace = ColorRange.MPEG, Colorspace.ITU709
    context.color_primaries, context.color_trc = 1, 1  # BT.709
    return stream
