"""Small folders of clips in which generated ones were enlarged by repeating pixels, as an up-sampling layer does."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from tests.train.tracenet.made import row

from deeptrace.video import write_video

WIDTH, HEIGHT, FRAMES = 320, 256, 10


def write_clip(path: Path, seed: int, *, doubled: bool) -> None:
    """A pan over noise of several scales; `doubled` has each pixel four times."""
    rng = np.random.default_rng(seed)
    step = 2 if doubled else 1
    height, width = HEIGHT // step, WIDTH // step
    wall = sum(
        amount * cv2.GaussianBlur(rng.standard_normal((height, width + 2 * FRAMES, 3)), (0, 0), sigma) * sigma
        for amount, sigma in ((30, 0.6), (40, 2.0), (60, 6.0))
    )
    wall = np.clip(128 + np.asarray(wall), 0, 255).astype(np.uint8)
    speed = 2 // step
    frames = [wall[:, speed * k : speed * k + width].repeat(step, 0).repeat(step, 1) for k in range(FRAMES)]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, frames, fps=8.0, crf=14, preset="veryfast")


def make_folder(root: Path, first_seed: int, prefix: str, groups: int = 3, each: int = 2) -> Path:
    """RewardData of `groups` generators and as many sources, `each` clips of each."""
    rows = []
    for group in range(2 * groups):
        fake = group < groups
        for number in range(each):
            name = f"{'generated' if fake else 'real'}/{prefix}{group}_{number}.mp4"
            write_clip(root / name, first_seed + 10 * group + number, doubled=fake)
            rows.append(row(name, f"{prefix}{group}", fake))
    (root / "all_data.json").write_text(json.dumps(rows))
    return root
