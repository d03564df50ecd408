"""Area under the ROC curve that metadata reaches, cross-validated, and what shuffled labels reach.

All numbers here are means over folds (weighted by their pairs of clips), never pooled over them: pooled scores of
models with different priors fall below one half when there is nothing to find.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from deeptrace.errors import MissingExtraError

__all__ = [
    "auc",
    "check_installed",
    "cross_validated_auc",
    "fit_model",
    "folds_by_clip",
    "folds_by_source",
    "shuffled_by_source",
]

Model = Literal["tree", "forest"]
Fold = tuple[NDArray[np.intp], NDArray[np.intp]]
FOLDS = 5


def auc(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> float | None:
    """Area under the ROC curve, ties counting half; None without both classes."""
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        return None
    ranks = rankdata(scores)
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def cross_validated_auc(
    matrix: NDArray[np.float64],
    truth: NDArray[np.bool_],
    folds: Sequence[Fold],
    *,
    model: Model = "tree",
    seed: int = 0,
) -> float | None:
    """Mean AUC over the folds that have both classes on both sides; None when none has.

    Args:
        matrix: (N, C) columns.
        truth: (N,) ground truth, True for fake.
        folds: (train, test) indices.
        model: one small tree, or a forest.
        seed: of the model.
    """
    total, weight = 0.0, 0
    for train, test in folds:
        positives, negatives = int(truth[test].sum()), int((~truth[test]).sum())
        if not positives or not negatives or truth[train].all() or not truth[train].any():
            continue
        fitted = fit_model(matrix[train], truth[train], model, seed)
        value = auc(truth[test], fitted.predict_proba(matrix[test])[:, 1])
        if value is not None:
            total, weight = total + value * positives * negatives, weight + positives * negatives
    return total / weight if weight else None


def folds_by_clip(truth: NDArray[np.bool_], *, seed: int = 0) -> list[Fold]:
    """Folds that mix sources: what a detector trained on these very sources can use. Empty when clips are too few."""
    selection = _sklearn("model_selection")
    parts = min(FOLDS, int(truth.sum()), int((~truth).sum()))
    if parts < 2:
        return []
    folds = selection.StratifiedKFold(parts, shuffle=True, random_state=seed)
    return list(folds.split(np.zeros(len(truth)), truth))


def folds_by_source(truth: NDArray[np.bool_], sources: NDArray[Any], *, seed: int = 0) -> list[Fold]:
    """Folds that never part a source: what carries over to sources not seen. Empty with fewer than two a class."""
    selection = _sklearn("model_selection")
    a_class = [len(set(sources[truth == value])) for value in (True, False)]
    parts = min(FOLDS, *a_class)
    if parts < 2:
        return []
    folds = selection.StratifiedGroupKFold(parts, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "least populated class": said better by the caller
        return list(folds.split(np.zeros(len(truth)), truth, groups=sources))


def shuffled_by_source(truth: NDArray[np.bool_], sources: NDArray[Any], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Labels dealt out again to whole sources, as many of each class as before."""
    names = list(dict.fromkeys(sources.tolist()))
    labels = np.array([bool(truth[sources == name].mean() > 0.5) for name in names])
    dealt = dict(zip(names, rng.permutation(labels), strict=True))
    return np.array([dealt[name] for name in sources.tolist()], dtype=bool)


def floors(
    score: Callable[[NDArray[np.bool_]], float | None],
    shuffle: Callable[[np.random.Generator], NDArray[np.bool_]],
    *,
    shuffles: int,
    seed: int,
) -> list[float]:
    """Scores on shuffled labels, sorted; shuffles that cannot be scored are left out."""
    rng = np.random.default_rng(seed)
    return sorted(value for _ in range(shuffles) if (value := score(shuffle(rng))) is not None)


def fit_model(matrix: NDArray[np.float64], truth: NDArray[np.bool_], model: Model, seed: int) -> Any:
    """A classifier of columns (N, C), its leaves sized to N; column 1 of `predict_proba` is the probability of fake.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    leaf = int(np.clip(len(truth) // 50, 2, 20))
    if model == "tree":
        tree = _sklearn("tree").DecisionTreeClassifier(max_depth=4, min_samples_leaf=leaf, random_state=seed)
        return tree.fit(matrix, truth)
    forest = _sklearn("ensemble").RandomForestClassifier(
        n_estimators=30, max_depth=8, min_samples_leaf=max(leaf // 2, 1), random_state=seed, n_jobs=1
    )
    return forest.fit(matrix, truth)


def check_installed() -> None:
    """Raise MissingExtraError when scikit-learn is not installed."""
    _sklearn("tree")


def _sklearn(module: str) -> Any:
    try:
        return __import__(f"sklearn.{module}", fromlist=["_"])
    except ImportError as error:
        raise MissingExtraError("the shortcut audit", "bench") from error


def one_against_rest(names: Sequence[str], *, least: int) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """(name, which clips are its) of every source with at least `least` clips on both sides."""
    array = np.array(names)
    for name in sorted(set(names)):
        mine = array == name
        if least <= mine.sum() <= len(array) - least:
            yield name, mine
