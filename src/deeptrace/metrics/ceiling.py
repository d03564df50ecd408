"""The annotator ceiling: what one annotator would score as a model against the other, both ways round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deeptrace.metrics.agreement import grounding_agreement
from deeptrace.metrics.baselines import annotator_verdicts
from deeptrace.metrics.summary import evaluate_pairs
from deeptrace.trace import Sample

__all__ = ["annotator_ceiling"]

_BLOCKS = ("paper", "per_video", "grounded", "traces", "text")


def annotator_ceiling(first: Sequence[Sample], second: Sequence[Sample]) -> dict[str, Any]:
    """Score each of two annotation passes over the same videos against the other.

    Args:
        first, second: the same videos, in the same order, with each annotator's traces; real videos may stand among
            them, with what the annotators drew on them (usually nothing).

    Returns:
        The blocks `paper`, `per_video`, `grounded`, `traces` and `text` of `evaluate_pairs`, each value the mean of the
        two directions (None where either has none), and `agreement` (`grounding_agreement`). A pass has no judge and no
        probabilities, so what needs them is None.

    Raises:
        ValueError: not the same videos in the same order.
    """
    agreement = grounding_agreement(first, second)
    runs = [evaluate_pairs(truth, annotator_verdicts(model)) for truth, model in ((first, second), (second, first))]
    ceiling: dict[str, Any] = {
        block: {name: _mean(runs[0][block][name], runs[1][block][name]) for name in runs[0][block]} for block in _BLOCKS
    }
    return ceiling | {"agreement": agreement}


def _mean(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else (a + b) / 2
