"""Tiny checkpoints of every architecture, and clips to show them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.needs import needs

from deeptrace.video import Frame, write_video


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Architecture to the folder of a tiny checkpoint."""
    needs("torch", "transformers")
    from tests.detectors.vlm.hf.tiny import KINDS, save_tiny
    from tests.detectors.vlm.hf.tiny_others import OTHERS, save_other

    made = tmp_path_factory.mktemp("checkpoints")
    own = {kind: save_tiny(kind, made / kind) for kind in KINDS}
    return own | {kind: save_other(kind, made / kind) for kind in OTHERS}


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Clips of moving squares, of unlike length, size and spacing of frames."""
    folder = tmp_path_factory.mktemp("clips")
    shapes = [((96, 64), 12, 6.0), ((64, 96), 5, 5.0), ((128, 72), 26, 8.0), ((70, 70), 4, 4.0)]
    made = []
    for index, (size, count, fps) in enumerate(shapes):
        made.append(folder / f"clip{index}.mp4")
        write_video(made[-1], (_frame(size, k, index) for k in range(count)), fps=fps)
    times = np.cumsum([0.0, 0.04, 0.3, 0.11, 0.5, 0.07, 0.33, 0.21, 0.4, 0.02])
    made.append(folder / "uneven.mp4")
    frames = (Frame(round(float(at), 3), _frame((80, 60), k, 9)) for k, at in enumerate(times))
    write_video(made[-1], frames, fps=30.0)
    return made


def _frame(size: tuple[int, int], step: int, seed: int) -> np.ndarray:
    dice = np.random.default_rng(seed)
    wide, high = size
    image = np.full((high, wide, 3), dice.integers(40, 200, 3), np.uint8)
    left = (5 * step) % max(wide - 20, 1)
    image[10:30, left : left + 20] = dice.integers(0, 255, 3)
    return image
