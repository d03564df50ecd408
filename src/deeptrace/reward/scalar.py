"""One number a video generator can be trained or selected with: higher is better, and every part can be named.

    reward = authenticity * exp(-STRENGTH * trace_cost)                              in [0, 1]

    authenticity = 1 - p_fake; a verdict without a probability counts as its label says (REAL 1, FAKE 0)
    trace_cost   = sum over traces of  score * area * duration_fraction * weight
        score              the detector's confidence in the trace
        area               time-averaged area of its box, as a fraction of the frame
        duration_fraction  its life over the clip's duration
        weight             mean of `weights` over its categories

What is not known of a trace counts in full (score, area and duration 1): a vague accusation must not cost less than
a precise one. So the reward falls, or stays, when p_fake rises, when a trace is added, and when a trace becomes more
certain, larger or longer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from deeptrace.errors import DataError, SettingsError
from deeptrace.trace import Category, Label, Trace, Verdict

__all__ = [
    "DEFAULT_WEIGHTS",
    "MIN_FRAMES",
    "STRENGTH",
    "UNCATEGORISED",
    "ScalarReward",
    "explain_reward",
    "scalar_reward",
    "unrewarded",
]

STRENGTH = 4.0
"""A certain trace over a quarter of the frame for the whole clip leaves a factor of exp(-1), about 0.37."""

MIN_FRAMES = 4
"""With fewer sampled frames there is no motion to measure, and a REAL for want of evidence must not be a reward."""

UNCATEGORISED = "uncategorised"

DEFAULT_WEIGHTS: Mapping[Category, float] = dict.fromkeys(Category, 1.0)
"""All kinds alike: the paper gives no order of severity, so none is made up here."""

_MIDPOINTS = (np.arange(32) + 0.5) / 32


@dataclass(frozen=True)
class ScalarReward:
    """The reward and the parts it is made of.

    Attributes:
        reward: in [0, 1], `authenticity * trace_factor`.
        authenticity: in [0, 1].
        trace_factor: in [0, 1], exp(-STRENGTH * trace_cost).
        trace_cost: at least 0; the sum of `cost_by_category`.
        cost_by_category: category value, or "uncategorised", to its share; a trace of several kinds is shared evenly.
    """

    reward: float
    authenticity: float
    trace_factor: float
    trace_cost: float
    cost_by_category: dict[str, float]


def unrewarded(verdict: Verdict) -> str | None:
    """Why a verdict has no reward, one line; None when it has one.

    A failed outcome has none, nor has a verdict on 1 to 3 sampled frames. A detector that does not say what it sampled
    is taken at its word.
    """
    if verdict.label is None:
        return verdict.error or f"outcome {verdict.outcome.value!r} has no reward"
    seen = 0 if verdict.media is None else len(verdict.media.sampled_times_s)
    if 0 < seen < MIN_FRAMES:
        return f"only {seen} frames to judge by, at least {MIN_FRAMES} are needed for a reward"
    return None


def scalar_reward(verdict: Verdict, *, weights: Mapping[Category, float] = DEFAULT_WEIGHTS) -> float:
    """The reward of a verdict, in [0, 1]; see the module for the formula.

    Raises:
        DataError: the verdict has none, see `unrewarded`: a failure is no number.
        SettingsError: a weight is negative or not finite.
    """
    return explain_reward(verdict, weights=weights).reward


def explain_reward(verdict: Verdict, *, weights: Mapping[Category, float] = DEFAULT_WEIGHTS) -> ScalarReward:
    """The reward of a verdict with its parts.

    Raises:
        DataError, SettingsError: as `scalar_reward`.
    """
    if reason := unrewarded(verdict):
        raise DataError(verdict.video, f"no reward ({verdict.outcome.value}): {reason}")
    if bad := [kind.value for kind, weight in weights.items() if not 0 <= weight < math.inf]:
        raise SettingsError("weights", f"expected finite weights of at least 0 but {', '.join(bad)} is not")
    hard_label = 1.0 if verdict.label is Label.FAKE else 0.0
    authenticity = 1.0 - (hard_label if verdict.p_fake is None else verdict.p_fake)
    duration_s = verdict.media.duration_s if verdict.media is not None else None
    costs: dict[str, float] = {}
    for trace in verdict.traces:
        kinds = trace.categories or (None,)
        severity = _severity(trace, duration_s) / len(kinds)
        for kind in kinds:
            name = UNCATEGORISED if kind is None else kind.value
            weight = 1.0 if kind is None else weights.get(kind, 1.0)
            costs[name] = costs.get(name, 0.0) + severity * weight
    cost = math.fsum(costs.values())
    factor = math.exp(-STRENGTH * cost)
    return ScalarReward(authenticity * factor, authenticity, factor, cost, costs)


def _severity(trace: Trace, duration_s: float | None) -> float:
    """score * area * duration_fraction of one trace, in [0, 1]."""
    score = 1.0 if trace.score is None else trace.score
    lasting = 1.0
    if trace.interval is not None and duration_s:
        lasting = min(trace.interval.duration_s / duration_s, 1.0)
    return score * _area(trace) * lasting


def _area(trace: Trace) -> float:
    """Time-averaged area of the trace's box, as a fraction of the frame; 1 when it has none."""
    tube = trace.tube
    if tube is None:
        return 1.0 if trace.box is None else trace.box.area
    corners = tube.corners_at(tube.onset_s + _MIDPOINTS * tube.interval.duration_s)
    return float(np.mean((corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])))
