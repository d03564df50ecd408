"""Score clips the way the detector does, for calibration and for the figures of the model card."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from deeptrace.detectors.tracenet.windows import LENGTH
from deeptrace.train.tracenet.arrays import KeptArrays
from deeptrace.train.tracenet.clips import Clip
from deeptrace.train.tracenet.kernel_fit import KernelMachine
from deeptrace.train.tracenet.measure import Measured
from deeptrace.train.tracenet.nets import TraceNet

__all__ = ["ScoredClip", "Scores", "score_clip", "windows_of"]


@dataclass(frozen=True)
class Scores(KeptArrays):
    """What the models say of one variant of one clip.

    Attributes:
        texture, appearance: scores of the kernel machines.
        clip: the presence net's pooled logit, highest of all windows.
        where, present: (T, GRID, GRID) float16 probabilities.
        kinds: (T, 9, GRID / 2, GRID / 2) float16 probabilities.
        times_s: (T,).
    """

    texture: float
    appearance: float
    clip: float
    where: np.ndarray
    present: np.ndarray
    kinds: np.ndarray
    times_s: np.ndarray


@dataclass(frozen=True)
class ScoredClip:
    """A clip with the scores of models that never saw its group."""

    clip: Clip
    scores: Scores


def windows_of(measured: Measured) -> list[np.ndarray]:
    """Frame indices of the windows that a detector would see: LENGTH each, the last one reaching back."""
    count = len(measured.times_s)
    ends = list(range(LENGTH, count + 1, LENGTH))
    if not ends or ends[-1] < count:
        ends.append(count)
    return [np.arange(max(end - LENGTH, 0), end) for end in ends]


def score_clip(net: TraceNet, texture: KernelMachine, appearance: KernelMachine, measured: Measured) -> Scores:
    """Score one variant of one clip, window by window, as the detector does."""
    clip_logits, parts, done = [], [], 0
    for frames in windows_of(measured):
        evidence = torch.from_numpy(measured.evidence[frames].astype(np.float32))
        with torch.no_grad():
            generated, where, present, kinds = net(evidence[None])
        clip_logits.append(float(generated[0]))
        fresh = max(done - int(frames[0]), 0)
        done = int(frames[-1]) + 1
        chances = (where[0].sigmoid(), present[0].sigmoid(), kinds[0].softmax(1))
        parts.append([head[fresh:].numpy().astype(np.float16) for head in chances])
    where, present, kinds = (np.concatenate(maps) for maps in zip(*parts, strict=True))
    return Scores(
        texture=texture.score(measured.texture),
        appearance=appearance.score(measured.appearance),
        clip=float(np.max(clip_logits)),
        where=where,
        present=present,
        kinds=kinds,
        times_s=measured.times_s,
    )
