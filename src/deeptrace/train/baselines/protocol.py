"""What a baseline is worth on clips that it did not learn from: the protocols of TraceNet, on the same clips and folds.

By *fold*, every clip is judged without its generator or its source. By *era*, one data folder is judged by what the
others teach. *One generator* is the hardest for what a generator alone leaves: the clips of all others are judged by
what a single one taught (DF40's and GenVideo's one-to-many). *Degraded* are the clips of the folds after what happens
to files, judged by the same models. By *frame*, each frame is judged alone by the folds' models, where a baseline has a
score for one (DeepfakeBench's frame-level figure).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from deeptrace.detectors.baselines.backbones import backbone_digest
from deeptrace.detectors.baselines.models import Model, chances
from deeptrace.detectors.baselines.recipes import RECIPES
from deeptrace.detectors.baselines.trained import BaselineCard, TrainedBaseline
from deeptrace.metrics import auroc
from deeptrace.metrics.intervals import clustered_weights, percentile_interval
from deeptrace.train.baselines.fits import fit, scores_of, weights_of
from deeptrace.train.baselines.measured import Kept
from deeptrace.train.tracenet.clip_probability import logistic, thresholds
from deeptrace.train.tracenet.clips import CAMERA, Kind, fold_numbers
from deeptrace.train.tracenet.protocol import Judged, teachers

__all__ = ["ByFold", "Calibrated", "by_era", "by_fold", "calibrated", "frame_auroc", "one_generator"]

_INNER = 3
FOLDS = 4
LARGE = 12
"""Clips that a generator must have to teach alone."""
_RESAMPLES = 1000


@dataclass(frozen=True)
class Calibrated:
    """A model, and what its scores mean; slope, bias and limits come from clips whose groups were held out."""

    name: str
    model: Model
    slope: float
    bias: float
    thresholds: dict[str, float]

    def judged(self, kept: Kept) -> Judged:
        """What it says of clips that it has not learned from."""
        p = chances(scores_of(self.name, self.model, kept), self.slope, self.bias)
        limits = (np.full(len(p), self.thresholds[name]) for name in ("fpr_1", "fpr_5"))
        scores, nearness = np.full((len(p), 2), np.nan), np.full(len(p), np.nan)  # TraceNet's own
        return Judged(list(kept.clips), p, p, scores, scores, nearness, nearness, *limits)

    def frames(self, kept: Kept) -> list[np.ndarray]:
        """(frames,) of each clip, the chance by each frame alone; empty where the baseline sees no frame alone."""
        frames = RECIPES[self.name].frames
        if frames is None:
            return [np.zeros(0)] * len(kept.clips)
        return [
            chances([self.model.score(one) for one in frames(measured)], self.slope, self.bias)
            for measured in kept.measured
        ]

    def detector(self, trained_on: dict[str, object], backbone: str | None = None) -> TrainedBaseline:
        """Ready to be saved; `backbone` is the folder of the encoder that it learned with, where it is the user's."""
        card = BaselineCard(
            name=self.name,
            kind=type(self.model).__name__,
            slope=self.slope,
            bias=self.bias,
            thresholds=self.thresholds,
            trained_on=trained_on,
            backbone="" if backbone is None else backbone_digest(backbone),
        )
        return TrainedBaseline(RECIPES[self.name], self.model, card, backbone=backbone)


@dataclass(frozen=True)
class ByFold:
    """What the folds' models say.

    Attributes:
        judged: by name of what was asked, and "" for the clips as they are.
        frames: of each clip of `judged[""]`, see `Calibrated.frames`.
    """

    judged: dict[str, Judged]
    frames: list[np.ndarray]


def calibrated(name: str, kept: Kept, *, seed: int = 0) -> Calibrated:
    """Learn from all clips; what the scores mean comes from three inner folds.

    Raises:
        DataError, MissingExtraError: as `fit`.
    """
    numbers = fold_numbers(list(kept.clips), _INNER, seed)
    scores = np.full(len(kept.clips), np.nan)
    for number in range(_INNER):
        scores[numbers == number] = scores_of(
            name, fit(name, kept.of(numbers != number), seed=seed), kept.of(numbers == number)
        )
    kinds = np.array([clip.kind for clip in kept.clips])
    used = kinds != Kind.EDITED
    labels = kinds[used] == Kind.GENERATED
    weights = weights_of([clip.group for clip in np.array(kept.clips, object)[used]], labels)
    spread = float(scores[used].std()) or 1.0  # so that the penalty means the same whatever a score's unit
    (slope,), bias = logistic(scores[used, None] / spread, labels, weights)
    limits = thresholds(chances(scores[used], slope / spread, bias), kinds[used])
    named = {limit.removeprefix("threshold_"): float(value) for limit, value in limits.items()}
    return Calibrated(name, fit(name, kept, seed=seed), float(slope / spread), float(bias), named)


