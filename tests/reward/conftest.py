"""Clips whose reward is known, and the detector that gives it, installed as a plug-in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.plug_ins import plug_in

from deeptrace.video import write_video

_SOURCE = Path(__file__).with_name("corner_detector.py")


def corner_clip(level: int, *, frames: int = 6, height: int = 24, width: int = 32) -> np.ndarray:
    """(T, H, W, 3) uint8 for which `CornerDetector` says p_fake = level / 255; other places say otherwise."""
    clip = np.empty((frames, height, width, 3), np.uint8)
    clip[...] = 255 - level
    clip[-1, : height // 2, : width // 2, 0] = level
    return clip


def expected(level: int) -> float:
    return 1 - round(level / 255, 3)


@pytest.fixture
def corner(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of the installed `CornerDetector`.

    Its source is installed, not an import of it: wheels of trainers bring a package `tests` that hides this one.
    """
    monkeypatch.setattr("deeptrace.reward.reward._shared", {})
    with plug_in(tmp_path_factory.mktemp("site"), "corner", _SOURCE.read_text()) as name:
        yield name


@pytest.fixture
def corner_file(tmp_path: Path):
    """Writes a lossless clip for a level and gives its path."""

    def write(level: int, name: str = "") -> Path:
        path = tmp_path / (name or f"{level}.mp4")
        write_video(path, corner_clip(level), fps=8.0, crf=0)
        return path

    return write
