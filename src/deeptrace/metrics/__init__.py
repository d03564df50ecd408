"""Pure functions over samples and verdicts; no files, no network, no clock.

`evaluate_pairs` gives every block of the evaluation JSON at once; the modules give each measure alone:
`paper` (the published protocol), `traces`, `matching` (grounding), `binary` (probabilities), `text`,
`agreement` (annotators), `intervals` (uncertainty), `trivial` (what needs no model).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeptrace.lazy import lazy_names

if TYPE_CHECKING:
    from deeptrace.geometry import box_iou, center_distance, temporal_iou, tube_viou
    from deeptrace.metrics.agreement import (
        annotator_ceiling,
        cohen_kappa,
        fleiss_kappa,
        grounding_agreement,
        krippendorff_alpha,
    )
    from deeptrace.metrics.binary import auroc, average_precision, brier_score, expected_calibration_error, tpr_at_fpr
    from deeptrace.metrics.intervals import bootstrap_ratios, paired_permutation, percentile_interval
    from deeptrace.metrics.paper import JudgeRow, judge_rows, overall_score, paper_scores, row_weighted_accuracy
    from deeptrace.metrics.summary import evaluate_pairs, metric_sums
    from deeptrace.metrics.text import bleu, cider, meteor_like, rouge_l, text_scores
    from deeptrace.metrics.trivial import BASELINES, annotator_verdicts, mean_box, trivial_baselines

__all__ = [
    "BASELINES",
    "JudgeRow",
    "annotator_ceiling",
    "annotator_verdicts",
    "auroc",
    "average_precision",
    "bleu",
    "bootstrap_ratios",
    "box_iou",
    "brier_score",
    "center_distance",
    "cider",
    "cohen_kappa",
    "evaluate_pairs",
    "expected_calibration_error",
    "fleiss_kappa",
    "grounding_agreement",
    "judge_rows",
    "krippendorff_alpha",
    "mean_box",
    "meteor_like",
    "metric_sums",
    "overall_score",
    "paired_permutation",
    "paper_scores",
    "percentile_interval",
    "rouge_l",
    "row_weighted_accuracy",
    "temporal_iou",
    "text_scores",
    "tpr_at_fpr",
    "trivial_baselines",
    "tube_viou",
]

__getattr__ = lazy_names(
    __name__,
    {
        "deeptrace.geometry": ("box_iou", "center_distance", "temporal_iou", "tube_viou"),
        "deeptrace.metrics.agreement": (
            "annotator_ceiling",
            "cohen_kappa",
            "fleiss_kappa",
            "grounding_agreement",
            "krippendorff_alpha",
        ),
        "deeptrace.metrics.binary": (
            "auroc",
            "average_precision",
            "brier_score",
            "expected_calibration_error",
            "tpr_at_fpr",
        ),
        "deeptrace.metrics.intervals": ("bootstrap_ratios", "paired_permutation", "percentile_interval"),
        "deeptrace.metrics.paper": ("JudgeRow", "judge_rows", "overall_score", "paper_scores", "row_weighted_accuracy"),
        "deeptrace.metrics.summary": ("evaluate_pairs", "metric_sums"),
        "deeptrace.metrics.text": ("bleu", "cider", "meteor_like", "rouge_l", "text_scores"),
        "deeptrace.metrics.trivial": ("BASELINES", "annotator_verdicts", "mean_box", "trivial_baselines"),
    },
)
