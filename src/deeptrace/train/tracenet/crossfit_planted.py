"""Score planted sets of footage that the model never saw: how presence becomes a chance is fitted on these."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from deeptrace.detectors.tracenet.tubes import kinds_in, presence_tubes
from deeptrace.geometry import Box
from deeptrace.trace import Category
from deeptrace.train.tracenet.arrays import KeptArrays
from deeptrace.train.tracenet.clips import Clip
from deeptrace.train.tracenet.config import TraceNetConfig
from deeptrace.train.tracenet.measure import planted_sets
from deeptrace.train.tracenet.nets import PresenceNet

__all__ = ["NO_TRACE", "PlantedScores", "box_of", "score_planted"]

NO_TRACE = -1


@dataclass(frozen=True)
class PlantedScores(KeptArrays):
    """One row for each stretch of camera footage, as it was, with a trace, or after a decoy.

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

    @classmethod
    def joined(cls, parts: list[PlantedScores]) -> PlantedScores:
        """All rows of several."""
        return cls(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in vars(parts[0])})


def score_planted(net: PresenceNet, clips: list[Clip], config: TraceNetConfig) -> PlantedScores | None:
    """Score every set of `clips`, real clips that `net` never saw; None where they have none."""
    rows = [row for clip in clips for row in _rows(net, clip, config)]
    if not rows:
        return None
    return PlantedScores(*(np.array(column) for column in zip(*rows, strict=True)))


def _rows(net: PresenceNet, clip: Clip, config: TraceNetConfig) -> Iterator[tuple[float, ...]]:
    for one in planted_sets(clip, config):
        for evidence in (one.base(), *(one.decoy(index) for index in range(one.decoys))):
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
