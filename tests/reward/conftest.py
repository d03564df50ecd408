"""A detector whose reward is known from the pixels, so that a wrong layout or a mixed-up order shows."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeptrace.geometry import Box, Interval, Tube
from deeptrace.trace import Category, DetectorInfo, Label, Outcome, Trace, Verdict
from deeptrace.video import Video, write_video


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


def corner_clip(level: int, *, frames: int = 6, height: int = 24, width: int = 32) -> np.ndarray:
    """(T, H, W, 3) uint8 for which `CornerDetector` says p_fake = level / 255; other places say otherwise."""
    clip = np.empty((frames, height, width, 3), np.uint8)
    clip[...] = 255 - level
    clip[-1, : height // 2, : width // 2, 0] = level
    return clip


def expected(level: int) -> float:
    return 1 - round(level / 255, 3)


@pytest.fixture
def corner(monkeypatch: pytest.MonkeyPatch) -> list[CornerDetector]:
    """Every name loads a `CornerDetector`; those loaded so far."""
    loaded: list[CornerDetector] = []

    def load(name: str, **settings: Any) -> CornerDetector:
        loaded.append(CornerDetector(name, **settings))
        return loaded[-1]

    monkeypatch.setattr("deeptrace.reward.pool.load_detector", load)
    monkeypatch.setattr("deeptrace.reward.rewarder._shared", {})
    return loaded


@pytest.fixture
def corner_file(tmp_path: Path):
    """Writes a lossless clip for a level and gives its path."""

    def write(level: int, name: str = "") -> Path:
        path = tmp_path / (name or f"{level}.mp4")
        write_video(path, corner_clip(level), fps=8.0, crf=0)
        return path

    return write
