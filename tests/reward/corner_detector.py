"""A detector whose reward is known from the pixels, so that a wrong layout or a mixed-up order shows."""

from __future__ import annotations

import threading
import time

from deeptrace.geometry import Box, Interval, Tube
from deeptrace.schema import Category, DetectorInfo, Label, Outcome, Trace, Verdict
from deeptrace.video import Video


class CornerDetector:
    """p_fake is the red level of the upper left corner in the last frame; refuses two threads at once."""

    def __init__(self, name: str = "corner", pause_s: float = 0.0) -> None:
        self.info = DetectorInfo(name=name, version="1")
        self._pause_s, self._busy = pause_s, threading.Lock()

    def detect(self, video: Video) -> Verdict:
        if not self._busy.acquire(blocking=False):
            raise RuntimeError("two threads at once")
        try:
            time.sleep(self._pause_s)
            frames = list(video.frames())
            height, width = frames[-1].image.shape[:2]
            corner = frames[-1].image[: height // 4, : width // 4, 0]
            p_fake = round(float(corner.mean()) / 255, 3)
            tube = Tube.constant(Box(x0=0, y0=0, x1=0.5, y1=0.5), Interval(onset_s=0.0, offset_s=frames[-1].time_s))
            trace = Trace.from_tube(tube, categories=[Category.UNEXPECTED_MOVE], score=0.0)
            return Verdict(
                video=video.path,
                outcome=Outcome.SCORED,
                label=Label.FAKE if p_fake > 0.5 else Label.REAL,
                p_fake=p_fake,
                traces=(trace,),
                media=video.media.model_copy(update={"sampled_times_s": tuple(f.time_s for f in frames)}),
                detector=self.info,
            )
        finally:
            self._busy.release()


def load(rest: str = "", *, pause_s: float = 0.0) -> CornerDetector:
    """The factory behind the prefix "corner"."""
    return CornerDetector(f"corner:{rest}", pause_s)
