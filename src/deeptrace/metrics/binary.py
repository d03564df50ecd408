"""How well a probability tells FAKE from REAL: ranking and calibration, fake is positive. NaN where undefined.

Every function takes labels (N,), 1 for generated and 0 for real, scores (N,), and optional weights: (N,), or (R, N) for
R resamples of the same videos at once, which gives an array (R,).

`fit_thresholds` gives thresholds on `p_fake`; fit them on videos that the detector was not trained on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "above_share",
    "auroc",
    "average_precision",
    "brier_score",
    "equal_errors",
    "expected_calibration_error",
    "fit_thresholds",
    "tpr_at_fpr",
]

Floats = NDArray[np.float64]


def auroc(labels: ArrayLike, scores: ArrayLike, *, weights: ArrayLike | None = None) -> Floats:
    """Area under the ROC curve in [0, 1]; ties count half. NaN without both classes.

    Examples:
        >>> float(auroc([1, 1, 0, 0], [0.9, 0.4, 0.5, 0.1]))  # of four pairs three are in order
        0.75
        >>> float(auroc([1, 0], [0.5, 0.5])), float(auroc([1, 1], [0.5, 0.6]))
        (0.5, nan)
        >>> auroc([1, 0], [0.9, 0.1], weights=[[1, 1], [2, 0]]).tolist()  # the second resample drew no real video
        [1.0, nan]
    """
    true, false, _ = _curve(labels, scores, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        tpr, fpr = true / true[..., -1:], false / false[..., -1:]
    return np.asarray(
        np.trapezoid(tpr, fpr, axis=-1) + 0 * (tpr + fpr)[..., -1]
    )  # NaN without a class, also of no video


def average_precision(labels: ArrayLike, scores: ArrayLike, *, weights: ArrayLike | None = None) -> Floats:
    """Area under the precision-recall curve as a step function (scikit-learn's), in [0, 1]. NaN without a positive.

    Examples:
        >>> float(average_precision([1, 0, 1], [0.9, 0.8, 0.7]))  # precision 1 at recall 1/2, then 2/3
        0.8333333333333333
    """
    true, false, _ = _curve(labels, scores, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = true / true[..., -1:]
        precision = np.nan_to_num(true / (true + false))[..., 1:]
    return np.asarray((np.diff(recall, axis=-1) * precision).sum(axis=-1) + 0 * recall[..., -1])


def tpr_at_fpr(labels: ArrayLike, scores: ArrayLike, *, max_fpr: float, weights: ArrayLike | None = None) -> Floats:
    """The largest true positive rate at a threshold whose false positive rate is at most `max_fpr`.

    No interpolation between thresholds: with fewer than 1 / max_fpr real videos it is the rate without a false alarm.
    NaN without both classes.

    Examples:
        >>> labels, scores = [1, 1, 1, 0, 0], [0.9, 0.8, 0.3, 0.5, 0.1]
        >>> round(float(tpr_at_fpr(labels, scores, max_fpr=0.01)), 4)  # above the highest real one lie two of three
        0.6667
        >>> float(tpr_at_fpr(labels, scores, max_fpr=0.5))
        1.0
    """
    true, false, _ = _curve(labels, scores, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        tpr, fpr = true / true[..., -1:], false / false[..., -1:]
    best = np.where(fpr <= max_fpr + 1e-12, tpr, 0.0).max(axis=-1)
    return np.asarray(np.where(np.isnan(fpr[..., -1]) | np.isnan(tpr[..., -1]), np.nan, best))


def brier_score(labels: ArrayLike, scores: ArrayLike, *, weights: ArrayLike | None = None) -> Floats:
    """Mean squared distance of probability and label in [0, 1], lower is better. NaN without a video.

    Examples:
        >>> float(brier_score([1, 0], [0.5, 0.5])), float(brier_score([1, 0], [1.0, 0.0]))
        (0.25, 0.0)
    """
    y, p, w = _arrays(labels, scores, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(w @ ((p - y) ** 2) / w.sum(axis=-1))


def expected_calibration_error(
    labels: ArrayLike, scores: ArrayLike, *, bins: int = 15, weights: ArrayLike | None = None
) -> Floats:
    """Mean |stated probability - share of generated| over `bins` equal bins of the probability, by bin size, in [0, 1].

    Of the probability of FAKE itself (torchmetrics' binary `norm="l1"`), not of the winning class.

    Examples:
        >>> labels, sure = [1, 1, 1, 0], [0.75, 0.75, 0.75, 0.75]
        >>> float(expected_calibration_error(labels, sure))  # three in four are generated, as stated
        0.0
        >>> float(expected_calibration_error(labels, [1.0, 1.0, 1.0, 1.0]))
        0.25
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


def fit_thresholds(p_fake: Sequence[float], fake: Sequence[bool]) -> dict[str, float]:
    """Thresholds by name: a video is FAKE where its `p_fake` is at least that.

    - `balanced`: as many generated videos missed, in share, as real ones accused
    - `fpr_1`, `fpr_5`: at most 1 % (5 %) of the real videos accused

    Args:
        p_fake: (N,) probabilities.
        fake: (N,) ground truth, true for generated.

    Returns:
        Nothing where the videos are all of one label.

    Examples:
        >>> fitted = fit_thresholds([0.1, 0.2, 0.7, 0.6, 0.8, 0.9], [False, False, False, True, True, True])
        >>> fitted["balanced"], fitted["fpr_5"] > 0.7  # the real video at 0.7 must not be accused
        (0.7, True)
        >>> fit_thresholds([0.2, 0.9], [True, True])
        {}
    """
    values, truth = np.asarray(p_fake, dtype=float), np.asarray(fake, dtype=bool)
    if truth.all() or not truth.any():
        return {}
    real = values[~truth]
    return {
        "balanced": equal_errors(real, values[truth]),
        "fpr_1": above_share(real, 0.01),
        "fpr_5": above_share(real, 0.05),
    }


def above_share(real: np.ndarray, share: float) -> float:
    """The p_fake that at most `share` of the real clips reaches: halfway to the next one.

    Examples:
        >>> real = np.array([0.1, 0.2, 0.3, 0.4])
        >>> round(above_share(real, 0.25), 4)  # between the highest and the next
        0.35
    """
    ordered = np.sort(real)[::-1]
    allowed = int(share * len(ordered))
    return float(min((ordered[allowed] + ordered[max(allowed - 1, 0)]) / 2 + 1e-6, 1.0))


def equal_errors(real: np.ndarray, fake: np.ndarray) -> float:
    """The p_fake at which the share of real clips that reach it is nearest that of generated ones that do not.

    Examples:
        >>> equal_errors(np.array([0.1, 0.2, 0.7]), np.array([0.6, 0.8, 0.9]))  # one of three wrong on either side
        0.7
    """
    limits = np.unique(np.concatenate([real, fake]))
    gap = [abs((real >= limit).mean() - (fake < limit).mean()) for limit in limits]
    return float(limits[int(np.argmin(gap))])
