"""One pass over one video stream: pictures in order of time, each with its true time, errors counted on the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
import av.error
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from deeptrace.errors import NotAVideoError, NoVideoStreamError, VideoTooLargeError
from deeptrace.video.lookahead import Wants, look_ahead
from deeptrace.video.source import Source, ffmpeg_errors, open_source

__all__ = ["Decoder", "Trouble"]

# A timestamp that falls back by more than this starts a new timeline (joined files); less is jitter of one frame.
_JUMP_S = 0.5
# After this many unreadable packets in a row the rest of a stream is taken as lost.
_MAX_BAD_RUN = 500
_DEFAULT_STEP_S = 1 / 25


@dataclass(slots=True)
class Trouble:
    """What went wrong in a pass, in numbers."""

    bad_packets: int = 0
    corrupt_frames: int = 0
    backward_times: int = 0
    missing_times: int = 0
    read_error: str = ""


class Decoder:
    """Opens a file, picks its video stream and decodes it once from front to back.

    Args:
        path: as the user gave it.
        threads: decoding threads; 1 decodes on the calling thread.
        max_pixels: largest width x height that is decoded; None for no limit.
        formats: see `open_source`.

    Raises:
        VideoError: as `open_source`; NoVideoStreamError without a picture stream; VideoTooLargeError above the limit.
    """

    def __init__(
        self, path: str, *, threads: int, max_pixels: int | None, formats: Sequence[str] | None = None
    ) -> None:
        self.path, self._formats = path, formats
        self.trouble = Trouble()
        self._source: Source = open_source(path, _decoder_limit(max_pixels), formats=formats)
        try:
            self.stream = _pick_stream(path, self._source)
            self._configure(threads, max_pixels)
        except BaseException:
            self._source.close()
            raise
        self._origin: Fraction | None = None
        self._last_s: float | None = None
        self._shift_s = 0.0
        self._own_step_s: float | None = None
        self.end_s = 0.0
        self.timeline_is_plain = True
        # Set these two before reading: pictures that `wants` declines, or all that no other picture is built on,
        # are left out where the decoder can (see `lookahead`).
        self.wants: Wants | None = None
        self.only_references = False

    def _configure(self, threads: int, max_pixels: int | None) -> None:
        context = self.stream.codec_context
        width, height = context.width, context.height
        if width == 0 and max_pixels is not None:
            width, height = self._stated_size()
        if max_pixels is not None and width * height > max_pixels:
            raise VideoTooLargeError(
                self.path,
                f"{width}x{height} is more than the limit of {max_pixels} pixels a frame",
                "Scale it down, or raise max_pixels.",
            )
        context.thread_count = threads
        if threads > 1:
            context.thread_type = "AUTO"
        if max_pixels is not None:
            # FFmpeg's own check, for streams that grow after their header was read.
            context.options = _decoder_limit(max_pixels)

    def _stated_size(self) -> tuple[int, int]:
        """The size in the file's header where FFmpeg's first look was refused for its size; no picture is decoded."""
        source = open_source(self.path, {"skip_frame": "all"}, formats=self._formats)
        try:
            context = _pick_stream(self.path, source).codec_context
            return context.width, context.height
        finally:
            source.close()

    # -- facts -------------------------------------------------------------------------------------------------

    @property
    def step_s(self) -> float:
        """Nominal time between frames."""
        if self._own_step_s is not None:
            return self._own_step_s
        rate = frame_rate(self.stream)
        return 1 / rate if rate else _DEFAULT_STEP_S

    @property
    def stated_duration_s(self) -> float | None:
        """Length of the picture stream as the file states it, or None."""
        stream, container = self.stream, self._source.container
        # Matroska states when a stream ends on its own clock, which need not start at 0.
        start_s = float((stream.start_time or 0) * (stream.time_base or 0))
        if stream.duration and stream.time_base:
            return float(stream.duration * stream.time_base)
        tag = stream.metadata.get("DURATION", "")  # Matroska and WebM, as 00:00:05.000000000
        parts = tag.split(":")
        if len(parts) == 3:
            try:
                return max(int(parts[0]) * 3600 + int(parts[1]) * 60 + float(parts[2]) - max(start_s, 0.0), 0.0)
            except ValueError:
                return None
        if container.duration and not container.streams.audio:
            return max(container.duration / av.time_base - max(start_s, 0.0), 0.0)
        return None

    @property
    def origin(self) -> Fraction | None:
        """Timestamp, in file seconds, of the first shown frame; None before it is decoded."""
        return self._origin

    # -- decoding ----------------------------------------------------------------------------------------------

    def seek(self, time_s: float, origin: Fraction) -> None:
        """Go to the last key frame at or before `time_s` after `origin`."""
        time_base = self.stream.time_base
        assert time_base is not None
        self._origin = origin
        target = round((origin + Fraction(time_s)) / time_base)
        with ffmpeg_errors(self.path):
            self._source.container.seek(target, stream=self.stream, backward=True)

    def pictures(self) -> Iterator[tuple[float, VideoFrame]]:
        """Pictures with their times in seconds after the first shown frame, rising; undecodable ones are counted."""
        bad_run = 0
        context = self.stream.codec_context
        for packet, before, after in look_ahead(self._packets()):
            context.skip_frame = "NONREF" if self._may_skip(packet.pts, before, after) else "DEFAULT"
            try:
                frames = packet.decode()
            except av.error.EOFError:
                return
            except (av.error.FFmpegError, ValueError, MemoryError):
                self.trouble.bad_packets += 1
                bad_run += 1
                if bad_run > _MAX_BAD_RUN:
                    return
                continue
            for frame in frames:
                bad_run = 0
                self.trouble.corrupt_frames += frame.is_corrupt
                yield self._time_of(frame), frame

    def _may_skip(self, pts: int | None, before: int | None, after: int | None) -> bool:
        """Whether a packet's picture may be left out if no other one is built on it."""
        if self.only_references:
            return True
        if self.wants is None or self._origin is None or not self.timeline_is_plain or pts is None or pts == before:
            return False
        time_base, origin = self.stream.time_base, self._origin
        assert time_base is not None
        before_s, time_s, after_s = (None if t is None else float(t * time_base - origin) for t in (before, pts, after))
        assert time_s is not None
        return not self.wants(before_s, time_s, after_s)

    def _packets(self) -> Iterator[Packet[VideoStream]]:
        """The stream's packets, the last one empty to drain the decoder; a read error ends them."""
        packets: Iterator[Packet[VideoStream]] = self._source.container.demux(self.stream)
        while True:
            try:
                with ffmpeg_errors(self.path):
                    packet = next(packets, None)
            except NotAVideoError as error:
                self.trouble.read_error = error.problem
                return
            if packet is None:
                return
            yield packet

    def _time_of(self, frame: VideoFrame) -> float:
        step = self.step_s
        if frame.duration and frame.time_base:
            step = float(frame.duration * frame.time_base)
        if frame.pts is None or frame.time_base is None:
            # A bare stream: the rate its own header states beats the one FFmpeg assumes for the container.
            self._own_step_s = step
            self.trouble.missing_times += 1
            self.timeline_is_plain = False
            time_s = 0.0 if self._last_s is None else self._last_s + step
        else:
            stamp = frame.pts * frame.time_base
            if self._origin is None:
                self._origin = stamp
            time_s = float(stamp - self._origin) + self._shift_s
        if self._last_s is not None and time_s <= self._last_s:
            self.trouble.backward_times += 1
            self.timeline_is_plain = False
            if self._last_s - time_s > _JUMP_S:
                self._shift_s += self._last_s + step - time_s
                time_s = self._last_s + step
            else:
                time_s = self._last_s + step / 2
        self._last_s = time_s
        self.end_s = max(self.end_s, time_s + step)
        return time_s

    def scan_duration_s(self, step_s: float) -> float:
        """End of the last packet minus start of the first one; reads the whole file and decodes nothing.

        Packets without a duration, or without times at all, count as `step_s` seconds.
        """
        first, end, count = None, 0.0, 0
        for packet in self._packets():
            if packet.size == 0:
                continue
            count += 1
            if packet.pts is None or packet.time_base is None:
                continue
            start = float(packet.pts * packet.time_base)
            step = float(packet.duration * packet.time_base) if packet.duration else step_s
            first = start if first is None else min(first, start)
            end = max(end, start + step)
        return end - first if first is not None else count * step_s

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self._source.close()


