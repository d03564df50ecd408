"""Open a video and stream its frames, upright, with exact times and bounded memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from fractions import Fraction

from av.error import FFmpegError
from av.video.frame import VideoFrame

from deeptrace.errors import NoFramesError, VideoError
from deeptrace.schema import ContentCredentials, Media
from deeptrace.video.base import StreamRequest, Video, check_size
from deeptrace.video.credentials import read_credentials
from deeptrace.video.decoder import Decoder
from deeptrace.video.frame import Frame, Picture
from deeptrace.video.orientation import Orientation, Upright, nearest_matrix, square_size
from deeptrace.video.remote import first_line
from deeptrace.video.sampling import Moments, Pacer
from deeptrace.video.source import too_large
from deeptrace.video.streams import Facts, states_rate

__all__ = ["MAX_PIXELS", "FileVideo", "open_video", "probe"]

MAX_PIXELS = 8192 * 8192
"""Default limit on pixels a frame: twice 8K, 200 MB as RGB."""

# Seeking costs a few packets; decoding less than this from where we are is cheaper.
_SEEK_WORTH_S = 2.0
# Between moments this far apart, opening the file anew and seeking is cheaper than decoding what lies between.
_NEW_PASS_S = 20.0


class FileVideo(Video):
    """A video in a file or behind a URL; made by `open_video`."""

    def __init__(
        self, path: str, *, max_pixels: int | None, threads: int, formats: Sequence[str] | None = None
    ) -> None:
        super().__init__(path)
        self._max_pixels, self._threads, self._formats = max_pixels, threads, formats
        self._open: list[Decoder] = []
        self._closed = False
        self._facts: Facts | None = None
        self._credentials: ContentCredentials | None = None
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
            raise too_large(self.path, width, height, self._max_pixels)
        self._size = (width, height)
        self._origin: Fraction | None = decoder.clock.origin if decoder.clock.plain else None
        length = decoder.length()
        self._is_stated = length.is_stated
        self._media = Media(
            width=width, height=height, duration_s=length.duration_s, fps=length.fps, frames=length.frames
        )
        if length.fps is not None and not states_rate(decoder.stream):
            self._warn(
                f"the file states neither times nor a rate: {length.fps:g} frames a second are assumed, "
                "so all times may be too long or too short by one factor"
            )
        if first.color_trc in (16, 18):  # SMPTE ST 2084 (PQ) and HLG
            self._warn("high dynamic range is read without tone mapping: pictures look flat")
        matrix = nearest_matrix(first)
        if matrix is not None:
            self._warn(f"colour matrix {first.colorspace} is read as {matrix.label}: colours may be off")

    @property
    def media(self) -> Media:
        """See `Video.media`."""
        return self._media

    def stream(self, request: StreamRequest) -> Iterator[Frame]:
        """See `Video.stream`."""
        size, end_s = request.size, request.end_s
        convert = Upright(self._orientation, size or self._size, request.format, scaled=size is not None)
        closer = request.closer
        larger = None if closer is None else Upright(self._orientation, closer.size, request.format, scaled=True)
        pacer = Pacer(request.max_fps, request.start_s)
        decoder, pictures = self._pictures_from(request.start_s)
        decoder.wants = pacer.wants
        decoder.only_references = request.fast and pacer.thins(decoder.step_s)
        count = number = 0
        try:
            for time_s, picture in pictures:
                if end_s is not None and time_s >= end_s:
                    return
                if pacer.keep(time_s):
                    if pacer.misses_slots:
                        # Too few pictures are references here (long runs of B-frames): read exactly from now on.
                        decoder.only_references = False
                    wanted = larger if closer is not None and closer.wants(number) else None
                    second = None if wanted is None else self._image(wanted, picture)
                    yield Frame(time_s, self._image(convert, picture), second)
                    number += 1
                count += 1
            self._account(decoder, count if pacer.keeps_all and not request.fast else None)
        finally:
            self._release(decoder)

    def frames_at(self, times_s: Sequence[float], *, size: tuple[int, int] | None = None) -> list[Frame]:
        """See `Video.frames_at`."""
        check_size(size)
        convert = Upright(self._orientation, size or self._size, "rgb", scaled=size is not None)
        found: dict[float, Frame] = {}
        for run in _runs(sorted(set(times_s))):
            found |= self._on_screen(run, convert)
        return [found[time_s] for time_s in times_s]

    def _on_screen(self, times_s: list[float], convert: Upright) -> dict[float, Frame]:
        """The frames on screen at rising `times_s`, in one pass from the key frame before the first of them."""
        wanted, found = deque(times_s), dict[float, Frame]()
        # A time after the end asks for the last frame, which is looked for before the stated end.
        start_s = min(wanted[0], self._media.duration_s - _SEEK_WORTH_S)
        decoder, pictures = self._pictures_from(max(start_s, 0.0))
        decoder.wants = Moments(times_s).wants
        try:
            shown: tuple[float, VideoFrame] | None = None
            kept: Frame | None = None
            for following in _with_end(pictures):
                while wanted and shown is not None and (following is None or wanted[0] < following[0]):
                    if kept is None or kept.time_s != shown[0]:
                        kept = Frame(shown[0], self._image(convert, shown[1]))
                    found[wanted.popleft()] = kept
                if not wanted:
                    break
                shown = following
        finally:
            self._release(decoder)
        if wanted:
            raise self._no_frames(decoder)
        return found

    def content_credentials(self) -> ContentCredentials | None:
        """See `Video.content_credentials`."""
        if self._credentials is None:
            self._credentials = read_credentials(self.path)
        return self._credentials

    # -- decoders ----------------------------------------------------------------------------------------------

    def _new_decoder(self) -> Decoder:
        if self._closed:
            raise VideoError(self.path, "was closed", "Read frames inside the `with` block.")
        decoder = Decoder(
            self.path, threads=self._threads, max_pixels=self._max_pixels, formats=self._formats, facts=self._facts
        )
        self._facts = decoder.facts
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

    def _image(self, convert: Upright, picture: VideoFrame) -> Picture:
        try:
            return convert(picture)
        except (FFmpegError, OSError) as error:
            raise VideoError(
                self.path, f"its pictures cannot be converted ({first_line(error)})", "Convert it to H.264."
            ) from None

    def _account(self, decoder: Decoder, count: int | None) -> None:
        """After a pass to the very end: say what was wrong, and correct the facts.

        Args:
            decoder: of the pass.
            count: pictures shown, where none was passed over.
        """
        clock = decoder.clock
        trouble, stated, end_s = clock.trouble, self._media.duration_s, clock.end_s
        slack_s = max(0.5, 2 * decoder.step_s)
        if stated - end_s > slack_s and self._is_stated:
            self._warn(
                f"cut off: the file states {stated:.2f} s but its pictures end at {end_s:.2f} s "
                f"({stated - end_s:.2f} s are missing)"
            )
        if abs(stated - end_s) > slack_s:
            self._is_stated = False
            self._media = self._media.model_copy(update={"duration_s": end_s, "frames": count})
        elif count is not None and self._media.frames not in (None, count):
            self._media = self._media.model_copy(update={"frames": count})
        for count, thing, what in (
            (trouble.bad_packets, "packet", "could not be decoded and left out"),
            (trouble.corrupt_frames, "frame", "damaged"),
            (trouble.late_frames, "frame", "out of order after the damage, left out"),
            (trouble.backward_times, "timestamp", "running backwards, set after the frame before"),
            (trouble.missing_times, "frame", "without a timestamp, spaced by the frame rate"),
        ):
            if count:
                self._warn(f"{count} {thing}{'s' * (count > 1)} {what}")

    def _no_frames(self, decoder: Decoder) -> NoFramesError:
        bad = decoder.clock.trouble.bad_packets
        why = f"damaged: all of {bad} packets" if bad else "its video stream is empty"
        return NoFramesError(self.path, f"not one frame can be decoded ({why})", "Is the file complete?")

    def close(self) -> None:
        """Release the file; streams of frames that are still being read end with an error."""
        self._closed, self._primed = True, None
        for decoder in self._open:
            decoder.close()
        self._open.clear()


def open_video(
    path: str | os.PathLike[str],
    *,
    max_pixels: int | None = MAX_PIXELS,
    threads: int = 1,
    formats: Sequence[str] | None = None,
) -> Video:
    """Open a video for reading and decode its first frame.

    Pictures come as a player shows them: turned, mirrored and cropped as the file says, with square pixels (a sample
    aspect ratio other than 1 widens or narrows them), transparent parts over black, all in the size of the first frame.
    Interlaced film is not deinterlaced, high dynamic range not tone-mapped. Of several picture streams the default
    one counts, then the largest; stills beside moving pictures and cover art never do. Time 0 is the first shown frame.

    Args:
        path: a path, a file:// URL, or any URL that fsspec reads (http(s)://, s3://, gs://, hf://, ...).
        max_pixels: refuse larger frames; None for no limit.
        threads: decoding threads. 1 suits pools of workers; 0 lets FFmpeg take all cores.
        formats: FFmpeg's names of the containers to accept, for clips from strangers (`source.COMMON_FORMATS`); None
            for every one that reads no other file.

    Raises:
        VideoNotFoundError, NotAVideoError, NoVideoStreamError, NoFramesError, VideoTooLargeError: as named.
        VideoError: the file may not be read.
        ServiceError: a remote store failed.
        MissingExtraError: the package for the URL's scheme is not installed.
    """
    return FileVideo(os.fspath(path), max_pixels=max_pixels, threads=threads, formats=formats)


def probe(path: str | os.PathLike[str], *, max_pixels: int | None = MAX_PIXELS) -> Media:
    """Size as shown, duration, rate and number of frames, after decoding one frame. Errors as `open_video`."""
    with open_video(path, max_pixels=max_pixels) as video:
        return video.media


def _runs(times_s: Sequence[float]) -> Iterator[list[float]]:
    """Rising times in runs without a gap longer than a new pass is worth."""
    run: list[float] = []
    for time_s in times_s:
        if run and time_s - run[-1] > _NEW_PASS_S:
            yield run
            run = []
        run.append(time_s)
    if run:
        yield run


def _put_back(
    first: tuple[float, VideoFrame], rest: Iterator[tuple[float, VideoFrame]]
) -> Iterator[tuple[float, VideoFrame]]:
    yield first
    yield from rest


def _with_end(pictures: Iterator[tuple[float, VideoFrame]]) -> Iterator[tuple[float, VideoFrame] | None]:
    """The pictures, then None."""
    yield from pictures
    yield None
