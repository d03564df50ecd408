"""One pass over one video stream: pictures in order of time, each with its true time, errors counted on the way."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from fractions import Fraction
from typing import cast

import av
import av.error
from av.codec import CodecContext
from av.filter import Graph
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from deeptrace.errors import NotAVideoError
from deeptrace.video.container import Crop
from deeptrace.video.lookahead import Wants, look_ahead
from deeptrace.video.source import Source, decoder_limit, ffmpeg_errors, open_source, too_large
from deeptrace.video.streams import (
    Facts,
    Length,
    frame_rate,
    kind_of,
    main_stream,
    picture_streams,
    rate_and_count,
    stated_length_s,
    stream_at,
)
from deeptrace.video.timestamps import (
    Clock,
    Scan,
    Trouble,
    has_short_delays,
    in_decode_order,
    scan,
    with_shown_delays,
)

__all__ = ["Decoder"]

# After this many unreadable packets in a row the rest of a stream is taken as lost.
_MAX_BAD_RUN = 500
_DEFAULT_FPS = 25
# Packets among which every moving stream of a file has more than one.
_STILL_PACKETS = 500
# Files up to this size are read once, packet by packet, where their container does not state how long they are.
_SCAN_BYTES = 64 << 20
# The decoders that read the transparency which FFmpeg's own leave out.
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
# Where chroma lies in streams that do not say it (VP9, FFV1): as in H.264, so that the same planes make one picture.
_USUAL_CHROMA = {"chroma_sample_location": "left"}


class Decoder:
    """Opens a file, picks its video stream and decodes it once from front to back.

    Args:
        path: as the user gave it.
        threads: decoding threads; 1 decodes on the calling thread.
        max_pixels: largest width x height that is decoded; None for no limit.
        formats: see `open_source`.
        facts: of an earlier decoder of the same file; None to find them out.

    Raises:
        VideoError: as `open_source`; NoVideoStreamError without a picture stream; VideoTooLargeError above the limit.
    """

    def __init__(
        self,
        path: str,
        *,
        threads: int,
        max_pixels: int | None,
        formats: Sequence[str] | None = None,
        facts: Facts | None = None,
    ) -> None:
        self.path, self._formats, self._max_pixels = path, formats, max_pixels
        self._source: Source = open_source(path, max_pixels=max_pixels, formats=formats)
        try:
            self.facts = self._look() if facts is None else facts
            self.stream = stream_at(self._source.container, self.facts.stream)
            self._context = self._pick_decoder()
            self._configure(threads)
        except BaseException:
            self._source.close()
            raise
        self.clock = Clock(
            1 / (frame_rate(self.stream) or _DEFAULT_FPS),
            in_decode_order=self.facts.in_decode_order,
            plain=not self.facts.short_delays,
        )
        self._cropper: tuple[tuple[int, int, str], Graph] | None = None
        self._some_without_time = False
        # Set these two before reading: pictures that `wants` declines, or all that no other picture is built on,
        # are left out where the decoder can (see `lookahead`).
        self.wants: Wants | None = None
        self.only_references = False

    def _look(self) -> Facts:
        layout = self._source.layout()
        streams = picture_streams(self.path, self._source.container)
        if len(streams) > 1:
            streams = self._moving(streams)
        stream = main_stream(streams)
        with closing(self._packets_anew(stream.index)) as packets:
            short = kind_of(self._source.container) == "gif" and has_short_delays(packets)
            reordered = (
                kind_of(self._source.container) in ("avi", "asf")
                and stream.codec_context.has_b_frames
                and in_decode_order(packets)
            )
        return Facts(stream.index, layout, layout.crop_of(stream), short, reordered)

    def _moving(self, streams: list[VideoStream]) -> list[VideoStream]:
        """Those of several streams that hold more than one picture; all of them where none does."""
        counts = dict.fromkeys((stream.index for stream in streams), 0)
        with closing(self._packets_anew(*counts)) as packets:
            for seen, packet in enumerate(packets):
                counts[packet.stream_index] += bool(packet.size)
                if seen >= _STILL_PACKETS or min(counts.values()) > 1:
                    break
        return [stream for stream in streams if counts[stream.index] > 1] or streams

    def _pick_decoder(self) -> VideoCodecContext:
        """FFmpeg's own decoder, or for transparent VP8 and VP9 the one that reads their transparency."""
        own = self.stream.codec_context
        alpha = any(key.lower() == "alpha_mode" and value == "1" for key, value in self.stream.metadata.items())
        if not alpha or own.name not in _ALPHA_DECODERS:
            return own
        try:
            context = CodecContext.create(_ALPHA_DECODERS[own.name], "r")
        except av.error.FFmpegError:  # an FFmpeg without libvpx
            return own
        assert isinstance(context, VideoCodecContext)
        return context

    def _configure(self, threads: int) -> None:
        width, height = self.stream.codec_context.width, self.stream.codec_context.height
        context, limit = self._context, self._max_pixels
        if limit is not None:
            if width == 0:
                width, height = self._stated_size()
            if width * height > limit:
                raise too_large(self.path, width, height, limit)
        # FFmpeg's own check of the size, for streams that grow after their header was read.
        context.options = _USUAL_CHROMA | decoder_limit(limit)
        context.thread_count = threads
        if threads > 1:
            context.thread_type = "AUTO"

    def _stated_size(self) -> tuple[int, int]:
        """The size in the file's header where FFmpeg's first look was refused for its size; no picture is decoded."""
        source = open_source(self.path, formats=self._formats, look=False)
        try:
            context = stream_at(source.container, self.stream.index).codec_context
            return context.width, context.height
        finally:
            source.close()

    # -- facts -------------------------------------------------------------------------------------------------

    @property
    def step_s(self) -> float:
        """Nominal time between pictures."""
        return self.clock.own_step_s or 1 / (frame_rate(self.stream) or _DEFAULT_FPS)

    def length(self) -> Length:
        """How long the pictures are shown; to be asked after the first one was decoded."""
        layout, own_step_s = self.facts.layout, self.clock.own_step_s
        stated = stated_length_s(self.stream, layout, self.clock.origin)
        # The length of a transport or program stream is FFmpeg's guess from its last timestamps.
        guessed = kind_of(self._source.container) in ("mpegts", "mpeg")
        doubtful = guessed or layout.fragmented or self.facts.short_delays
        if stated is not None and not (doubtful and 0 < self._source.container.size <= _SCAN_BYTES):
            return Length(stated, not guessed, *rate_and_count(self.stream, stated))
        found = self._scan()
        if own_step_s is not None:
            return Length(found.duration_s, False, 1 / own_step_s, None)
        if self.facts.short_delays:
            return Length(found.duration_s, False, found.pictures / found.duration_s, found.pictures)
        if stated is not None and layout.fragmented and not layout.whole and stated > found.duration_s:
            return Length(stated, True, frame_rate(self.stream), None)
        rate, count = rate_and_count(self.stream, found.duration_s)
        return Length(found.duration_s, False, rate, found.pictures if layout.fragmented else count)

    def _scan(self) -> Scan:
        """Every packet of the stream read, and none decoded."""
        with closing(self._packets_anew(self.stream.index)) as packets:
            return scan(
                with_shown_delays(packets) if self.facts.short_delays else packets,
                self.step_s,
                self.clock.origin,
            )

    # -- decoding ----------------------------------------------------------------------------------------------

    def seek(self, time_s: float, origin: Fraction) -> None:
        """Go to the last key frame at or before `time_s` after `origin`."""
        time_base = self.stream.time_base
        assert time_base is not None
        self.clock.origin = origin
        target = round((origin + Fraction(time_s)) / time_base)
        with ffmpeg_errors(self.path):
            self._source.container.seek(target, stream=self.stream, backward=True)

    def pictures(self) -> Iterator[tuple[float, VideoFrame]]:
        """Pictures with their times in seconds after the first shown frame, rising; undecodable ones are counted."""
        bad_run = 0
        context, clock = self._context, self.clock
        for packet, before, after in look_ahead(self._packets()):
            skip = self._may_skip(packet.pts, before, after)
            context.skip_frame = "NONREF" if skip else "DEFAULT"
            clock.send(packet)
            if skip:
                clock.pass_over(packet)
            try:
                frames = context.decode(packet)
            except av.error.EOFError:
                return
            except (av.error.FFmpegError, ValueError, MemoryError):
                clock.lose(packet)
                bad_run += 1
                if bad_run > _MAX_BAD_RUN:
                    return
                continue
            for frame in frames:
                bad_run = 0
                clock.trouble.corrupt_frames += frame.is_corrupt
                time_s = clock.time_of(frame)
                if time_s is not None:
                    yield time_s, self._shown_part(frame)

    def _may_skip(self, pts: int | None, before: int | None, after: int | None) -> bool:
        """Whether a packet's picture may be left out if no other one is built on it."""
        clock = self.clock
        if pts is None or self._some_without_time or clock.in_decode_order:
            return False  # what is left out would take its time with it
        if self.only_references:
            return True
        if self.wants is None or clock.origin is None or not clock.plain or pts == before:
            return False
        time_base, origin = self.stream.time_base, clock.origin
        assert time_base is not None
        before_s, time_s, after_s = (None if t is None else float(t * time_base - origin) for t in (before, pts, after))
        assert time_s is not None
        return not self.wants(before_s, time_s, after_s)

    def _packets(self) -> Iterator[Packet[VideoStream]]:
        """The stream's packets, the last one empty to drain the decoder; a read error ends them."""
        packets = _demuxed(self.path, self._source, [self.stream], self.clock.trouble)
        for packet in with_shown_delays(packets) if self.facts.short_delays else packets:
            if packet.pts is None and packet.size:
                self._some_without_time = True
            yield packet

    def _packets_anew(self, *streams: int) -> Generator[Packet[VideoStream], None, None]:
        """The packets of the streams with these indices, from the start, while this decoder stays where it is."""
        source = open_source(self.path, max_pixels=self._max_pixels, formats=self._formats)
        try:
            yield from _demuxed(self.path, source, [stream_at(source.container, index) for index in streams], Trouble())
        finally:
            source.close()

    def _shown_part(self, frame: VideoFrame) -> VideoFrame:
        """The picture without what its container crops away."""
        crop = self.facts.crop
        if crop is None:
            return frame
        kind = (frame.width, frame.height, frame.format.name)
        if self._cropper is None or self._cropper[0] != kind:
            width, height = frame.width - crop.left - crop.right, frame.height - crop.top - crop.bottom
            if min(width, height) < 1:
                return frame
            self._cropper = kind, _crop_graph(frame, width, height, crop)
        graph = self._cropper[1]
        graph.push(frame)
        out = graph.pull()
        assert isinstance(out, VideoFrame)
        return out

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self._source.close()


def _demuxed(path: str, source: Source, streams: list[VideoStream], trouble: Trouble) -> Iterator[Packet[VideoStream]]:
    """The packets of the streams, at the end an empty one each; a read error ends them."""
    packets = cast("Iterator[Packet[VideoStream]]", source.container.demux(*streams))
    while True:
        try:
            with ffmpeg_errors(path):
                packet = next(packets, None)
        except NotAVideoError as error:
            trouble.read_error = error.problem
            return
        if packet is None:
            return
        yield packet


def _crop_graph(frame: VideoFrame, width: int, height: int, crop: Crop) -> Graph:
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1, 1000)
    )
    cut = graph.add("crop", f"{width}:{height}:{crop.left}:{crop.top}:exact=1")
    source.link_to(cut)
    cut.link_to(graph.add("buffersink"))
    graph.configure()
    return graph
