"""The same work on many videos at once: order kept, memory bounded, failures as values."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from deeptrace.errors import DeeptraceError, SettingsError
from deeptrace.trace import Media
from deeptrace.video.base import Video
from deeptrace.video.frame import Frame, Pixels
from deeptrace.video.reader import MAX_PIXELS, open_video

__all__ = ["Clip", "Result", "map_videos", "read_many"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Result(Generic[T]):
    """What became of one video: `value` or `error`, never both.

    Attributes:
        path: as given.
        value: what the work returned; None when it failed.
        error: why it failed; None when it did not.
        warnings: what the video complained of.
    """

    path: str
    value: T | None
    error: DeeptraceError | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Clip:
    """Frames of one video, in memory."""

    media: Media
    frames: list[Frame]


def map_videos(
    paths: Iterable[str],
    work: Callable[[Video], T],
    *,
    workers: int = 2,
    ahead: int = 2,
    max_pixels: int | None = MAX_PIXELS,
    threads: int = 1,
) -> Iterator[Result[T]]:
    """Open each video and do `work` on it, in threads; results come in the order of `paths`.

    Decoding runs outside Python's lock, so threads scale with the cores. `paths` is read lazily: at most
    `workers + ahead` videos are being worked on or wait for the caller. Stopping early cancels what has not begun.

    Args:
        paths: any number of paths or URLs.
        work: called with an opened video, on a worker's thread; must be done with it when it returns.
        workers: threads, each with one video at a time.
        ahead: finished results that may wait for the caller.
        max_pixels: as `open_video`.
        threads: decoding threads of each video, as `open_video`.

    Raises:
        SettingsError: `workers` or `ahead` makes no sense. Any error of deeptrace's own that a video causes is a value
            in its Result; other exceptions in `work` are mistakes in it, and pass through.
    """
    if workers < 1 or ahead < 0:
        raise SettingsError("workers", f"expected workers >= 1 and ahead >= 0 but got {workers} and {ahead}")

    def one(path: str) -> Result[T]:
        try:
            with open_video(path, max_pixels=max_pixels, threads=threads) as video:
                return Result(path, work(video), None, tuple(video.warnings))
        except DeeptraceError as error:
            return Result(path, None, error)

    return _in_order(paths, one, workers, ahead)


def _in_order(paths: Iterable[str], one: Callable[[str], Result[T]], workers: int, ahead: int) -> Iterator[Result[T]]:
    waiting: deque[Future[Result[T]]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="deeptrace-video")
    try:
        for path in paths:
            waiting.append(pool.submit(one, path))
            if len(waiting) >= workers + ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def read_many(
    paths: Iterable[str],
    *,
    max_fps: float | None = None,
    size: tuple[int, int] | None = None,
    end_s: float | None = None,
    format: Pixels = "rgb",
    fast: bool = False,
    workers: int = 2,
    ahead: int = 2,
    max_pixels: int | None = MAX_PIXELS,
) -> Iterator[Result[Clip]]:
    """The frames of many videos, each whole in memory (see `Video.frames` for what is asked, `map_videos` for how)."""

    def read(video: Video) -> Clip:
        frames = list(video.frames(max_fps=max_fps, size=size, end_s=end_s, format=format, fast=fast))
        return Clip(video.media, frames)

    return map_videos(paths, read, workers=workers, ahead=ahead, max_pixels=max_pixels)
