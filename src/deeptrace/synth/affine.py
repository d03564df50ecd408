"""2x3 affine maps of the plane, and the robust fit of a similarity to flow vectors."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["Affine", "about", "apply", "fit_similarity", "identity", "invert", "scaling", "then", "translation"]

Affine = np.ndarray  # (2, 3) float64


def identity() -> Affine:
    """The map that leaves everything where it is."""
    return np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def translation(dx: float, dy: float) -> Affine:
    """A shift."""
    return np.array([[1.0, 0.0, dx], [0.0, 1.0, dy]])


def scaling(factor: float) -> Affine:
    """A scaling about the origin."""
    return np.array([[factor, 0.0, 0.0], [0.0, factor, 0.0]])


def about(
    center: tuple[float, float], *, turn: float = 0.0, zoom: float = 1.0, shift: tuple[float, float] = (0, 0)
) -> Affine:
    """A rotation by `turn` radians and a scaling by `zoom` about `center`, then a shift."""
    a, b = zoom * math.cos(turn), zoom * math.sin(turn)
    cx, cy = center
    return np.array([[a, -b, cx - a * cx + b * cy + shift[0]], [b, a, cy - b * cx - a * cy + shift[1]]])


def then(first: Affine, second: Affine) -> Affine:
    """`first`, followed by `second`."""
    return np.asarray((np.vstack([second, [0, 0, 1]]) @ np.vstack([first, [0, 0, 1]]))[:2])


def invert(m: Affine) -> Affine:
    """The map back."""
    return np.asarray(np.linalg.inv(np.vstack([m, [0, 0, 1]]))[:2])


def apply(m: Affine, points: np.ndarray) -> np.ndarray:
    """Map points (N, 2)."""
    return np.asarray(np.asarray(points) @ m[:, :2].T + m[:, 2])


def fit_similarity(
    points: np.ndarray, flow: np.ndarray, *, max_turn: float = 0.12, max_zoom: float = 0.08, rounds: int = 4
) -> Affine:
    """The similarity that most of the flow vectors agree on, by reweighted least squares (Cauchy weights).

    Args:
        points: (N, 2) x, y.
        flow: (N, 2) displacement of each point.
        max_turn: largest turn a frame that is believed, in radians.
        max_zoom: largest relative change of size a frame that is believed.
        rounds: reweighting rounds.

    Returns:
        (2, 3); the identity where there are no points, and a mere shift where there are fewer than 8.
    """
    if len(points) == 0:
        return identity()
    p, q = points.astype(np.float64), (points + flow).astype(np.float64)
    weights = np.ones(len(p))
    shift = np.median(q - p, axis=0)
    if len(p) < 8:
        return translation(*shift)
    result = translation(*shift)
    for _ in range(rounds):
        rest = np.hypot(*(apply(result, p) - q).T)
        scale = max(1.5 * float(np.median(rest)), 0.05)
        weights = 1.0 / (1.0 + (rest / scale) ** 2)
        result = _weighted_similarity(p, q, weights, max_turn, max_zoom)
    return result


def _weighted_similarity(p: np.ndarray, q: np.ndarray, weights: np.ndarray, max_turn: float, max_zoom: float) -> Affine:
    w = (weights / weights.sum())[:, None]
    mp, mq = (w * p).sum(axis=0), (w * q).sum(axis=0)
    dp, dq = p - mp, q - mq
    spread = float((w * dp * dp).sum())
    if spread < 1e-6:
        return translation(*(mq - mp))
    a = float((w[:, 0] * (dp[:, 0] * dq[:, 0] + dp[:, 1] * dq[:, 1])).sum()) / spread
    b = float((w[:, 0] * (dp[:, 0] * dq[:, 1] - dp[:, 1] * dq[:, 0])).sum()) / spread
    zoom = float(np.clip(math.hypot(a, b), 1 - max_zoom, 1 + max_zoom))
    turn = float(np.clip(math.atan2(b, a), -max_turn, max_turn))
    shift = (mq[0] - mp[0], mq[1] - mp[1])
    return about((mp[0], mp[1]), turn=turn, zoom=zoom, shift=shift)
