"""Which kinds a trace is of, given where and when: what was measured in its box, against the picture and over its life.

Annotators call two thirds of all traces object distortion, so that kind is named unless another is clearly likelier;
what the regressions add are the kinds named beside it.
"""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from deeptrace.detectors.tracenet.evidence import CHANNELS
from deeptrace.detectors.tracenet.temporal_extent import coverage
from deeptrace.geometry import Box, Interval
from deeptrace.metrics.logistic import expit
from deeptrace.schema import Category

__all__ = ["KIND_FEATURES", "TraceKinds", "kind_features"]

KIND_FEATURES = 5 * len(CHANNELS) + 10

_MOST = 3
_OUTLIER = 4.0
_EPS = 0.1


class TraceKinds(BaseModel):
    """Nine logistic regressions on `kind_features`, one a category.

    Attributes:
        mean, spread: (KIND_FEATURES,) of the features where they were fitted.
        weights: (9, KIND_FEATURES) on the standardised features, which are cut off at 4.
        bias: (9,).
        limit: a category is named from this chance on, and the likeliest in any case.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: tuple[float, ...]
    spread: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...]
    limit: float = Field(gt=0, le=1)

    def standardised(self, features: np.ndarray) -> np.ndarray:
        """`features` (..., KIND_FEATURES) by their mean and spread, outliers cut off."""
        standard = (features - np.array(self.mean)) / np.array(self.spread)
        return np.asarray(np.clip(standard, -_OUTLIER, _OUTLIER))

    def chances(self, features: np.ndarray) -> np.ndarray:
        """The chance (..., 9) of each category, each for itself, from features (..., KIND_FEATURES)."""
        return np.asarray(expit(self.standardised(features) @ np.array(self.weights).T + np.array(self.bias)))

    def named(self, features: np.ndarray) -> list[Category]:
        """What a trace with these features (KIND_FEATURES,) is called, likeliest first, three names at most."""
        chances = self.chances(features)
        first, *others = (int(index) for index in np.argsort(-chances, kind="stable")[:_MOST])
        return [list(Category)[index] for index in (first, *(i for i in others if chances[i] >= self.limit))]


def kind_features(
    evidence: np.ndarray, present: np.ndarray, box: Box, times_s: np.ndarray, life: Interval, end_s: float
) -> np.ndarray:
    """What tells the kind of a trace, (KIND_FEATURES,).

    Of each channel, by its spread over the picture: its excess in the box over the whole picture, how it varies there
    over the trace's life, its peak above its mean, and how its second half differs from the first, with and without
    the sign. Of the trace: size, shape, place, life, and the mean presence in it.

    Args:
        evidence: (T, channels, GRID, GRID) of the segment around it.
        present: (T, GRID, GRID) chance that a trace lies there.
        box: its place.
        times_s: (T,) rising.
        life: when it is there; with fewer than two frames in it the whole segment is read.
        end_s: when the last frame leaves the screen.
    """
    share = coverage(box)
    share /= share.sum()
    alive = (times_s >= life.onset_s - 1e-6) & (times_s <= life.offset_s + 1e-6)
    if alive.sum() < 2:
        alive = np.ones(len(times_s), bool)
    maps = np.asarray(evidence, np.float32)
    spread = maps.std(axis=(0, 2, 3)) + _EPS
    lived = maps[alive]
    inside = (lived * share).sum(axis=(2, 3))
    excess = (inside - lived.mean(axis=(2, 3))).mean(axis=0) / spread
    peak = inside.max(axis=0) - inside.mean(axis=0)
    half = len(inside) // 2
    rise = (inside[half:].mean(axis=0) - inside[: max(half, 1)].mean(axis=0)) / spread
    length = max(end_s - float(times_s[0]), _EPS)
    begun = min(max(life.onset_s - float(times_s[0]), 0.0) / length, 1.0)
    lasts = min(max(life.offset_s - life.onset_s, 0.0), length)
    shape = (box.width, box.height, np.log(box.area), np.log(box.width / box.height), *box.center)
    marks = float((np.asarray(present, np.float32)[alive] * share).sum(axis=(1, 2)).mean())
    return np.concatenate(
        [excess, inside.std(axis=0) / spread, peak, rise, np.abs(rise), shape, (lasts, lasts / length, begun, marks)]
    )
