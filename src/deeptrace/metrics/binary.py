"""How well a probability tells FAKE from REAL: ranking and calibration, fake is positive. NaN where undefined.

Every function takes labels (N,), 1 for generated and 0 for real, scores (N,), and optional weights: (N,), or (R, N) for
R resamples of the same videos at once, which gives an array (R,).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["auroc", "average_precision", "brier_score", "expected_calibration_error", "tpr_at_fpr"]

Floats = NDArray[np.float64]


def auroc(labels: ArrayLike, scores: ArrayLike, *, weights: ArrayLike | None = None) -> Floats:
    """Area under the ROC curve in [0, 1]; ties count half. NaN without both classes."""
    true, false, _ = _curve(labels, scores, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        tpr, fpr = true / true[..., -1:], false / false[..., -1:]
    return np.asarray(
        np.trapezoid(tpr, fpr, axis=-1) + 0 * (tpr + fpr)[..., -1]
    )  # NaN without a class, also of no video


def average_precision(labels: ArrayLike, scores: ArrayLike, *, weights: ArrayLike | None = None) -> Floats:
    """Area under the precision-recall curve as a step function (scikit-learn's), in [0, 1]. NaN without a positive."""
    true, false, _ = _curve(labels, scores, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = true / true[..., -1:]
        precision = np.nan_to_num(true / (true + false))[..., 1:]
    return np.asarray((np.diff(recall, axis=-1) * precision).sum(axis=-1) + 0 * recall[..., -1])


def tpr_at_fpr(labels: ArrayLike, scores: ArrayLike, *, max_fpr: float, weights: ArrayLike | None = None) -> Floats:
    """The largest true positive rate at a threshold whose false positive rate is at most `max_fpr`.

    No interpolation between thresholds: with fewer than 1 / max_fpr real videos it is the rate without a false alarm.
    NaN without both classes.
    """
    true, false, _ = _curve(labels, scores, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        tpr, fpr = true / true[..., -1:], false / false[..., -1:]
    best = np.where(fpr <= max_fpr + 1e-12, tpr, 0.0).max(axis=-1)
    return np.asarray(np.where(np.isnan(fpr[..., -1]) | np.isnan(tpr[..., -1]), np.nan, best))


def brier_score(labels: ArrayLike, scores: ArrayLike, *, weights: ArrayLike | None = None) -> Floats:
    """Mean squared distance of probability and truth in [0, 1], lower is better. NaN without a video."""
    y, p, w = _arrays(labels, scores, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(w @ ((p - y) ** 2) / w.sum(axis=-1))


def expected_calibration_error(
    labels: ArrayLike, scores: ArrayLike, *, bins: int = 15, weights: ArrayLike | None = None
) -> Floats:
    """Mean |stated probability - share of generated| over `bins` equal bins of the probability, by bin size, in [0, 1].

    Of the probability of FAKE itself (torchmetrics' binary `norm="l1"`), not of the winning class.
    """
    y, p, w = _arrays(labels, scores, weights)
    index = np.clip(np.ceil(p * bins).astype(int) - 1, 0, bins - 1)
    gap = np.zeros((*w.shape[:-1], bins))
    for b in range(bins):
        inside = index == b
        gap[..., b] = w[..., inside] @ (p[inside] - y[inside])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.abs(gap).sum(axis=-1) / w.sum(axis=-1))


def _arrays(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None) -> tuple[Floats, Floats, Floats]:
    y, p = np.asarray(labels, dtype=float), np.asarray(scores, dtype=float)
    if y.ndim != 1 or y.shape != p.shape:
        raise ValueError(f"expected labels and scores of the same shape (N,) but got {y.shape} and {p.shape}")
    w = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=float)
    if w.shape[-1] != len(y):
        raise ValueError(f"expected weights of shape (..., {len(y)}) but got {w.shape}")
    return y, p, w


def _curve(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None) -> tuple[Floats, Floats, Floats]:
    """Weighted true and false positives (..., K + 1), strictest threshold first, one a distinct score."""
    y, p, w = _arrays(labels, scores, weights)
    order = np.argsort(-p, kind="stable")
    y, p, w = y[order], p[order], w[..., order]
    last = np.flatnonzero(np.r_[p[1:] != p[:-1], True]) if len(p) else np.zeros(0, dtype=int)
    zero = np.zeros((*w.shape[:-1], 1))
    true = np.concatenate([zero, np.cumsum(w * y, axis=-1)[..., last]], axis=-1)
    false = np.concatenate([zero, np.cumsum(w * (1 - y), axis=-1)[..., last]], axis=-1)
    return true, false, p[last]
