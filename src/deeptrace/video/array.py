"""A video made of an array in memory, with the interface of one in a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deeptrace.errors import SettingsError
from deeptrace.trace import Media
from deeptrace.video.base import Video, check_request
from deeptrace.video.frame import Frame, Picture, Pixels
from deeptrace.video.sampling import Pacer, played_index

__all__ = ["ArrayVideo", "video_from_array"]


class ArrayVideo(Video):
    """Frames in memory; made by `video_from_array`. Full-size RGB frames are views, not copies."""

    def __init__(self, name: str, images: NDArray[np.uint8], times_s: tuple[float, ...], media: Media) -> None:
        super().__init__(name)
        self._images, self._times_s, self._media = images, times_s, media

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
        fast: bool = False,  # noqa: ARG002 - part of the interface; memory is fast
    ) -> Iterator[Frame]:
        """See `Video.frames`."""
        check_request(size, start_s, end_s, format)
        return self._stream(Pacer(max_fps, start_s), size, end_s, format)

    def _stream(
        self, pacer: Pacer, size: tuple[int, int] | None, end_s: float | None, format: Pixels
    ) -> Iterator[Frame]:
        for image, time_s in zip(self._images, self._times_s, strict=True):
            if end_s is not None and time_s >= end_s:
                return
            if pacer.keep(time_s):
                yield Frame(time_s, _shaped(image, size, format))

    def frames_at(self, times_s: Sequence[float], *, size: tuple[int, int] | None = None) -> list[Frame]:
        """See `Video.frames_at`."""
        check_request(size, 0.0, None, "rgb")
        indices = [played_index(self._times_s, time_s) for time_s in times_s]
        return [Frame(self._times_s[k], _shaped(self._images[k], size, "rgb")) for k in indices]


def video_from_array(
    frames: NDArray[Any], *, fps: float | None = None, times_s: Sequence[float] | None = None, name: str = "array"
) -> Video:
    """A `Video` over frames in memory.

    Args:
        frames: (T, H, W, 3) uint8 RGB, T >= 1.
        fps: frames a second; give this or `times_s`.
        times_s: T rising times in seconds; shifted so that the first is 0.
        name: what errors and verdicts call it.

    Raises:
        SettingsError: wrong shape or dtype, or not exactly one of `fps` and `times_s`.
    """
    images = np.asarray(frames)
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8 or not all(images.shape):
        raise SettingsError(
            name, f"expected frames of shape (T, H, W, 3) and dtype uint8 but got {images.shape} {images.dtype}"
        )
    if (fps is None) == (times_s is None):
        raise SettingsError(name, "expected exactly one of fps and times_s")
    count = len(images)
    if fps is not None:
        if not 0 < fps < float("inf"):
            raise SettingsError("fps", f"expected a positive number but got {fps}")
        times = tuple(k / fps for k in range(count))
        duration_s = count / fps
    else:
        given = [float(t) for t in times_s or ()]
        if len(given) != count or not np.isfinite(given).all() or any(a >= b for a, b in pairwise(given)):
            raise SettingsError("times_s", f"expected {count} rising finite times but got {len(given)}: {given[:8]}")
        times = tuple(t - given[0] for t in given)
        # The last frame stays as long as frames do on average.
        duration_s = times[-1] * count / (count - 1) if count > 1 else 0.0
        fps = count / duration_s if duration_s else None
    height, width = images.shape[1:3]
    media = Media(width=width, height=height, duration_s=duration_s, fps=fps, frames=count)
    return ArrayVideo(name, images, times, media)


def _shaped(image: Picture, size: tuple[int, int] | None, format: Pixels) -> Picture:
    if size is not None and size != (image.shape[1], image.shape[0]):
        shrinks = size[0] * size[1] < image.shape[0] * image.shape[1]
        image = np.asarray(
            cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), dtype=np.uint8
        )
    if format == "gray":
        image = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    return image
