"""From cross-fitted scores to probabilities, thresholds and trace scores that mean something.

Clips whose traces people marked give the clip's probability, the score of a tube and the categories' thresholds;
synthetic traces give the chance that footage was edited and that an edit lies in a tube. Both give the coefficients of
`TemporalExtent`: when a trace is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from deeptrace.detectors.tracenet.model import Calibration, log_odds
from deeptrace.detectors.tracenet.temporal_extent import (
    EXTENT_FEATURES,
    MOMENT_FEATURES,
    TemporalExtent,
    extent_features,
)
from deeptrace.detectors.tracenet.tubes import TubeSettings, best_box, find_tubes, presence_tubes
from deeptrace.detectors.tracenet.windows import RATE_FPS
from deeptrace.schema import Category, Trace
from deeptrace.train.tracenet.clip_probability import fit_fusion, logistic, thresholds
from deeptrace.train.tracenet.clips import Clip, Kind
from deeptrace.train.tracenet.config import TraceNetConfig
from deeptrace.train.tracenet.crossfit import NO_TRACE, ScoredClip, Scores, SyntheticScores, box_of
from deeptrace.train.tracenet.feature_cache import KeptArrays, load_measured, synthetic_sets
from deeptrace.train.tracenet.nets import PresenceNet

__all__ = [
    "HIT_IOU",
    "ExtentExamples",
    "best_sharpening",
    "calibrate",
    "fit_edits",
    "fit_temporal_extent",
    "marked_examples",
    "synthetic_examples",
]

HIT_IOU = 0.3
_USEFUL_F1 = 0.3  # a category recognised worse than this is not named unless it is the likeliest
_TRUST = (0.0, 0.15, 0.3, 0.5, 1.0)  # the first of equals, so none without a gain
_SHARPEN = (0.7, 1.0, 1.4, 2.0, 3.0)


def calibrate(scored: list[ScoredClip], synthetic: SyntheticScores | None) -> Calibration:
    """Fit every number of the calibration on cross-fitted scores.

    Args:
        scored: clips in one encoding and as they are.
        synthetic: footage with and without synthetic traces.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    fusion = fit_fusion(scored)
    kinds = np.array([s.clip.kind for s in scored])
    edits = fit_edits(scored, synthetic)
    prior, trust = _marked_kinds(scored)
    partial = Calibration(
        **vars(fusion), **edits, threshold_fpr_1=1, threshold_fpr_5=1, threshold_balanced=1,
        heat=0, presence=0, trace_generated=0, trace_bias=0, sharpen=best_sharpening(scored),
        kinds_prior=prior, kinds_trust=trust,
    )  # fmt: skip
    p = np.array([partial.p_fake(s.scores.texture, s.scores.appearance, s.scores.clip) for s in scored])
    limits = {**thresholds(p, kinds), "category_thresholds": _category_thresholds(scored, partial)}
    partial = partial.model_copy(update=limits)
    return partial.model_copy(update=_trace_scores(scored, partial))


def best_sharpening(scored: list[ScoredClip]) -> float:
    """The power on the heat whose one best box agrees most with every trace row (the paper's protocol)."""
    known = [s for s in scored if s.clip.is_marked]

    def mean_iou(power: float) -> float:
        ious = []
        for s in known:
            box, _ = best_box((s.scores.where.astype(np.float64) ** power).mean(axis=0))
            ious += [box.iou(trace.box) for trace in s.clip.traces if trace.box is not None]
        return float(np.mean(ious))

    return max(_SHARPEN, key=mean_iou) if known else 1.0


def _marked_kinds(scored: list[ScoredClip]) -> tuple[tuple[float, ...], float]:
    """How often annotators name each category, and how far `kinds` are to be trusted beside that (0: not at all)."""
    kinds, marks = _kinds_and_marks(scored)
    if not len(kinds):
        return (), 1.0
    prior = (marks.sum(axis=0) + 1) / (marks.sum() + len(Category))

    def right(trust: float) -> float:
        named = ((kinds + 1e-3) ** trust * prior).argmax(axis=1)
        return float(marks[np.arange(len(marks)), named].mean())

    return tuple(float(chance) for chance in prior), max(_TRUST, key=right)


def _kinds_and_marks(scored: list[ScoredClip]) -> tuple[np.ndarray, np.ndarray]:
    """For each trace seen by eye (N): what the net says of its kind there (N, 9), what annotators say (N, 9) bool."""
    rows, truth = [], []
    for s in scored:
        for trace in s.clip.traces if s.clip.kind is Kind.GENERATED else ():
            if trace.box is not None and trace.categories:
                rows.append(_chances_in(s.scores, trace))
                truth.append([category in trace.categories for category in Category])
    return np.array(rows).reshape(-1, len(Category)), np.array(truth, bool).reshape(-1, len(Category))


