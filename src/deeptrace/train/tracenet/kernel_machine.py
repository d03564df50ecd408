"""Fit the kernel machines of texture and appearance.

Each standardises, forgets what re-encoding changes, keeps the main directions, and sets a kernel machine on them.

Variants of one clip differ in rate, size, codec and quality, and in nothing else. How their statistics scatter around
the clip's own mean is therefore nuisance, and is whitened away before classes are told apart: within-class covariance
normalisation, as speaker verification does for channels (Hatch, Kajarekar and Stolcke 2006). Without it a linear
classifier of texture reached AUROC 0.83 to 0.85 on held-out generators where this reaches 0.88 (same folds).
Appearance hardly changes with the encoding, and loses by it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np

from deeptrace.detectors.tracenet.appearance import VIEWS
from deeptrace.errors import DataError, MissingExtraError
from deeptrace.train.tracenet.clips import Clip, Kind
from deeptrace.train.tracenet.config import TraceNetConfig
from deeptrace.train.tracenet.feature_cache import KeptArrays, load_trait

__all__ = ["CLIP", "KernelMachine", "Statistics", "Trait", "fit_kernel_machine", "in_bytes"]

Trait = Literal["texture", "appearance"]

CLIP = 2.5
"""Standardised statistics beyond this count as this."""


@dataclass(frozen=True)
class KernelMachine(KeptArrays):
    """score(x) = sum over k of weights[k] * likeness(x, k) + bias.

    Statistics are those of V views of a picture, one after another. Their likeness to support k is the mean over views
    v of exp(-gamma[v] * |z[v] - support[k, v] * step[v]|^2), with z[v] = clip((x - center) * scale)[v] @ projection[v].

    Attributes:
        center, scale: (D,).
        projection: (V, D / V, d) whitening and main directions.
        support: (K, V, d) int8: most of the file.
        step: (V, d) what one of `support` stands for, along each direction.
        weights: (K,).
        gamma: (V,).
        bias: a number.
    """

    center: np.ndarray
    scale: np.ndarray
    projection: np.ndarray
    support: np.ndarray
    step: np.ndarray
    weights: np.ndarray
    gamma: np.ndarray
    bias: float

    def score(self, rows: np.ndarray) -> float:
        """Mean score over windows (W, D); 0 without any. Positive means generated."""
        return float(self.window_scores(rows).mean()) if len(rows) else 0.0

    def window_scores(self, rows: np.ndarray) -> np.ndarray:
        """Score (W,) of each window (W, D)."""
        return np.asarray(self._likeness(rows) @ self.weights + self.bias)

    def window_nearness(self, rows: np.ndarray) -> np.ndarray:
        """How like the nearest support each window (W, D) is: (W,), 1 for the same and towards 0 for unlike any."""
        return np.asarray(self._likeness(rows).max(axis=1))

    def _likeness(self, rows: np.ndarray) -> np.ndarray:
        """(W, K): the kernel of each window with each support."""
        standard = np.split(_standard(rows, self.center, self.scale), len(self.projection), axis=1)
        return _mean_kernel(
            [z @ projection for z, projection in zip(standard, self.projection, strict=True)],
            [self.support[:, view] * step for view, step in enumerate(self.step)],
            self.gamma,
        )


def _mean_kernel(rows: list[np.ndarray], others: list[np.ndarray], gamma: np.ndarray) -> np.ndarray:
    """(N, M): the mean over views of how like each row (N, d) is to each other (M, d)."""
    total = np.zeros((len(rows[0]), len(others[0])))
    for mine, theirs, sharpness in zip(rows, others, gamma, strict=True):
        distance = (mine**2).sum(axis=1)[:, None] - 2 * mine @ theirs.T + (theirs**2).sum(axis=1)
        total += np.exp(-sharpness * np.maximum(distance, 0.0))
    return total / len(rows)


@dataclass(frozen=True)
class Statistics:
    """One trait of every window of every variant of clips, in memory.

    Attributes:
        clips: the clips.
        rows: (N, D) float32.
        owner: (N,) index into `clips`.
        variant: (N,) number of the variant.
    """

    clips: list[Clip]
    rows: np.ndarray
    owner: np.ndarray
    variant: np.ndarray

    @classmethod
    def read(cls, clips: list[Clip], config: TraceNetConfig, trait: Trait) -> Self:
        """Read what was measured.

        Raises:
            DataError: not one clip has any.
        """
        rows: list[np.ndarray] = []
        owner: list[int] = []
        variants: list[int] = []
        for index, clip in enumerate(clips):
            for variant in range(config.variants):
                found = load_trait(clip, variant, config, trait)
                if found is not None and len(found):
                    rows.append(found)
                    owner += [index] * len(found)
                    variants += [variant] * len(found)
        if not rows:
            raise DataError(clips[0].name if clips else "data", f"not one clip has the 4 frames that {trait} needs")
        return cls(clips, np.concatenate(rows), np.array(owner), np.array(variants))

    def of(self, chosen: np.ndarray) -> Self:
        """Those of some clips alone: `chosen` is (clips,) bool."""
        kept = chosen[self.owner]
        number = np.cumsum(chosen) - 1
        clips = [clip for clip, wanted in zip(self.clips, chosen, strict=True) if wanted]
        return type(self)(clips, self.rows[kept], number[self.owner[kept]], self.variant[kept])

    def by_variant(self) -> Self:
        """One row for each variant of each clip: the mean over its windows, which differ little but in texture."""
        pairs, place, count = np.unique(
            np.stack([self.owner, self.variant]), axis=1, return_inverse=True, return_counts=True
        )
        rows = np.zeros((len(count), self.rows.shape[1]))
        np.add.at(rows, place.reshape(-1), self.rows)
        return type(self)(self.clips, (rows / count[:, None]).astype(np.float32), pairs[0], pairs[1])

    def scores(self, machine: KernelMachine, variant: int) -> np.ndarray:
        """What a machine says of one variant of each clip (clips,): the mean over its windows; NaN without any."""
        return self._by_clip(machine.window_scores, variant)

    def nearness(self, machine: KernelMachine, variant: int) -> np.ndarray:
        """`window_nearness` of one variant of each clip (clips,): the mean over its windows; NaN without any."""
        return self._by_clip(machine.window_nearness, variant)

    def _by_clip(self, of_windows: Callable[[np.ndarray], np.ndarray], variant: int) -> np.ndarray:
        mine = self.variant == variant
        total = np.zeros(len(self.clips))
        np.add.at(total, self.owner[mine], of_windows(self.rows[mine]))
        with np.errstate(invalid="ignore"):
            return np.asarray(total / np.bincount(self.owner[mine], minlength=len(self.clips)))


def fit_kernel_machine(statistics: Statistics, config: TraceNetConfig, trait: Trait) -> KernelMachine:
    """Fit on one trait of every variant of clips, edited versions counting as generated.

    Each view has a kernel of its own, and their mean is the machine's: views weigh alike however many directions they
    vary in (multiple kernel learning with fixed weights; Gehler and Nowozin 2009 found them hard to beat).

    Raises:
        DataError: no clip of one of the classes has statistics.
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.svm import SVC
    except ImportError:
        raise MissingExtraError("train tracenet", "train") from None
    kind = {
        "texture": _Kind(1, config.texture_nuisance, config.texture_dimensions),
        "appearance": _Kind(VIEWS, config.appearance_nuisance, config.appearance_dimensions),
    }[trait]
    if trait == "appearance":
        statistics = statistics.by_variant()
    rows, owner, clips = statistics.rows.astype(np.float64), statistics.owner, statistics.clips
    generated = np.array([clip.kind is not Kind.REAL for clip in clips])[owner]
    if generated.all() or not generated.any():
        raise DataError(clips[0].name, f"{trait} needs both real and generated clips of at least 4 frames")
    center, scale = rows.mean(axis=0), 1.0 / (rows.std(axis=0) + 1e-6)
    standard = np.split(_standard(rows, center, scale), kind.views, axis=1)
    projections = [_directions(view, owner, kind) for view in standard]
    z = [view @ projection for view, projection in zip(standard, projections, strict=True)]
    gamma = np.array([config.kernel_sharpness / float(view.var(axis=0).sum()) for view in z])
    model: Any = SVC(C=config.kernel_penalty, kernel="precomputed", class_weight="balanced", cache_size=500)
    weights = _balanced(_share_of_clip(statistics), owner, generated, clips)
    model.fit(_mean_kernel(z, z, gamma), generated, sample_weight=weights)
    return KernelMachine(
        center=center.astype(np.float32),
        scale=scale.astype(np.float32),
        projection=np.stack(projections).astype(np.float32),
        **in_bytes(np.stack([view[model.support_] for view in z], axis=1)),
        weights=model.dual_coef_[0].astype(np.float32),
        gamma=gamma,
        bias=float(model.intercept_[0]),
    )


