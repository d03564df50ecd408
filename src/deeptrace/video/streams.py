"""Which stream of a file is the video, and what the file states of it: how long, how fast, how many pictures."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import av
from av.container import InputContainer
from av.index import IndexEntries, IndexEntry
from av.stream import Disposition
from av.video.stream import VideoStream

from deeptrace.errors import NotAVideoError, NoVideoStreamError
from deeptrace.video.container import Crop, Layout

__all__ = [
    "Facts",
    "Length",
    "frame_rate",
    "kind_of",
    "main_stream",
    "picture_streams",
    "rate_and_count",
    "stated_length_s",
    "states_rate",
    "stream_at",
]

# Rates above this are damage, or a unit of time taken for a rate.
_MAX_FPS = 1000
# Streams without a container, in which only the codec's own header can state a rate.
# fmt: off
_BARE = {
    "av1", "cavsvideo", "dirac", "evc", "h261", "h263", "h264", "hevc", "m4v", "mjpeg", "mpegvideo", "obu", "vc1",
    "vvc",
}
# fmt: on
# Containers that count in milliseconds put a picture up to this far off.
_ROUNDING_S = 0.001
# Lengths in Matroska that differ by more than this tell of different files.
_TAG_SLACK_S = 0.5


@dataclass(frozen=True, slots=True)
class Facts:
    """What the first look into a file finds out for every pass.

    Attributes:
        stream: index of the video stream.
        layout: of the container.
        crop: columns and rows of the stored picture that are not to be shown.
        short_delays: whether it is a GIF with delays that every browser overrules.
        in_decode_order: whether packets are stamped in decoding order though pictures are shown in another.
    """

    stream: int
    layout: Layout
    crop: Crop | None
    short_delays: bool
    in_decode_order: bool


@dataclass(frozen=True, slots=True)
class Length:
    """How long a video is shown.

    Attributes:
        duration_s: from the first shown picture to the end of the last one.
        is_stated: whether the container states it, so that a video that ends before that was cut off.
        fps: average frames a second; None where the file does not tell.
        frames: number of shown pictures; None where the file does not tell.
    """

    duration_s: float
    is_stated: bool
    fps: float | None
    frames: int | None


def kind_of(container: InputContainer) -> str:
    """FFmpeg's first name of a container: mov, matroska, mpegts, avi, gif, ..."""
    return container.format.name.split(",")[0]


def stream_at(container: InputContainer, index: int) -> VideoStream:
    """The video stream with this index."""
    stream = container.streams[index]
    assert isinstance(stream, VideoStream)
    return stream


def picture_streams(path: str, container: InputContainer) -> list[VideoStream]:
    """The streams that may be what a player shows: not cover art, nor thumbnails, nor what FFmpeg cannot decode.

    Raises:
        NoVideoStreamError: there is none.
        NotAVideoError: there are some, but FFmpeg knows none of their codecs.
    """
    streams = [
        stream
        for stream in container.streams.video
        if not stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails)
    ]
    if not streams:
        found = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        if container.streams.video:
            found = "audio with a cover picture"
        raise NoVideoStreamError(path, f"has no video stream (it holds: {found})", "Give a file with a picture.")
    # FFmpeg knows the container but not what is in it: a codec newer than this build, or damage.
    known = [stream for stream in streams if stream.codec_context is not None]
    if not known:
        raise NotAVideoError(path, "its codec is not known to this FFmpeg", "Convert it to H.264.")
    return known


def main_stream(streams: list[VideoStream]) -> VideoStream:
    """The one of several moving pictures that a player shows: the default one first, then the largest."""
    return max(
        streams,
        key=lambda stream: (
            bool(stream.disposition & Disposition.default),
            stream.codec_context.width * stream.codec_context.height,
            -stream.index,
        ),
    )


def states_rate(stream: VideoStream) -> bool:
    """Whether the rate is the file's own: not so in a bare stream whose codec states none, where FFmpeg assumes 25."""
    assert isinstance(stream.container, InputContainer)
    return kind_of(stream.container) not in _BARE or _own_rate(stream) is not None