def _category_thresholds(scored: list[ScoredClip], calibration: Calibration) -> tuple[float, ...]:
    """Per category, the chance above which naming it gives the best F1 on traces seen by eye; 1 where none is good."""
    kinds, marks = _kinds_and_marks(scored)
    if not len(kinds):
        return (0.5,) * len(Category)
    chances = np.array([calibration.kinds_marked(row) for row in kinds])
    limits = []
    for index in range(len(Category)):
        column, mark = chances[:, index], marks[:, index]
        candidates = np.unique(np.quantile(column, np.linspace(0, 1, 41)))
        f1 = [2 * (mark & (column >= c)).sum() / max((column >= c).sum() + mark.sum(), 1) for c in candidates]
        limits.append(float(max(candidates[int(np.argmax(f1))], 1e-3)) if max(f1) >= _USEFUL_F1 else 1.0)
    return tuple(limits)


def _chances_in(scores: Scores, trace: Trace) -> np.ndarray:
    assert trace.box is not None
    size = scores.kinds.shape[-1]
    x0, y0, x1, y1 = (round(v * size) for v in trace.box.as_tuple())
    region = scores.kinds[:, :, y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)].astype(np.float32)
    return np.asarray(region.mean(axis=(0, 2, 3)))


def _trace_scores(scored: list[ScoredClip], calibration: Calibration) -> dict[str, float]:
    """Fit the chance that a found tube lies where an annotator marked a trace; on real clips none does."""
    features, hits = [], []
    for s in scored:
        if s.clip.kind is Kind.EDITED:
            continue
        p = calibration.p_fake(s.scores.texture, s.scores.appearance, s.scores.clip)
        odds = float(log_odds(p))
        where = s.scores.where.astype(np.float64) ** calibration.sharpen
        end = float(s.scores.times_s[-1]) + 0.125
        for tube in find_tubes(where, s.scores.times_s, end, TubeSettings()):
            presence = float(s.scores.present[tube.mask].astype(np.float32).mean())
            features.append([tube.heat, presence, odds])
            boxes = [trace.box for trace in s.clip.traces if trace.box is not None]
            hits.append(any(tube.tube.box.iou(box) >= HIT_IOU for box in boxes))
    if len(set(hits)) < 2:
        return {"heat": 0.0, "presence": 0.0, "trace_generated": 1.0, "trace_bias": 0.0}
    (heat, presence, generated), bias = logistic(np.array(features), np.array(hits))
    return {
        "heat": float(heat),
        "presence": float(presence),
        "trace_generated": float(generated),
        "trace_bias": bias,
    }


_EDITED_CLIPS = 0.05
_EDITED_SEGMENTS = 0.2


