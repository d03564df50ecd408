"""Clips and a detector that misbehaves on demand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.plug_ins import plug_in

from deeptrace.video import write_video

HOSTILE = """
    import os, signal, sys, time
    from deeptrace import errors
    from deeptrace.detectors import Analysis
    from deeptrace.schema import DetectorInfo, Label, Outcome, Verdict

    class Hostile:
        def __init__(self, mood):
            self.info = DetectorInfo(name="hostile:", version="1", settings={"mood": mood, "threshold": 0.5})

        def detect(self, video):
            print("a detector that prints to stdout", flush=True)
            name = os.path.basename(video.path)
            if "segv" in name: os.kill(os.getpid(), signal.SIGSEGV)
            if "killed" in name: os.kill(os.getpid(), signal.SIGKILL)
            if "exit" in name: os._exit(3)
            if "hang" in name: time.sleep(600)
            if "slow" in name: time.sleep(0.6)
            for kind in errors.__all__:
                if kind in name: raise getattr(errors, kind)(video.path, "as asked")
            if "KeyError" in name: raise KeyError("as asked")
            if "MemoryError" in name: raise MemoryError
            if "nothing" in name: return None
            if "surrogate" in name:
                return Verdict(video=video.path, outcome=Outcome.SCORED, label=Label.FAKE, p_fake=0.75, raw="\\ud83d")
            return Verdict(video=video.path, outcome=Outcome.SCORED, label=Label.FAKE, p_fake=0.75,
                           media=video.media, detector=self.info)

        def analyse(self, video, *, curves=False, heat=False):
            steps = [(0.0, 1.0), (0.5, float("nan")), (1.0, 2.0)]
            return Analysis(self.detect(video), {"steps": steps} if curves else {})

    def load(rest, *, mood="calm"):
        if mood == "unloadable": raise errors.ModelError("hostile", "will not load")
        if mood == "deadly": os.kill(os.getpid(), signal.SIGKILL)
        return Hostile(mood)
"""


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One second at 8 fps, 64 x 48."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    levels = np.linspace(20, 220, 8, dtype=np.uint8)
    write_video(path, (np.full((48, 64, 3), level, np.uint8) for level in levels), fps=8.0)
    return path


@pytest.fixture
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of an installed detector that does what the file's name says: crash, hang, raise, print."""
    with plug_in(tmp_path_factory.mktemp("site"), "hostile", HOSTILE) as name:
        yield name
