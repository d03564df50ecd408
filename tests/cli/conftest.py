"""A clip, and the command line run in this process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.reward.conftest import corner as corner

from deeptrace.video import write_video


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One second at 8 fps, 64 x 48."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    levels = np.linspace(20, 220, 8, dtype=np.uint8)
    write_video(path, (np.full((48, 64, 3), level, np.uint8) for level in levels), fps=8.0)
    return path
