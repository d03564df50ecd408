"""The reward in VideoAlign's two visual dimensions: appearance (VQ) and motion (MQ)."""

from __future__ import annotations

import math

from deeptrace.reward.scalar import STRENGTH, UNCATEGORISED, ScalarReward
from deeptrace.trace import Category

__all__ = ["MOTION", "appearance_and_motion"]

MOTION = frozenset({Category.OBJECT_TRAJECTORY, Category.UNEXPECTED_MOVE, Category.OBJECT_DISAPPEARANCE})
"""Kinds of trace that count for motion; the other six count for appearance, and traces of no kind for both."""


def appearance_and_motion(parts: ScalarReward) -> tuple[float, float]:
    """authenticity * exp(-STRENGTH * cost), both in [0, 1], with the cost of traces of appearance and of motion."""
    costs = parts.cost_by_category
    unknown = costs.get(UNCATEGORISED, 0.0)
    moving = math.fsum(costs.get(kind.value, 0.0) for kind in MOTION)
    still = math.fsum(costs.get(kind.value, 0.0) for kind in Category if kind not in MOTION)
    quality, motion = (parts.authenticity * math.exp(-STRENGTH * (cost + unknown)) for cost in (still, moving))
    return quality, motion
