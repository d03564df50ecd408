"""What a processor takes and gives: one clip and a question become everything a model's `forward` takes.

And samples become a batch: tokens padded to one length, pixels put one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal, Protocol

import numpy as np
import torch

from deeptrace.errors import ModelError
from deeptrace.geometry import Box
from deeptrace.plural import plural
from deeptrace.video.sampling import FrameRequest

__all__ = [
    "ALONG_TOKENS",
    "IGNORED",
    "Manner",
    "ModelInputs",
    "Plan",
    "Processor",
    "checked_frames",
    "collate",
    "labels",
]


@dataclass(frozen=True, slots=True)
class Manner:
    """How clips are shown, where an architecture leaves a choice; changes answers, so it is recorded.

    Attributes:
        request: limits on the size of frames.
        times: "text" to write the frames' times into the question where the architecture has another way of its own
            (Qwen2.5-VL, Qwen3-VL); VideoLLaMA 3 has them in words anyway.
        compress: VideoLLaMA 3's dropping of tokens that hardly change; None as the checkpoint says.
    """

    request: FrameRequest = field(default_factory=FrameRequest)
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
class ModelInputs:
    """One sample, without a batch dimension.

    Attributes:
        input_ids: (L,) int64; prompt, then answer.
        answer_start: index of the answer's first token; L without an answer.
        tensors: everything else the model's `forward` takes for this sample. Those of length L run along the tokens;
            the others are concatenated in a batch.
        plan: sizes and tokens.
        warnings: remarks for the reader.
    """

    input_ids: torch.Tensor
    answer_start: int
    tensors: dict[str, torch.Tensor]
    plan: Plan
    warnings: tuple[str, ...] = field(default=())


class Processor(Protocol):
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

    def process(
        self, frames: np.ndarray, times_s: Sequence[float], question: str, answer: str | None = None
    ) -> ModelInputs:
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
        raise ModelError("", f"expected a time for each of {plural(len(frames), 'frame')} but got {len(times_s)}")
    if any(later < earlier or (strict and later == earlier) for earlier, later in pairwise(times_s)):
        raise ModelError("", "expected the times of the frames to rise")


IGNORED = -100
"""Label of tokens that are not learned."""

ALONG_TOKENS = frozenset({"mm_token_type_ids", "token_type_ids"})
"""Names of tensors that run along the tokens."""


def collate(
    samples: Sequence[ModelInputs], *, pad_id: int, side: Literal["left", "right"] = "left"
) -> dict[str, torch.Tensor]:
    """The batch that a model's `forward` or `generate` takes.

    Args:
        samples: at least one, all of one processor.
        pad_id: token that fills shorter samples up; it is masked.
        side: where: "left" to generate, so that answers begin at one place; "right" to train.

    Returns:
        `input_ids` and `attention_mask` (B, L), tensors along the tokens padded with 0, the others concatenated.
    """
    longest = max(len(sample.input_ids) for sample in samples)

    def fill(values: torch.Tensor, value: int) -> torch.Tensor:
        gap = longest - len(values)
        return torch.nn.functional.pad(values, (gap, 0) if side == "left" else (0, gap), value=value)

    batch = {
        "input_ids": torch.stack([fill(sample.input_ids, pad_id) for sample in samples]),
        "attention_mask": torch.stack([fill(torch.ones_like(sample.input_ids), 0) for sample in samples]),
    }
    for name in samples[0].tensors:
        parts = [sample.tensors[name] for sample in samples]
        if name in ALONG_TOKENS:
            batch[name] = torch.stack([fill(part, 0) for part in parts])
        else:
            batch[name] = torch.cat(parts)
    return batch


def labels(samples: Sequence[ModelInputs], *, side: Literal["left", "right"] = "right") -> torch.Tensor:
    """Labels (B, L) of a batch that `collate` made with the same `side`: the answers' tokens, elsewhere `IGNORED`."""
    longest = max(len(sample.input_ids) for sample in samples)
    rows = torch.full((len(samples), longest), IGNORED)
    for row, sample in zip(rows, samples, strict=True):
        offset = longest - len(sample.input_ids) if side == "left" else 0
        answer = sample.input_ids[sample.answer_start :]
        row[offset + sample.answer_start :][: len(answer)] = answer
    return rows
