"""Tiny checkpoints and samples for the trainings of language models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tests.detectors.vlm.hf.tiny import save_tiny

from deeptrace.detectors.vlm.hf.processors import ModelInputs, Processor, load_processor
from deeptrace.video.sampling import FrameRequest

KINDS = ("qwen2_5_vl", "video_llama_3")
REQUEST = FrameRequest(min_frame_pixels=28 * 28, max_frame_pixels=84 * 112, max_total_pixels=10**7)


def tiny_processor(kind: str, folder: Path) -> Processor:
    return load_processor(save_tiny(kind, folder / kind), request=REQUEST)


def samples(processor: Processor, *, seed: int = 0) -> list[ModelInputs]:
    """Three samples of different length, size and timing."""
    rng = np.random.default_rng(seed)
    made = []
    for frames, height, width, answer in (
        (4, 56, 84, "REAL. The video is real. There is no unnatural part."),
        (6, 84, 112, "FAKE. The video is AI-generated. The unnatural part is at [10, 20, 30, 40]."),
        (3, 56, 56, "FAKE."),
    ):
        clip = rng.integers(0, 255, (frames, height, width, 3), dtype=np.uint8)
        made.append(processor.process(clip, [0.5 * k for k in range(frames)], "<video> Is it real?", answer))
    return made
