"""Named degradations: what platforms and re-uploads do to a clip, for measuring how well a detector stands it."""

from __future__ import annotations

import os

from deeptrace.errors import SettingsError
from deeptrace.geometry import Box
from deeptrace.schema import Trace
from deeptrace.video.base import Video
from deeptrace.video.transforms.ops import Blur, Brightness, Chain, Crop, DownUp, FpsCap, Noise, Recode, Resize, Step
from deeptrace.video.write import Codec, write_video

__all__ = ["DEGRADATIONS", "DEGRADED", "degradation", "degrade_file", "degrade_trace"]

DEGRADATIONS: dict[str, Step] = {
    "h264_crf23": Recode("libx264", 23),
    "h264_crf28": Recode("libx264", 28),
    "h264_crf35": Recode("libx264", 35),
    "h265_crf28": Recode("libx265", 28, "fast"),
    "resize_360": Resize(360),
    "down_up_2x": DownUp(2.0),
    "fps_12": FpsCap(12.0),
    "crop_80": Crop(Box(x0=0.1, y0=0.1, x1=0.9, y1=0.9)),
    "blur": Blur(1.5),
    "noise": Noise(6.0),
    "brighter": Brightness(1.6),
    "darker": Brightness(0.5),
    # What a video site makes of an upload: at most 480 lines and 30 frames a second, at a modest rate.
    "platform": Chain((FpsCap(30.0), Resize(480), Recode("libx264", 28))),
}
"""Degradations by name. Each is a function of a stream of frames: `DEGRADATIONS["blur"](video.frames(), seed=0)`."""

DEGRADED = ("h264_crf35", "down_up_2x", "blur", "noise", "platform")
"""Those of them that tables of detectors ask: the ones that cost detectors most."""

_NEARLY_LOSSLESS = 10
_DEFAULT_FPS = 25.0


def degradation(name: str) -> Step:
    """The degradation of that name.

    Raises:
        SettingsError: there is none; the message lists those there are.
    """
    try:
        return DEGRADATIONS[name]
    except KeyError:
        raise SettingsError(name, "is no degradation", f"There are: {', '.join(DEGRADATIONS)}.") from None


def degrade_file(
    video: Video, path: str | os.PathLike[str], how: str | Step, *, seed: int = 0, threads: int = 1
) -> None:
    """Write a degraded copy of `video` to `path` (.mp4), streaming and atomic.

    A last step that compresses is the file's own encoding; any other result is written nearly without loss, so that
    what is measured is the degradation and not the file.

    Raises:
        VideoError: `video` cannot be read or `path` cannot be written.
        SettingsError: there is no degradation of that name.
    """
    step = degradation(how) if isinstance(how, str) else how
    steps = step.steps if isinstance(step, Chain) else (step,)
    codec: Codec = "libx264"
    crf, preset = _NEARLY_LOSSLESS, "veryfast"
    if steps and isinstance(steps[-1], Recode):
        last = steps[-1]
        steps, codec, crf, preset = steps[:-1], last.codec, last.crf, last.preset
    frames = Chain(steps)(video.frames(), seed=seed)
    fps = video.media.fps or _DEFAULT_FPS
    for part in steps:
        if isinstance(part, FpsCap):
            fps = min(fps, part.fps)
    write_video(path, frames, fps=fps, codec=codec, crf=crf, preset=preset, threads=threads, b_frames=True)


def degrade_trace(trace: Trace, how: str | Step) -> Trace | None:
    """Where and when a true trace is in the degraded clip; None when it cannot be seen there."""
    step = degradation(how) if isinstance(how, str) else how
    return step.on_trace(trace)
