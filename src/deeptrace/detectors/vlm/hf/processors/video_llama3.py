"""VideoLLaMA 3: single frames, each after its time in words; tokens that hardly change are dropped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch

from deeptrace.detectors.vlm.frame_sampling import fit_size
from deeptrace.detectors.vlm.hf.processors.base import Manner, ModelInputs, Plan, checked_frames
from deeptrace.detectors.vlm.hf.processors.checkpoint import Checkpoint, OwnProcessor, Processing
from deeptrace.detectors.vlm.hf.processors.pixels import normalise, patchify, resize
from deeptrace.detectors.vlm.hf.processors.prompt import Piece, chat, tokens

__all__ = ["VideoLlama3Processor", "kept_tokens"]

_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_MERGE = 2
"""Patches merged into a token, by side, in videos; the config does not say."""


class VideoLlama3Processor(OwnProcessor):
    """Processor of VideoLLaMA 3, and of the paper's reward model, which is one.

    A frame's time is stated to a tenth of a second, as the model was trained.

    Args:
        checkpoint: of this architecture.
        manner: sizes of frames; `compress` to drop tokens that hardly differ from the frame before.
    """

    def __init__(self, checkpoint: Checkpoint, manner: Manner) -> None:
        super().__init__(checkpoint, manner)
        self._compress = manner.compress

    @cached_property
    def processing(self) -> Processing:
        """How pixels become numbers."""
        return self.checkpoint.processing(mean=_HALF[0], std=_HALF[1], temporal=1, merge=_MERGE)

    def plan(self, frames: int, width: int, height: int) -> Plan:
        """Size, and the most tokens; see `Processor.plan`."""
        how = self.processing
        wide, high = fit_size(
            (width, height),
            multiple_of=how.patch * how.merge,
            min_pixels=self.request.min_frame_pixels,
            max_pixels=self.request.frame_pixels(frames),
        )
        grid = (frames, high // how.patch, wide // how.patch)
        return Plan(frames, wide, high, grid, math.prod(grid) // how.merge**2)

    def process(
        self, frames: np.ndarray, times_s: Sequence[float], question: str, answer: str | None = None
    ) -> ModelInputs:
        """Everything the model takes; see `Processor.process`."""
        checked_frames(frames, times_s)
        how, plan = self.processing, self.plan(len(frames), frames.shape[2], frames.shape[1])
        video = normalise(resize(frames, plan.width, plan.height, resample=how.resample), how.mean, how.std, how.scale)
        patches, grid = patchify(video, patch=how.patch, merge=how.merge, temporal=1)
        compress = how.compress if self._compress is None else self._compress
        kept = kept_tokens(patches, grid, how.merge) if compress else torch.ones(plan.visual_tokens, dtype=torch.bool)
        ids, start = self._tokens(kept.view(len(frames), -1).sum(1).tolist(), times_s, question, answer)
        tensors = {
            "pixel_values_videos": patches,
            "video_grid_thw": torch.tensor([grid]),
            "video_merge_sizes": torch.tensor([how.merge]),
            "video_compression_mask": kept,
        }
        return ModelInputs(ids, start, tensors, plan)

    def _tokens(
        self, counts: Sequence[int], times_s: Sequence[float], question: str, answer: str | None
    ) -> tuple[torch.Tensor, int]:
        pad = int(self.checkpoint.config["video_token_id"])
        video = self.tokenizer.convert_ids_to_tokens(pad)
        template = self.checkpoint.chat_template(f"{video}\n")
        before, after, said = chat(self.tokenizer, template, question, answer, video)
        body: list[Piece] = []
        for index, (count, time_s) in enumerate(zip(counts, times_s, strict=True)):
            body += [f"{',' * (index > 0)}Time {time_s:.1f}s:", (pad, count)]
        body[0] = before + str(body[0])
        prompt = tokens(self.tokenizer, [*body, after])
        return torch.tensor([*prompt, *tokens(self.tokenizer, [said])]), len(prompt)


def kept_tokens(
    patches: torch.Tensor, grid: tuple[int, int, int], merge: int, *, threshold: float = 0.1
) -> torch.Tensor:
    """Which tokens the model keeps: those whose pixels differ from the frame before by more than `threshold` levels.

    Args:
        patches: (t * h * w, D), normalised.
        grid: (t, h, w).
        merge: patches merged into a token, by side.
        threshold: mean absolute difference, in 1 / 255 of the normalised range.

    Returns:
        (t * h * w / merge ** 2,) bool: all of the first frame, at least one of each.
    """
    frames = patches.view(grid[0], grid[1] * grid[2] // merge**2, -1)
    change = (frames[1:] - frames[:-1]).abs().mean(dim=-1) * 255
    kept = torch.cat([torch.ones_like(frames[:1, :, 0], dtype=torch.bool), change > threshold])
    kept[:, 0] |= ~kept.any(dim=1)
    return kept.flatten()
