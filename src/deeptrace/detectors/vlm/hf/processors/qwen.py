"""Qwen2-VL, Qwen2.5-VL and Qwen3-VL: pairs of frames; times by positions (2.5) or in words (3, and 2 by ourselves)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch

from deeptrace.detectors.vlm.frame_sampling import fit_size, too_dense
from deeptrace.detectors.vlm.hf.processors.base import Manner, ModelInputs, Plan, checked_frames
from deeptrace.detectors.vlm.hf.processors.checkpoint import Checkpoint, OwnProcessor, Processing
from deeptrace.detectors.vlm.hf.processors.pixels import normalise, patchify, resize
from deeptrace.detectors.vlm.hf.processors.prompt import Piece, chat, times_in_words, tokens
from deeptrace.errors import ModelError

__all__ = ["QwenProcessor"]

_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_UNEVEN_S = 0.25
_VIDEO = 2
"""Kind of a video's tokens in `mm_token_type_ids`; text is 0."""


class QwenProcessor(OwnProcessor):
    """Processor of the Qwen-VL family.

    Qwen2.5-VL is given one interval for all pairs of frames, in `second_per_grid_ts`; Qwen3-VL reads the mean time of
    each pair, to a tenth of a second, before it. Qwen2-VL knows no times: they are written into the question, as they
    are for any of the three with `times="text"`.

    Args:
        checkpoint: of one of the three architectures.
        manner: sizes of frames; `times="text"` writes the frames' times into the question as well.
    """

    def __init__(self, checkpoint: Checkpoint, manner: Manner) -> None:
        super().__init__(checkpoint, manner)
        self._kind = str(checkpoint.config["model_type"])
        self._stamps = self._kind == "qwen3_vl"
        self._words = manner.times == "text" or self._kind == "qwen2_vl"

    @cached_property
    def processing(self) -> Processing:
        """How pixels become numbers."""
        mean, std = _HALF if self._stamps else _CLIP
        return self.checkpoint.processing(mean=mean, std=std, temporal=2, merge=2)

    def plan(self, frames: int, width: int, height: int) -> Plan:
        """Size and tokens; see `Processor.plan`."""
        how = self.processing
        if max(width, height) > 200 * min(width, height):
            raise ModelError("", f"frames of {width}x{height} are more than 200 times as long as wide")
        pairs = math.ceil(frames / how.temporal)
        wide, high = fit_size(
            (width, height),
            multiple_of=how.patch * how.merge,
            min_pixels=self.request.min_frame_pixels,
            max_pixels=self.request.frame_pixels(pairs * how.temporal),
        )
        grid = (pairs, high // how.patch, wide // how.patch)
        return Plan(pairs * how.temporal, wide, high, grid, math.prod(grid) // how.merge**2)

    def process(
        self, frames: np.ndarray, times_s: Sequence[float], question: str, answer: str | None = None
    ) -> ModelInputs:
        """Everything the model takes; see `Processor.process`."""
        checked_frames(frames, times_s)
        how, plan = self.processing, self.plan(len(frames), frames.shape[2], frames.shape[1])
        video = normalise(resize(frames, plan.width, plan.height, resample=how.resample), how.mean, how.std, how.scale)
        patches, grid = patchify(video, patch=how.patch, merge=how.merge, temporal=how.temporal)
        ids, start = self._tokens(plan, times_s, question, answer)
        kinds = torch.where(ids == self.checkpoint.config["video_token_id"], _VIDEO, 0)
        tensors = {"pixel_values_videos": patches, "video_grid_thw": torch.tensor([grid]), "mm_token_type_ids": kinds}
        warnings: list[str] = []
        if self._kind == "qwen2_5_vl":
            seconds = self._seconds_per_grid(times_s, grid[0])
            tensors["second_per_grid_ts"] = torch.tensor([seconds])
            if not self._words:
                warnings += too_dense(times_s, self._rate * self.processing.temporal)
                if (off := _unevenness(times_s)) > _UNEVEN_S:
                    warnings.append(f"frames are unevenly spaced: the model's times are up to {off:.2f} s off")
        return ModelInputs(ids, start, tensors, plan, tuple(warnings))

    def _tokens(
        self, plan: Plan, times_s: Sequence[float], question: str, answer: str | None
    ) -> tuple[torch.Tensor, int]:
        config = self.checkpoint.config
        start, pad, end = (
            self.tokenizer.convert_ids_to_tokens(config[f"{name}_token_id"])
            for name in ("vision_start", "video", "vision_end")
        )
        video, each = f"{start}{pad}{end}", plan.visual_tokens // plan.grid[0]
        if self._words:
            question = f"{times_in_words(times_s)} {question.removeprefix('<video> ')}"
        before, after, said = chat(self.tokenizer, self.checkpoint.chat_template(video), question, answer, video)
        body: list[Piece] = [start, (config["video_token_id"], plan.visual_tokens), end]
        if self._stamps:
            body = []
            for mean_s in _pair_means(times_s, self.processing.temporal):
                body += [f"<{mean_s:.1f} seconds>", start, (config["video_token_id"], each), end]
        prompt = tokens(self.tokenizer, [before, *body, after])
        return torch.tensor([*prompt, *tokens(self.tokenizer, [said])]), len(prompt)

    @property
    def _rate(self) -> float:
        """Positions a second of Qwen2.5-VL."""
        return float(self.checkpoint.vision.get("tokens_per_second") or 4)

    def _seconds_per_grid(self, times_s: Sequence[float], steps: int) -> float:
        """The interval between pairs of frames, in seconds.

        The model rounds positions down, so that an interval a hair too short (frames of a 29.97 fps clip taken at
        2 fps) would put every pair one position early: it is given the nearest whole position where the last pair of
        the clip is less than half a position from there.
        """
        if len(times_s) < 2:
            return float(self.processing.temporal)
        seconds = self.processing.temporal * (times_s[-1] - times_s[0]) / (len(times_s) - 1)
        rate = self._rate
        whole = round(rate * seconds)
        return whole / rate if whole and abs(rate * seconds - whole) * max(steps - 1, 1) < 0.5 else seconds


def _pair_means(times_s: Sequence[float], temporal: int) -> list[float]:
    """The mean of first and last time of each group of `temporal` frames; the last frame fills the last group up."""
    filled = [*times_s, *[times_s[-1]] * (-len(times_s) % temporal)]
    return [(filled[k] + filled[k + temporal - 1]) / 2 for k in range(0, len(filled), temporal)]


def _unevenness(times_s: Sequence[float]) -> float:
    """How far a time lies from an even spacing between first and last, at most; in seconds."""
    even = np.linspace(times_s[0], times_s[-1], len(times_s))
    return float(np.abs(np.asarray(times_s) - even).max())
