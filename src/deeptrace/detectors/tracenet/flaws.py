"""How bad a clip's flaws are, whoever or whatever made it: a number that differs among clips of one generator.

Whether a clip was generated is a question with one answer for all clips of a generator; how many of its things tear,
flicker or smear is not. So the evidence maps and the nets' heat are summed up in statistics of each window, and a
linear ranker, fitted on clips with synthetic traces of growing severity and on nobody's marks, turns them into a
severity. It is linear so that its parts add up and can be shown, and it was fitted to take no notice of how much moves
in camera footage: else the least flawed clip would be one in which nothing happens (see
`deeptrace.train.tracenet.flaws`). What `flaw_measures` says is shown beside and has no share.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, model_validator

from deeptrace.detectors.tracenet.evidence import CHANNELS
from deeptrace.detectors.tracenet.flaw_measures import MEASURES, Expected, measured
from deeptrace.schema import Category, Flaws

__all__ = ["MEASURED", "PARTS", "STATISTICS", "FlawRanker", "flaw_statistics"]

_QUANTILES = (50.0, 90.0, 97.0, 99.5)
_HIGH = 97.0
_FLOOR = 1e-4

_OF_CHANNEL = {
    "flicker": ("luma", "red_difference", "blue_difference", "acceleration", "colour_change"),
    "loss_of_detail": ("sharpness_fine", "sharpness_mid", "sharpness_coarse", "sharpness_change"),
    "unexplained_change": ("residual", "residual_to_texture"),
    "deformation": ("inconsistency", "divergence", "curl"),
    "motion": ("motion_x", "motion_y", "motion", "camera_motion"),
}
_NETS = {
    "local_edits": ("clip", "present_highest", "present_mean", "present_high"),
    "marked_traces": ("where_highest", "where_mean", "where_high"),
    "kinds": tuple(f"kind_{category.value}" for category in Category),
}
_STATISTIC_NAMES = (*(f"q{quantile:g}" for quantile in _QUANTILES), "bursts", "unevenness", "steps", "places")


def _names() -> dict[str, str]:
    """The part that each statistic counts for, in the order of `flaw_statistics`."""
    part_of = {channel: part for part, channels in _OF_CHANNEL.items() for channel in channels}
    of_maps = {f"{channel}.{name}": part_of[channel] for channel in CHANNELS for name in _STATISTIC_NAMES}
    return of_maps | {name: part for part, names in _NETS.items() for name in names}


STATISTICS: dict[str, str] = _names()
"""Names of the statistics, in order, and the part that each counts for."""

PARTS: tuple[str, ...] = (*_OF_CHANNEL, *_NETS)

MEASURED = len(MEASURES) + 1
"""Numbers behind the statistics, of which none has a share in the severity."""


def flaw_statistics(
    evidence: NDArray[np.float32],
    times_s: NDArray[np.float64],
    *,
    clip: float,
    present: NDArray[np.float32],
    where: NDArray[np.float32],
    kinds: NDArray[np.float32],
) -> NDArray[np.float64]:
    """The statistics of one window, and what `flaw_measures.measured` says of it: (len(STATISTICS) + MEASURED,).

    Args:
        evidence: (T, channels, G, G) maps of the window, T at least 2. The first frame's are left out: nothing came
            before it.
        times_s: (T,).
        clip, present, where, kinds: what the nets say of the window, see `WindowScores`.
    """
    cells = evidence[1:].reshape(len(evidence) - 1, len(CHANNELS), -1)
    quantiles = _quantiles(cells.transpose(1, 0, 2).reshape(len(CHANNELS), -1), _QUANTILES)
    mean = cells.mean(axis=2, dtype=np.float64)
    high = _quantiles(cells, (_HIGH,))[0]
    steps = np.abs(np.diff(mean, axis=0)).mean(axis=0) if len(mean) > 1 else np.zeros(len(CHANNELS))
    lasting_high, lasting_middle = _quantiles(cells.mean(axis=0), (99.0, 50.0))
    of_maps = np.stack(
        [
            *quantiles,
            np.subtract(*_quantiles(high.T, (95.0, 50.0))),
            mean.std(axis=0),
            steps,
            lasting_high - lasting_middle,
        ],
        axis=1,
    )
    chances = [
        present.max(),
        present.mean(),
        np.percentile(present, 99),
        where.max(),
        where.mean(),
        np.percentile(where, 99),
        *kinds.max(axis=(0, 2, 3)),
    ]
    nets = np.log(np.array(chances, np.float64) + _FLOOR)
    return np.concatenate([of_maps.ravel(), [clip], nets, measured(evidence, times_s)])


def _quantiles(values: NDArray[np.float32], percent: tuple[float, ...]) -> list[NDArray[np.float32]]:
    """Quantiles over the last axis, each the nearest value: sorting floats is ten times as fast as `np.percentile`."""
    ranked = np.sort(values, axis=-1)
    return [ranked[..., round((values.shape[-1] - 1) * share / 100)] for share in percent]


class FlawRanker(BaseModel):
    """A linear severity over `flaw_statistics`, kept beside the model.

    Attributes:
        weights: of each statistic; severities are in standard deviations of camera footage.
        typical: median of each statistic over camera footage, which has severity 0.
        expected: what each measure is in camera footage; those that are not named are not shown.
        fitted_on: what it was fitted on and how well it orders what it never saw, for the reader.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: tuple[float, ...]
    typical: tuple[float, ...]
    expected: dict[str, Expected] = {}
    fitted_on: dict[str, float] = {}

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if not len(self.weights) == len(self.typical) == len(STATISTICS):
            raise ValueError(f"expected {len(STATISTICS)} weights and typical values: other flaws than this version's")
        if strange := self.expected.keys() - MEASURES.keys():
            raise ValueError(f"no measures of this version: {', '.join(sorted(strange))}")
        return self

    def flaws(self, statistics: NDArray[np.float64]) -> Flaws:
        """The severity, its parts, and the measures beside them.

        Args:
            statistics: see `flaw_statistics`, the mean over a clip's windows.
        """
        shares = np.array(self.weights) * (statistics[: len(STATISTICS)] - np.array(self.typical))
        *values, motion = statistics[len(STATISTICS) :].tolist()
        known = dict(zip(MEASURES, values, strict=True))
        sums = dict.fromkeys(PARTS, 0.0)
        for part, share in zip(STATISTICS.values(), shares.tolist(), strict=True):
            sums[part] += share
        measures = {name: one.beyond(known[name], motion) for name, one in self.expected.items()}
        return Flaws(severity=float(shares.sum()), parts=sums, measures=measures)
