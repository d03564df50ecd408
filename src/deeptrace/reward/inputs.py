"""What can be rewarded: paths, open videos, arrays, tensors, and what is known to be unusable."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from deeptrace.errors import SettingsError, VideoError
from deeptrace.plural import plural
from deeptrace.reward.tensors import Frames, Tensor, Unusable, ValueRange, frames_of_batch, frames_of_clip, is_array
from deeptrace.video import Video, open_video, video_from_array

__all__ = ["Clip", "Clips", "clip_of", "clips_of", "opened", "path_of_bytes", "rates_of"]

Clip = str | os.PathLike[str] | Video | NDArray[Any] | Tensor | Unusable
"""A path or URL, an open video, RGB frames as an array or a tensor, or a clip already known to be unusable."""

Clips = Sequence[Clip] | NDArray[Any] | Tensor
"""Several clips, or a batch of them as one array or tensor."""


@contextmanager
def opened(clip: str | Video | Unusable) -> Iterator[Video]:
    """The clip as a video; one opened here is closed here, one that came open stays so.

    Raises:
        VideoError: it cannot be opened.
    """
    if isinstance(clip, Unusable):
        raise VideoError(clip.name, clip.reason)
    if isinstance(clip, Video):
        yield clip
        return
    with open_video(clip) as video:
        yield video


def clips_of(
    videos: Clips,
    fps: float | Sequence[float] | None,
    *,
    layout: str | None = None,
    value_range: ValueRange | None = None,
) -> list[str | Video | Unusable]:
    """Several clips as they are scored; see `Reward.score`.

    Raises:
        SettingsError: one clip where several are expected, another number of `fps`, or as `clip_of`.
    """
    clips: Sequence[Clip]
    if not is_array(videos):
        clips, layout = cast(Sequence[Clip], videos), layout and layout.upper().replace("B", "")
    elif len(videos.shape) < 5 or (layout is not None and "B" not in layout.upper()):
        raise SettingsError(
            "videos", f"expected several clips but got {_described(videos)}", "Put it into a list, if it is one clip."
        )
    elif isinstance(videos, np.ndarray) and layout is None and value_range is None:
        clips = list(videos)
    else:
        layout = _named(layout, videos, "videos", "BTCHW")
        clips = frames_of_batch(videos, layout=layout, value_range=value_range, caller="videos")
        layout = value_range = None
    return [
        clip_of(clip, rate, index, layout=layout, value_range=value_range)
        for index, (clip, rate) in enumerate(zip(clips, rates_of(fps, clips), strict=True))
    ]


def rates_of(fps: float | Sequence[float] | None, clips: Sequence[Any]) -> list[float | None]:
    """Frames a second of each of several clips.

    Raises:
        SettingsError: another number of them, or one clip where several are expected.
    """
    if isinstance(clips, (str, os.PathLike, Video)):  # a path is a sequence too: of letters
        raise SettingsError("videos", "expected several clips but got one", "Put it into a list.")
    count = len(clips)
    if fps is None or isinstance(fps, (int, float)):
        return [fps] * count
    if len(fps) != count:
        raise SettingsError(
            "fps", f"expected one number, or one for each of {plural(count, 'clip')}, but got {len(fps)}"
        )
    return [float(rate) for rate in fps]


def clip_of(
    clip: Clip, fps: float | None, index: int = 0, *, layout: str | None = None, value_range: ValueRange | None = None
) -> str | Video | Unusable:
    """A clip as it is scored: a path, a video in memory, or the reason why there is none.

    Args:
        clip: the clip that was handed in.
        fps: frames a second, needed for arrays and tensors.
        index: of the clip in its batch, for its name.
        layout, value_range: of arrays and tensors, see `Reward.score`.

    Raises:
        SettingsError: frames without `fps`, frames that are not as `layout` and `value_range` say, a tensor without a
            layout, or what is no clip at all.
    """
    if isinstance(clip, (Video, Unusable)):
        return clip
    if isinstance(clip, (str, os.PathLike)):
        return os.fspath(clip)
    name = f"clip {index}"
    if not is_array(clip):
        raise SettingsError(name, f"expected a path, a Video, an array or a tensor but got {type(clip).__name__}")
    if isinstance(clip, np.ndarray) and layout is None and value_range is None:
        frames: Frames | Unusable = clip
        if clip.ndim != 4 or clip.shape[-1] != 3 or clip.dtype != np.uint8 or not clip.size:
            raise SettingsError(
                name,
                f"expected frames of shape (T, H, W, 3) and dtype uint8 but got {_described(clip)}",
                "Name other axes with layout=, and another range of values with value_range=.",
            )
    else:
        layout = _named(layout, clip, name, "TCHW") if isinstance(clip, Tensor) else layout or "THWC"
        frames = frames_of_clip(clip, layout=layout, value_range=value_range, caller=name, name=name)
    if isinstance(frames, Unusable):
        return frames
    if fps is None:
        raise SettingsError(name, "frames alone do not say how fast they are shown", "Give fps.")
    return video_from_array(frames, fps=fps, name=name)


def _named(layout: str | None, values: Tensor | NDArray[Any], subject: str, example: str) -> str:
    """The layout, which a tensor does not come without."""
    if layout is None:
        raise SettingsError(
            subject,
            f"got {_described(values)}, which does not say which axis is which",
            f"Give layout=, such as {example!r}, and value_range=: (0, 255), (0, 1) or (-1, 1).",
        )
    return layout


def _described(values: Any) -> str:
    kind = "an array" if isinstance(values, np.ndarray) else "a tensor"
    return f"{kind} of shape {tuple(values.shape)} and dtype {str(values.dtype).removeprefix('torch.')}"


@contextmanager
def path_of_bytes(data: bytes | bytearray | memoryview) -> Iterator[str]:
    """A path that reads as `data`: in memory where the system can (nothing is left even by a killed process)."""
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("deeptrace")
        try:
            with open(handle, "wb", closefd=False) as file:
                file.write(data)
            yield f"/proc/{os.getpid()}/fd/{handle}"  # a worker process opens it by this process's number
        finally:
            os.close(handle)
    else:
        with tempfile.TemporaryDirectory(prefix="deeptrace-") as folder:
            path = os.path.join(folder, "clip.mp4")
            with open(path, "wb") as file:
                file.write(data)
            yield path
