"""evaluate_pairs: samples and verdicts in, the evaluation JSON's metric blocks out; None where there is no data.

And some of them by generator, by category, by trace length and by box size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deeptrace.metrics import binary
from deeptrace.metrics.arrays import KINDS, Bools, Floats, PairColumns, columns_of, sum_by
from deeptrace.metrics.binary import auroc
from deeptrace.metrics.intervals import bootstrap_weights, percentile_interval, ratio
from deeptrace.metrics.matching import TracePairs, trace_pairs
from deeptrace.metrics.paper import PaperSums, Sums, finish_paper, first_of, paper_sums
from deeptrace.metrics.text import text_scores
from deeptrace.metrics.traces import (
    HIT_VIOU,
    RankedTraces,
    asserted_matches,
    rank_traces,
    trace_average_precision,
    trace_sums,
    videos_with_known_traces,
)
from deeptrace.schema import Outcome, Sample, Verdict

__all__ = ["evaluate_pairs", "metric_sums"]

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
        samples: the ground truth; one without a label is counted in `outcomes` alone.
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
          `tpr_at_fpr_01pct`, `ece`, `brier`, 0 to 1, over the videos with a stated probability; `frame_auroc` where
          verdicts have scores of frames or windows
        - `grounded`: `overall`, `trace_quality`, `clean_share`, 0 to 100 (see `deeptrace.metrics.traces`)
        - `traces`: 0 to 1 or seconds (see `trace_sums`), with `map_viou_30` and `map_viou_50`
        - `text`: 0 to 100, over rows with a written explanation
        - `by_generator`, `by_category`, `by_trace_length`, `by_box_size`
        - `outcomes`: how many verdicts ended how, `missing` among them
        - `counts`: how many videos, rows, traces and explanations the numbers are based on
        - `intervals`: "block.metric" -> [low, high]

    Raises:
        ValueError: not one verdict (or None) a sample.

    Examples:
        >>> from deeptrace.schema import Label
        >>> fake = Sample(video_id="a", path="a.mp4", label=Label.FAKE)
        >>> real = Sample(video_id="b", path="b.mp4", label=Label.REAL)
        >>> samples = [fake, real]
        >>> said = [Verdict(video=each.path, outcome="scored", label=each.label, p_fake=0.5) for each in samples]
        >>> found = evaluate_pairs(samples, said)
        >>> found["per_video"]["accuracy"], found["per_video"]["auroc"], found["traces"]["viou"]  # no trace is known
        (100.0, 0.5, None)
        >>> evaluate_pairs(samples, [said[0], None])["outcomes"]["missing"]
        1
    """
    m = _measure(samples, verdicts, explanation_scores)
    traces = {name: _value(pair) for name, pair in m.traces.items() if name not in _GROUNDED}
    traces |= {f"map_{name}": none_if_nan(float(trace_average_precision(r))) for name, r in m.ranked.items()}
    y, p = m.columns.truth[m.with_p].astype(float), m.columns.p_fake[m.with_p]
    return {
        "paper": finish_paper(m.paper.rows),
        "per_video": {name: _value(pair, 100.0) for name, pair in m.paper.videos.items()}
        | {name: none_if_nan(float(measure(y, p, None))) if len(y) else None for name, measure in _BINARY.items()}
        | _frame_auroc(m.columns),
        "grounded": _grounded(m.traces),
        "traces": traces,
        "text": _text(m.columns, embed) if text else {},
        "by_generator": by_generator(m.columns, m.paper, m.traces),
        "by_category": by_category(m.columns, m.pairs, m.matched),
        "by_trace_length": by_trace_length(m.columns, m.matched),
        "by_box_size": by_box_size(m.columns, m.matched),
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

    Examples:
        >>> from deeptrace.schema import Label
        >>> sample = Sample(video_id="a", path="a.mp4", label=Label.REAL)
        >>> said = Verdict(video="a.mp4", outcome=Outcome.SCORED, label=Label.FAKE)
        >>> right, videos = metric_sums([sample], [said])["per_video.accuracy"]
        >>> right.tolist(), videos.tolist()
        ([0.0], [1.0])
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


def _frame_auroc(columns: PairColumns) -> dict[str, float | None]:
    """AUROC over frames, each with its clip's label and its own score; nothing where no verdict has such scores.

    DeepfakeBench's frame-level metric (Yan et al., NeurIPS 2023, arXiv 2307.01426): clips of many frames weigh more,
    and a clip that is told by a few frames alone ranks lower than by its clip's score.
    """
    if not columns.segments.video.size:
        return {}
    return {"frame_auroc": none_if_nan(float(_frame_auroc_of(columns, np.ones((1, len(columns))))[0]))}


_CELLS = 4_000_000
"""Numbers at a time where every resample has a weight for every frame or window."""


def _frame_auroc_of(columns: PairColumns, weights: Floats) -> Floats:
    """(R,) of weights (R, N) of the videos."""
    at = columns.segments
    known = columns.truth[at.video] >= 0
    video, score, frames = at.video[known], at.score[known], at.frames[known]
    if not len(video):
        return np.full(len(weights), np.nan)
    rows = max(_CELLS // len(video), 1)
    labels = columns.truth[video].astype(float)
    parts = [
        auroc(labels, score, weights=weights[start : start + rows, video] * frames)
        for start in range(0, len(weights), rows)
    ]
    return np.concatenate(parts)


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
        if m.columns.segments.video.size:
            blocks.setdefault("per_video.frame_auroc", []).append(_frame_auroc_of(m.columns, weights))
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
        "rows_without_length": m.paper.without_length,
    }


def _value(pair: tuple[Floats, Floats], scale: float = 1.0) -> float | None:
    return none_if_nan(scale * float(ratio(pair[0].sum(), pair[1].sum())))
