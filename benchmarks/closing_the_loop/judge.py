"""The reward of samples: the scalar, and the map on the generator's own grid of patches."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from closing_the_loop.generator import CELLS
from closing_the_loop.world import FPS, FRAMES
from deeptrace.reward import Reward, RewardResult

__all__ = ["READ_SIDE", "Judged", "enlarged", "judge"]

READ_SIDE = 256  # what TraceNet reads


@dataclass(frozen=True)
class Judged:
    """Rewards of a batch.

    Attributes:
        results: one a clip.
        maps: (B, FRAMES, CELLS, CELLS) float32, the dense reward.
    """

    results: list[RewardResult]
    maps: np.ndarray

    @property
    def rewards(self) -> np.ndarray:
        """(B,)."""
        return np.array([result.reward for result in self.results])


def enlarged(frames: np.ndarray) -> np.ndarray:
    """The clip at the size that TraceNet reads, (T, READ_SIDE, READ_SIDE, 3) uint8."""
    size = (READ_SIDE, READ_SIDE)
    return np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC) for frame in frames])


def judge(reward: Reward, clips: np.ndarray) -> Judged:
    """Rewards of clips (B, FRAMES, SIDE, SIDE, 3) uint8."""
    times = [index / FPS for index in range(FRAMES)]
    dense = [reward.dense(enlarged(clip), fps=FPS, size=(CELLS, CELLS), times_s=times) for clip in clips]
    return Judged([one.result for one in dense], np.stack([one.map for one in dense]))
