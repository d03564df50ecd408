"""From cross-fitted scores to probabilities, thresholds and trace scores that mean something."""

from __future__ import annotations

import numpy as np

from deeptrace.detectors.tracenet.model import Calibration
from deeptrace.detectors.tracenet.tubes import TubeSettings, best_box, find_tubes
from deeptrace.trace import Category, Trace
from deeptrace.train.tracenet.clip_score import fit_fusion, logistic, thresholds
from deeptrace.train.tracenet.clips import Kind
from deeptrace.train.tracenet.crossfit import ScoredClip, Scores
from deeptrace.train.tracenet.crossfit_planted import PlantedScores
from deeptrace.train.tracenet.edits import fit_edits

__all__ = ["calibrate"]

_HIT_IOU = 0.3
_USEFUL_F1 = 0.3  # a category told worse than this is not named unless it is the likeliest
_TRUST = (0.0, 0.15, 0.3, 0.5, 1.0)  # the first of equals, so none without a gain
_SHARPEN = (0.7, 1.0, 1.4, 2.0, 3.0)


def calibrate(scored: list[ScoredClip], planted: PlantedScores | None) -> Calibration:
    """Fit every number of the calibration on cross-fitted scores.

    Args:
        scored: clips in one encoding and as they are.
        planted: footage with and without synthetic traces.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    fusion = fit_fusion(scored)
    kinds = np.array([s.clip.kind for s in scored])
    edits = fit_edits(scored, planted)
    prior, trust = _marked_kinds(scored)
    partial = Calibration(
        **vars(fusion), **edits, threshold_fpr_1=1, threshold_fpr_5=1, threshold_balanced=1,
        heat=0, presence=0, trace_generated=0, trace_bias=0, sharpen=_best_sharpening(scored),
        kinds_prior=prior, kinds_trust=trust,
    )  # fmt: skip
    p = np.array([partial.p_fake(s.scores.texture, s.scores.appearance, s.scores.clip) for s in scored])
    limits = {**thresholds(p, kinds), "category_thresholds": _category_thresholds(scored, partial)}
    partial = partial.model_copy(update=limits)
    return partial.model_copy(update=_trace_scores(scored, partial))


def _best_sharpening(scored: list[ScoredClip]) -> float:
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
        odds = float(np.log((p + 1e-4) / (1 - p + 1e-4)))
        where = s.scores.where.astype(np.float64) ** calibration.sharpen
        end = float(s.scores.times_s[-1]) + 0.125
        for tube in find_tubes(where, s.scores.times_s, end, TubeSettings()):
            presence = float(s.scores.present[tube.mask].astype(np.float32).mean())
            features.append([tube.heat, presence, odds])
            boxes = [trace.box for trace in s.clip.traces if trace.box is not None]
            hits.append(any(tube.tube.box.iou(box) >= _HIT_IOU for box in boxes))
    if len(set(hits)) < 2:
        return {"heat": 0.0, "presence": 0.0, "trace_generated": 1.0, "trace_bias": 0.0}
    (heat, presence, generated), bias = logistic(np.array(features), np.array(hits))
    return {
        "heat": float(heat),
        "presence": float(presence),
        "trace_generated": float(generated),
        "trace_bias": bias,
    }
