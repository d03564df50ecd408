"""How each baseline learns: from what was measured of clips to a model.

Whatever the method, both classes weigh alike, and a clip weighs less the more clips its generator or source has (one
over the root of their number), so that the largest source does not decide.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from deeptrace.detectors.baselines.measures import Measured
from deeptrace.detectors.baselines.models import Likelihood, Linear, Model, Regions, standard, top_quarter, unit_steps
from deeptrace.detectors.baselines.recipes import RECIPES, SKIPS, Recipe
from deeptrace.errors import DataError, MissingExtraError
from deeptrace.train.baselines.measured import Kept
from deeptrace.train.tracenet.clip_probability import logistic
from deeptrace.train.tracenet.clips import Clip, Kind, fold_numbers

__all__ = ["FITS", "Examples", "fit", "scores_of"]

_INNER = 3
_RANDOM_FEATURES = 256
_KEPT_DIRECTIONS = 64


@dataclass(frozen=True)
class Examples:
    """What a baseline learns from.

    Attributes:
        clips: N clips; edited versions count as generated.
        measured: N results of its measures.
        recipe: of the baseline.
        seed: of every random choice.
    """

    clips: Sequence[Clip]
    measured: Sequence[Measured]
    recipe: Recipe
    seed: int = 0

    @cached_property
    def features(self) -> list[np.ndarray]:
        """N features of the recipe."""
        return [self.recipe.features(measured) for measured in self.measured]

    @cached_property
    def rows(self) -> np.ndarray:
        """(N, D) where the features of every clip have one shape."""
        return np.stack(self.features).astype(np.float64)

    @cached_property
    def labels(self) -> np.ndarray:
        """(N,) bool: generated."""
        return np.array([clip.kind is not Kind.REAL for clip in self.clips])

    @cached_property
    def groups(self) -> list[str]:
        """Generator or source of each clip."""
        return [clip.group for clip in self.clips]

    @cached_property
    def weights(self) -> np.ndarray:
        """(N,) mean 1 in each class."""
        return weights_of(self.groups, self.labels)

    def of(self, chosen: np.ndarray) -> Examples:
        """Those of (N,) bool alone."""
        at = np.flatnonzero(chosen).tolist()
        return Examples([self.clips[i] for i in at], [self.measured[i] for i in at], self.recipe, self.seed)


def weights_of(groups: Sequence[str], labels: np.ndarray) -> np.ndarray:
    """(N,) one over the root of the size of each clip's group, mean 1 in each class."""
    sizes = Counter(groups)
    weights = np.array([sizes[group] ** -0.5 for group in groups])
    for value in (False, True):
        weights[labels == value] /= weights[labels == value].mean()
    return weights


def fit(name: str, kept: Kept, *, seed: int = 0) -> Model:
    """The model of the baseline called `name`, from measured clips.

    Raises:
        DataError: the clips are not of both classes.
        MissingExtraError: scikit-learn, or torch where it is needed, is not installed.
    """
    examples = Examples(kept.clips, kept.measured, RECIPES[name], seed)
    if len(examples.clips) == 0 or examples.labels.all() or not examples.labels.any():
        raise DataError(name, "needs both real and generated clips of at least 4 frames")
    return FITS[name](examples)


def scores_of(name: str, model: Model, kept: Kept) -> np.ndarray:
    """(N,) what a model says of measured clips."""
    return np.array([model.score(RECIPES[name].features(measured)) for measured in kept.measured])


# -- linear -----------------------------------------------------------------------------------------------------------


def linear(examples: Examples) -> Linear:
    """A logistic regression; its penalty is the number of features, so that the prior score has variance one."""
    return _linear(examples.rows, examples.labels, examples.weights)


def curved(examples: Examples) -> Linear:
    """The same on random Fourier features, whose width is the median distance between clips."""
    rng = np.random.default_rng(examples.seed)
    center, scale = _center_and_scale(examples.rows)
    z = standard(examples.rows, center, scale)
    pairs = rng.integers(0, len(z), (500, 2))
    width = float(np.median(np.linalg.norm(z[pairs[:, 0]] - z[pairs[:, 1]], axis=1)))
    directions = rng.standard_normal((z.shape[1], _RANDOM_FEATURES)) / max(width, 1e-6)
    phases = rng.uniform(0, 2 * np.pi, _RANDOM_FEATURES)
    return _linear(examples.rows, examples.labels, examples.weights, directions, phases, penalty=1.0)


def regions(examples: Examples) -> Regions:
    """A linear model of regions, each with its clip's label: what is learned from labels of clips alone."""
    rows = np.concatenate(examples.features).astype(np.float64)
    owner = np.repeat(np.arange(len(examples.clips)), [len(found) for found in examples.features])
    share = 1.0 / np.bincount(owner)[owner]
    found = _linear(rows, examples.labels[owner], (examples.weights[owner] * share) / share.mean())
    model = Regions(**vars(found))
    # the top quarter of a clip's regions lies above their mean: the bias is where both classes are told apart
    tops = np.array([top_quarter(model.scores(one)) for one in examples.features])
    middle = (tops[examples.labels].mean() + tops[~examples.labels].mean()) / 2
    return Regions(**(vars(model) | {"bias": model.bias - middle}))


