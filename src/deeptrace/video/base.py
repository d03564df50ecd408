"""What a video is to the rest of deeptrace: facts, warnings, and frames as a stream."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from deeptrace.errors import SettingsError
from deeptrace.schema import ContentCredentials, Media
from deeptrace.video.frame import Frame, Pixels
from deeptrace.video.sampling import Pacer

__all__ = ["Closer", "StreamRequest", "Video"]


@dataclass(frozen=True, slots=True)
class Closer:
    """Some frames of a stream carry a second image: how large, and which of them.

    Attributes:
        size: (width, height) of it.
        first, every: numbers, in the stream, of the first such frame and from one to the next.

    Raises:
        SettingsError: one of them makes no sense.
    """

    size: tuple[int, int]
    first: int
    every: int

    def __post_init__(self) -> None:
        check_size(self.size)
        if self.first < 0 or self.every < 1:
            raise SettingsError("closer", f"expected first >= 0 and every >= 1 but got {self.first}, {self.every}")

    def wants(self, number: int) -> bool:
        """Whether frame `number` of the stream, counted from 0, is one of them."""
        return number >= self.first and (number - self.first) % self.every == 0


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """What `Video.frames` is asked for; its arguments.

    Raises:
        SettingsError: one of them makes no sense.
    """

    max_fps: float | None = None
    size: tuple[int, int] | None = None
    start_s: float = 0.0
    end_s: float | None = None
    format: Pixels = "rgb"
    fast: bool = False
    closer: Closer | None = None

    def __post_init__(self) -> None:
        Pacer(self.max_fps)  # which checks it
        check_size(self.size)
        if not 0.0 <= self.start_s < float("inf"):
            raise SettingsError("start_s", f"expected a time >= 0 but got {self.start_s}")
        if self.end_s is not None and not self.end_s >= self.start_s:
            raise SettingsError("end_s", f"expected a time >= start_s ({self.start_s}) but got {self.end_s}")
        if self.format not in ("rgb", "gray"):
            raise SettingsError("format", f"expected 'rgb' or 'gray' but got {self.format!r}")


def check_size(size: tuple[int, int] | None) -> None:
    """Raise SettingsError for a size that no image has."""
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise SettingsError("size", f"expected a positive (width, height) but got {size}")


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

    def frames(
        self,
        *,
        max_fps: float | None = None,
        size: tuple[int, int] | None = None,
        start_s: float = 0.0,
        end_s: float | None = None,
        format: Pixels = "rgb",
        fast: bool = False,
        closer: Closer | None = None,
    ) -> Iterator[Frame]:
        """Stream the frames shown first in [start_s, end_s), in order; never two with one time, never one twice.

        Args:
            max_fps: at most one frame in each slot of 1 / max_fps seconds (see `Pacer`); slower clips keep all.
            size: (width, height) of the images; None for the size as shown. The aspect is not kept for you.
            start_s: first moment.
            end_s: end (exclusive); None for the end of the video.
            format: "rgb" for (H, W, 3), "gray" for (H, W).
            fast: leave out frames that no other frame needs, which saves about a fifth more than pacing alone. The
                frame of a slot may then be a neighbour of the one that exact reading gives; its time is its own true
                time. Without effect where a clip has too few frames to leave any out.
            closer: which frames carry a second image of another size.

        Raises:
            VideoError: the video cannot be read, or not one frame of it decodes.
            SettingsError: an argument makes no sense.
        """
        return self.stream(StreamRequest(max_fps, size, start_s, end_s, format, fast, closer))

    @abstractmethod
    def stream(self, request: StreamRequest) -> Iterator[Frame]:
        """What `frames` gives, by its arguments in one."""

    @abstractmethod
    def frames_at(self, times_s: Sequence[float], *, size: tuple[int, int] | None = None) -> list[Frame]:
        """The frame on screen at each of `times_s`, in their order: the last one not later than the time.

        Times before the start give the first frame, times after the end the last one. Each frame carries its own
        time. All frames asked for are in memory at once.
        """

    def content_credentials(self) -> ContentCredentials | None:
        """What is signed into the file (C2PA); None where there is no file. Never fetches anything."""
        return None

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