@dataclass(frozen=True)
class _Kind:
    """How a trait is treated: number of views, strength of whitening, number of directions kept of a view."""

    views: int
    nuisance: float
    dimensions: int


def _directions(standard: np.ndarray, owner: np.ndarray, kind: _Kind) -> np.ndarray:
    """(D / V, d) whitening and main directions of one view."""
    projection = _whitening(standard, owner, kind.nuisance)
    return np.asarray(projection @ _main_directions(standard @ projection, kind.dimensions))


def in_bytes(support: np.ndarray) -> dict[str, np.ndarray]:
    """Supports (K, V, d) as the `support` and `step` of a `KernelMachine`."""
    step = np.maximum(np.abs(support).max(axis=0), 1e-12) / 127
    return {"support": np.round(support / step).astype(np.int8), "step": step.astype(np.float32)}


def _share_of_clip(statistics: Statistics) -> np.ndarray:
    """(N,) one over the windows of the same variant of the same clip."""
    _, place, count = np.unique(
        np.stack([statistics.owner, statistics.variant]), axis=1, return_inverse=True, return_counts=True
    )
    return np.asarray(1.0 / count[place.reshape(-1)])


def _standard(rows: np.ndarray, center: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip((rows - center) * scale, -CLIP, CLIP))


def _whitening(standard: np.ndarray, owner: np.ndarray, strength: float) -> np.ndarray:
    """(D, D): shrinks directions along which the variants of a clip scatter."""
    sums = np.zeros((owner.max() + 1, standard.shape[1]))
    np.add.at(sums, owner, standard)
    scatter = standard - (sums / np.maximum(np.bincount(owner), 1)[:, None])[owner]
    nuisance = scatter.T @ scatter / len(scatter)
    size = len(nuisance)
    spread = max(float(np.trace(nuisance)), 1e-9)
    values, vectors = np.linalg.eigh(np.eye(size) + strength * size / spread * nuisance)
    return np.asarray(vectors * values**-0.5)


def _main_directions(whitened: np.ndarray, count: int) -> np.ndarray:
    centred = whitened - whitened.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    return np.asarray(vectors[:, -count:])


def _balanced(weights: np.ndarray, owner: np.ndarray, generated: np.ndarray, clips: list[Clip]) -> np.ndarray:
    """A clip weighs less the more its group has (one over the root); each class has mean weight 1."""
    sizes = Counter(clips[index].group for index in np.unique(owner))
    balanced = weights * np.array([sizes[clips[index].group] ** -0.5 for index in owner])
    for value in (False, True):
        balanced[generated == value] /= balanced[generated == value].mean()
    return np.asarray(balanced)
