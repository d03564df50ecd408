"""Raw clips for `collect`: good ones of two generators and two sources, and one for each thing that can be wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.audit.conftest import encode, pictures
from tests.needs import needs

from deeptrace.collect import Limits, Recipe

SIZE, FPS, FRAMES = (96, 64), 8, 12
LOOSE = Limits(min_side=64, min_sharpness=0.0, max_blockiness=9.0)
"""The clips of these tests are tiny and soft."""


def clip(seed: int, *, size: tuple[int, int] = SIZE, frames: int = FRAMES) -> np.ndarray:
    return pictures(seed, frames, size)


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`generated/` and `real/`: 10 good clips each, sizes, rates and lengths by class; and the bad ones."""
    needs("sklearn", "scenedetect")
    root = tmp_path_factory.mktemp("raw")
    for i in range(10):
        fake = root / "generated" / ("Pika", "Kling")[i % 2] / f"good{i}.mp4"
        encode(fake, clip(i, frames=12 + i % 3), fps=8)
        fake.with_suffix(".txt").write_text(f"prompt {i}\n")
        encode(
            root / "real" / ("park", "street")[i % 2] / f"take{i}.mp4",
            clip(50 + i, size=(128, 72), frames=40 + i),
            fps=24,
        )
    bad = root / "generated" / "Pika"
    encode(bad / "cut.mp4", np.concatenate([clip(20, frames=6), clip(21, frames=16)]), fps=8)
    encode(bad / "frozen.mp4", np.repeat(clip(22)[:1], 16, axis=0), fps=8)
    encode(bad / "black.mp4", np.zeros((16, 64, 96, 3), np.uint8), fps=8)
    encode(bad / "short.mp4", clip(24, frames=5), fps=8)
    encode(bad / "twin.mp4", clip(0, frames=12), fps=8, crf=30)
    (bad / "broken.mp4").write_bytes(b"\x00" * 500)
    encode(root / "real" / "park" / "stolen.mp4", clip(1, frames=13), fps=8)  # Kling's good1 as camera footage
    return root


@pytest.fixture
def recipe() -> Recipe:
    return Recipe(limits=LOOSE, shuffles=5)
