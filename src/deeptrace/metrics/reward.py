"""One number a video generator can be trained or selected with: higher is better, and every part can be named.

    reward = authenticity ** a * trace_factor * flaw_factor                              in [0, 1]

    authenticity = 1 - p_fake; a verdict without a probability counts as its label says (REAL 1, FAKE 0)
    a            = weight of authenticity: AUTHENTICITY_WEIGHT where the detector measures flaws, else 1
    trace_factor = exp(-STRENGTH * trace_cost)
    trace_cost   = sum over traces of  score * area * duration_fraction * weight
        score              the detector's confidence in the trace
        area               time-averaged area of its box, as a fraction of the frame
        duration_fraction  its duration over the clip's duration
        weight             mean of `weights` over its categories
    flaw_factor  = 1 / (1 + exp(severity - FLAW_MIDPOINT)); 1 where the detector does not measure flaws

Authenticity and flaws are two quantities. All clips of one generator are generated, so authenticity cannot order them;
how bad a clip's flaws are (`Verdict.flaws`) can. So where flaws are measured they lead, and authenticity counts little.
What is not known of a trace counts in full (score, area and duration 1): a vague accusation must not cost less than
a precise one. So the reward falls, or stays, when p_fake or the severity of flaws rises, when a trace is added, and
when a trace becomes more certain, larger or longer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from deeptrace.errors import DataError, SettingsError
from deeptrace.metrics.logistic import expit
from deeptrace.plural import plural
from deeptrace.schema import MIN_FRAMES, Category, Label, Trace, Verdict

__all__ = [
    "AUTHENTICITY_WEIGHT",
    "DEFAULT_WEIGHTS",
    "FLAW_MIDPOINT",
    "STRENGTH",
    "UNCATEGORISED",
    "ScalarReward",
    "explain_reward",
    "scalar_reward",
    "unrewarded",
]

STRENGTH = 4.0
"""A certain trace over a quarter of the frame for the whole clip leaves a factor of exp(-1), about 0.37."""

AUTHENTICITY_WEIGHT = 0.1
"""Of a clip whose flaws are measured: p_fake 0.98 leaves a factor of 0.68, not of 0.02, so that clips of a generator
that the detector is sure of still differ by their flaws."""

FLAW_MIDPOINT = 1.0
"""Severity that halves the reward: a standard deviation of camera footage worse than its median, of which 0.73 is
left."""

UNCATEGORISED = "uncategorised"

DEFAULT_WEIGHTS: Mapping[Category, float] = dict.fromkeys(Category, 1.0)
"""All kinds alike: the paper gives no order of severity, so none is made up here."""

_MIDPOINTS = (np.arange(32) + 0.5) / 32


@dataclass(frozen=True)
class ScalarReward:
    """The reward and the parts it is made of.

    Attributes:
        reward: in [0, 1], `authenticity ** authenticity_weight * trace_factor * flaw_factor`.
        authenticity: in [0, 1].
        trace_factor: in [0, 1], exp(-STRENGTH * trace_cost).
        trace_cost: at least 0; the sum of `cost_by_category`.
        cost_by_category: category value, or "uncategorised", to its share; a trace of several kinds is shared evenly.
        authenticity_weight: at least 0.
        flaw_factor: in [0, 1]; 1 where flaws are not measured.
        flaw_severity: see `Flaws.severity`; None where flaws are not measured.
        flaws: each kind of evidence to its share of the severity, see `Flaws.parts`.
        measures: what was measured beside, and counts for nothing in the reward, see `Flaws.measures`.
    """

    reward: float
    authenticity: float
    trace_factor: float
    trace_cost: float
    cost_by_category: dict[str, float]
    authenticity_weight: float = 1.0
    flaw_factor: float = 1.0
    flaw_severity: float | None = None
    flaws: dict[str, float] = field(default_factory=dict)
    measures: dict[str, float] = field(default_factory=dict)

    def with_costs(self, cost: float) -> float:
        """What the reward would be if traces cost `cost` in all."""
        return math.pow(self.authenticity, self.authenticity_weight) * math.exp(-STRENGTH * cost) * self.flaw_factor

    def as_json(self) -> dict[str, Any]:
        """All of it, as JSON objects and numbers."""
        return asdict(self)


def unrewarded(verdict: Verdict) -> str | None:
    """Why a verdict has no reward, one line; None when it has one.

    A failed outcome has none, nor has a verdict on 1 to 3 sampled frames. A detector that does not say what it sampled
    is taken at its word.

    Examples:
        >>> print(unrewarded(Verdict(video="a.mp4", outcome="scored", label="REAL")))
        None
        >>> unrewarded(Verdict.failed("b.mp4", "decode_failed", "cut off"))
        'cut off'
    """
    if verdict.label is None:
        return verdict.error or f"outcome {verdict.outcome.value!r} has no reward"
    seen = 0 if verdict.media is None else len(verdict.media.sampled_times_s)
    if 0 < seen < MIN_FRAMES:
        return f"only {plural(seen, 'frame')} to go by, at least {MIN_FRAMES} are needed for a reward"
    return None


def scalar_reward(
    verdict: Verdict,
    *,
    weights: Mapping[Category, float] = DEFAULT_WEIGHTS,
    authenticity_weight: float | None = None,
) -> float:
    """The reward of a verdict, in [0, 1]; see the module for the formula.

    Raises:
        DataError: the verdict has none, see `unrewarded`: a failure is no number.
        SettingsError: a weight is negative or not finite.

    Examples:
        >>> scalar_reward(Verdict(video="a.mp4", outcome="scored", label="REAL", p_fake=0.25))
        0.75
        >>> scalar_reward(Verdict(video="a.mp4", outcome="scored", label="FAKE"))  # no probability: as the label says
        0.0
    """
    return explain_reward(verdict, weights=weights, authenticity_weight=authenticity_weight).reward


def explain_reward(
    verdict: Verdict,
    *,
    weights: Mapping[Category, float] = DEFAULT_WEIGHTS,
    authenticity_weight: float | None = None,
) -> ScalarReward:
    """The reward of a verdict with its parts.

    Args:
        verdict: of any detector.
        weights: what each kind of trace costs.
        authenticity_weight: exponent of authenticity, 0 to leave it out; None for AUTHENTICITY_WEIGHT where the verdict
            has flaws, and 1 where it has none.

    Raises:
        DataError, SettingsError: as `scalar_reward`.

    Examples:
        >>> from deeptrace.geometry import Box
        >>> from deeptrace.schema import Flaws, Media
        >>> trace = Trace(score=0.8, onset_s=1.0, offset_s=2.0, box=Box(x0=0.0, y0=0.0, x1=0.75, y1=0.5))
        >>> media = Media(width=640, height=360, duration_s=4.0)
        >>> said = Verdict(video="a.mp4", outcome="scored", label="REAL", p_fake=0.25, media=media, traces=(trace,))
        >>> parts = explain_reward(said)
        >>> parts.authenticity, round(parts.trace_cost, 6), round(parts.trace_factor, 3), round(parts.reward, 3)
        (0.75, 0.075, 0.741, 0.556)
        >>> flawed = said.model_copy(update={"flaws": Flaws(severity=1.0, parts={"flicker": 1.0})})
        >>> parts = explain_reward(flawed)
        >>> parts.flaw_factor, round(parts.reward, 3)  # 0.75 ** 0.1 * 0.741 * 0.5
        (0.5, 0.36)
    """
    if reason := unrewarded(verdict):
        raise DataError(verdict.video, f"no reward ({verdict.outcome.value}): {reason}")
    if bad := [kind.value for kind, weight in weights.items() if not 0 <= weight < math.inf]:
        raise SettingsError("weights", f"expected finite weights of at least 0 but {', '.join(bad)} is not")
    if authenticity_weight is None:
        authenticity_weight = 1.0 if verdict.flaws is None else AUTHENTICITY_WEIGHT
    if not 0 <= authenticity_weight < math.inf:
        raise SettingsError(
            "authenticity_weight", f"expected a finite number of at least 0 but got {authenticity_weight}"
        )
    hard_label = 1.0 if verdict.label is Label.FAKE else 0.0
    authenticity = 1.0 - (hard_label if verdict.p_fake is None else verdict.p_fake)
    costs = _costs(verdict, weights)
    cost = math.fsum(costs.values())
    flaws = verdict.flaws
    parts = ScalarReward(
        reward=0.0,
        authenticity=authenticity,
        trace_factor=math.exp(-STRENGTH * cost),
        trace_cost=cost,
        cost_by_category=costs,
        authenticity_weight=authenticity_weight,
        flaw_factor=1.0 if flaws is None else float(expit(FLAW_MIDPOINT - flaws.severity)),
        flaw_severity=None if flaws is None else flaws.severity,
        flaws={} if flaws is None else dict(flaws.parts),
        measures={} if flaws is None else dict(flaws.measures),
    )
    return replace(parts, reward=parts.with_costs(cost))


def _costs(verdict: Verdict, weights: Mapping[Category, float]) -> dict[str, float]:
    """Category value, or "uncategorised", to what its traces cost."""
    duration_s = verdict.media.duration_s if verdict.media is not None else None
    costs: dict[str, float] = {}
    for trace in verdict.traces:
        kinds = trace.categories or (None,)
        severity = _severity(trace, duration_s) / len(kinds)
        for kind in kinds:
            name = UNCATEGORISED if kind is None else kind.value
            weight = 1.0 if kind is None else weights.get(kind, 1.0)
            costs[name] = costs.get(name, 0.0) + severity * weight
    return costs


def _severity(trace: Trace, duration_s: float | None) -> float:
    """score * area * duration_fraction of one trace, in [0, 1]."""
    score = 1.0 if trace.score is None else trace.score
    lasting = 1.0
    if trace.interval is not None and duration_s:
        seen = trace.interval.without(trace.gaps)
        lasting = min(sum(one.duration_s for one in seen) / duration_s, 1.0)
    return score * _area(trace) * lasting


def _area(trace: Trace) -> float:
    """Time-averaged area of the trace's box, as a fraction of the frame; 1 when it has none."""
    tube = trace.tube
    if tube is None:
        return 1.0 if trace.box is None else trace.box.area
    corners = tube.corners_at(tube.onset_s + _MIDPOINTS * tube.interval.duration_s)
    return float(np.mean((corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])))
