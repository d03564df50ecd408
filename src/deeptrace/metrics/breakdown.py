"""The same metrics by generator, by category, by trace length and by box size."""

from __future__ import annotations

from typing import Any

import numpy as np

from deeptrace.metrics.binary import auroc
from deeptrace.metrics.columns import KINDS, Bools, Floats, PairColumns, sum_by
from deeptrace.metrics.intervals import ratio
from deeptrace.metrics.matching import TracePairs
from deeptrace.metrics.paper import PaperSums, Sums
from deeptrace.metrics.ranking import rank_traces, trace_average_precision
from deeptrace.metrics.traces import HIT_VIOU, videos_with_known_traces

__all__ = ["by_box_size", "by_category", "by_generator", "by_trace_length"]

Block = dict[str, Any]
_SHARES = {"short": (0.0, 1 / 3), "medium": (1 / 3, 2 / 3), "long": (2 / 3, np.inf)}
_AREAS = {"small": (0.0, 0.05), "medium": (0.05, 0.25), "large": (0.25, np.inf)}


def by_generator(columns: PairColumns, paper: PaperSums, traces: Sums) -> Block:
    """One block a source, and `macro`: the plain mean over the generators, however many videos each has.

    Of each: `label`, `videos`, `accuracy` by video, `explanation`, `bbox_iou`, `time_distance` (0 to 100), `tiou`,
    `viou`, `recall_viou_30`; of generators `auroc` against all real videos.
    """
    names, code = np.unique(np.array(columns.sources, dtype=object).astype(str), return_inverse=True)
    metrics: dict[str, tuple[tuple[Floats, Floats], float]] = {"accuracy": (paper.videos["accuracy"], 100.0)}
    metrics |= {name: (paper.rows[name], 100.0) for name in ("explanation", "bbox_iou", "time_distance")}
    metrics |= {name: (traces[name], 1.0) for name in ("tiou", "viou", "recall_viou_30")}
    values = {
        name: scale * ratio(sum_by(code, num, len(names)), sum_by(code, den, len(names)))
        for name, ((num, den), scale) in metrics.items()
    }
    out: Block = {}
    generators = []
    for index, name in enumerate(names.tolist()):
        inside = code == index
        labels = set(columns.truth[inside].tolist()) - {-1}
        label = {frozenset({1}): "FAKE", frozenset({0}): "REAL"}.get(frozenset(labels))
        block: Block = {"label": label, "videos": int(inside.sum())}
        block |= {metric: none_if_nan(column[index]) for metric, column in values.items()}
        block["auroc"] = _auroc_against_real(columns, inside) if label == "FAKE" else None
        out[name] = block
        if label == "FAKE":
            generators.append(block)
    keys = [*metrics, "auroc"]
    out["macro"] = {"label": None, "videos": sum(b["videos"] for b in generators)} | {
        key: _mean([block[key] for block in generators]) for key in keys
    }
    return out


def by_category(columns: PairColumns, pairs: TracePairs, matched: TracePairs) -> Block:
    """One block a category: `traces`, `viou`, `recall_viou_30`, and average precision among predictions of that kind.

    A trace with several categories counts in each. `ap_viou_30` and `ap_viou_50` need predictions with categories, and
    are None where no verdict names one. `macro`: the mean over the categories that have traces.
    """
    names_kinds = bool(columns.predicted.kinds.any())
    known = videos_with_known_traces(columns)
    out: Block = {}
    for index, kind in enumerate(KINDS):
        true_of_kind = columns.true.kinds[:, index]
        block = _of_true_traces(columns, matched, true_of_kind)
        for threshold in (30, 50):
            ap = np.nan
            if names_kinds and block["traces"]:
                ranked = rank_traces(
                    columns,
                    pairs,
                    threshold=threshold / 100,
                    known=known,
                    true_of_kind=true_of_kind,
                    predicted_of_kind=columns.predicted.kinds[:, index],
                )
                ap = float(trace_average_precision(ranked))
            block[f"ap_viou_{threshold}"] = none_if_nan(ap)
        out[kind.value] = block
    present = [block for block in out.values() if block["traces"]]
    keys = ("viou", "recall_viou_30", "ap_viou_30", "ap_viou_50")
    out["macro"] = {"traces": sum(b["traces"] for b in present)} | {k: _mean([b[k] for b in present]) for k in keys}
    return out


def by_trace_length(columns: PairColumns, matched: TracePairs) -> Block:
    """True traces by their share of the video: short (under a third), medium, long (two thirds and more)."""
    span = columns.true.span
    share = (span[:, 1] - span[:, 0]) / columns.duration_s[columns.true.video]
    return {
        name: _of_true_traces(columns, matched, (share >= low) & (share < high))
        for name, (low, high) in _SHARES.items()
    }


def by_box_size(columns: PairColumns, matched: TracePairs) -> Block:
    """True traces by the share of the frame their box covers: small (under 5 %), medium, large (25 % and more)."""
    box = columns.true.box
    area = (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])
    return {
        name: _of_true_traces(columns, matched, (area >= low) & (area < high)) for name, (low, high) in _AREAS.items()
    }


def _of_true_traces(columns: PairColumns, matched: TracePairs, chosen: Bools) -> Block:
    chosen = chosen & columns.true.has_box & (columns.truth[columns.true.video] == 1)
    count = int(chosen.sum())
    overlap = matched.overlap[chosen[matched.true]]
    return {
        "traces": count,
        "viou": float(overlap.sum() / count) if count else None,
        "recall_viou_30": float((overlap >= HIT_VIOU).sum() / count) if count else None,
    }


def _auroc_against_real(columns: PairColumns, inside: Bools) -> float | None:
    use = (inside | (columns.truth == 0)) & ~np.isnan(columns.p_fake)
    return none_if_nan(float(auroc(columns.truth[use], columns.p_fake[use])))


def none_if_nan(value: float) -> float | None:
    """The value, None for NaN: what was not measured is null, never 0."""
    return None if np.isnan(value) else float(value)


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
