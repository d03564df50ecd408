"""Every other architecture, through its own processor: a video where the processor takes one here, else images."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image

from deeptrace.detectors.vlm.frame_sampling import fit_size
from deeptrace.detectors.vlm.hf.processors.base import ALONG_TOKENS, Manner, ModelInputs, Plan, checked_frames
from deeptrace.detectors.vlm.hf.processors.checkpoint import Checkpoint
from deeptrace.detectors.vlm.hf.processors.prompt import tokens
from deeptrace.errors import ModelError

__all__ = ["StockProcessor"]

_TIMEBASE = 1000
"""Frames a second of the clock in which a processor is given the times of frames: whole milliseconds."""


class StockProcessor:
    """Processor through `AutoProcessor`.

    Its video processor gets the frames as they are, with their times, and samples none of them away. Where it needs a
    package that is not here (torchvision), or the model knows only images, frames are images, each after its time in
    words.

    Args:
        checkpoint: of any architecture of transformers that takes video or several images.
        manner: frames are shrunk to its budget before the processor sees them.
    """

    def __init__(self, checkpoint: Checkpoint, manner: Manner) -> None:
        self.checkpoint, self.request = checkpoint, manner.request

    @cached_property
    def processor(self) -> Any:
        """The checkpoint's own.

        Raises:
            ModelError: it does not load.
        """
        try:
            backend = {} if importlib.util.find_spec("torchvision") else {"backend": "pil"}
            return transformers.AutoProcessor.from_pretrained(self.checkpoint.name, **backend)
        except (OSError, ValueError, KeyError, ImportError, AttributeError, TypeError) as error:
            why = " ".join(str(error).split())[:300]
            raise ModelError(self.checkpoint.name, f"its processor does not load: {why}") from error

    @property
    def tokenizer(self) -> Any:
        """The checkpoint's tokenizer."""
        return self.processor.tokenizer

    @property
    def pad_id(self) -> int:
        """The token that fills a batch up."""
        known = (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id)
        return int(next((token for token in known if token is not None), 0))

    @property
    def takes_video(self) -> bool:
        """Whether the processor takes a video here; otherwise frames are images."""
        return getattr(self.processor, "video_processor", None) is not None

    def plan(self, frames: int, width: int, height: int) -> Plan:
        """Size of the frames given to the processor, and the tokens that it makes of black ones."""
        wide, high = self._size(frames, width, height)
        blank = np.zeros((frames, high, wide, 3), np.uint8)
        given = self._inputs(blank, [float(at) for at in range(frames)], "")
        return self._plan(given["input_ids"][0], frames, wide, high)

    def process(
        self, frames: np.ndarray, times_s: Sequence[float], question: str, answer: str | None = None
    ) -> ModelInputs:
        """Everything the model takes; see `Processor.process`."""
        checked_frames(frames, times_s)
        wide, high = self._size(len(frames), frames.shape[2], frames.shape[1])
        if frames.shape[1:3] != (high, wide):
            frames = np.stack([np.asarray(Image.fromarray(frame).resize((wide, high))) for frame in frames])
        found = self._inputs(frames, times_s, question.removeprefix("<video> "))
        prompt = found.pop("input_ids")[0]
        found.pop("attention_mask", None)
        said = [] if answer is None else tokens(self.tokenizer, [f"{answer}{self.tokenizer.eos_token or ''}"])
        tensors = {
            name: torch.nn.functional.pad(values[0], (0, len(said))) if name in ALONG_TOKENS else values
            for name, values in found.items()
            if isinstance(values, torch.Tensor)
        }
        ids = torch.cat([prompt, torch.tensor(said, dtype=prompt.dtype)])
        return ModelInputs(ids, len(prompt), tensors, self._plan(prompt, len(frames), wide, high))

    def _plan(self, prompt: torch.Tensor, frames: int, wide: int, high: int) -> Plan:
        config = self.checkpoint.config
        names = [f"{kind}_{end}" for kind in ("image", "video") for end in ("token_id", "token_index")]
        marks = [int(config[name]) for name in names if config.get(name) is not None]
        visual = int(torch.isin(prompt, torch.tensor(marks)).sum()) if marks else len(prompt)
        return Plan(frames, wide, high, (frames, 1, 1), visual)

    def _inputs(self, frames: np.ndarray, times_s: Sequence[float], question: str) -> dict[str, Any]:
        """What the processor makes of one clip and question.

        Raises:
            ModelError: it cannot.
        """
        content: list[dict[str, str]] = []
        given: dict[str, Any] = {}
        if self.takes_video:
            indices = [round(time_s * _TIMEBASE) for time_s in times_s]
            # Processors divide the clip's length by the frames shown: the last one stays as long as they do on average.
            step = (indices[-1] - indices[0]) / max(len(indices) - 1, 1)
            length = max(round(indices[-1] + step), indices[-1] + 1)
            facts = {"total_num_frames": length, "fps": float(_TIMEBASE), "frames_indices": indices}
            given = {"videos": [frames], "video_metadata": [facts], "do_sample_frames": False}
            content.append({"type": "video"})
        else:
            given = {"images": [[Image.fromarray(frame) for frame in frames]]}
            for time_s in times_s:
                content += [{"type": "text", "text": f"{time_s:.3f} s: "}, {"type": "image"}]
        messages = [{"role": "user", "content": [*content, {"type": "text", "text": question}]}]
        try:
            text = self.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            return dict(self.processor(text=[text], return_tensors="pt", **given))
        except (ValueError, TypeError, KeyError, RuntimeError, ImportError) as error:
            why = " ".join(str(error).split())[:300]
            raise ModelError(self.checkpoint.name, f"its processor cannot prepare the frames: {why}") from error

    def _size(self, frames: int, width: int, height: int) -> tuple[int, int]:
        return fit_size((width, height), multiple_of=2, min_pixels=1, max_pixels=self.request.frame_pixels(frames))
