"""Video in and out: open, stream with exact times, sample, write, draw over, degrade."""

from __future__ import annotations

from deeptrace.video.array import video_from_array
from deeptrace.video.base import Video
from deeptrace.video.frame import Frame
from deeptrace.video.reader import MAX_PIXELS, open_video, probe
from deeptrace.video.write import write_video

__all__ = ["MAX_PIXELS", "Frame", "Video", "open_video", "probe", "video_from_array", "write_video"]