def experts(examples: Examples) -> Linear:
    """One linear expert each for appearance, motion and geometry, averaged; a mean of linear scores is linear."""
    sizes = [len(examples.measured[0][name].T) for name in examples.recipe.measures]
    return _joined([(_part(examples, at), 1.0 / len(sizes)) for at in _slices(sizes)], 0.0)


def stacked(examples: Examples) -> Linear:
    """One linear model a sampling, and a meta-model that learns from what they say of clips held out by group."""
    slices = _slices([examples.rows.shape[1] // len(SKIPS)] * len(SKIPS))
    numbers = fold_numbers(list(examples.clips), _INNER, examples.seed)
    said = np.zeros((len(examples.clips), len(slices)))
    for number in range(_INNER):
        mine = numbers == number
        if len(set(examples.labels[~mine])) == 2:
            known = examples.of(~mine)
            for column, at in enumerate(slices):
                said[mine, column] = _part(known, at).scores(examples.rows[mine][:, at])
    weights, bias = logistic(said, examples.labels, examples.weights)
    return _joined([(_part(examples, at), float(w)) for at, w in zip(slices, weights, strict=True)], bias)


def _slices(sizes: Sequence[int]) -> list[slice]:
    ends = np.cumsum(sizes)
    return [slice(int(end - size), int(end)) for size, end in zip(sizes, ends, strict=True)]


def _part(examples: Examples, at: slice) -> Linear:
    return _linear(examples.rows[:, at], examples.labels, examples.weights)


def _joined(parts: Sequence[tuple[Linear, float]], bias: float) -> Linear:
    """The weighted sum of linear models of neighbouring features, as one."""
    models = [model for model, _ in parts]
    return Linear(
        center=np.concatenate([model.center for model in models]),
        scale=np.concatenate([model.scale for model in models]),
        weights=np.concatenate([model.weights * share for model, share in parts]),
        bias=np.array(bias + sum(share * float(model.bias) for model, share in parts)),
        directions=np.zeros((0, 0)),
        phases=np.zeros(0),
    )


def _linear(
    rows: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    directions: np.ndarray | None = None,
    phases: np.ndarray | None = None,
    *,
    penalty: float | None = None,
) -> Linear:
    center, scale = _center_and_scale(rows)
    empty = Linear(
        center,
        scale,
        np.zeros(0),
        np.array(0.0),
        np.zeros((0, 0)) if directions is None else directions,
        np.zeros(0) if phases is None else phases,
    )
    lifted = empty.lifted(rows)
    found, bias = logistic(lifted, labels, weights, penalty=float(lifted.shape[1]) if penalty is None else penalty)
    return Linear(**(vars(empty) | {"weights": found, "bias": np.array(bias)}))


def _center_and_scale(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return rows.mean(axis=0), 1.0 / (rows.std(axis=0) + 1e-6)


# -- footage alone ----------------------------------------------------------------------------------------------------


def likelihood(examples: Examples) -> Likelihood:
    """Whitening of frames and of steps, and percentiles of likelihoods, from real clips alone."""
    real = [
        found.astype(np.float64) for found, fake in zip(examples.features, examples.labels, strict=True) if not fake
    ]
    frames, steps = np.concatenate(real), np.concatenate([unit_steps(one) for one in real])
    model = Likelihood(*_whitened(frames), *_whitened(steps), np.zeros(101), np.zeros(101))
    found = np.array([model.log_likelihoods(one) for one in real])
    ranks = np.percentile(found, np.arange(101), axis=0)
    return Likelihood(**(vars(model) | {"frame_ranks": ranks[:, 0], "step_ranks": ranks[:, 1]}))


def _whitened(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Center (D,), and (D, K) onto the main directions, each of variance one."""
    center = rows.mean(axis=0)
    values, directions = np.linalg.eigh(np.cov((rows - center).T))
    kept = min(_KEPT_DIRECTIONS, len(values))
    return center, directions[:, -kept:] / np.sqrt(np.maximum(values[-kept:], 1e-9))


# -- nets -------------------------------------------------------------------------------------------------------------


def _net(name: str) -> Callable[[Examples], Model]:
    """A training of `deeptrace.train.baselines.nets`, imported when it is run: torch is heavy."""

    def train(examples: Examples) -> Model:
        try:
            import torch  # noqa: F401
        except ImportError:
            raise MissingExtraError(f"train baseline {examples.recipe.name}", "train") from None
        from deeptrace.train.baselines import nets

        found: Model = getattr(nets, name)(examples)
        return found

    return train


FITS: dict[str, Callable[[Examples], Model]] = {
    "probe": linear,
    "npr": linear,
    "patchcraft": linear,
    "fakelocator": regions,
    "d3": linear,
    "restrav": curved,
    "stall": likelihood,
    "motion-vectors": curved,
    "what-matters": experts,
    "prediction": curved,
    "frame-skip": stacked,
    "lsda": _net("lsda"),
    "qad": _net("qad"),
    "ucf": _net("ucf"),
    "genconvit": _net("genconvit"),
    "demamba": _net("demamba"),
    "gm-df": _net("gm_df"),
    "difficulty-boosting": _net("difficulty_boosting"),
}
"""What makes the model of each baseline."""
