"""What a media file says of itself, and what decoding it in full shows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import av
import av.error
from av.video.stream import VideoStream

from deeptrace.audit.near_duplicates import ClipHasher
from deeptrace.errors import VideoError
from deeptrace.io.spread import Spread, Threads
from deeptrace.schema import Media
from deeptrace.video import open_video

__all__ = ["FileFacts", "gather", "read_facts"]

HASH_SIZE = (128, 128)


@dataclass(frozen=True)
class FileFacts:
    """One file. Everything but `decoded`, `hashes`, `error` and `warnings` is metadata: known without a decoder.

    Attributes:
        path: the file.
        error: why it cannot be used; None when it can.
        warnings: what decoding complained about.
        extension: the name's ending, lower case, with its dot.
        container: FFmpeg's name of the format.
        bytes: size of the file.
        duration_s, bit_rate: as the container says; bits per second of the whole file.
        width, height: as stored, pixels.
        fps, frames: as the stream says.
        codec, profile, pixel_format: of the video stream.
        colour: range, space, primaries and transfer, as the stream's numbers.
        time_base: the stream's clock, ticks per second.
        b_frames: whether frames are stored out of order.
        rotation: degrees that the container asks for.
        has_audio, audio_codec, audio_rate: of the first audio stream.
        streams: number of streams, of any kind.
        tags: the container's and video stream's tags, keys in lower case.
        decoded: size as shown, frames, rate and length after a full decode.
        hashes: perceptual hashes at five places.
    """

    path: str
    error: str | None = None
    warnings: tuple[str, ...] = ()
    extension: str = ""
    container: str = ""
    bytes: int = 0
    duration_s: float | None = None
    bit_rate: float | None = None
    width: int = 0
    height: int = 0
    fps: float | None = None
    frames: int | None = None
    codec: str = ""
    profile: str = ""
    pixel_format: str = ""
    colour: str = ""
    time_base: float = 0.0
    b_frames: bool = False
    rotation: int = 0
    has_audio: bool = False
    audio_codec: str = ""
    audio_rate: int = 0
    streams: int = 0
    tags: dict[str, str] = field(default_factory=dict)
    decoded: Media | None = None
    hashes: tuple[int | None, ...] = ()


def gather(
    paths: Iterable[str | os.PathLike[str]],
    *,
    workers: int = 1,
    decode: bool = True,
    spread: Spread | None = None,
    on_done: Callable[[FileFacts], None] | None = None,
) -> list[FileFacts]:
    """Facts of many files, in order.

    Args:
        paths: of the files.
        workers: threads (FFmpeg lets go of Python's lock).
        decode: see `read_facts`.
        spread: where files are read, in place of threads here.
        on_done: called with the facts of each file, as they come.
    """
    named = [os.fspath(path) for path in paths]
    found: dict[int, FileFacts] = {}
    for index, facts in (spread or Threads(workers)).over(partial(read_facts, decode=decode), named):
        found[index] = facts
        if on_done is not None:
            on_done(facts)
    return [found[index] for index in range(len(named))]


def read_facts(path: str | os.PathLike[str], *, decode: bool = True) -> FileFacts:
    """Facts of one file; a file that cannot be read gives facts with an `error`, never an exception.

    Args:
        path: the file.
        decode: whether to decode it in full. Without, `decoded` and `hashes` stay empty and damage goes unseen.
    """
    stated: dict[str, Any] = {"path": str(path), "extension": Path(path).suffix.lower()}
    try:
        stated |= _metadata(path)
        if not decode:
            return FileFacts(**stated)
        hasher = ClipHasher()
        with open_video(path) as video:
            for frame in video.frames(size=HASH_SIZE, format="gray"):
                hasher.see(frame)
            media = video.media
            hashes = hasher.result(media.duration_s)
            return FileFacts(**stated, decoded=media, hashes=hashes, warnings=tuple(video.warnings))
    except VideoError as error:
        return FileFacts(**stated, error=error.problem)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        return FileFacts(**stated, error=f"cannot be opened ({getattr(error, 'strerror', None) or error})")


def _metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    with av.open(str(path)) as container:
        found: dict[str, Any] = {
            "bytes": os.path.getsize(path),
            "container": container.format.name,
            "duration_s": container.duration / av.time_base if container.duration else None,
            "bit_rate": float(container.bit_rate) if container.bit_rate else None,
            "streams": len(container.streams),
            "tags": dict(_tags(container.metadata)),
        }
        if container.streams.audio:
            audio = container.streams.audio[0]
            found |= {"has_audio": True, "audio_codec": audio.codec_context.name, "audio_rate": audio.rate or 0}
        if container.streams.video:
            found |= _video(container.streams.video[0], found["tags"])
        return found


def _video(stream: VideoStream, tags: dict[str, str]) -> dict[str, Any]:
    context = stream.codec_context
    rate = stream.average_rate or stream.guessed_rate
    return {
        "width": context.width,
        "height": context.height,
        "fps": float(rate) if rate else None,
        "frames": stream.frames or None,
        "codec": context.name,
        "profile": stream.profile or "",
        "pixel_format": context.pix_fmt or "",
        "colour": "/".join(
            str(int(value))
            for value in (context.color_range, context.colorspace, context.color_primaries, context.color_trc)
        ),
        "time_base": float(1 / stream.time_base) if stream.time_base else 0.0,
        "b_frames": bool(context.has_b_frames),
        "tags": tags | {f"video:{key}": value for key, value in _tags(stream.metadata)},
    }


def _tags(metadata: dict[str, str]) -> Iterator[tuple[str, str]]:
    for key, value in metadata.items():
        yield key.lower(), value
