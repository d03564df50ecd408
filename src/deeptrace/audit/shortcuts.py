"""How well metadata alone tells real from fake: each feature, all together, and against honest floors.

Two questions are kept apart. *By clip*, folds mix sources: what a detector trained on this set can learn instead of
looking. *By source*, folds keep sources whole: what would still work on sources it has not seen. A third number, the
real-versus-real floor, says how well the same metadata tells one real source from the others: sources differ for
reasons that have nothing to do with being generated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptrace.audit import classify
from deeptrace.audit.features import FEATURES, Exclusive, Rule, best_rule, exclusive_sizes, feature_matrix
from deeptrace.audit.file_facts import FileFacts

__all__ = ["FeatureResult", "Shortcuts", "find_shortcuts"]

MIN_CLIPS_A_CLASS = 8
MIN_CLIPS_A_SOURCE = 5
WELL_BELOW, NOTABLE_AUC = 0.4, 0.6
STRONG_AUC = 0.75
DECISIVE_AUC = 0.9
ALPHA = 0.02
SIGMAS = 2.58


@dataclass(frozen=True)
class FeatureResult:
    """One feature.

    Attributes:
        name: "resolution", "audio track" ...
        constant: the same in every clip, so that it can give nothing away.
        auc: by clip, cross-validated; None when constant or not computable.
        auc_by_source: the same with sources kept whole.
        p_value: share of shuffles in which the *best* feature did at least as well (so that twelve looks do not
            find one shortcut by chance).
        rule: the single threshold or value that tells most.
        verdict: in words.
        shortcut: whether it is one.
    """

    name: str
    constant: bool
    auc: float | None
    auc_by_source: float | None
    p_value: float | None
    rule: Rule | None
    verdict: str
    shortcut: bool


@dataclass(frozen=True)
class Shortcuts:
    """All of it.

    Attributes:
        clips, fakes, reals: numbers of clips examined.
        features: in the order of `FEATURES`.
        joint_auc, joint_auc_by_source: a forest on everything at once.
        joint_p_value: share of shuffles, by clip, in which the forest did at least as well.
        shuffled: 95th percentile of the joint AUC on shuffled labels, by clip.
        shuffled_by_source: the same, labels dealt to whole sources.
        best_shuffled: 95th percentile of the best single feature on shuffled labels.
        real_versus_real: AUC of telling each real source from the other real ones, by source; empty below two.
        exclusive: picture sizes that one source alone has.
        summary: in words.
        found: whether any feature, or all together, is a shortcut.
    """

    clips: int
    fakes: int
    reals: int
    features: tuple[FeatureResult, ...]
    joint_auc: float | None
    joint_auc_by_source: float | None
    joint_p_value: float | None
    shuffled: float | None
    shuffled_by_source: float | None
    best_shuffled: float | None
    real_versus_real: dict[str, float]
    exclusive: tuple[Exclusive, ...]
    summary: str
    found: bool


def find_shortcuts(
    facts: Sequence[FileFacts],
    fake: Sequence[bool],
    sources: Sequence[str],
    *,
    shuffles: int = 100,
    joint_shuffles: int = 20,
    seed: int = 0,
) -> Shortcuts:
    """Measure every feature and all together.

    Args:
        facts: of each clip.
        fake: whether it is generated.
        sources: its generator or origin.
        shuffles: label shuffles for the features' floor.
        joint_shuffles: label shuffles for the forest's floors.
        seed: of folds, models and shuffles.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    truth, groups = np.array(fake, dtype=bool), np.array([str(source) for source in sources])
    fakes, reals = int(truth.sum()), int((~truth).sum())
    matrices = feature_matrix(facts) if facts else {}
    enough, least = min(fakes, reals) >= MIN_CLIPS_A_CLASS, _least_auc(fakes, reals)
    by_clip = classify.folds_by_clip(truth, seed=seed) if enough else []
    by_source = classify.folds_by_source(truth, groups, seed=seed) if enough else []
    found = {name: _both(matrix, truth, by_clip, by_source, seed) for name, matrix in matrices.items()}
    best = _best_shuffled(matrices, truth, by_clip, shuffles if enough else 0, seed)
    rules = {feature.name: best_rule(feature, facts, truth) for feature in FEATURES} if enough else {}
    features = tuple(
        _result(feature.name, found.get(feature.name), best, rules.get(feature.name), least)
        if feature.name in matrices
        else FeatureResult(feature.name, True, None, None, None, None, "the same in every clip", False)
        for feature in FEATURES
    )
    joint = _Joint(matrices, truth, groups, by_clip, by_source, joint_shuffles, seed)
    outcome = joint.measure()
    result = Shortcuts(
        clips=len(facts),
        fakes=fakes,
        reals=reals,
        features=features,
        best_shuffled=_percentile(best),
        real_versus_real=joint.real_versus_real() if enough else {},
        exclusive=tuple(exclusive_sizes(facts, truth, groups)),
        summary="",
        found=any(feature.shortcut for feature in features)
        or _notable(outcome["joint_auc"], outcome["joint_p_value"], joint.shuffles, least),
        **outcome,
    )
    return _with_summary(result, enough)


