"""What the clip score is worth on what it was not fitted on, held out in ever harder ways.

By *fold*, every clip is judged without its generator or its source, but with others of the same years and taste. By
*era*, one data folder is judged by what was learned from another, which was gathered at another time from other places:
the figure that says what to expect of clips from elsewhere, and the first to be looked at. A generator or source that
the judged folder shows teaches nothing, wherever its clips are. Weights of the two scores and thresholds are always
fitted without the judged clips.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from pydantic import BaseModel, ConfigDict

from deeptrace.metrics import auroc, tpr_at_fpr
from deeptrace.metrics.intervals import clustered_weights, percentile_interval
from deeptrace.train.tracenet.clip_probability import Fusion, fit_weights, thresholds
from deeptrace.train.tracenet.clips import CAMERA, Clip, Kind, fold_numbers
from deeptrace.train.tracenet.config import TraceNetConfig
from deeptrace.train.tracenet.feature_cache import AS_IS, ONE_ENCODING, save_arrays
from deeptrace.train.tracenet.kernel_machine import KernelMachine, Statistics, Trait, fit_kernel_machine

__all__ = ["Figures", "Judged", "by_fold", "eras_of", "figures_of_judged", "of_era", "read_statistics", "teachers"]

Table = dict[Trait, Statistics]

_INNER_FOLDS = 3
_LEAST = 5
"""Clips that a source must have for its false alarms to be named."""


@dataclass(frozen=True)
class Judged:
    """Clips, and what was said of them by models that never saw them.

    Attributes:
        clips: N clips.
        as_they_are, in_one_encoding: (N,) chance that each was generated, NaN where it is too short.
        scores_as_they_are, scores_in_one_encoding: (N, 2) of texture and appearance, behind these chances.
        nearness_as_they_are, nearness_in_one_encoding: (N,) how like the nearest clip that was learned from.
        limit_fpr_1, limit_fpr_5: (N,) chance that counts as generated, set on the clips that were learned from.
    """

    clips: list[Clip]
    as_they_are: np.ndarray
    in_one_encoding: np.ndarray
    scores_as_they_are: np.ndarray
    scores_in_one_encoding: np.ndarray
    nearness_as_they_are: np.ndarray
    nearness_in_one_encoding: np.ndarray
    limit_fpr_1: np.ndarray
    limit_fpr_5: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[Judged]) -> Judged:
        """All clips of several."""
        arrays = {name: np.concatenate([part.arrays[name] for part in parts]) for name in parts[0].arrays}
        return cls([clip for part in parts for clip in part.clips], **arrays)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """All but the clips, by name."""
        return {name: value for name, value in vars(self).items() if name != "clips"}

    def save(self, path: Path) -> None:
        """Write to an .npz file, whole or not at all; of the clips their names."""
        save_arrays(path, names=np.array([clip.name for clip in self.clips]), **self.arrays)

    @classmethod
    def load(cls, path: Path, clips: list[Clip]) -> Judged:
        """Read from an .npz file; `clips` are those that it names, and maybe more."""
        of_name = {clip.name: clip for clip in clips}
        with np.load(path) as data:
            arrays = dict(data)
        return cls([of_name[name] for name in arrays.pop("names").tolist()], **arrays)


class Figures(BaseModel):
    """What judgements are worth.

    Attributes:
        real, generated: numbers of clips.
        auroc: of generated against real clips; and by generator, each against all real clips, averaged.
        interval: 95 %, from a bootstrap that draws generators and sources, not clips.
        found_1, found_5: share of generated clips above the score that 1 % and 5 % of the real ones reach.
        false_alarms, found: shares called generated at the threshold of 5 %, which was set elsewhere.
        false_alarms_1, found_1_set_elsewhere: the same at the threshold of 1 %.
        by_source, by_footage: false alarms at the threshold of 5 %, by source of at least five clips and by what the
            footage is, with the number of clips.
        by_generator: AUROC of each against all real clips, with the number of clips.
    """

    model_config = ConfigDict(frozen=True)

    real: int
    generated: int
    auroc: float
    macro: float
    interval: tuple[float, float] | None
    found_1: float
    found_5: float
    false_alarms: float
    found: float
    false_alarms_1: float
    found_1_set_elsewhere: float
    by_source: dict[str, tuple[float, int]]
    by_footage: dict[str, tuple[float, int]]
    by_generator: dict[str, tuple[float, int]]


def read_statistics(clips: list[Clip], config: TraceNetConfig) -> Table:
    """Both traits of clips that were measured.

    Raises:
        DataError: not one clip has any.
    """
    return {trait: Statistics.read(clips, config, trait) for trait in get_args(Trait)}


def eras_of(clips: list[Clip]) -> list[str]:
    """The data folders that can be judged by the others, by name; none where there is one alone.

    Nor one that leaves too few generators or sources of other names for weights and thresholds to be fitted on.
    """
    names = sorted({clip.era for clip in clips})
    return [era for era in names if _can_teach([clips[i] for i in np.flatnonzero(teachers(clips, era))])]


def of_era(table: Table, config: TraceNetConfig, era: str) -> Judged:
    """The clips of one data folder, judged by what all others teach, but for generators and sources that it shows."""
    clips = _clips(table)
    return _judged(table, np.array([clip.era == era for clip in clips]), teachers(clips, era), config)


def by_fold(table: Table, config: TraceNetConfig, seed: int) -> Judged:
    """Every clip, judged without its generator or source; the folds are drawn by `seed`."""
    numbers = fold_numbers(_clips(table), config.folds, seed)
    return Judged.joined([_judged(table, numbers == k, numbers != k, config) for k in range(config.folds)])


def teachers(clips: list[Clip], era: str) -> np.ndarray:
    """(clips,) bool: those of other data folders whose generator, source or matched pair this one does not show."""
    shown = {clip.whole_group for clip in clips if clip.era == era}
    return np.array([clip.era != era and clip.whole_group not in shown for clip in clips])


def _can_teach(clips: list[Clip]) -> bool:
    """Whether generated clips and footage both come from enough groups for the inner folds."""
    return all(len({c.group for c in clips if c.kind is kind}) >= _INNER_FOLDS for kind in (Kind.GENERATED, Kind.REAL))


def _judged(table: Table, held_out: np.ndarray, taught: np.ndarray, config: TraceNetConfig) -> Judged:
    """What is learned from the clips of `taught` (clips,) bool says of those of `held_out` (clips,) bool."""
    learned = {trait: statistics.of(taught) for trait, statistics in table.items()}
    asked = {trait: statistics.of(held_out) for trait, statistics in table.items()}
    fusion, limits = _fused(learned, config)
    machines = _fit(learned, config)
    scores = [_scores(asked, machines, variant) for variant in (AS_IS, ONE_ENCODING)]
    nearness = [asked["texture"].nearness(machines["texture"], variant) for variant in (AS_IS, ONE_ENCODING)]
    clips = _clips(asked)
    return Judged(
        clips,
        *map(fusion.of_scores, scores),
        *scores,
        *nearness,
        *(np.full(len(clips), limits[name]) for name in _LIMITS),
    )


_LIMITS = ("threshold_fpr_1", "threshold_fpr_5")


def _fused(learned: Table, config: TraceNetConfig) -> tuple[Fusion, dict[str, float]]:
    """How much each score weighs, and thresholds, from scores of clips whose groups the machines did not see."""
    clips = _clips(learned)
    numbers = fold_numbers(clips, _INNER_FOLDS, config.seed)
    scores = {variant: np.full((len(clips), len(learned)), np.nan) for variant in (AS_IS, ONE_ENCODING)}
    for fold in range(_INNER_FOLDS):
        machines = _fit({trait: one.of(numbers != fold) for trait, one in learned.items()}, config)
        rest = {trait: one.of(numbers == fold) for trait, one in learned.items()}
        for variant, found in scores.items():
            found[numbers == fold] = _scores(rest, machines, variant)
    rows, kinds = np.concatenate(list(scores.values())), np.array([clip.kind for clip in clips] * len(scores))
    groups, known = [clip.group for clip in clips] * len(scores), ~np.isnan(rows).any(axis=1)
    rows, kinds, groups = rows[known], kinds[known], [g for g, wanted in zip(groups, known, strict=True) if wanted]
    fusion = fit_weights(rows, kinds, groups)
    return fusion, thresholds(fusion.of_scores(rows), kinds)


def _fit(learned: Table, config: TraceNetConfig) -> dict[Trait, KernelMachine]:
    return {trait: fit_kernel_machine(statistics, config, trait) for trait, statistics in learned.items()}


def _scores(table: Table, machines: dict[Trait, KernelMachine], variant: int) -> np.ndarray:
    """(clips, traits)."""
    return np.stack([table[trait].scores(machine, variant) for trait, machine in machines.items()], axis=1)


def _clips(table: Table) -> list[Clip]:
    return next(iter(table.values())).clips


# -- figures ----------------------------------------------------------------------------------------------------------


def figures_of_judged(judged: Judged, chances: np.ndarray, *, resamples: int = 1000) -> Figures:
    """What `chances` (N,), one of the arrays of `judged`, are worth; edited versions are left out.

    Real clips that are no plain camera footage count in `by_footage` alone.
    """
    kinds = np.array([clip.kind for clip in judged.clips])
    camera = np.array([clip.footage == CAMERA for clip in judged.clips])
    known = ~np.isnan(chances)
    real, fake = known & camera & (kinds == Kind.REAL), known & (kinds == Kind.GENERATED)
    alarms_1, alarms_5 = chances >= judged.limit_fpr_1, chances >= judged.limit_fpr_5
    used = real | fake
    labels, values = fake[used].astype(int), chances[used]
    by_generator = {
        name: (_auroc_of(chances[real], chances[fake & mine]), int((fake & mine).sum()))
        for name, mine in _groups(judged.clips, fake)
    }
    return Figures(
        real=int(real.sum()),
        generated=int(fake.sum()),
        auroc=_round(auroc(labels, values)),
        macro=_round(np.mean([value for value, _ in by_generator.values()])),
        interval=_clustered_interval(labels, values, [judged.clips[i].group for i in np.flatnonzero(used)], resamples),
        found_1=_round(tpr_at_fpr(labels, values, max_fpr=0.01)),
        found_5=_round(tpr_at_fpr(labels, values, max_fpr=0.05)),
        false_alarms=_round(alarms_5[real].mean()),
        found=_round(alarms_5[fake].mean()),
        false_alarms_1=_round(alarms_1[real].mean()),
        found_1_set_elsewhere=_round(alarms_1[fake].mean()),
        by_source={
            name: (_round(alarms_5[mine].mean()), int(mine.sum()))
            for name, mine in _groups(judged.clips, real)
            if mine.sum() >= _LEAST
        },
        by_footage=_by_footage(judged.clips, known & (kinds == Kind.REAL), alarms_5),
        by_generator=by_generator,
    )


def _groups(clips: list[Clip], chosen: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Each generator or source among the chosen clips, and where its clips are; the parts of a large one as one."""
    members: dict[str, list[int]] = defaultdict(list)
    for index in np.flatnonzero(chosen):
        members[clips[index].whole_group.partition(":")[2]].append(int(index))
    for name, found in sorted(members.items()):
        mine = np.zeros(len(clips), bool)
        mine[found] = True
        yield name, mine


def _by_footage(clips: list[Clip], real: np.ndarray, alarms: np.ndarray) -> dict[str, tuple[float, int]]:
    names = np.array([clip.footage for clip in clips])
    return {
        str(name): (_round(alarms[real & (names == name)].mean()), int((real & (names == name)).sum()))
        for name in sorted(set(names[real]))
    }


def _clustered_interval(
    labels: np.ndarray, values: np.ndarray, groups: Sequence[str], resamples: int
) -> tuple[float, float] | None:
    """Clips of one generator or source are alike: whole groups are drawn, within their class."""
    weights = clustered_weights(labels, groups, resamples=resamples)
    interval = percentile_interval(auroc(labels, values, weights=weights))
    return None if interval is None else (_round(interval[0]), _round(interval[1]))


def _auroc_of(real: np.ndarray, fake: np.ndarray) -> float:
    labels = np.concatenate([np.zeros(len(real), int), np.ones(len(fake), int)])
    return _round(auroc(labels, np.concatenate([real, fake])))


def _round(value: object) -> float:
    return round(float(value), 4)  # type: ignore[arg-type]