def _own_rate(stream: VideoStream) -> Fraction | None:
    """The rate that the codec's own header states, if it is a sensible one."""
    rate = stream.codec_context.framerate
    return rate if rate and 0 < rate <= _MAX_FPS else None


def frame_rate(stream: VideoStream) -> float | None:
    """Average frames a second as the file states it, or None where that is missing or absurd."""
    assert isinstance(stream.container, InputContainer)
    own = _own_rate(stream) if kind_of(stream.container) in _BARE else None
    for rate in (own, stream.average_rate, stream.guessed_rate):
        if rate and 0 < rate <= _MAX_FPS:
            return float(rate)
    return None


def stated_length_s(stream: VideoStream, layout: Layout, origin: Fraction | None) -> float | None:
    """Seconds from the first shown picture to the end of the last one as the container states it, or None.

    Args:
        stream: the video.
        layout: of its container.
        origin: timestamp of the first picture that can be shown, in seconds; None where there are no timestamps.
    """
    container = stream.container
    assert isinstance(container, InputContainer)
    # Matroska states when a stream ends on the file's clock, which need not start at 0.
    start_s = float((stream.start_time or 0) * (stream.time_base or 0))
    # What was lost before the first picture: a recording may begin in the middle of a group of pictures.
    lead_s = 0.0 if origin is None else float(origin) - start_s
    if lead_s < _ROUNDING_S or kind_of(container) == "avi":  # an AVI starts when decoding does
        lead_s = 0.0
    if stream.duration and stream.time_base:
        entries = _index(stream)
        # Fragments go on counting where the ones before them ended, also when those were left out.
        first = entries[0].timestamp if layout.fragmented and len(entries) else 0
        return max(float((stream.duration - first) * stream.time_base) - lead_s, 0.0)
    end_s = _tagged_end_s(stream, container)
    return None if end_s is None else max(end_s - max(start_s, 0.0) - lead_s, 0.0)


def _tagged_end_s(stream: VideoStream, container: InputContainer) -> float | None:
    """When the stream ends on the file's clock, from its own tag (Matroska) and from the length of the whole file.

    Tools that cut or join a file often leave the tags of its streams as they were; the whole file's length they set.
    """
    whole_s = container.duration / av.time_base if container.duration else None
    tags = [value for key, value in stream.metadata.items() if key.upper().startswith("DURATION")]
    parts = tags[0].split(":") if tags else []  # as 00:00:05.000000000
    try:
        tag_s = int(parts[0]) * 3600 + int(parts[1]) * 60 + float(parts[2]) if len(parts) == 3 else None
    except ValueError:
        tag_s = None
    if tag_s is None:
        return None if container.streams.audio else whole_s
    if whole_s is None or abs(tag_s - whole_s) <= _TAG_SLACK_S:
        return tag_s
    return whole_s if len(container.streams) == 1 else min(tag_s, whole_s)


def _index(stream: VideoStream) -> IndexEntries | tuple[IndexEntry, ...]:
    """The container's list of pictures, in decoding order; empty where PyAV is too old to show it."""
    return getattr(stream, "index_entries", ())


def rate_and_count(stream: VideoStream, duration_s: float) -> tuple[float | None, int | None]:
    """(frames a second, number of shown pictures), as far as the container tells without being read.

    Headers also count pictures that an edit list hides (MP4) and empty chunks that mean "as before" (AVI); the index
    tells them apart.
    """
    rate, stated = frame_rate(stream), stream.frames or None
    assert isinstance(stream.container, InputContainer)
    entries, kind = _index(stream), kind_of(stream.container)
    if stated is None or not len(entries) or not stream.duration or kind not in ("mov", "avi"):
        return rate, stated
    listed = entries[-1].timestamp - entries[0].timestamp
    step = listed / max(len(entries) - 1, 1)
    if kind == "mov":
        # An index as long as what is shown hides nothing, and need not be walked through.
        whole = abs(listed + step - stream.duration) <= 1.5 * step
        return rate, stated if whole else sum(not entry.is_discard for entry in entries)
    covers = listed + 2 * step >= 0.9 * stream.duration
    if covers and len(entries) < stated and duration_s:
        return len(entries) / duration_s, len(entries)
    return rate, stated
