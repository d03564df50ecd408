"""Score clips the way the detector does, for calibration and for the figures of the model card.

Synthetic sets of footage that the model never saw are scored as well: how presence becomes a chance is fitted on these.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from deeptrace.detectors.tracenet.tubes import kinds_in, presence_tubes
from deeptrace.detectors.tracenet.windows import LENGTH
from deeptrace.geometry import Box
from deeptrace.schema import Category
from deeptrace.train.tracenet.clips import Clip
from deeptrace.train.tracenet.config import TraceNetConfig
from deeptrace.train.tracenet.feature_cache import KeptArrays, Measured, synthetic_sets
from deeptrace.train.tracenet.kernel_machine import KernelMachine
from deeptrace.train.tracenet.nets import PresenceNet, TraceNet

__all__ = [
    "NO_TRACE",
    "ScoredClip",
    "Scores",
    "SyntheticScores",
    "box_of",
    "score_clip",
    "score_synthetic",
    "windows_of",
]


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


NO_TRACE = -1


@dataclass(frozen=True)
class SyntheticScores(KeptArrays):
    """One row for each segment of camera footage, as it was, with a trace, or after a hard negative.

    Attributes:
        pooled: (N,) the presence net's pooled logit.
        heat: (N,) mean presence in the best presence tube, 0 without one.
        iou: (N,) of that tube's box with the trace's, 0 without a trace.
        severity: (N,) 0 without a trace.
        category: (N,) index of the category, NO_TRACE without a trace.
        told: (N,) index of the category that is likeliest in the tube.
    """

    pooled: np.ndarray
    heat: np.ndarray
    iou: np.ndarray
    severity: np.ndarray
    category: np.ndarray
    told: np.ndarray


def score_synthetic(net: PresenceNet, clips: list[Clip], config: TraceNetConfig) -> SyntheticScores | None:
    """Score every set of `clips`, real clips that `net` never saw; None where they have none."""
    rows = [row for clip in clips for row in _rows(net, clip, config)]
    if not rows:
        return None
    return SyntheticScores(*(np.array(column) for column in zip(*rows, strict=True)))


def _rows(net: PresenceNet, clip: Clip, config: TraceNetConfig) -> Iterator[tuple[float, ...]]:
    for one in synthetic_sets(clip, config):
        for evidence in (one.base(), *(one.hard_negative(index) for index in range(one.hard_negatives))):
            pooled, heat, _, told = _scored(net, evidence, None)
            yield pooled, heat, 0.0, 0.0, NO_TRACE, told
        for index, category in enumerate(one.categories):
            for level in (0, 1):
                evidence, truth = one.trace(index, level)
                pooled, heat, iou, told = _scored(net, evidence, truth)
                severity = float(one.severities[index, level])
                yield pooled, heat, iou, severity, list(Category).index(category), told


def _scored(net: PresenceNet, evidence: np.ndarray, truth: np.ndarray | None) -> tuple[float, float, float, int]:
    with torch.no_grad():
        pooled, present, kinds = net(torch.from_numpy(evidence.astype(np.float32))[None])
    chance = present[0].sigmoid().numpy()
    times = np.arange(len(chance), dtype=float)
    tubes = presence_tubes(chance, times, float(len(chance)))
    if not tubes:
        return float(pooled[0]), 0.0, 0.0, 0
    best = tubes[0]
    told = kinds_in(kinds[0].softmax(1).numpy(), best.mask).argmax()
    iou = 0.0 if truth is None else best.tube.box.iou(box_of(truth))
    return float(pooled[0]), best.heat, iou, int(told)


def box_of(truth: np.ndarray) -> Box:
    """The box around the cells that a trace (T, GRID, GRID) ever covers at least a third of."""
    covered = truth.max(axis=0) >= min(1 / 3, float(truth.max()))
    rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
    height, width = covered.shape
    return Box.from_fractions(columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height)