def frame_rate(stream: VideoStream) -> float | None:
    """Average frames a second as the file states it, or None where that is missing or absurd."""
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate and 0 < rate <= 1000:
            return float(rate)
    return None


def _decoder_limit(max_pixels: int | None) -> dict[str, str]:
    """FFmpeg's own limit. It counts sizes rounded up to coding blocks of up to 128 pixels, hence the allowance."""
    return {} if max_pixels is None else {"max_pixels": str(max_pixels * 5 // 4 + (1 << 18))}


def _pick_stream(path: str, source: Source) -> VideoStream:
    """The stream a player shows: not cover art, the default one first, then the largest."""
    streams = [
        stream
        for stream in source.container.streams.video
        if not stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails)
    ]
    if not streams:
        found = ", ".join(sorted({stream.type for stream in source.container.streams})) or "nothing"
        if source.container.streams.video:
            found = "audio with a cover picture"
        raise NoVideoStreamError(path, f"has no video stream (it holds: {found})", "Give a file with a picture.")
    # FFmpeg knows the container but not what is in it: a codec newer than this build, or damage.
    known = [stream for stream in streams if stream.codec_context is not None]
    if not known:
        raise NotAVideoError(path, "its codec is not known to this FFmpeg", "Convert it to H.264.")
    return max(
        known,
        key=lambda stream: (
            bool(stream.disposition & Disposition.default),
            stream.codec_context.width * stream.codec_context.height,
            -stream.index,
        ),
    )
