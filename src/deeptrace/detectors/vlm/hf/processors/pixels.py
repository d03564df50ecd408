"""Frames to patches, as the stock video processors do it, without torchvision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as nn

__all__ = ["normalise", "patchify", "resize"]

_MODES = {2: "bilinear", 3: "bicubic"}
"""PIL's numbers, by which preprocessor configs name the filter."""


def resize(frames: np.ndarray, width: int, height: int, *, resample: int = 3) -> torch.Tensor:
    """Frames (T, H, W, 3) uint8 as (T, 3, height, width) uint8, anti-aliased.

    The integer arithmetic of torch's own kernel, which the stock processors use as well when they run on the CPU.
    """
    video = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).contiguous()
    if video.shape[-2:] == (height, width):
        return video
    return nn.interpolate(video, size=(height, width), mode=_MODES[resample], align_corners=False, antialias=True)


def normalise(video: torch.Tensor, mean: Sequence[float], std: Sequence[float], scale: float) -> torch.Tensor:
    """(T, 3, H, W) uint8 as float32 (v * scale - mean) / std, by channel.

    Scale and mean are folded into one step in float32, as the stock processors do: not even the last bit differs.
    """
    fold = 1.0 / scale
    centre, spread = (torch.tensor(list(values)) * fold for values in (mean, std))
    return video.to(torch.float32).sub_(centre[:, None, None]).div_(spread[:, None, None])


def patchify(
    video: torch.Tensor, *, patch: int, merge: int, temporal: int
) -> tuple[torch.Tensor, tuple[int, int, int]]:
    """(T, 3, H, W) as patches (t * h * w, 3 * temporal * patch * patch) and the grid (t, h, w).

    Patches that the model merges, `merge` x `merge`, follow each other. The last frame is repeated until `temporal`
    divides the number of frames.
    """
    if pad := -len(video) % temporal:
        video = torch.cat((video, video[-1:].expand(pad, -1, -1, -1)))
    frames, channels, height, width = video.shape
    t, h, w = frames // temporal, height // patch, width // patch
    blocks = video.view(t, temporal, channels, h // merge, merge, patch, w // merge, merge, patch)
    flat = blocks.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(t * h * w, channels * temporal * patch * patch)
    return flat, (t, h, w)
