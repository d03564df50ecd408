"""What an encoder takes and gives: one clip and a question become everything a model's `forward` takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from deeptrace.errors import ModelError
from deeptrace.geometry import Box

if TYPE_CHECKING:
    import torch

__all__ = ["Encoded", "Encoder", "Manner", "PixelBudget", "Plan", "checked_frames"]


@dataclass(frozen=True, slots=True)
class PixelBudget:
    """How large the frames shown may be, in pixels (width times height).

    The stock settings of most checkpoints enlarge small clips many times over; these do not. They change answers, so
    they belong into what a detector records.

    Attributes:
        min_frame_pixels: smaller frames are enlarged to it.
        max_frame_pixels: larger frames are shrunk to it.
        max_total_pixels: of all frames of a clip together; frames shrink to keep it.
    """

    min_frame_pixels: int = 56 * 56
    max_frame_pixels: int = 602_112
    max_total_pixels: int = 12_845_056

    def frame_pixels(self, frames: int) -> int:
        """Largest area of each of `frames` frames."""
        return max(min(self.max_frame_pixels, self.max_total_pixels // frames), self.min_frame_pixels)


@dataclass(frozen=True, slots=True)
class Manner:
    """How clips are shown, where an architecture leaves a choice; changes answers, so it is recorded.

    Attributes:
        budget: how large frames may be.
        times: "text" to write the frames' times into the question where the architecture has another way of its own
            (Qwen2.5-VL, Qwen3-VL); VideoLLaMA 3 has them in words anyway.
        compress: VideoLLaMA 3's dropping of tokens that hardly change; None as the checkpoint says.
    """

    budget: PixelBudget = field(default_factory=PixelBudget)
    times: Literal["auto", "text"] = "auto"
    compress: bool | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a clip becomes, known from the config alone.

    Attributes:
        frames: shown; one more than given where the model takes pairs and the number is odd.
        width, height: of the frames as the model sees them, in pixels.
        grid: (time, height, width) of the patches.
        visual_tokens: positions that the frames take in the language model; a bound where tokens that hardly change
            are dropped (VideoLLaMA 3).
        shown: the part of the frame that the model sees, where the sides are cut off; None for all.
    """

    frames: int
    width: int
    height: int
    grid: tuple[int, int, int]
    visual_tokens: int
    shown: Box | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the frames as the model sees them."""
        return self.width, self.height

    @property
    def patches(self) -> int:
        """Patches that the vision tower reads."""
        return self.grid[0] * self.grid[1] * self.grid[2]


@dataclass(frozen=True)
class Encoded:
    """One sample, without a batch dimension.

    Attributes:
        input_ids: (L,) int64; prompt, then answer.
        answer_start: index of the answer's first token; L without an answer.
        tensors: everything else the model's `forward` takes for this sample. Those of length L run along the tokens;
            the others are concatenated in a batch.
        plan: sizes and tokens.
        warnings: what the reader should know.
    """

    input_ids: torch.Tensor
    answer_start: int
    tensors: dict[str, torch.Tensor]
    plan: Plan
    warnings: tuple[str, ...] = field(default=())


class Encoder(Protocol):
    """Prepares samples for one checkpoint."""

    @property
    def pad_id(self) -> int:
        """The token that fills a batch up."""
        ...

    @property
    def tokenizer(self) -> Any:
        """The checkpoint's tokenizer, loaded when first asked for."""
        ...

    def plan(self, frames: int, width: int, height: int) -> Plan:
        """Size and tokens of a clip of `frames` frames of `width` x `height` pixels; nothing is loaded.

        Raises:
            ModelError: the model cannot take such frames.
        """
        ...

    def encode(self, frames: np.ndarray, times_s: Sequence[float], question: str, answer: str | None = None) -> Encoded:
        """Everything the model takes for one clip and question.

        Args:
            frames: (T, H, W, 3) uint8, of any size; they are resized as `plan` says.
            times_s: the true time of each frame, in seconds, rising.
            question: what is asked; the paper's "<video> " mark is taken off, as the frames stand in its place.
            answer: what the model is trained to say.

        Raises:
            ModelError: the frames, or their times, cannot be shown to the model.
        """
        ...


def checked_frames(frames: np.ndarray, times_s: Sequence[float], *, strict: bool = True) -> None:
    """Check frames and times against each other; `strict` wants every time later than the one before.

    Raises:
        ModelError: they are no (T, H, W, 3) uint8 frames with as many rising times.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not len(frames):
        raise ModelError("", f"expected frames of shape (T, H, W, 3), uint8, but got {frames.shape}, {frames.dtype}")
    if len(times_s) != len(frames):
        raise ModelError("", f"expected a time for each of {len(frames)} frames but got {len(times_s)}")
    if any(later < earlier or (strict and later == earlier) for earlier, later in pairwise(times_s)):
        raise ModelError("", "expected the times of the frames to rise")
