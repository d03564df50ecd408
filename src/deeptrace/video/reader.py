"""Open a video and stream its frames, upright, with exact times and bounded memory."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

from av.video.frame import VideoFrame

from deeptrace.errors import NoFramesError, SettingsError, VideoError, VideoTooLargeError
from deeptrace.trace import Media
from deeptrace.video.decoder import Decoder, frame_rate
from deeptrace.video.frame import Frame, Pixels
from deeptrace.video.sampling import Pacer
from deeptrace.video.upright import Orientation, Upright, square_size

__all__ = ["MAX_PIXELS", "FileVideo", "Video", "open_video", "probe"]

MAX_PIXELS = 8192 * 8192
"""Default limit on pixels a frame: twice 8K, 200 MB as RGB."""

# Seeking costs a few packets; decoding less than this from where we are is cheaper.
_SEEK_WORTH_S = 2.0


class Video(ABC):
    """An opened video: facts, and its frames as a stream. A context manager.

    Attributes:
        path: as the user gave it.
        warnings: what a reader of the results should know, one line each; grows while frames are read.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.warnings: list[str] = []

    @property
    @abstractmethod
    def media(self) -> Media:
        """Size as shown, duration and rate. Corrected when a full pass finds less than the file states."""

    @abstractmethod
    def frames(
        self,
        *,
        max_fps: float | None = None,
        size: tuple[int, int] | None = None,
        start_s: float = 0.0,
        end_s: float | None = None,
        format: Pixels = "rgb",
        fast: bool = False,
    ) -> Iterator[Frame]:
        """Stream the frames shown first in [start_s, end_s), in order; never two with one time, never one twice.

        Args:
            max_fps: at most one frame in each slot of 1 / max_fps seconds (see `Pacer`); slower clips keep all.
            size: (width, height) of the images; None for the size as shown. The aspect is not kept for you.
            start_s: first moment.
            end_s: end (exclusive); None for the end of the video.
            format: "rgb" for (H, W, 3), "gray" for (H, W).
            fast: leave out frames that no other frame needs, which about halves the work. The frame of a slot may
                then be a neighbour of the one that exact reading gives; its time is its own true time.

        Raises:
            VideoError: the video cannot be read, or not one frame of it decodes.
            SettingsError: an argument makes no sense.
        """

    @abstractmethod
    def frames_at(self, times_s: Sequence[float], *, size: tuple[int, int] | None = None) -> list[Frame]:
        """The frame on screen at each of `times_s`, in their order: the last one not later than the time.

        Times before the start give the first frame, times after the end the last one. Each frame carries its own
        time. All frames asked for are in memory at once.
        """

    def close(self) -> None:  # noqa: B027 - nothing to do unless there is a file
        """Release the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _warn(self, line: str) -> None:
        if line not in self.warnings:
            self.warnings.append(line)


class FileVideo(Video):
    """A video in a file or behind a URL; made by `open_video`."""

    def __init__(self, path: str, *, max_pixels: int | None, threads: int) -> None:
        super().__init__(path)
        self._max_pixels, self._threads = max_pixels, threads
        self._open: list[Decoder] = []
        self._closed = False
        decoder = self._new_decoder()
        try:
            pictures = decoder.pictures()
            first = next(pictures, None)
            if first is None:
                raise self._no_frames(decoder)
            self._learn(decoder, first[1])
        except BaseException:
            decoder.close()
            raise
        # The first pass goes on from here, so that opening costs no decoding twice.
        self._primed: tuple[Decoder, Iterator[tuple[float, VideoFrame]], tuple[float, VideoFrame]] | None
        self._primed = (decoder, pictures, first)

    def _learn(self, decoder: Decoder, first: VideoFrame) -> None:
        self._orientation = Orientation.of(first)
        width, height = square_size(first.width, first.height, decoder.stream.sample_aspect_ratio)
        width, height = self._orientation.size(width, height)
        if self._max_pixels is not None and width * height > self._max_pixels:
            raise VideoTooLargeError(
                self.path, f"{width}x{height} is more than {self._max_pixels} pixels a frame", "Raise max_pixels."
            )
        self._size = (width, height)
        self._origin: Fraction | None = decoder.origin if decoder.timeline_is_plain else None
        stated = decoder.stated_duration_s
        frames = decoder.stream.frames or None
        self._media = Media(
            width=width,
            height=height,
            duration_s=stated if stated is not None else self._scan_duration(),
            fps=frame_rate(decoder.stream),
            frames=frames,
        )
        if first.color_trc in (16, 18):  # SMPTE ST 2084 (PQ) and HLG
            self._warn("high dynamic range is read without tone mapping: pictures look flat")

    @property
    def media(self) -> Media:
        """See `Video.media`."""
        return self._media

    def frames(
        self,
        *,
        max_fps: float | None = None,
        size: tuple[int, int] | None = None,
        start_s: float = 0.0,
        end_s: float | None = None,
        format: Pixels = "rgb",
        fast: bool = False,
    ) -> Iterator[Frame]:
        """See `Video.frames`."""
        check_request(size, start_s, end_s, format)
        pacer = Pacer(max_fps)
        convert = Upright(self._orientation, size or self._size, format)
        return self._stream(pacer, convert, start_s, end_s, fast)

    def _stream(
        self, pacer: Pacer, convert: Upright, start_s: float, end_s: float | None, fast: bool
    ) -> Iterator[Frame]:
        decoder, pictures = self._pictures_from(start_s)
        decoder.stream.codec_context.skip_frame = "NONREF" if fast else "DEFAULT"
        try:
            for time_s, picture in pictures:
                if end_s is not None and time_s >= end_s:
                    return
                if time_s >= start_s and pacer.keep(time_s):
                    yield Frame(time_s, convert(picture))
            self._account(decoder)
        finally:
            self._release(decoder)

    def frames_at(self, times_s: Sequence[float], *, size: tuple[int, int] | None = None) -> list[Frame]:
        """See `Video.frames_at`."""
        check_request(size, 0.0, None, "rgb")
        convert = Upright(self._orientation, size or self._size, "rgb")
        wanted = sorted(set(times_s))
        if not wanted:
            return []
        found: dict[float, Frame] = {}
        decoder, pictures = self._pictures_from(max(wanted[0], 0.0))
        try:
            shown: tuple[float, VideoFrame] | None = None
            kept: Frame | None = None
            for following in _with_end(pictures):
                while wanted and shown is not None and (following is None or wanted[0] < following[0]):
                    if kept is None or kept.time_s != shown[0]:
                        kept = Frame(shown[0], convert(shown[1]))
                    found[wanted.pop(0)] = kept
                if not wanted:
                    break
                shown = following
        finally:
            self._release(decoder)
        if wanted:
            raise self._no_frames(decoder)
        return [found[time_s] for time_s in times_s]

    # -- decoders ----------------------------------------------------------------------------------------------

    def _new_decoder(self) -> Decoder:
        if self._closed:
            raise VideoError(self.path, "was closed", "Read frames inside the `with` block.")
        decoder = Decoder(self.path, threads=self._threads, max_pixels=self._max_pixels)
        self._open.append(decoder)
        return decoder

    def _release(self, decoder: Decoder) -> None:
        decoder.close()
        if decoder in self._open:
            self._open.remove(decoder)

    def _pictures_from(self, start_s: float) -> tuple[Decoder, Iterator[tuple[float, VideoFrame]]]:
        """A decoder and its pictures, from one not later than `start_s` on (or the first)."""
        if start_s >= _SEEK_WORTH_S and self._origin is not None:
            sought = self._sought(start_s, self._origin)
            if sought is not None:
                return sought
        if self._primed is not None:
            decoder, pictures, first = self._primed
            self._primed = None
            return decoder, _put_back(first, pictures)
        decoder = self._new_decoder()
        return decoder, decoder.pictures()

    def _sought(self, start_s: float, origin: Fraction) -> tuple[Decoder, Iterator[tuple[float, VideoFrame]]] | None:
        """As above by seeking, or None when the container's seek lands too late or nowhere."""
        decoder = self._new_decoder()
        try:
            decoder.seek(start_s, origin)
        except VideoError:
            self._release(decoder)
            return None
        pictures = decoder.pictures()
        first = next(pictures, None)
        if first is None or first[0] > start_s:
            self._release(decoder)
            return None
        return decoder, _put_back(first, pictures)

    def _scan_duration(self) -> float:
        """Duration by reading every packet's time, for files that do not state it; nothing is decoded."""
        decoder = Decoder(self.path, threads=1, max_pixels=self._max_pixels)
        try:
            return decoder.scan_duration_s()
        finally:
            decoder.close()

    def _account(self, decoder: Decoder) -> None:
        """After a pass to the very end: say what was wrong, and correct the duration."""
        trouble, stated = decoder.trouble, self._media.duration_s
        if stated - decoder.end_s > max(0.5, 2 * decoder.step_s):
            self._warn(
                f"cut off: the file states {stated:.2f} s but its pictures end at {decoder.end_s:.2f} s "
                f"({stated - decoder.end_s:.2f} s are missing)"
            )
            self._media = self._media.model_copy(update={"duration_s": decoder.end_s, "frames": None})
        if trouble.bad_packets:
            self._warn(f"{trouble.bad_packets} packets could not be decoded and were left out")
        if trouble.corrupt_frames:
            self._warn(f"{trouble.corrupt_frames} frames are damaged")
        if trouble.backward_times:
            self._warn(f"{trouble.backward_times} timestamps run backwards and were set after the frame before")
        if trouble.missing_times:
            self._warn(f"{trouble.missing_times} frames have no timestamp and were spaced by the frame rate")

    def _no_frames(self, decoder: Decoder) -> NoFramesError:
        bad = decoder.trouble.bad_packets
        why = f"{bad} packets could not be decoded" if bad else "its video stream is empty"
        return NoFramesError(self.path, f"not one frame can be decoded ({why})", "Is the file complete?")

    def close(self) -> None:
        """Release the file; streams of frames that are still being read end with an error."""
        self._closed, self._primed = True, None
        for decoder in self._open:
            decoder.close()
        self._open.clear()


