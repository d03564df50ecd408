"""Which frames of a clip are sent, how large, and what that costs: the budget is computed before anything is sent."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import cv2

from deeptrace.detectors.vlm.frame_sampling import fit_size, take_frames, too_dense
from deeptrace.detectors.vlm.openai.profiles import Profile
from deeptrace.detectors.vlm.openai.settings import Options
from deeptrace.errors import ModelError
from deeptrace.schema import Media
from deeptrace.video import Frame, Video

__all__ = ["Budget", "Shown", "encode", "plan", "show"]


@dataclass(frozen=True, slots=True)
class Budget:
    """What one clip will cost.

    Attributes:
        times_s: moments asked for.
        size: (width, height) of the frames sent.
        visual_tokens: of all frames; None where the model's rule is not published.
    """

    times_s: tuple[float, ...]
    size: tuple[int, int]
    visual_tokens: int | None


@dataclass(frozen=True, slots=True)
class Shown:
    """What the model is shown.

    Attributes:
        frames: resized, each with its own true time.
        size: (width, height) of them.
        visual_tokens: estimate for all of them.
        media: the clip, with the times of these frames.
        warnings: remarks for the reader.
    """

    frames: tuple[Frame, ...]
    size: tuple[int, int]
    visual_tokens: int | None
    media: Media
    warnings: tuple[str, ...] = ()


def plan(media: Media, options: Options, profile: Profile) -> Budget:
    """Moments, frame size and visual tokens for a clip, from its facts alone."""
    times = options.moments(media.duration_s)
    size = fit_size(
        (media.width, media.height),
        multiple_of=options.multiple_of or profile.multiple_of,
        min_pixels=options.min_frame_pixels,
        max_pixels=options.frame_pixels(len(times)),
    )
    return Budget(times, size, None if profile.tokens is None else len(times) * profile.tokens(size))


def show(video: Video, options: Options, profile: Profile) -> Shown:
    """Decode the frames of the plan. A moment whose frame was taken already adds none: short clips show fewer.

    Raises:
        VideoError: the clip does not decode.
    """
    budget = plan(video.media, options, profile)
    taken = take_frames(video, budget.times_s, size=budget.size)
    tokens = None if profile.tokens is None else len(taken.frames) * profile.tokens(budget.size)
    warnings = taken.warnings
    if options.part == "video" and profile.video_fps is not None:
        warnings += too_dense([frame.time_s for frame in taken.frames], profile.video_fps)
    return Shown(taken.frames, budget.size, tokens, taken.media, warnings)


def encode(frame: Frame, options: Options) -> str:
    """The frame as base64 of a JPEG or PNG.

    Raises:
        ModelError: it cannot be encoded.
    """
    suffix = ".png" if options.image == "png" and options.part == "frames" else ".jpg"
    flags = [cv2.IMWRITE_JPEG_QUALITY, options.quality] if suffix == ".jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 3]
    done, data = cv2.imencode(suffix, cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR), flags)
    if not done:
        raise ModelError("", f"the frame at {frame.time_s:g} s cannot be encoded as {suffix[1:]}")
    return base64.b64encode(data.tobytes()).decode("ascii")