def fit_edits(scored: list[ScoredClip], synthetic: SyntheticScores | None) -> dict[str, float]:
    """The fields of a `Calibration` that say how presence becomes chances; those that say "never" without `synthetic`.

    Negatives are footage as it is, whole (the real ones of `scored`) and the segments that traces were put into, and
    hard negatives. An edit counts as much as it is severe. Odds are moved to one edited clip in twenty for the clip, so
    that only strong signs move p_fake, and one in five for a tube.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    if synthetic is None or not (synthetic.category != NO_TRACE).any():
        return {"edited": 0.0, "edited_bias": -60.0, "local": 0.0, "local_edited": 0.0, "local_bias": -60.0}
    real = [s for s in scored if s.clip.kind is Kind.REAL]
    pooled = np.concatenate([synthetic.pooled, [s.scores.clip for s in real]])
    heat = np.concatenate([synthetic.heat, [_best_heat(s) for s in real]])
    severity = np.concatenate([synthetic.severity, np.zeros(len(real))])
    hit = np.concatenate([synthetic.iou, np.zeros(len(real))]) >= HIT_IOU
    traced = np.concatenate([synthetic.category != NO_TRACE, np.zeros(len(real), bool)])
    (edited,), edited_bias = logistic(pooled[:, None], traced, _weights(traced, severity, _EDITED_CLIPS))
    features = np.stack([log_odds(heat), pooled], axis=1)
    clear = ~traced | hit | (severity >= np.median(severity[traced]))  # a faint trace that was missed teaches nothing
    weights = _weights(traced, severity, _EDITED_SEGMENTS)
    (local, local_edited), local_bias = logistic(features[clear], hit[clear], weights[clear])
    return {
        "edited": float(edited), "edited_bias": edited_bias,
        "local": float(local), "local_edited": float(local_edited), "local_bias": local_bias,
    }  # fmt: skip


def _weights(traced: np.ndarray, severity: np.ndarray, share: float) -> np.ndarray:
    """Weights of mean 1 with which traced segments make up `share`, each by its severity."""
    weights = np.where(traced, severity, 1.0)
    for value, wanted in ((True, share), (False, 1.0 - share)):
        weights[traced == value] *= wanted * len(weights) / weights[traced == value].sum()
    return weights


def _best_heat(scored: ScoredClip) -> float:
    times = scored.scores.times_s
    tubes = presence_tubes(scored.scores.present.astype(np.float64), times, float(times[-1]) + 0.125)
    return tubes[0].heat if tubes else 0.0


_PENALTY = 10.0  # few traces, many features
_FEWEST = 200  # frames
_FEWEST_OF_A_CLIP = 4


@dataclass(frozen=True)
class ExtentExamples(KeptArrays):
    """Moments of traces.

    Attributes:
        features: (N, EXTENT_FEATURES), see `extent_features`.
        alive: (N,) bool, whether the trace is there.
        weights: (N,) how much each counts; of one trace they add up to its severity, or to 1.
    """

    features: np.ndarray
    alive: np.ndarray
    weights: np.ndarray

    @classmethod
    def of_trace(cls, features: np.ndarray, alive: np.ndarray, severity: float = 1.0) -> ExtentExamples:
        """The moments of one trace."""
        weights = np.full(len(alive), severity / len(alive))
        return cls(features.astype(np.float32), alive, weights)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """All of several, or of none."""
        return super().joined([cls(np.zeros((0, EXTENT_FEATURES), np.float32), np.zeros(0, bool), np.zeros(0)), *parts])


def fit_temporal_extent(examples: ExtentExamples, *, moments: bool) -> TemporalExtent | None:
    """Fit a `TemporalExtent`; None with too few examples.

    Args:
        examples: to learn from.
        moments: whether the moment itself may say anything; where synthetic traces begin is no news.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    if len(examples.alive) < _FEWEST or examples.alive.all():
        return None
    mean, spread = examples.features.mean(axis=0), examples.features.std(axis=0) + 1e-6
    unit = TemporalExtent(mean=_short(mean), spread=_short(spread), weights=(0.0,) * EXTENT_FEATURES, bias=0.0)
    first = 0 if moments else MOMENT_FEATURES
    known = unit.standardised(examples.features)[:, first:]
    weights = examples.weights / examples.weights.mean()
    coefficients, bias = logistic(known, examples.alive, weights, penalty=_PENALTY)
    return unit.model_copy(update={"weights": (0.0,) * first + _short(coefficients), "bias": round(bias, 6)})


def marked_examples(scored: list[ScoredClip], variant: int, config: TraceNetConfig) -> ExtentExamples:
    """Traces seen by eye, each counting alike.

    Args:
        scored: clips, cross-fitted.
        variant: number of the variant that was scored.
        config: of the training, for what was measured.
    """
    return ExtentExamples.joined([example for s in scored for example in _marked(s, variant, config)])


def synthetic_examples(net: PresenceNet, clips: list[Clip], config: TraceNetConfig) -> ExtentExamples:
    """Synthetic traces that come or go, each by its severity, in `clips`, real ones that `net` never saw."""
    return ExtentExamples.joined([example for clip in clips for example in _synthetic(net, clip, config)])


def _marked(s: ScoredClip, variant: int, config: TraceNetConfig) -> Iterator[ExtentExamples]:
    times = s.scores.times_s
    if not s.clip.is_marked or len(times) < _FEWEST_OF_A_CLIP:
        return
    measured = load_measured(s.clip, variant, config)
    if measured is None:
        return
    end_s = 2 * float(times[-1]) - float(times[-2])
    for trace in s.clip.traces:
        if trace.box is not None and trace.interval is not None:
            features = extent_features(measured.evidence, s.scores.present, trace.box, times, end_s)
            alive = (times >= trace.interval.onset_s) & (times < trace.interval.offset_s)
            yield ExtentExamples.of_trace(features, alive)


def _synthetic(net: PresenceNet, clip: Clip, config: TraceNetConfig) -> Iterator[ExtentExamples]:
    for one in synthetic_sets(clip, config):
        for index in range(len(one.categories)):
            for level in (0, 1):
                evidence, truth = one.trace(index, level)
                alive = truth.max(axis=(1, 2)) > 0.0
                if alive.all() or not alive.any():
                    continue
                with torch.no_grad():
                    _, present, _ = net(torch.from_numpy(evidence.astype(np.float32))[None])
                times = np.arange(len(alive)) / RATE_FPS
                chance = present[0].sigmoid().numpy()
                features = extent_features(evidence, chance, box_of(truth), times, len(alive) / RATE_FPS)
                yield ExtentExamples.of_trace(features, alive, float(one.severities[index, level]))


def _short(numbers: np.ndarray) -> tuple[float, ...]:
    """What a card can show."""
    return tuple(round(float(number), 6) for number in numbers)
