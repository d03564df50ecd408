"""evaluate_pairs: samples and verdicts in, the evaluation JSON's metric blocks out; None where there is no data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deeptrace.metrics import binary, breakdown
from deeptrace.metrics.breakdown import none_if_nan
from deeptrace.metrics.columns import Bools, Floats, PairColumns, columns_of
from deeptrace.metrics.intervals import bootstrap_weights, percentile_interval, ratio
from deeptrace.metrics.matching import TracePairs, trace_pairs
from deeptrace.metrics.paper import PaperSums, Sums, finish_paper, first_of, paper_sums
from deeptrace.metrics.ranking import RankedTraces, rank_traces, trace_average_precision
from deeptrace.metrics.text import text_scores
from deeptrace.metrics.traces import asserted_matches, trace_sums, videos_with_known_traces
from deeptrace.trace import Outcome, Sample, Verdict

__all__ = ["evaluate_pairs", "metric_sums"]

_GROUNDED = ("trace_quality", "clean_share")
_BINARY: dict[str, Callable[[Floats, Floats, Floats | None], Floats]] = {
    "auroc": lambda y, p, w: binary.auroc(y, p, weights=w),
    "average_precision": lambda y, p, w: binary.average_precision(y, p, weights=w),
    "tpr_at_fpr_1pct": lambda y, p, w: binary.tpr_at_fpr(y, p, max_fpr=0.01, weights=w),
    "tpr_at_fpr_01pct": lambda y, p, w: binary.tpr_at_fpr(y, p, max_fpr=0.001, weights=w),
    "ece": lambda y, p, w: binary.expected_calibration_error(y, p, weights=w),
    "brier": lambda y, p, w: binary.brier_score(y, p, weights=w),
}


@dataclass(frozen=True, slots=True)
class _Measured:
    columns: PairColumns
    pairs: TracePairs
    matched: TracePairs
    paper: PaperSums
    traces: Sums
    ranked: dict[str, RankedTraces]
    with_p: Bools


def evaluate_pairs(
    samples: Sequence[Sample],
    verdicts: Sequence[Verdict | None],
    *,
    explanation_scores: Mapping[tuple[str, int], float | None] | None = None,
    text: bool = True,
    embed: Callable[[list[str]], np.ndarray] | None = None,
    resamples: int = 0,
    seed: int = 0,
) -> dict[str, Any]:
    """Everything that can be measured of a run.

    Args:
        samples: the truth; one without a label is counted in `outcomes` alone.
        verdicts: one a sample, None where there is no prediction. Failed and missing ones count as wrong.
        explanation_scores: the judge's scores in [0, 1] by `JudgeRow.key` (see `judge_rows`); without all that are
            needed `paper.explanation` and `paper.overall` are None.
        text: measure explanations by counting words (BLEU and so on).
        embed: texts -> vectors (N, D), for `text.embedding_similarity`.
        resamples: bootstrap resamples of videos for 95 % intervals; 0 leaves `intervals` empty.
        seed: of the bootstrap.

    Returns:
        Blocks of plain numbers, ready for JSON; what the data cannot tell is None, never 0:

        - `paper`: overall and the seven metrics by annotation row, 0 to 100
        - `per_video`: the accuracies by video, 0 to 100; `auroc`, `average_precision`, `tpr_at_fpr_1pct`,
          `tpr_at_fpr_01pct`, `ece`, `brier`, 0 to 1, over the videos with a stated probability
        - `grounded`: `overall`, `trace_quality`, `clean_share`, 0 to 100 (see `deeptrace.metrics.traces`)
        - `traces`: 0 to 1 or seconds (see `trace_sums`), with `map_viou_30` and `map_viou_50`
        - `text`: 0 to 100, over rows with a written explanation
        - `by_generator`, `by_category`, `by_trace_length`, `by_box_size`
        - `outcomes`: how many verdicts ended how, `missing` among them
        - `counts`: how many videos, rows, traces and explanations the numbers stand on
        - `intervals`: "block.metric" -> [low, high]

    Raises:
        ValueError: not one verdict (or None) a sample.
    """
    m = _measure(samples, verdicts, explanation_scores)
    traces = {name: _value(pair) for name, pair in m.traces.items() if name not in _GROUNDED}
    traces |= {f"map_{name}": none_if_nan(float(trace_average_precision(r))) for name, r in m.ranked.items()}
    y, p = m.columns.truth[m.with_p].astype(float), m.columns.p_fake[m.with_p]
    return {
        "paper": finish_paper(m.paper.rows),
        "per_video": {name: _value(pair, 100.0) for name, pair in m.paper.videos.items()}
        | {name: none_if_nan(float(measure(y, p, None))) if len(y) else None for name, measure in _BINARY.items()},
        "grounded": _grounded(m.traces),
        "traces": traces,
        "text": _text(m.columns, embed) if text else {},
        "by_generator": breakdown.by_generator(m.columns, m.paper, m.traces),
        "by_category": breakdown.by_category(m.columns, m.pairs, m.matched),
        "by_trace_length": breakdown.by_trace_length(m.columns, m.matched),
        "by_box_size": breakdown.by_box_size(m.columns, m.matched),
        "outcomes": _outcomes(m.columns),
        "counts": _counts(m),
        "intervals": _intervals(m, resamples, seed) if resamples else {},
    }


def metric_sums(
    samples: Sequence[Sample],
    verdicts: Sequence[Verdict | None],
    *,
    explanation_scores: Mapping[tuple[str, int], float | None] | None = None,
) -> Sums:
    """Every ratio metric as sums by video, by "block.metric", as `paired_permutation` and `bootstrap_ratios` take them.

    Values are shares in [0, 1] or seconds. Two runs over the same samples can be compared metric by metric.
    """
    return _named_sums(_measure(samples, verdicts, explanation_scores))


def _measure(
    samples: Sequence[Sample],
    verdicts: Sequence[Verdict | None],
    explanation_scores: Mapping[tuple[str, int], float | None] | None,
) -> _Measured:
    columns = columns_of(samples, verdicts)
    pairs = trace_pairs(columns.true, columns.predicted, columns.duration_s)
    matched = asserted_matches(columns, pairs)
    known = videos_with_known_traces(columns)
    return _Measured(
        columns=columns,
        pairs=pairs,
        matched=matched,
        paper=paper_sums(columns, samples, explanation_scores),
        traces=trace_sums(columns, matched),
        ranked={f"viou_{t}": rank_traces(columns, pairs, threshold=t / 100, known=known) for t in (30, 50)},
        with_p=(columns.truth >= 0) & ~np.isnan(columns.p_fake),
    )


def _named_sums(m: _Measured) -> Sums:
    named = {f"paper.{name}": pair for name, pair in m.paper.rows.items()}
    named |= {f"per_video.{name}": pair for name, pair in m.paper.videos.items()}
    return named | {f"{'grounded' if name in _GROUNDED else 'traces'}.{name}": pair for name, pair in m.traces.items()}


def _grounded(traces: Sums) -> dict[str, float | None]:
    quality, clean = (_value(traces[name]) for name in _GROUNDED)
    overall = None if quality is None or clean is None else 100.0 * quality * clean
    return {
        "overall": overall,
        "trace_quality": None if quality is None else 100.0 * quality,
        "clean_share": None if clean is None else 100.0 * clean,
    }


def _intervals(m: _Measured, resamples: int, seed: int) -> dict[str, list[float] | None]:
    """95 % intervals of every metric that has a value, all from the same resamples of videos."""
    sums = {name: pair for name, pair in _named_sums(m).items() if pair[1].any() and not np.isnan(pair[0]).any()}
    table = np.stack([part for pair in sums.values() for part in pair], axis=1) if sums else np.zeros((0, 0))
    y, p = m.columns.truth[m.with_p].astype(float), m.columns.p_fake[m.with_p]
    blocks: dict[str, list[Floats]] = {}
    for weights in bootstrap_weights(len(m.columns), resamples=resamples, seed=seed) if len(m.columns) else ():
        drawn = weights @ table if sums else None
        for i, name in enumerate(sums):
            scale = 1.0 if name.startswith("traces.") else 100.0
            blocks.setdefault(name, []).append(scale * ratio(drawn[:, 2 * i], drawn[:, 2 * i + 1]))  # type: ignore[index]
        if len(y):
            chosen = weights[:, m.with_p]
            for name, measure in _BINARY.items():
                blocks.setdefault(f"per_video.{name}", []).append(measure(y, p, chosen))
        for name, ranked in m.ranked.items():
            if ranked.true_per_video.any():
                found = trace_average_precision(ranked, weights=weights)
                blocks.setdefault(f"traces.map_{name}", []).append(found)
    values = {name: np.concatenate(parts) for name, parts in blocks.items()}
    parts = [f"paper.{name}" for name in ("accuracy", "explanation", "bbox_iou", "time_distance")]
    if all(name in values for name in parts):
        accuracy, explanation, iou, time = (values[name] for name in parts)
        values["paper.overall"] = np.asarray((accuracy + explanation + iou + 100.0 - time) / 4)
    if all(f"grounded.{name}" in values for name in _GROUNDED):
        quality, clean = (values[f"grounded.{name}"] for name in _GROUNDED)
        values["grounded.overall"] = quality * clean / 100.0
    limits = {name: percentile_interval(column) for name, column in values.items()}
    return {name: None if pair is None else list(pair) for name, pair in sorted(limits.items())}


def _text(columns: PairColumns, embed: Callable[[list[str]], np.ndarray] | None) -> dict[str, float | None]:
    texts = columns.predicted.texts
    spoken = np.array([bool(text.strip()) for text in texts], dtype=bool)
    first = first_of(columns, spoken).tolist()
    rows = [
        (texts[first[video]] if first[video] >= 0 else "", truth)
        for video, truth in zip(columns.true.video.tolist(), columns.true.texts, strict=True)
        if truth.strip() and columns.truth[video] == 1
    ]
    return text_scores([said for said, _ in rows], [truth for _, truth in rows], embed=embed)


def _outcomes(columns: PairColumns) -> dict[str, int]:
    found = Counter(columns.outcomes)
    return {name: found[name] for name in (*(outcome.value for outcome in Outcome), "missing")}


def _counts(m: _Measured) -> dict[str, int]:
    columns = m.columns
    return {
        "videos": len(columns),
        "fake_videos": int((columns.truth == 1).sum()),
        "real_videos": int((columns.truth == 0).sum()),
        "rows": int(m.paper.rows["accuracy"][1].sum()),
        "true_traces": int(m.traces["viou"][1].sum()),
        "predicted_traces": len(columns.predicted),
        "with_probability": int(m.with_p.sum()),
        "explanation_rows": m.paper.explanation_rows,
        "explanation_unjudged": m.paper.unjudged,
    }


def _value(pair: tuple[Floats, Floats], scale: float = 1.0) -> float | None:
    return none_if_nan(scale * float(ratio(pair[0].sum(), pair[1].sum())))
