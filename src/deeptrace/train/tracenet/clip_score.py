"""From cross-fitted scores of whole clips to a probability, thresholds, and what these thresholds are worth."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from deeptrace.errors import MissingExtraError
from deeptrace.evaluate.thresholds import above_share
from deeptrace.train.tracenet.clips import Kind
from deeptrace.train.tracenet.crossfit import ScoredClip

__all__ = ["Fusion", "fit_fusion", "logistic", "rates_without_fold", "thresholds"]

_SHARES = {"threshold_fpr_1": 0.01, "threshold_fpr_5": 0.05}


@dataclass(frozen=True)
class Fusion:
    """p_fake = sigmoid(texture * texture score + appearance * appearance score + bias), as in `Calibration`."""

    texture: float
    appearance: float
    bias: float

    def chances(self, scored: list[ScoredClip]) -> np.ndarray:
        """p_fake (N,) of each clip."""
        logits = _scores(scored) @ np.array([self.texture, self.appearance]) + self.bias
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logits, -60.0, 60.0))))


def fit_fusion(scored: list[ScoredClip]) -> Fusion:
    """Weights of the two scores, generated and real clips counting alike and every group by the root of its size.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    used = [s for s in scored if s.clip.kind is not Kind.EDITED]
    labels = np.array([s.clip.kind is Kind.GENERATED for s in used])
    sizes = Counter(s.clip.group for s in used)
    weights = np.array([sizes[s.clip.group] ** -0.5 for s in used])
    for value in (False, True):
        weights[labels == value] *= len(used) / 2 / weights[labels == value].sum()
    (texture, appearance), bias = logistic(_scores(used), labels, weights)
    return Fusion(float(texture), float(appearance), bias)


def thresholds(chances: np.ndarray, kinds: np.ndarray) -> dict[str, float]:
    """The thresholds of a `Calibration` by name, from p_fake (N,) and `Kind` (N,) of clips.

    Above `threshold_fpr_1` and `threshold_fpr_5` lie at most 1 % and 5 % of the real clips; at `threshold_balanced`
    both errors are equal.
    """
    real, fake = chances[kinds == Kind.REAL], chances[kinds == Kind.GENERATED]
    limits = np.unique(np.concatenate([real, fake]))
    gaps = [abs((real >= limit).mean() - (fake < limit).mean()) for limit in limits]
    return {
        **{name: above_share(real, share) for name, share in _SHARES.items()},
        "threshold_balanced": float(limits[int(np.argmin(gaps))]),
    }


def rates_without_fold(scored: list[ScoredClip], folds: dict[str, int]) -> dict[str, dict[str, float]]:
    """What thresholds are worth on clips that they were not set on either.

    For each fold, weights and thresholds are fitted on the scores of the other folds and counted on its own. The chance
    of an edit is left out.

    Args:
        scored: cross-fitted.
        folds: number of the fold by clip name.

    Returns:
        By threshold, `false_alarms` and `found`: shares of real clips and of generated clips called so.
    """
    numbers = np.array([folds[s.clip.name] for s in scored])
    kinds = np.array([s.clip.kind for s in scored])
    called: dict[str, np.ndarray] = {}
    for fold in np.unique(numbers):
        others = [s for s, number in zip(scored, numbers, strict=True) if number != fold]
        if len({s.clip.kind for s in others} - {Kind.EDITED}) < 2:
            continue
        fusion = fit_fusion(others)
        limits = thresholds(fusion.chances(others), kinds[numbers != fold])
        chances = fusion.chances(scored)
        for name, limit in limits.items():
            mine = called.setdefault(name, np.full(len(scored), np.nan))
            mine[numbers == fold] = chances[numbers == fold] >= limit
    return {
        name.removeprefix("threshold_"): {
            "false_alarms": float(np.nanmean(mine[kinds == Kind.REAL])),
            "found": float(np.nanmean(mine[kinds == Kind.GENERATED])),
        }
        for name, mine in called.items()
    }


def logistic(
    features: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None, *, penalty: float = 1.0
) -> tuple[np.ndarray, float]:
    """Coefficients (F,) and intercept of a logistic regression, from features (N, F), labels (N,) and weights (N,).

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise MissingExtraError("train tracenet", "train") from None
    model: Any = LogisticRegression(C=1.0 / penalty, max_iter=1000).fit(features, labels, sample_weight=weights)
    return model.coef_[0], float(model.intercept_[0])


def _scores(scored: list[ScoredClip]) -> np.ndarray:
    return np.array([[s.scores.texture, s.scores.appearance] for s in scored])
