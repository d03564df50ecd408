"""LLaVA-OneVision and Video-LLaVA: frames of one fixed size, so many tokens each; times in words, by ourselves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch

from deeptrace.detectors.vlm.hf.processors.base import Manner, ModelInputs, Plan, checked_frames
from deeptrace.detectors.vlm.hf.processors.checkpoint import Checkpoint, OwnProcessor, Processing
from deeptrace.detectors.vlm.hf.processors.pixels import normalise, resize
from deeptrace.detectors.vlm.hf.processors.prompt import beginning, chat, times_in_words, tokens
from deeptrace.errors import ModelError
from deeptrace.geometry import Box

__all__ = ["LlavaProcessor"]

_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_VICUNA = (
    "{% for message in messages %}{{ 'USER: ' if message['role'] == 'user' else ' ASSISTANT: ' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{{ eos_token }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'video' %}<video>\n{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}{% endfor %}{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)
"""Video-LLaVA's conversation, for checkpoints whose own template is missing."""


class LlavaProcessor(OwnProcessor):
    """Processor of LLaVA-OneVision, which squeezes frames into a square, and Video-LLaVA, which cuts one out of them.

    LLaVA-OneVision takes any number of frames. Video-LLaVA was trained on eight, and takes no other number here.
    Neither knows times: they are written into the question.

    Args:
        checkpoint: of one of the two architectures.
        manner: not used, as size and tokens of frames are fixed.
    """

    def __init__(self, checkpoint: Checkpoint, manner: Manner) -> None:
        super().__init__(checkpoint, manner)
        self._cuts = checkpoint.config["model_type"] == "video_llava"
        vision = checkpoint.vision
        self._side = int(vision.get("image_size") or (224 if self._cuts else 384))
        patches = self._side // int(vision.get("patch_size") or 14)
        self._grid = patches
        # LLaVA-OneVision pools 2 x 2 patches and ends a clip with a token; Video-LLaVA keeps all and one more.
        self._each = patches**2 + 1 if self._cuts else math.ceil(patches / 2) ** 2
        self._end = 0 if self._cuts else 1

    @cached_property
    def processing(self) -> Processing:
        """How pixels become numbers."""
        return self.checkpoint.processing(mean=_CLIP[0], std=_CLIP[1], temporal=1, merge=1)

    def plan(self, frames: int, width: int, height: int) -> Plan:
        """Size and tokens; see `Processor.plan`."""
        if self._cuts and frames != 8:
            raise ModelError("", f"Video-LLaVA takes 8 frames, not {frames}", "Use frames=8.")
        grid = (frames, self._grid, self._grid)
        shown = _middle_square(width, height) if self._cuts else None
        return Plan(frames, self._side, self._side, grid, frames * self._each + self._end, shown)

    def process(
        self, frames: np.ndarray, times_s: Sequence[float], question: str, answer: str | None = None
    ) -> ModelInputs:
        """Everything the model takes; see `Processor.process`."""
        checked_frames(frames, times_s, strict=not self._cuts)
        how, plan = self.processing, self.plan(len(frames), frames.shape[2], frames.shape[1])
        video = normalise(self._resized(frames, how.resample), how.mean, how.std, how.scale)
        ids, start = self._tokens(plan, times_s, question, answer)
        return ModelInputs(ids, start, {"pixel_values_videos": video[None]}, plan)

    def _resized(self, frames: np.ndarray, resample: int) -> torch.Tensor:
        side, (height, width) = self._side, frames.shape[1:3]
        if not self._cuts:
            return resize(frames, side, side, resample=resample)
        # The shorter side becomes `side`, the longer one in proportion, rounded down; then the middle is cut out.
        wide, high = (side, int(side * height / width)) if width <= height else (int(side * width / height), side)
        left, top = (wide - side) // 2, (high - side) // 2
        return resize(frames, wide, high, resample=resample)[..., top : top + side, left : left + side]

    def _tokens(
        self, plan: Plan, times_s: Sequence[float], question: str, answer: str | None
    ) -> tuple[torch.Tensor, int]:
        pad = int(self.checkpoint.config.get("video_token_id") or self.checkpoint.config["video_token_index"])
        video = self.tokenizer.convert_ids_to_tokens(pad)
        template = self.checkpoint.chat_template(video, fallback=_VICUNA if self._cuts else None)
        asked = f"{times_in_words(times_s)} {question.removeprefix('<video> ')}"
        before, after, said = chat(self.tokenizer, template, asked, answer, video)
        prompt = beginning(self.tokenizer) + tokens(self.tokenizer, [before, (pad, plan.visual_tokens), after])
        return torch.tensor([*prompt, *tokens(self.tokenizer, [said])]), len(prompt)


def _middle_square(width: int, height: int) -> Box | None:
    """The part of a frame that is left when its longer sides are cut off; None for all of a square."""
    if width == height:
        return None
    wide, high = min(height / width, 1.0) / 2, min(width / height, 1.0) / 2
    return Box(x0=0.5 - wide, y0=0.5 - high, x1=0.5 + wide, y1=0.5 + high)
