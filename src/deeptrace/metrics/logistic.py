"""The logistic function and its inverse, for numbers and arrays.

As in `scipy.special`, whose import takes longer than that of the video decoders.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["expit", "logit"]


def expit(x: ArrayLike) -> NDArray[np.float64]:
    """1 / (1 + exp(-x)) of finite or infinite numbers of any shape, in [0, 1]; no number overflows.

    >>> float(expit(0.0)), float(expit(-1e6))
    (0.5, 0.0)
    """
    return np.asarray(np.exp(-np.logaddexp(0.0, -np.asarray(x, np.float64))))


def logit(p: ArrayLike) -> NDArray[np.float64]:
    """ln(p / (1 - p)) of probabilities in [0, 1], of any shape; -inf at 0, inf at 1.

    >>> float(logit(0.5)), float(logit(0.0))
    (0.0, -inf)
    """
    p = np.asarray(p, np.float64)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(p) - np.log1p(-p))
