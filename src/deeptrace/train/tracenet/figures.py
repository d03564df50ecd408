"""The figures of the model card, from cross-fitted scores."""

from __future__ import annotations

from typing import Any

import numpy as np

from deeptrace.detectors.tracenet.model import Calibration
from deeptrace.detectors.tracenet.tubes import best_box
from deeptrace.geometry import Box
from deeptrace.metrics import auroc, average_precision, brier_score, expected_calibration_error
from deeptrace.train.tracenet.clip_score import rates_without_fold
from deeptrace.train.tracenet.clips import Kind
from deeptrace.train.tracenet.crossfit import ScoredClip

__all__ = ["figures_of"]

_CENTRE = Box(x0=0.2, y0=0.2, x1=0.8, y1=0.8)


def figures_of(scored: list[ScoredClip], calibration: Calibration, folds: dict[str, int]) -> dict[str, Any]:
    """Errors of the clip score and of the best box, each clip judged by models that never saw its group."""
    p = np.array([calibration.p_fake(s.scores.texture, s.scores.appearance, s.scores.clip) for s in scored])
    kind = np.array([s.clip.kind for s in scored])
    used = kind != Kind.EDITED
    labels, chances = (kind[used] == Kind.GENERATED).astype(int), p[used]
    real, fake = chances[labels == 0], chances[labels == 1]
    groups = sorted({s.clip.group for s in scored if s.clip.kind is Kind.GENERATED})
    by_generator = {
        group.removeprefix("generated:"): {
            "clips": int(sum(s.clip.group == group for s in scored)),
            "auroc": round(_auc_against(real, p[[s.clip.group == group for s in scored]]), 4),
        }
        for group in groups
    }
    return {
        "real_clips": len(real),
        "generated_clips": len(fake),
        "auroc": _round(auroc(labels, chances)),
        "auroc_macro_by_generator": _round(float(np.mean([row["auroc"] for row in by_generator.values()]))),
        "auroc_edited": _round(_auc_against(real, p[kind == Kind.EDITED])) if (kind == Kind.EDITED).any() else None,
        "average_precision": _round(average_precision(labels, chances)),
        "brier": _round(brier_score(labels, chances)),
        "ece": _round(expected_calibration_error(labels, chances)),
        "at_thresholds": {
            name: {
                "p_fake": _round(limit),
                "false_alarms": _round(float((real >= limit).mean())),
                "found": _round(float((fake >= limit).mean())),
            }
            for name, limit in (
                ("fpr_1", calibration.threshold_fpr_1),
                ("fpr_5", calibration.threshold_fpr_5),
                ("balanced", calibration.threshold_balanced),
            )
        },
        "at_thresholds_set_without_the_fold": {
            name: {what: _round(rate) for what, rate in rates.items()}
            for name, rates in rates_without_fold(scored, folds).items()
        },
        "box": _box_figures(scored, calibration),
        "by_generator": by_generator,
    }


def _box_figures(scored: list[ScoredClip], calibration: Calibration) -> dict[str, Any]:
    """Mean IoU of one box a clip against every trace row (the paper's protocol), beside a centre box."""
    ours, centre = [], []
    for s in scored:
        boxes = [trace.box for trace in s.clip.traces if trace.box is not None]
        if s.clip.kind is Kind.GENERATED and boxes:
            found, _ = best_box((s.scores.where.astype(np.float64) ** calibration.sharpen).mean(axis=0))
            ours += [found.iou(box) for box in boxes]
            centre += [_CENTRE.iou(box) for box in boxes]
    return {
        "rows": len(ours),
        "iou": _round(float(np.mean(ours))) if ours else None,
        "iou_centre_box": _round(float(np.mean(centre))) if centre else None,
    }


def _auc_against(real: np.ndarray, fake: np.ndarray) -> float:
    labels = np.concatenate([np.zeros(len(real), int), np.ones(len(fake), int)])
    return float(auroc(labels, np.concatenate([real, fake])))


def _round(value: float | np.ndarray | None) -> float | None:
    return None if value is None else round(float(value), 4)
