"""The reward in VideoAlign's two visual dimensions: appearance (VQ) and motion (MQ)."""

from __future__ import annotations

import math

from deeptrace.metrics.reward import UNCATEGORISED, ScalarReward
from deeptrace.schema import Category

__all__ = ["MOTION", "appearance_and_motion"]

MOTION = frozenset({Category.OBJECT_TRAJECTORY, Category.UNEXPECTED_MOVE, Category.OBJECT_DISAPPEARANCE})
"""Kinds of trace that count for motion; the other six count for appearance, and traces of no kind for both."""


def appearance_and_motion(parts: ScalarReward) -> tuple[float, float]:
    """The reward with the cost of traces of appearance alone, and of motion alone, both in [0, 1].

    Examples:
        >>> parts = ScalarReward(0.0, 1.0, 0.0, 0.25, {"object_trajectory": 0.25})
        >>> quality, motion = appearance_and_motion(parts)
        >>> quality, round(motion, 4)  # a trajectory is a matter of motion alone: exp(-4 * 0.25)
        (1.0, 0.3679)
    """
    costs = parts.cost_by_category
    unknown = costs.get(UNCATEGORISED, 0.0)
    moving = math.fsum(costs.get(kind.value, 0.0) for kind in MOTION)
    still = math.fsum(costs.get(kind.value, 0.0) for kind in Category if kind not in MOTION)
    return parts.with_costs(still + unknown), parts.with_costs(moving + unknown)
