"""What trained baselines end in: small models of numpy arrays, kept in an .npz file; higher scores mean generated.

The trainings that make them are in `deeptrace.train.baselines`; to be asked, none of them needs torch or scikit-learn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from deeptrace.metrics.logistic import expit

__all__ = [
    "Likelihood",
    "Linear",
    "Model",
    "Perceptron",
    "Regions",
    "StateSpace",
    "chances",
    "model_of",
    "standard",
    "top_quarter",
    "unit_steps",
]

_CLIP = 6.0
"""Standardised features are cut off here: one odd clip should not decide."""


class Model(Protocol):
    """What gives a clip's features a score."""

    def score(self, features: np.ndarray) -> float:
        """Of one clip; higher is more likely generated."""
        ...


def standard(rows: np.ndarray, center: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Rows (..., D) less `center`, times `scale`, cut off at 6."""
    return np.asarray(np.clip((rows - center) * scale, -_CLIP, _CLIP))


@dataclass(frozen=True)
class Linear:
    """A linear score of standardised features (D,), or of their random Fourier features.

    Attributes:
        center, scale: (D,).
        weights: (D,) or (R,).
        bias: ().
        directions, phases: (D, R) and (R,) of random Fourier features (Rahimi and Recht 2007), which make the score as
            smooth and curved as that of a kernel machine; both empty for none.
    """

    center: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    directions: np.ndarray
    phases: np.ndarray

    def lifted(self, rows: np.ndarray) -> np.ndarray:
        """What the weights are for, (N, D) or (N, R), of features (N, D)."""
        z = standard(rows, self.center, self.scale)
        return np.asarray(np.cos(z @ self.directions + self.phases)) if self.phases.size else z

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """(N,) of features (N, D)."""
        return np.asarray(self.lifted(rows) @ self.weights + self.bias)

    def score(self, features: np.ndarray) -> float:
        """Of features (D,)."""
        return float(self.scores(features[None])[0])


@dataclass(frozen=True)
class Regions(Linear):
    """A linear score for each region of a clip (n, D); the clip has that of its most suspicious quarter."""

    def score(self, features: np.ndarray) -> float:
        """Of regions (n, D)."""
        return top_quarter(self.scores(features))


def top_quarter(scores: np.ndarray) -> float:
    """Mean of the highest quarter of scores (n,), at least one."""
    return float(np.sort(scores)[-max(len(scores) // 4, 1) :].mean())


@dataclass(frozen=True)
class Perceptron:
    """Layers with a rectifier between them, over standardised features (D,).

    Attributes:
        center, scale: (D,).
        w0, b0, w1, b1: (D, H), (H,), (H, E) and (E,).
        w2, b2: (E,) and ().
    """

    center: np.ndarray
    scale: np.ndarray
    w0: np.ndarray
    b0: np.ndarray
    w1: np.ndarray
    b1: np.ndarray
    w2: np.ndarray
    b2: np.ndarray

    def score(self, features: np.ndarray) -> float:
        """Of features (D,)."""
        hidden = np.maximum(standard(features, self.center, self.scale) @ self.w0 + self.b0, 0.0)
        return float(np.maximum(hidden @ self.w1 + self.b1, 0.0) @ self.w2 + self.b2)


@dataclass(frozen=True)
class StateSpace:
    """A selective state space over a sequence of features (T, D): how long each step is remembered depends on it.

    Attributes:
        center, scale: (D,).
        inward: (D, H) to the state's width.
        pace, pace_bias: (H, H) and (H,): softplus of these is the step's length.
        decay: (H, S) logarithm of how fast the state of each channel fades.
        write, read: (H, S) each: what of a step goes into the state, and what of the state comes out.
        skip: (H,) what goes past the state.
        outward, bias: (H,) and ().
    """

    center: np.ndarray
    scale: np.ndarray
    inward: np.ndarray
    pace: np.ndarray
    pace_bias: np.ndarray
    decay: np.ndarray
    write: np.ndarray
    read: np.ndarray
    skip: np.ndarray
    outward: np.ndarray
    bias: np.ndarray

    def score(self, features: np.ndarray) -> float:
        """Of a sequence (T, D)."""
        u = np.tanh(standard(features, self.center, self.scale) @ self.inward)
        step = np.logaddexp(0.0, u @ self.pace + self.pace_bias)
        rate, state, total = -np.exp(self.decay), np.zeros(self.decay.shape), np.zeros(len(self.skip))
        for now, length in zip(u, step, strict=True):
            # the input enters through what this step writes, and the answer through what it reads (S each)
            state = state * np.exp(length[:, None] * rate) + (length * now)[:, None] * (now @ self.write)
            total += state @ (now @ self.read) + self.skip * now
        return float(np.maximum(total / len(u), 0.0) @ self.outward + self.bias)


@dataclass(frozen=True)
class Likelihood:
    """How unlikely a sequence of embeddings (T, D) is among footage: of its frames, and of the steps between them.

    Attributes:
        center, whitening: (D,) and (D, K) of the frames of footage.
        step_center, step_whitening: the same of its steps, each of length one.
        frame_ranks, step_ranks: (101,) percentiles of both log-likelihoods over footage.
    """

    center: np.ndarray
    whitening: np.ndarray
    step_center: np.ndarray
    step_whitening: np.ndarray
    frame_ranks: np.ndarray
    step_ranks: np.ndarray

    def score(self, features: np.ndarray) -> float:
        """Mean of the two shares of footage that is more likely than this clip."""
        frame, step = self.log_likelihoods(features)
        shares = [
            1.0 - np.interp(value, ranks, np.linspace(0, 1, len(ranks)))
            for value, ranks in ((frame, self.frame_ranks), (step, self.step_ranks))
        ]
        # Beyond all footage, further away still counts, so that no two clips there are equal; a tanh ends at 1.
        beyond = [max(float(ranks[0]) - value, 0.0) / (abs(float(ranks[0])) + 1.0)
                  for value, ranks in ((frame, self.frame_ranks), (step, self.step_ranks))]  # fmt: skip
        return float(np.mean(shares) + 0.01 * np.mean([far / (1.0 + far) for far in beyond]))

    def log_likelihoods(self, features: np.ndarray) -> tuple[float, float]:
        """Of the least likely frame, and mean over the steps, up to a constant."""
        frames = (features - self.center) @ self.whitening
        steps = (unit_steps(features) - self.step_center) @ self.step_whitening
        return float((-0.5 * (frames**2).sum(axis=1)).min()), float((-0.5 * (steps**2).sum(axis=1)).mean())


def unit_steps(features: np.ndarray) -> np.ndarray:
    """(T - 1, D) differences of a sequence, each of length one."""
    steps = np.diff(features, axis=0)
    return np.asarray(steps / np.maximum(np.linalg.norm(steps, axis=1, keepdims=True), 1e-6))


_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in (Linear, Regions, Perceptron, StateSpace, Likelihood)}


def model_of(kind: str, arrays: Mapping[str, np.ndarray]) -> Model:
    """The model of that kind with these arrays.

    Raises:
        KeyError: there is no such kind.
        TypeError: the arrays are not its own.
    """
    model: Model = _KINDS[kind](**arrays)
    return model


def chances(scores: Sequence[float] | np.ndarray, slope: float, bias: float) -> np.ndarray:
    """Probability (N,) that each score is a generated clip's."""
    return expit(np.asarray(scores) * slope + bias)
