"""The frames of a clip that a language model is shown: decoded, in a size that its preprocessing keeps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from deeptrace.plural import plural
from deeptrace.schema import Media
from deeptrace.video import Frame, Video

__all__ = ["Size", "Taken", "decode_size", "fit_size", "take_frames", "too_dense"]

Size = tuple[int, int]
"""(width, height) in pixels."""

MAX_DECODED_BYTES = 1 << 29
"""Most memory that the decoded frames of one clip take, as RGB."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Frames of a clip, in order.

    Attributes:
        frames: each with its own true time.
        media: the clip, with the times of these frames.
        warnings: remarks for the reader.
    """

    frames: tuple[Frame, ...]
    media: Media
    warnings: tuple[str, ...] = ()


def take_frames(video: Video, times_s: tuple[float, ...], *, size: Size | None = None, repeats: bool = False) -> Taken:
    """Decode the frames on screen at `times_s`.

    A moment whose frame was taken already adds none, so short clips show fewer frames, and say so; with `repeats` it
    adds that frame again, for models that take a fixed number.

    Raises:
        VideoError: the clip does not decode.
    """
    found = sorted(video.frames_at(times_s, size=size), key=lambda frame: frame.time_s)
    taken = {frame.time_s: frame for frame in found}
    frames = tuple(found) if repeats else tuple(taken.values())
    warnings = []
    if len(taken) < len(times_s):
        shown = ", shown more than once" if repeats else ""
        warnings.append(
            f"the clip is short: {plural(len(taken), 'different frame')} for {plural(len(times_s), 'moment')}{shown}"
        )
    media = video.media.model_copy(update={"sampled_times_s": tuple(frame.time_s for frame in frames)})
    return Taken(frames, media, tuple(warnings))


def fit_size(size: Size, *, multiple_of: int, min_pixels: int, max_pixels: int) -> Size:
    """The (width, height) at which a frame of `size` is sent: sides multiples, area in range, aspect as near as can be.

    The rule by which Qwen's own preprocessing resizes an image, so that it leaves a frame of this size as it is. A
    frame is not enlarged but to reach `min_pixels` or the next multiple.

    >>> fit_size((1280, 720), multiple_of=28, min_pixels=3136, max_pixels=602_112)
    (1008, 560)
    """
    width, height = size
    wide, high = (round(side / multiple_of) * multiple_of for side in size)
    if wide * high > max_pixels:
        shrink = math.sqrt(width * height / max_pixels)
        wide, high = (max(multiple_of, math.floor(side / shrink / multiple_of) * multiple_of) for side in size)
    elif wide * high < min_pixels:
        grow = math.sqrt(min_pixels / (width * height))
        wide, high = (math.ceil(side * grow / multiple_of) * multiple_of for side in size)
    return wide, high


def decode_size(size: Size, frames: int) -> Size | None:
    """The size at which frames are decoded before a model's own preprocessing shrinks them: None for their own.

    Frames are shrunk only where all of them together would take more than half a gigabyte, as those of a long clip in
    4K do.

    >>> decode_size((1280, 720), 64), decode_size((3840, 2160), 64)
    (None, (2229, 1254))
    """
    share = MAX_DECODED_BYTES / (3 * size[0] * size[1] * frames)
    if share >= 1.0:
        return None
    return max(int(size[0] * math.sqrt(share)), 1), max(int(size[1] * math.sqrt(share)), 1)


def too_dense(times_s: Sequence[float], most_fps: float) -> tuple[str, ...]:
    """A warning where frames follow one another faster than a model can tell their times apart; none otherwise.

    Qwen2.5-VL counts time in whole positions, two a second, and reads frames in pairs: of more than 4 frames a second,
    several pairs share a position.

    >>> too_dense((0.0, 0.125, 0.25), 4.0)
    ('8 frames a second: the model cannot tell times apart above 4. Show fewer: --set fps=4',)
    """
    lasting = times_s[-1] - times_s[0] if len(times_s) > 1 else 0.0
    fps = (len(times_s) - 1) / lasting if lasting > 0 else 0.0
    if fps <= 1.02 * most_fps:  # 30000/1001 is 30
        return ()
    told = f"{fps:.3g} frames a second: the model cannot tell times apart above {most_fps:g}."
    return (f"{told} Show fewer: --set fps={most_fps:g}",)
