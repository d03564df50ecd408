"""A video made of an array in memory, with the interface of one in a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deeptrace.errors import SettingsError
from deeptrace.schema import Media
from deeptrace.video.base import StreamRequest, Video, check_size
from deeptrace.video.frame import Frame, Picture, Pixels
from deeptrace.video.sampling import Pacer, played_index
from deeptrace.video.scaling import Coding, Scaler

__all__ = ["ArrayVideo", "video_from_array"]

_TELLING = 5  # images that are asked what they were decoded from: some may be black


class ArrayVideo(Video):
    """Frames in memory; made by `video_from_array`. Full-size RGB frames are views, not copies."""

    def __init__(
        self, name: str, images: NDArray[np.uint8], times_s: tuple[float, ...], media: Media, *, as_is: bool
    ) -> None:
        super().__init__(name)
        self._images, self._times_s, self._media, self._as_is = images, times_s, media, as_is

    @property
    def media(self) -> Media:
        """See `Video.media`."""
        return self._media

    @property
    def images(self) -> NDArray[np.uint8]:
        """All frames, (T, H, W, 3) uint8 RGB."""
        return self._images

    @property
    def times_s(self) -> tuple[float, ...]:
        """When each frame is shown, T seconds."""
        return self._times_s

    @property
    def as_is(self) -> bool:
        """See `video_from_array`."""
        return self._as_is

    def stream(self, request: StreamRequest) -> Iterator[Frame]:
        """See `Video.stream`; memory is always fast."""
        pacer, shape = Pacer(request.max_fps, request.start_s), self._shaper(request.size, request.format)
        closer, number = request.closer, 0
        larger = None if closer is None else self._shaper(closer.size, request.format)
        for image, time_s in zip(self._images, self._times_s, strict=True):
            if request.end_s is not None and time_s >= request.end_s:
                return
            if pacer.keep(time_s):
                wanted = larger if closer is not None and closer.wants(number) else None
                yield Frame(time_s, shape(image), None if wanted is None else wanted(image))
                number += 1

    def frames_at(self, times_s: Sequence[float], *, size: tuple[int, int] | None = None) -> list[Frame]:
        """See `Video.frames_at`."""
        check_size(size)
        indices, shape = [played_index(self._times_s, time_s) for time_s in times_s], self._shaper(size, "rgb")
        return [Frame(self._times_s[k], shape(self._images[k])) for k in indices]

    def _shaper(self, size: tuple[int, int] | None, format: Pixels) -> Callable[[Picture], Picture]:
        """What makes an image of this video that of a frame, as `FileVideo` would."""
        if size is not None and not (self._as_is and size == (self._media.width, self._media.height)):
            scaler, coding = Scaler(size, format), self._coding
            return lambda image: scaler.of_rgb(image, coding)
        if format == "gray":
            return lambda image: np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        return lambda image: image

    @cached_property
    def _coding(self) -> Coding | None:
        """What the images were decoded from, by the first that tells of a few from all over the video."""
        scaler = Scaler((self._media.width, self._media.height), "rgb")
        few = np.unique(np.linspace(0, len(self._images) - 1, _TELLING).round().astype(int))
        return next(filter(None, (scaler.coding_of(self._images[index]) for index in few)), None)


def video_from_array(
    frames: NDArray[Any],
    *,
    fps: float | None = None,
    times_s: Sequence[float] | None = None,
    name: str = "array",
    as_is: bool = False,
) -> Video:
    """A `Video` over frames in memory.

    Args:
        frames: (T, H, W, 3) uint8 RGB, T >= 1.
        fps: frames a second; give this or `times_s`.
        times_s: T rising times in seconds; shifted so that the first is 0.
        name: what errors and verdicts call it.
        as_is: whether frames asked for at their own size come unchanged, as those must that `Video.frames` gave at that
            size. Else they go the way of a file's frames, which takes half of their chroma, at any size.

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
    return ArrayVideo(name, images, times, media, as_is=as_is)