def _both(
    matrix: NDArray[np.float64],
    truth: NDArray[np.bool_],
    by_clip: Sequence[classify.Fold],
    by_source: Sequence[classify.Fold],
    seed: int,
) -> tuple[float | None, float | None]:
    return (
        classify.cross_validated_auc(matrix, truth, by_clip, seed=seed),
        classify.cross_validated_auc(matrix, truth, by_source, seed=seed),
    )


def _best_shuffled(
    matrices: dict[str, NDArray[np.float64]],
    truth: NDArray[np.bool_],
    folds: Sequence[classify.Fold],
    shuffles: int,
    seed: int,
) -> list[float]:
    """The best feature's AUC under each shuffle, sorted (max-statistic: it accounts for looking at all of them)."""

    def best(shuffled: NDArray[np.bool_]) -> float | None:
        values = [
            value
            for matrix in matrices.values()
            if (value := classify.cross_validated_auc(matrix, shuffled, folds, seed=seed)) is not None
        ]
        return max(values, default=None)

    return classify.floors(best, lambda rng: rng.permutation(truth), shuffles=shuffles, seed=seed)


class _Joint:
    """A forest on every column at once, and its floors."""

    def __init__(
        self,
        matrices: dict[str, NDArray[np.float64]],
        truth: NDArray[np.bool_],
        groups: NDArray[Any],
        by_clip: Sequence[classify.Fold],
        by_source: Sequence[classify.Fold],
        shuffles: int,
        seed: int,
    ) -> None:
        self.matrix = np.concatenate(list(matrices.values()), axis=1) if matrices else None
        self.truth, self.groups = truth, groups
        self.by_clip, self.by_source = by_clip, by_source
        self.shuffles, self.seed = shuffles, seed

    def measure(self) -> dict[str, float | None]:
        """The forest's AUC both ways, each with the 95th percentile of its shuffles."""
        if self.matrix is None:
            return dict.fromkeys(
                ("joint_auc", "joint_auc_by_source", "joint_p_value", "shuffled", "shuffled_by_source")
            )
        found: dict[str, float | None] = {"joint_p_value": None}
        for folds, name, floor in (
            (self.by_clip, "joint_auc", "shuffled"),
            (self.by_source, "joint_auc_by_source", "shuffled_by_source"),
        ):
            found[name] = self._auc(self.truth, folds)
            shuffled = []
            if found[name] is not None:
                shuffled = classify.floors(
                    lambda labels, folds=folds: self._auc(labels, folds),  # type: ignore[misc]
                    self._by_source if floor == "shuffled_by_source" else lambda rng: rng.permutation(self.truth),
                    shuffles=self.shuffles,
                    seed=self.seed,
                )
            found[floor] = _percentile(shuffled)
            if floor == "shuffled":
                found["joint_p_value"] = _p_value(found[name], shuffled)
        return found

    def real_versus_real(self) -> dict[str, float]:
        """AUC of telling each real source with enough clips from the other real ones."""
        if self.matrix is None:
            return {}
        real = ~self.truth
        matrix, names = self.matrix[real], self.groups[real].tolist()
        found = {}
        for name, mine in classify.one_against_rest(names, least=MIN_CLIPS_A_SOURCE):
            folds = classify.folds_by_clip(mine, seed=self.seed)
            value = classify.cross_validated_auc(matrix, mine, folds, model="forest", seed=self.seed)
            if value is not None:
                found[name] = value
        return found

    def _auc(self, truth: NDArray[np.bool_], folds: Sequence[classify.Fold]) -> float | None:
        assert self.matrix is not None
        return classify.cross_validated_auc(self.matrix, truth, folds, model="forest", seed=self.seed)

    def _by_source(self, rng: np.random.Generator) -> NDArray[np.bool_]:
        return classify.shuffled_by_source(self.truth, self.groups, rng)


