"""Thresholds on `p_fake`, fitted on videos that the detector was not trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["above_share", "equal_errors", "fit_thresholds"]


def fit_thresholds(p_fake: Sequence[float], fake: Sequence[bool]) -> dict[str, float]:
    """Thresholds by name: a video is FAKE where its `p_fake` is at least that.

    - `balanced`: as many generated videos missed, in share, as real ones accused
    - `fpr_1`, `fpr_5`: at most 1 % (5 %) of the real videos accused

    Args:
        p_fake: (N,) probabilities.
        fake: (N,) the truth.

    Returns:
        Nothing where the videos are all of one label.
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
    """The p_fake that at most `share` of the real clips reaches: halfway to the next one."""
    ordered = np.sort(real)[::-1]
    allowed = int(share * len(ordered))
    return float(min((ordered[allowed] + ordered[max(allowed - 1, 0)]) / 2 + 1e-6, 1.0))


def equal_errors(real: np.ndarray, fake: np.ndarray) -> float:
    """The p_fake at which the share of real clips that reach it is nearest that of generated ones that do not."""
    limits = np.unique(np.concatenate([real, fake]))
    gap = [abs((real >= limit).mean() - (fake < limit).mean()) for limit in limits]
    return float(limits[int(np.argmin(gap))])
