"""How far annotators agree: kappas and alpha for categories, matched overlap for where and when.

And the annotator ceiling: what one annotator would score as a model against the other, both ways round.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from deeptrace.metrics.arrays import KINDS, trace_columns
from deeptrace.metrics.matching import match_traces, trace_pairs
from deeptrace.metrics.summary import evaluate_pairs
from deeptrace.metrics.trivial import annotator_verdicts
from deeptrace.schema import Sample

__all__ = [
    "annotator_ceiling",
    "cohen_kappa",
    "fleiss_kappa",
    "grounding_agreement",
    "grounding_agreement_of",
    "krippendorff_alpha",
    "trace_overlap",
]


def cohen_kappa(a: Sequence[object], b: Sequence[object]) -> float | None:
    """Cohen's kappa of two raters over the same items, in [-1, 1]; None without items or when chance agreement is 1.

    Raises:
        ValueError: not the same number of items.

    Examples:
        >>> cohen_kappa(["real", "fake"], ["real", "fake"]), cohen_kappa(["real", "fake"], ["fake", "real"])
        (1.0, -1.0)
        >>> cohen_kappa("aabb", "abab")  # as often as by chance
        0.0
        >>> print(cohen_kappa(["real"], ["real"]))  # nothing varies, so nothing can be said
        None
    """
    if len(a) != len(b):
        raise ValueError(f"expected two ratings an item but got {len(a)} and {len(b)}")
    names = {value: i for i, value in enumerate(dict.fromkeys([*a, *b]))}
    if not names:
        return None
    table = np.zeros((len(names), len(names)))
    np.add.at(table, ([names[v] for v in a], [names[v] for v in b]), 1)
    table /= table.sum()
    expected = float(table.sum(1) @ table.sum(0))
    return None if expected >= 1 - 1e-12 else (float(np.trace(table)) - expected) / (1 - expected)


def fleiss_kappa(counts: ArrayLike) -> float | None:
    """Fleiss' kappa out of counts (items, categories) of raters that chose each; None when chance agreement is 1.

    Raises:
        ValueError: items with different numbers of raters, or fewer than two.

    Examples:
        >>> fleiss_kappa([[3, 0], [0, 3]])  # two items, three raters, of one mind
        1.0
        >>> print(fleiss_kappa([[3, 0], [3, 0]]))
        None
    """
    n = np.asarray(counts, dtype=float)
    if n.ndim != 2:
        raise ValueError(f"expected counts of shape (items, categories) but got {n.shape}")
    if not n.size:
        return None
    raters = n[0].sum()
    if raters < 2 or not np.allclose(n.sum(1), raters):
        raise ValueError("expected the same number of raters, two or more, for every item")
    observed = float((((n**2).sum(1) - raters) / (raters * (raters - 1))).mean())
    expected = float(((n.sum(0) / n.sum()) ** 2).sum())
    return None if expected >= 1 - 1e-12 else (observed - expected) / (1 - expected)


def krippendorff_alpha(ratings: ArrayLike, *, level: Literal["nominal", "interval"] = "nominal") -> float | None:
    """Krippendorff's alpha out of ratings (raters, items) with NaN for missing ones; None when nothing varies.

    Args:
        ratings: numbers; for nominal data any codes.
        level: "nominal": different or not; "interval": squared difference.

    Examples:
        >>> krippendorff_alpha([[1, 2, 3], [1, 2, 3]])
        1.0
        >>> krippendorff_alpha([[1, 2, np.nan], [1, 2, 3]])  # an item with one rating says nothing
        1.0
        >>> round(krippendorff_alpha([[1, 2, 3, 4], [2, 2, 3, 4]], level="interval"), 3)
        0.889
    """
    data = np.asarray(ratings, dtype=float)
    if data.ndim != 2:
        raise ValueError(f"expected ratings of shape (raters, items) but got {data.shape}")
    values = np.unique(data[~np.isnan(data)])
    counts = np.stack([(data == value).sum(0) for value in values], axis=1).astype(float) if len(values) else None
    if counts is None or len(values) < 2:
        return None
    counts = counts[counts.sum(1) >= 2]
    if not len(counts):
        return None
    raters = counts.sum(1, keepdims=True)
    pairs = np.einsum("ui,uj->uij", counts, counts / (raters - 1))
    diagonal = np.arange(len(values))
    pairs[:, diagonal, diagonal] -= counts / (raters - 1)
    observed = pairs.sum(0)
    totals = observed.sum(1)
    apart = (values[:, None] - values[None, :]) ** 2
    if level == "nominal":
        apart = (apart > 0).astype(float)
    expected = float((np.outer(totals, totals) * apart).sum() / (totals.sum() - 1))
    return None if expected == 0 else 1.0 - float((observed * apart).sum()) / expected


def grounding_agreement(
    first: Sequence[Sample], second: Sequence[Sample], *, min_viou: float = 0.0
) -> dict[str, float | int | None]:
    """Agreement of two annotators over the same videos, whose traces they drew on their own.

    Args:
        first, second: the same videos, in the same order, with each annotator's traces.
        min_viou: traces are matched one to one by vIoU (`match_traces`); a pair counts as the same trace above this.

    Returns:
        `videos`, `both_or_none` (videos in which both or neither saw a trace), `traces_first`, `traces_second`,
        `matched`; means over matched pairs `box_iou`, `tiou`, `viou`, `onset_apart` and `offset_apart` (shares of the
        video), `category_jaccard`; `category_kappa`: mean over the nine of Cohen's kappa, "does the trace have it";
        `category_alpha`: Krippendorff's, the same decisions pooled. None where nothing can be said.

    Examples:
        >>> from deeptrace.geometry import Box
        >>> from deeptrace.schema import Label, Media, Trace
        >>> media = Media(width=640, height=360, duration_s=4.0)
        >>> def sample(x1):
        ...     trace = Trace(onset_s=0.0, offset_s=4.0, box=Box(x0=0.0, y0=0.0, x1=x1, y1=1.0))
        ...     return Sample(video_id="a", path="a.mp4", label=Label.FAKE, media=media, traces=(trace,))

        >>> found = grounding_agreement([sample(1.0)], [sample(0.5)])
        >>> found["matched"], found["box_iou"], found["tiou"], found["viou"], found["category_kappa"]
        (1, 0.5, 1.0, 0.5, None)
    """
    return grounding_agreement_of([(first, second)], min_viou=min_viou)


def grounding_agreement_of(
    parts: Iterable[tuple[Sequence[Sample], Sequence[Sample]]], *, min_viou: float = 0.0
) -> dict[str, float | int | None]:
    """`grounding_agreement` over a set that comes in parts; of each part a few numbers a trace are kept.

    Args:
        parts: of both annotators, each as `grounding_agreement` takes them.
        min_viou: see there.
    """
    names = ("videos", "both_or_none", "traces_first", "traces_second", "matched")
    counts = dict.fromkeys(names, 0)
    found = [_matched(first, second, min_viou) for first, second in parts] or [_matched((), (), min_viou)]
    for numbers, _ in found:
        for name, value in zip(names, numbers, strict=True):
            counts[name] += value
    box_iou, tiou, viou, apart, kinds_a, kinds_b = (
        np.concatenate(one) for one in zip(*(v for _, v in found), strict=True)
    )
    named = kinds_a.any(1) & kinds_b.any(1)
    kinds_a, kinds_b = kinds_a[named], kinds_b[named]
    kappas = [cohen_kappa(kinds_a[:, k].tolist(), kinds_b[:, k].tolist()) for k in range(len(KINDS))]
    known = [kappa for kappa in kappas if kappa is not None]
    return {
        **counts,
        "box_iou": _mean(box_iou),
        "tiou": _mean(tiou),
        "viou": _mean(viou),
        "onset_apart": _mean(apart[:, 0]),
        "offset_apart": _mean(apart[:, 1]),
        "category_jaccard": _mean((kinds_a & kinds_b).sum(1) / np.maximum((kinds_a | kinds_b).sum(1), 1)),
        "category_kappa": float(np.mean(known)) if known else None,
        "category_alpha": krippendorff_alpha(np.stack([kinds_a.ravel(), kinds_b.ravel()])) if named.any() else None,
    }


def _matched(
    first: Sequence[Sample], second: Sequence[Sample], min_viou: float
) -> tuple[tuple[int, ...], tuple[np.ndarray, ...]]:
    """Counts of a part, and of its matched pairs of traces box IoU, tIoU, vIoU, times apart and kinds of both."""
    if [s.video_id for s in first] != [s.video_id for s in second]:
        raise ValueError("expected the same videos in the same order from both annotators")
    a, b = trace_columns([s.traces for s in first]), trace_columns([s.traces for s in second])
    duration = np.array([s.media.duration_s if s.media else None for s in first], dtype=float)
    pairs = match_traces(trace_pairs(a, b, duration), a.video)
    pairs = pairs.take(pairs.overlap > min_viou)
    saw_a, saw_b = (np.bincount(c.video, minlength=len(first)) > 0 for c in (a, b))
    apart = np.abs(a.span[pairs.true] - b.span[pairs.predicted]) / duration[a.video[pairs.true], None]
    numbers = (len(first), int((saw_a == saw_b).sum()), len(a), len(b), len(pairs))
    return numbers, (pairs.box_iou, pairs.tiou, pairs.overlap, apart, a.kinds[pairs.true], b.kinds[pairs.predicted])


def trace_overlap(first: Sequence[Sample], second: Sequence[Sample]) -> np.ndarray:
    """How far two annotators marked the same in each video, (N,) in [0, 1], higher for more; what one missed counts.

    The vIoU of the traces that match one to one, summed, over the number of traces that either marked; 1 where neither
    marked any. So it is the Jaccard index of both sets of traces with each pair counted as far as it overlaps.

    Args:
        first, second: as `grounding_agreement` takes them.

    Examples:
        >>> from deeptrace.geometry import Box
        >>> from deeptrace.schema import Label, Media, Trace
        >>> media = Media(width=640, height=360, duration_s=4.0)
        >>> def sample(*sides):
        ...     traces = [Trace(onset_s=0.0, offset_s=4.0, box=Box(x0=0.0, y0=0.0, x1=x1, y1=1.0)) for x1 in sides]
        ...     return Sample(video_id="a", path="a.mp4", label=Label.FAKE, media=media, traces=tuple(traces))

        >>> [trace_overlap([sample(1.0)], [other]).tolist() for other in (sample(0.5), sample(1.0, 0.1), sample())]
        [[0.5], [0.5], [0.0]]
        >>> trace_overlap([sample()], [sample()]).tolist()
        [1.0]
    """
    if [s.video_id for s in first] != [s.video_id for s in second]:
        raise ValueError("expected the same videos in the same order from both annotators")
    a, b = trace_columns([s.traces for s in first]), trace_columns([s.traces for s in second])
    duration = np.array([s.media.duration_s if s.media else None for s in first], dtype=float)
    pairs = match_traces(trace_pairs(a, b, duration), a.video)
    pairs = pairs.take(pairs.overlap > 0)
    video, n = a.video[pairs.true], len(first)
    either = np.bincount(a.video, minlength=n) + np.bincount(b.video, minlength=n) - np.bincount(video, minlength=n)
    together = np.bincount(video, weights=pairs.overlap, minlength=n)
    return np.where(either == 0, 1.0, together / np.maximum(either, 1))


def _mean(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


_BLOCKS = ("paper", "per_video", "grounded", "traces", "text")


def annotator_ceiling(first: Sequence[Sample], second: Sequence[Sample]) -> dict[str, Any]:
    """Score each of two rounds of annotation of the same videos against the other.

    Args:
        first, second: the same videos, in the same order, with each annotator's traces; real videos may stand among
            them, with what the annotators drew on them (usually nothing).

    Returns:
        The blocks `paper`, `per_video`, `grounded`, `traces` and `text` of `evaluate_pairs`, each value the mean of the
        two directions (None where either has none), and `agreement` (`grounding_agreement`). A round has no judge and
        no probabilities, so what needs them is None.

    Raises:
        ValueError: not the same videos in the same order.

    Examples:
        >>> from deeptrace.geometry import Box
        >>> from deeptrace.schema import Label, Media, Trace
        >>> media = Media(width=640, height=360, duration_s=4.0)
        >>> def sample(x1):
        ...     trace = Trace(onset_s=0.0, offset_s=4.0, box=Box(x0=0.0, y0=0.0, x1=x1, y1=1.0))
        ...     return Sample(video_id="a", path="a.mp4", label=Label.FAKE, media=media, traces=(trace,))

        >>> found = annotator_ceiling([sample(1.0)], [sample(0.5)])
        >>> found["paper"]["bbox_iou"], found["traces"]["viou"], found["paper"]["overall"]  # nobody judged the texts
        (50.0, 0.5, None)
    """
    agreement = grounding_agreement(first, second)
    runs = [evaluate_pairs(truth, annotator_verdicts(model)) for truth, model in ((first, second), (second, first))]
    ceiling: dict[str, Any] = {
        block: {name: _mean_of(runs[0][block][name], runs[1][block][name]) for name in runs[0][block]}
        for block in _BLOCKS
    }
    return ceiling | {"agreement": agreement}


def _mean_of(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else (a + b) / 2