def _result(
    name: str,
    found: tuple[float | None, float | None] | None,
    shuffled: list[float],
    rule: Rule | None,
    least: float,
) -> FeatureResult:
    auc, by_source = found or (None, None)
    if auc is None or not shuffled:
        return FeatureResult(name, False, auc, by_source, None, rule, "too few clips to say", False)
    p_value = _p_value(auc, shuffled)
    if not _notable(auc, p_value, len(shuffled), least):
        return FeatureResult(name, False, auc, by_source, p_value, rule, "no shortcut found", False)
    strength = "separates the classes almost alone" if auc >= DECISIVE_AUC else "a shortcut"
    strength = "a strong shortcut" if STRONG_AUC <= auc < DECISIVE_AUC else strength
    if by_source is not None:
        carries = by_source >= NOTABLE_AUC
        strength += ", also on unseen sources" if carries else ", tied to particular sources"
    return FeatureResult(name, False, auc, by_source, p_value, rule, strength, True)


def _percentile(values: list[float]) -> float | None:
    return float(np.percentile(values, 95)) if values else None


def _p_value(value: float | None, shuffled: list[float]) -> float | None:
    """Share of shuffles at least as good, the true labels counted among them."""
    if value is None or not shuffled:
        return None
    return (1 + sum(other >= value for other in shuffled)) / (1 + len(shuffled))


def _notable(auc: float | None, p_value: float | None, shuffles: int, least: float) -> bool:
    """Large enough to matter, and not by chance; with few shuffles, better than each of them."""
    return auc is not None and p_value is not None and auc >= least and p_value <= max(ALPHA, 1.01 / (1 + shuffles))


def _least_auc(fakes: int, reals: int) -> float:
    """The AUC that is worth a word: `NOTABLE_AUC`, or in small sets what chance reaches once in two hundred.

    The standard error is that of the rank-sum statistic (Mann and Whitney) without any difference.
    """
    if not fakes or not reals:
        return 1.0
    return max(NOTABLE_AUC, 0.5 + SIGMAS * math.sqrt((fakes + reals + 1) / (12 * fakes * reals)))


def _with_summary(result: Shortcuts, enough: bool) -> Shortcuts:
    from dataclasses import replace

    if not enough:
        least = f"{MIN_CLIPS_A_CLASS} clips of each class are needed"
        return replace(result, found=False, summary=f"Too few clips to look for shortcuts: {least}.")
    if result.joint_auc is None:
        return replace(result, found=False, summary="Metadata is the same in every clip: it gives nothing away.")
    names = [feature.name for feature in result.features if feature.shortcut]
    parts = []
    if result.found:
        parts.append(f"Metadata alone separates real from fake with an AUC of {result.joint_auc:.2f}.")
        parts.append(f"Shortcuts: {', '.join(names)}." if names else "No single feature does; several together do.")
    else:
        parts.append(
            f"No shortcut found: metadata alone reaches an AUC of {result.joint_auc:.2f}; so do shuffled labels."
        )
        if result.joint_auc < WELL_BELOW:
            parts.append(
                "Below 0.5, because clips are matched: the counterpart of each is trained on with the other label."
            )
    if result.joint_auc_by_source is not None:
        parts.append(f"On sources left out of training it is {result.joint_auc_by_source:.2f}.")
    else:
        parts.append("With fewer than two sources a class, nothing can be said about unseen sources.")
    if result.real_versus_real:
        mean = float(np.mean(list(result.real_versus_real.values())))
        parts.append(f"The same metadata tells one real source from the others with an AUC of {mean:.2f} on average.")
    return replace(result, summary=" ".join(parts))