def open_video(path: str | os.PathLike[str], *, max_pixels: int | None = MAX_PIXELS, threads: int = 1) -> Video:
    """Open a video for reading and decode its first frame.

    Args:
        path: a path, a file:// URL, or any URL that fsspec reads (http(s)://, s3://, gs://, hf://, ...).
        max_pixels: refuse larger frames; None for no limit.
        threads: decoding threads. 1 suits pools of workers; 0 lets FFmpeg take all cores.

    Raises:
        VideoNotFoundError, NotAVideoError, NoVideoStreamError, NoFramesError, VideoTooLargeError: as named.
        VideoError: the file may not be read.
        ServiceError: a remote store failed.
        MissingExtraError: the package for the URL's scheme is not installed.
    """
    name = os.fspath(path) if not isinstance(path, Path) else str(path)
    return FileVideo(name, max_pixels=max_pixels, threads=threads)


def probe(path: str | os.PathLike[str], *, max_pixels: int | None = MAX_PIXELS) -> Media:
    """Size as shown, duration, rate and number of frames, after decoding one frame. Errors as `open_video`."""
    with open_video(path, max_pixels=max_pixels) as video:
        return video.media


def check_request(size: tuple[int, int] | None, start_s: float, end_s: float | None, format: str) -> None:
    """Raise SettingsError for arguments of `Video.frames` that make no sense."""
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise SettingsError("size", f"expected a positive (width, height) but got {size}")
    if not 0.0 <= start_s < float("inf"):
        raise SettingsError("start_s", f"expected a time >= 0 but got {start_s}")
    if end_s is not None and not end_s >= start_s:
        raise SettingsError("end_s", f"expected a time >= start_s ({start_s}) but got {end_s}")
    if format not in ("rgb", "gray"):
        raise SettingsError("format", f"expected 'rgb' or 'gray' but got {format!r}")


def _put_back(
    first: tuple[float, VideoFrame], rest: Iterator[tuple[float, VideoFrame]]
) -> Iterator[tuple[float, VideoFrame]]:
    yield first
    yield from rest


def _with_end(pictures: Iterator[tuple[float, VideoFrame]]) -> Iterator[tuple[float, VideoFrame] | None]:
    """The pictures, then None."""
    yield from pictures
    yield None
