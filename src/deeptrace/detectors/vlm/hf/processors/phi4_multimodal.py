"""Phi-4 multimodal: each frame is an image after its time in words, whole and in tiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as nn

from deeptrace.detectors.vlm.hf.processors.base import Manner, ModelInputs, Plan, checked_frames
from deeptrace.detectors.vlm.hf.processors.checkpoint import Checkpoint, OwnProcessor, Processing
from deeptrace.detectors.vlm.hf.processors.pixels import normalise, resize
from deeptrace.detectors.vlm.hf.processors.prompt import Piece, tokens
from deeptrace.errors import ModelError

__all__ = ["Phi4MultimodalProcessor", "tiles"]

_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_BILINEAR = 2
_WHITE = 255


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a frame lies in its tiles.

    Attributes:
        columns, rows: of tiles.
        width, height: of the frame in pixels, resized; what is left of the tiles is white.
        mask: (rows * m, columns * m) bool, which patches hold the frame.
    """

    columns: int
    rows: int
    width: int
    height: int
    mask: torch.Tensor


class Phi4MultimodalProcessor(OwnProcessor):
    """Processor of Phi-4 multimodal.

    The number of tiles of a frame, up to 36 for single images in the stock processor, follows from the budget: three
    at its default.

    Args:
        checkpoint: of this architecture.
        manner: sizes of frames.
    """

    def __init__(self, checkpoint: Checkpoint, manner: Manner) -> None:
        super().__init__(checkpoint, manner)
        vision = checkpoint.vision
        self._side = int(vision.get("crop_size") or 448)
        self._patch = int(vision.get("patch_size") or 14)

    @cached_property
    def processing(self) -> Processing:
        """How pixels become numbers."""
        return self.checkpoint.processing(mean=_HALF[0], std=_HALF[1], temporal=1, merge=1)

    def plan(self, frames: int, width: int, height: int) -> Plan:
        """Size and tokens; see `Processor.plan`."""
        laid = self._layout(width, height, frames)
        patches = self._side // self._patch
        grid = (frames, patches, patches * (1 + laid.rows * laid.columns))
        return Plan(frames, laid.width, laid.height, grid, frames * self._each(laid))

    def process(
        self, frames: np.ndarray, times_s: Sequence[float], question: str, answer: str | None = None
    ) -> ModelInputs:
        """Everything the model takes; see `Processor.process`."""
        checked_frames(frames, times_s)
        how, plan = self.processing, self.plan(len(frames), frames.shape[2], frames.shape[1])
        laid = self._layout(frames.shape[2], frames.shape[1], len(frames))
        side, cells = self._side, self._side // self._patch
        wide, high = laid.columns * side, laid.rows * side
        video = resize(frames, laid.width, laid.height, resample=_BILINEAR)
        video = nn.pad(video, (0, wide - laid.width, 0, high - laid.height), value=_WHITE)
        video = normalise(video, how.mean, how.std, how.scale)
        whole = nn.interpolate(video, size=(side, side), mode="bicubic", align_corners=False)
        parts = video.view(len(frames), 3, laid.rows, side, laid.columns, side).permute(0, 2, 4, 1, 3, 5)
        masks = laid.mask.view(laid.rows, cells, laid.columns, cells).transpose(1, 2).reshape(-1, cells, cells)
        masks = torch.cat([torch.ones(1, cells, cells, dtype=torch.bool), masks]).float()
        ids, start = self._tokens(plan.visual_tokens // len(frames), times_s, question, answer)
        tensors = {
            "image_pixel_values": torch.cat([whole[:, None], parts.reshape(len(frames), -1, 3, side, side)], dim=1),
            "image_sizes": torch.tensor([[high, wide]] * len(frames)),
            "image_attention_mask": masks[None].repeat(len(frames), 1, 1, 1),
        }
        return ModelInputs(ids, start, tensors, plan)

    def _layout(self, width: int, height: int, frames: int) -> _Layout:
        side, patch = self._side, self._patch
        most = max(self.request.frame_pixels(frames) // side**2, 1)
        columns, rows = tiles(width, height, side, most)
        wide, high = columns * side, rows * side
        if wide / width < high / height:
            size = (wide, int(height * (wide / width)))
        else:
            size = (int(width * (high / height)), high)
        if min(size) < 10:
            raise ModelError("", f"frames of {width}x{height} are too long for their width")
        mask = torch.ones(rows * (side // patch), columns * (side // patch), dtype=torch.bool)
        if empty := (wide - size[0]) // patch:
            mask[:, -empty:] = False
        if empty := (high - size[1]) // patch:
            mask[-empty:, :] = False
        return _Layout(columns, rows, *size, mask)

    def _each(self, laid: _Layout) -> int:
        """Tokens of a frame: the whole, a mark, the tiles; each line of both ends with a mark."""
        half = math.ceil(self._side // self._patch / 2)
        kept = laid.mask[::2, ::2]
        return half**2 + half + 1 + int(kept.sum()) + int(kept[:, 0].sum())

    def _tokens(
        self, each: int, times_s: Sequence[float], question: str, answer: str | None
    ) -> tuple[torch.Tensor, int]:
        pad = int(self.checkpoint.vision.get("image_token_id") or 200010)
        body: list[Piece] = ["<|user|>"]
        for time_s in times_s:
            body += [f"{time_s:.3f} s: ", (pad, each)]
        body.append(f"{question.removeprefix('<video> ')}<|end|><|assistant|>")
        prompt = tokens(self.tokenizer, body)
        said = [] if answer is None else tokens(self.tokenizer, [f"{answer}<|end|>"])
        return torch.tensor([*prompt, *said]), len(prompt)


def tiles(width: int, height: int, side: int, most: int) -> tuple[int, int]:
    """Columns and rows of tiles of `side` pixels for a frame: as many as cover it, else those nearest in aspect.

    Of arrangements equally near, the largest counts that the frame fills to more than half.

    >>> tiles(1280, 720, 448, 36), tiles(1280, 720, 448, 3)
    ((3, 2), (2, 1))
    """
    columns, rows = math.ceil(width / side), math.ceil(height / side)
    if columns * rows <= most:
        return columns, rows
    known = sorted(
        ((i, j) for i in range(1, most + 1) for j in range(1, most // i + 1)), key=lambda pair: pair[0] * pair[1]
    )
    best, nearest = (1, 1), math.inf
    for i, j in known:
        off = abs(width / height - i / j)
        if off < nearest or (off == nearest and width * height > 0.5 * side * side * i * j):
            best, nearest = (i, j), off
    return best
