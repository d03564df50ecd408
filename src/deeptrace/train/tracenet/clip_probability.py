"""From cross-fitted scores of whole clips to a probability and thresholds, and what these are worth: the card's
figures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deeptrace.detectors.tracenet.model import Calibration
from deeptrace.detectors.tracenet.tubes import best_box
from deeptrace.errors import MissingExtraError
from deeptrace.geometry import Box
from deeptrace.metrics import auroc, average_precision, brier_score, expected_calibration_error
from deeptrace.metrics.binary import above_share, equal_errors
from deeptrace.metrics.logistic import expit
from deeptrace.train.tracenet.clips import Kind
from deeptrace.train.tracenet.crossfit import ScoredClip

__all__ = [
    "Fusion",
    "figures_of",
    "fit_fusion",
    "fit_weights",
    "logistic",
    "rates_without_fold",
    "thresholds",
]

_SHARES = {"threshold_fpr_1": 0.01, "threshold_fpr_5": 0.05}


@dataclass(frozen=True)
class Fusion:
    """p_fake = sigmoid(texture * texture score + appearance * appearance score + bias), as in `Calibration`."""

    texture: float
    appearance: float
    bias: float

    def chances(self, scored: list[ScoredClip]) -> np.ndarray:
        """p_fake (N,) of each clip."""
        return self.of_scores(_scores(scored))

    def of_scores(self, scores: np.ndarray) -> np.ndarray:
        """p_fake (N,) from texture and appearance scores (N, 2)."""
        return np.asarray(expit(scores @ np.array([self.texture, self.appearance]) + self.bias))


def fit_fusion(scored: list[ScoredClip]) -> Fusion:
    """`fit_weights` on the scores of clips."""
    return fit_weights(_scores(scored), np.array([s.clip.kind for s in scored]), [s.clip.group for s in scored])


def fit_weights(scores: np.ndarray, kinds: np.ndarray, groups: Sequence[str]) -> Fusion:
    """Weights of the two scores, generated and real clips counting alike and every group by the root of its size.

    Args:
        scores: (N, 2) of texture and appearance.
        kinds: (N,) `Kind` of each clip; edited versions are left out.
        groups: generator or source of each.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    used = kinds != Kind.EDITED
    labels, names = kinds[used] == Kind.GENERATED, np.array(groups)[used]
    sizes = Counter(names)
    weights = np.array([sizes[name] ** -0.5 for name in names])
    for value in (False, True):
        weights[labels == value] *= len(labels) / 2 / weights[labels == value].sum()
    (texture, appearance), bias = logistic(scores[used], labels, weights)
    return Fusion(float(texture), float(appearance), bias)


def thresholds(chances: np.ndarray, kinds: np.ndarray) -> dict[str, float]:
    """The thresholds of a `Calibration` by name, from p_fake (N,) and `Kind` (N,) of clips.

    Above `threshold_fpr_1` and `threshold_fpr_5` lie at most 1 % and 5 % of the real clips; at `threshold_balanced`
    both errors are equal.
    """
    real, fake = chances[kinds == Kind.REAL], chances[kinds == Kind.GENERATED]
    return {
        **{name: above_share(real, share) for name, share in _SHARES.items()},
        "threshold_balanced": equal_errors(real, fake),
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


_CENTRE = Box(x0=0.2, y0=0.2, x1=0.8, y1=0.8)


def figures_of(scored: list[ScoredClip], calibration: Calibration, folds: dict[str, int]) -> dict[str, Any]:
    """Errors of the clip score and of the best box, each clip scored by models that never saw its group."""
    p = np.array([calibration.p_fake(s.scores.texture, s.scores.appearance, s.scores.clip) for s in scored])
    kind = np.array([s.clip.kind for s in scored])
    used = kind != Kind.EDITED
    labels, chances = (kind[used] == Kind.GENERATED).astype(int), p[used]
    real, fake = chances[labels == 0], chances[labels == 1]
    groups = sorted({s.clip.group for s in scored if s.clip.kind is Kind.GENERATED})
    by_generator = {
        group.removeprefix("generated:"): {
            "clips": int(sum(s.clip.group == group for s in scored)),
            "auroc": round(_auc_against(real, p[[s.clip.group == group for s in scored]]), 4),
        }
        for group in groups
    }
    return {
        "real_clips": len(real),
        "generated_clips": len(fake),
        "auroc": _round(auroc(labels, chances)),
        "auroc_macro_by_generator": _round(float(np.mean([row["auroc"] for row in by_generator.values()]))),
        "auroc_edited": _round(_auc_against(real, p[kind == Kind.EDITED])) if (kind == Kind.EDITED).any() else None,
        "average_precision": _round(average_precision(labels, chances)),
        "brier": _round(brier_score(labels, chances)),
        "ece": _round(expected_calibration_error(labels, chances)),
        "at_thresholds": {
            name: {
                "p_fake": _round(limit),
                "false_alarms": _round(float((real >= limit).mean())),
                "found": _round(float((fake >= limit).mean())),
            }
            for name, limit in (
                ("fpr_1", calibration.threshold_fpr_1),
                ("fpr_5", calibration.threshold_fpr_5),
                ("balanced", calibration.threshold_balanced),
            )
        },
        "at_thresholds_set_without_the_fold": {
            name: {what: _round(rate) for what, rate in rates.items()}
            for name, rates in rates_without_fold(scored, folds).items()
        },
        "box": _box_figures(scored, calibration),
        "by_generator": by_generator,
    }


def _box_figures(scored: list[ScoredClip], calibration: Calibration) -> dict[str, Any]:
    """Mean IoU of one box a clip against every trace row (the paper's protocol), beside a centre box."""
    ours, centre = [], []
    for s in scored:
        boxes = [trace.box for trace in s.clip.traces if trace.box is not None]
        if s.clip.kind is Kind.GENERATED and boxes:
            found, _ = best_box((s.scores.where.astype(np.float64) ** calibration.sharpen).mean(axis=0))
            ours += [found.iou(box) for box in boxes]
            centre += [_CENTRE.iou(box) for box in boxes]
    return {
        "rows": len(ours),
        "iou": _round(float(np.mean(ours))) if ours else None,
        "iou_centre_box": _round(float(np.mean(centre))) if centre else None,
    }


def _auc_against(real: np.ndarray, fake: np.ndarray) -> float:
    labels = np.concatenate([np.zeros(len(real), int), np.ones(len(fake), int)])
    return float(auroc(labels, np.concatenate([real, fake])))


def _round(value: float | np.ndarray | None) -> float | None:
    return None if value is None else round(float(value), 4)
