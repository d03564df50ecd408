"""Tiny checkpoints and samples for the trainings of language models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tests.detectors.transformers.tiny import save_tiny

from deeptrace.detectors.transformers.encode import Encoded, Encoder, PixelBudget, load_encoder

KINDS = ("qwen2_5_vl", "video_llama_3")
BUDGET = PixelBudget(28 * 28, 84 * 112, 10**7)


def tiny_encoder(kind: str, folder: Path) -> Encoder:
    return load_encoder(save_tiny(kind, folder / kind), budget=BUDGET)


def samples(encoder: Encoder, *, seed: int = 0) -> list[Encoded]:
    """Three samples of different length, size and timing."""
    rng = np.random.default_rng(seed)
    made = []
    for frames, height, width, answer in (
        (4, 56, 84, "REAL. The video is real. There is no unnatural part."),
        (6, 84, 112, "FAKE. The video is AI-generated. The unnatural part is at [10, 20, 30, 40]."),
        (3, 56, 56, "FAKE."),
    ):
        clip = rng.integers(0, 255, (frames, height, width, 3), dtype=np.uint8)
        made.append(encoder.encode(clip, [0.5 * k for k in range(frames)], "<video> Is it real?", answer))
    return made
