"""A clip from a stranger as a video, refused where it exceeds the limits, whatever its header says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from deeptrace.errors import NotAVideoError, VideoTooLargeError
from deeptrace.plural import plural
from deeptrace.schema import ContentCredentials, Media
from deeptrace.server.frame_archive import read_frames
from deeptrace.server.schemas import Work
from deeptrace.server.settings import Limits
from deeptrace.video import Frame, Video, open_video, video_from_array
from deeptrace.video.base import StreamRequest
from deeptrace.video.source import COMMON_FORMATS

__all__ = ["LimitedVideo", "open_work"]


class LimitedVideo(Video):
    """A video that ends with an error where it goes on beyond the limits.

    Args:
        inner: opened.
        name: what errors and results call it.
        limits: `duration_s` and `frames` count.

    Raises:
        VideoTooLargeError: it says itself that it is too long.
    """

    def __init__(self, inner: Video, name: str, limits: Limits) -> None:
        super().__init__(name)
        self.warnings = inner.warnings
        self._inner, self._limits = inner, limits
        self._check(inner.media.duration_s, inner.media.frames or 0)

    @property
    def media(self) -> Media:
        """See `Video.media`."""
        return self._inner.media

    def stream(self, request: StreamRequest) -> Iterator[Frame]:
        """See `Video.stream`; VideoTooLargeError where a limit is passed."""
        for count, frame in enumerate(self._inner.stream(request), 1):
            self._check(frame.time_s, count)
            yield frame

    def frames_at(self, times_s: Sequence[float], *, size: tuple[int, int] | None = None) -> list[Frame]:
        """See `Video.frames_at`."""
        return self._inner.frames_at(times_s, size=size)

    def content_credentials(self) -> ContentCredentials | None:
        """See `Video.content_credentials`."""
        return self._inner.content_credentials()

    def close(self) -> None:
        """Release the file."""
        self._inner.close()

    def _check(self, duration_s: float, frames: int) -> None:
        if duration_s > self._limits.duration_s:
            raise VideoTooLargeError(self.path, f"lasts longer than the limit of {self._limits.duration_s:g} s")
        if frames > self._limits.frames:
            raise VideoTooLargeError(self.path, f"has more than the limit of {plural(self._limits.frames, 'frame')}")


def open_work(work: Work, limits: Limits) -> LimitedVideo:
    """The clip of `work`, open, with the limits around it.

    Raises:
        VideoError: it cannot be read, or exceeds a limit.
    """
    video = _opened(work, limits)
    try:
        return LimitedVideo(video, work.name, limits)
    except BaseException:
        video.close()
        raise


def _opened(work: Work, limits: Limits) -> Video:
    if work.kind == "video":
        return open_video(work.path, max_pixels=limits.pixels, formats=COMMON_FORMATS)
    if work.kind == "images":
        frames = read_frames(
            work.path,
            work.name,
            max_pixels=limits.pixels,
            max_frames=limits.frames,
            max_bytes=limits.memory_bytes // 2,
        )
    else:
        frames = _array(work, limits)
    assert work.fps is not None
    return video_from_array(frames, fps=work.fps, name=work.name)


def _array(work: Work, limits: Limits) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The array in an .npy file, as a view of it."""
    try:
        frames = np.load(work.path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise NotAVideoError(work.name, f"is not a .npy array ({error})"[:300]) from None
    if not isinstance(frames, np.ndarray) or frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3:
        got = f"{getattr(frames, 'dtype', type(frames).__name__)} {getattr(frames, 'shape', '')}".strip()
        raise NotAVideoError(work.name, f"expected frames (T, H, W, 3) uint8 but got {got}")
    if frames.shape[0] > limits.frames:
        raise VideoTooLargeError(work.name, f"has more than the limit of {plural(limits.frames, 'frame')}")
    if frames.shape[1] * frames.shape[2] > limits.pixels:
        raise VideoTooLargeError(
            work.name, f"{frames.shape[2]}x{frames.shape[1]} is more than the limit of {limits.pixels} pixels"
        )
    return np.asarray(frames)
