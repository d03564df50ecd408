"""Video in and out: open, stream with exact times, sample, write, draw over, degrade.

Names are loaded when first used: who only hands videos on needs no decoder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeptrace.lazy import lazy_names

if TYPE_CHECKING:
    from deeptrace.video.array import ArrayVideo, video_from_array
    from deeptrace.video.base import Video
    from deeptrace.video.frame import Frame
    from deeptrace.video.reader import MAX_PIXELS, open_video, probe
    from deeptrace.video.write import write_video

__all__ = ["MAX_PIXELS", "ArrayVideo", "Frame", "Video", "open_video", "probe", "video_from_array", "write_video"]

__getattr__ = lazy_names(
    __name__,
    {
        "deeptrace.video.array": ("ArrayVideo", "video_from_array"),
        "deeptrace.video.base": ("Video",),
        "deeptrace.video.frame": ("Frame",),
        "deeptrace.video.reader": ("MAX_PIXELS", "open_video", "probe"),
        "deeptrace.video.write": ("write_video",),
    },
)