def by_fold(name: str, kept: Kept, asked: dict[str, Kept] | None = None, *, seed: int = 0) -> ByFold:
    """Every clip, judged without its generator or source.

    Args:
        name: of the baseline.
        kept: all clips as they are, to learn from.
        asked: what else is judged by the same models, by its name: degraded versions of some of the clips.
        seed: draws the folds; the same as for TraceNet give the same.
    """
    every = {"": kept, **(asked or {})}
    fold_of = dict(zip((c.name for c in kept.clips), fold_numbers(list(kept.clips), FOLDS, seed), strict=True))
    parts: dict[str, list[Judged]] = {what: [] for what in every}
    frames: list[np.ndarray] = []
    for fold in range(FOLDS):
        numbers = np.array([fold_of[clip.name] for clip in kept.clips])
        model = calibrated(name, kept.of(numbers != fold), seed=seed)
        for what, clips in every.items():
            mine = np.array([fold_of.get(clip.name) == fold for clip in clips.clips], bool)
            if mine.any():
                parts[what].append(model.judged(clips.of(mine)))
            if not what:
                frames += model.frames(clips.of(mine))
    return ByFold({what: Judged.joined(found) for what, found in parts.items() if found}, frames)


def frame_auroc(found: ByFold) -> tuple[float, tuple[float, float] | None] | None:
    """AUROC of single frames of generated clips against those of camera footage, and its 95 % interval.

    The interval draws whole generators and sources, as those of clips do.

    Returns:
        None where the baseline has no score for a frame.
    """
    clips = found.judged[""].clips
    used = [i for i, c in enumerate(clips) if c.kind is Kind.GENERATED or (c.kind is Kind.REAL and c.footage == CAMERA)]
    labels = np.array([clips[i].kind is Kind.GENERATED for i in used], int)
    counts = [len(found.frames[i]) for i in used]
    if not sum(counts):
        return None
    clip, score = np.repeat(np.arange(len(used)), counts), np.concatenate([found.frames[i] for i in used])
    weights = clustered_weights(labels, [clips[i].group for i in used], resamples=_RESAMPLES)
    drawn = np.concatenate([auroc(labels[clip], score, weights=some[:, clip]) for some in np.array_split(weights, 20)])
    return round(float(auroc(labels[clip], score)), 4), percentile_interval(drawn)


def by_era(name: str, kept: Kept, era: str, *, seed: int = 0) -> Judged:
    """The clips of one data folder, judged by what the others teach, but for what this one shows."""
    clips = list(kept.clips)
    model = calibrated(name, kept.of(teachers(clips, era)), seed=seed)
    return model.judged(kept.of(np.array([clip.era == era for clip in clips])))


def one_generator(name: str, kept: Kept, *, seed: int = 0) -> dict[str, tuple[float, int]]:
    """AUROC on the clips of all other generators, by the one that taught, with the number of clips that it had.

    Footage is parted by source into two halves, of which one teaches and the other is asked.
    """
    clips = list(kept.clips)
    sizes = Counter(clip.whole_group for clip in clips if clip.kind is Kind.GENERATED)
    half = fold_numbers(clips, 2, seed) == 0
    kinds = np.array([clip.kind for clip in clips])
    camera = np.array([clip.footage == CAMERA for clip in clips])
    found = {}
    for generator, size in sorted(sizes.items()):
        if size < LARGE:
            continue
        mine = np.array([clip.whole_group == generator for clip in clips])
        fake = kinds == Kind.GENERATED
        model = fit(name, kept.of((fake & mine) | ((kinds == Kind.REAL) & half)), seed=seed)
        asked = (fake & ~mine) | ((kinds == Kind.REAL) & ~half & camera)
        scores = scores_of(name, model, kept.of(asked))
        found[generator.partition(":")[2]] = (round(float(auroc(fake[asked].astype(int), scores)), 4), size)
    return found
