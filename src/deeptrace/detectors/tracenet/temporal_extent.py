"""When a trace is there, given where: moment by moment, the chance that it is.

*Where* annotators mark hardly depends on the moment, so the heat that tubes are found in says little of *when*. That is
read off the evidence in the tube's box: how each measurement there departs from its own average over time, in itself
and against the whole picture. A logistic regression turns it into chances; the temporal extent is the interval with the
highest expected IoU, as boxes are read off heat (see `tubes`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from pydantic import BaseModel, ConfigDict

from deeptrace.detectors.tracenet.evidence import CHANNELS, GRID
from deeptrace.detectors.tracenet.tubes import FoundTube
from deeptrace.geometry import Box, Keyframe, Tube
from deeptrace.metrics.logistic import expit

__all__ = ["EXTENT_FEATURES", "MOMENT_FEATURES", "TemporalExtent", "coverage", "extent_features", "likeliest_extent"]

MOMENT_FEATURES = 5
"""The first features, which say which moment it is and nothing of the picture."""
EXTENT_FEATURES = MOMENT_FEATURES + 2 * len(CHANNELS) + 1

_AROUND_S = 3.0
_LONGEST_S = 6.0  # of the clips that temporal extents were learned from; a longer video's times say no more than this
_BEGINNING_S = 1.0
_EPS = 1e-3
_OUTLIER = 4.0
_SMOOTH = np.array([1.0, 2.0, 3.0, 2.0, 1.0]) / 9.0


class TemporalExtent(BaseModel):
    """A logistic regression on `extent_features`.

    Attributes:
        mean, spread: (EXTENT_FEATURES,) of the features where it was fitted.
        weights, bias: on the standardised features, which are cut off at 4.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: tuple[float, ...]
    spread: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float

    def chances(self, features: np.ndarray) -> np.ndarray:
        """The chance (T,) that the trace is there, from its features (T, EXTENT_FEATURES)."""
        logits = self.standardised(features) @ np.array(self.weights) + self.bias
        return np.asarray(expit(logits))

    def standardised(self, features: np.ndarray) -> np.ndarray:
        """`features` (T, EXTENT_FEATURES) by their mean and spread, outliers cut off."""
        standard = (features - np.array(self.mean)) / np.array(self.spread)
        return np.asarray(np.clip(standard, -_OUTLIER, _OUTLIER))

    def over_extent(
        self, found: FoundTube, evidence: np.ndarray, present: np.ndarray, times_s: np.ndarray, end_s: float
    ) -> FoundTube:
        """The tube over its likeliest life, searched in the time that it was found in and 3 s around.

        Args:
            found: a tube of the segment.
            evidence, present, times_s, end_s: of the segment, see `Segment`.
        """
        alive = np.flatnonzero(found.mask.any(axis=(1, 2)))
        around = times_s[alive[0]] - _AROUND_S, times_s[alive[-1]] + _AROUND_S
        near = np.flatnonzero((times_s >= around[0]) & (times_s <= around[1]))
        ends = np.append(times_s[1:], end_s)
        first, last = int(near[0]), int(near[-1])
        span, end = slice(first, last + 1), float(ends[last])
        features = extent_features(evidence[span], present[span], found.tube.box, times_s[span], end)
        life = likeliest_extent(self.chances(features), times_s[span], end)
        kept = slice(first + life.start, first + life.stop)
        mask = np.zeros_like(found.mask)
        mask[kept] = found.mask.any(axis=0)
        tube = _within(found.tube, float(times_s[kept.start]), float(ends[kept.stop - 1]))
        return replace(found, tube=tube, mask=mask)


def extent_features(
    evidence: np.ndarray, present: np.ndarray, box: Box, times_s: np.ndarray, end_s: float
) -> np.ndarray:
    """What tells when a trace in `box` is there, (T, EXTENT_FEATURES).

    The moment, as a share of the time searched and in seconds; each channel in the box and its excess over the whole
    picture, less their averages over time, by the channel's spread; the presence in the box likewise.

    Args:
        evidence: (T, channels, GRID, GRID) of the time searched.
        present: (T, GRID, GRID) chance that a trace lies there.
        box: place of the trace.
        times_s: (T,) rising.
        end_s: when the last frame leaves the screen.
    """
    share = coverage(box)
    share /= share.sum()
    maps = np.asarray(evidence, np.float32)
    inside = (maps * share).sum(axis=(2, 3))
    spread = maps.std(axis=(0, 2, 3)) + 0.1
    excess = inside - maps.mean(axis=(2, 3))
    marks = np.log((np.asarray(present, np.float32) * share).sum(axis=(1, 2)) + _EPS)
    since = times_s - times_s[0]
    length = max(end_s - float(times_s[0]), _EPS)
    through = since / length
    seconds = np.minimum(since, _LONGEST_S)
    known = np.full(len(times_s), min(length, _LONGEST_S))
    moment = np.stack([through, through**2, seconds, np.minimum(since, _BEGINNING_S), known], axis=1)
    changes = [_smoothed(rows - rows.mean(axis=0)) / spread for rows in (inside, excess)]
    return np.concatenate([moment, *changes, (marks - marks.mean())[:, None]], axis=1)


def likeliest_extent(chances: np.ndarray, times_s: np.ndarray, end_s: float) -> slice:
    """The run of frames with the highest expected temporal IoU.

    Args:
        chances: (T,) that the trace is there.
        times_s: (T,) rising.
        end_s: when the last frame leaves the screen.
    """
    edges = np.append(times_s, max(end_s, float(times_s[-1]) + _EPS))
    shown = np.diff(edges)
    mass = np.append(0.0, np.cumsum(chances * shown))
    starts, stops = np.triu_indices(len(edges), 1)
    inside = mass[stops] - mass[starts]
    expected = inside / (edges[stops] - edges[starts] + mass[-1] - inside)
    best = int(expected.argmax())
    return slice(int(starts[best]), int(stops[best]))


def coverage(box: Box) -> np.ndarray:
    """The share of each grid cell (GRID, GRID) that `box` covers."""
    edges = np.arange(GRID + 1) / GRID
    across = np.clip(np.minimum(edges[1:], box.x1) - np.maximum(edges[:-1], box.x0), 0, None) * GRID
    down = np.clip(np.minimum(edges[1:], box.y1) - np.maximum(edges[:-1], box.y0), 0, None) * GRID
    return np.asarray(down[:, None] * across[None, :], np.float32)


def _smoothed(rows: np.ndarray) -> np.ndarray:
    """(T, F) over time, by five frames."""
    padded = np.pad(rows, ((2, 2), (0, 0)), mode="edge")
    return np.asarray(sum(weight * padded[k : k + len(rows)] for k, weight in enumerate(_SMOOTH)))


def _within(tube: Tube, onset_s: float, offset_s: float) -> Tube:
    """The tube over another life; its box stands still where it was not known."""
    inner = [key for key in tube.keyframes if onset_s < key.time_s < offset_s]
    first = Keyframe(time_s=onset_s, box=Box.from_fractions(*tube.corners_at([onset_s])[0]))
    return Tube(onset_s=onset_s, offset_s=offset_s, keyframes=(first, *inner))
