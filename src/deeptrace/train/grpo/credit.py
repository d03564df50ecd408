"""What the traces of an answer earn against the true ones: matched one to one, each part above what a lazy answer gets.

A pair of a named and a true trace earns the weighted mean of its credits, over the parts that the truth knows:

    box          IoU, above that of the full frame
    onset        1 - |error| / tolerance, at least 0
    tiou         temporal IoU, above that of the whole clip; only where the form says when a trace ends
    viou         volume IoU, above that of the full frame for the whole clip
    explanation  similarity of the two texts (ROUGE-L F1)

*Above* means (x - lazy) / (1 - lazy), at least 0: a full-frame box and a whole-clip interval earn 0. Where the truth
itself fills 90 % of the frame or clip, the lazy answer is right, and x stands as it is. A pair whose boxes do not touch
earns nothing: a time or a reason counts where it belongs.

    grounding = (1 - box_best) * sum of matched pairs / (recall * true + (1 - recall) * named) + box_best * first box

The assignment is the one with the largest sum, so that a better box, time or text never lowers the reward; the
denominator makes every further named trace cost, so that guessing many does not pay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deeptrace.metrics.columns import TraceColumns, trace_columns
from deeptrace.metrics.matching import TracePairs, match_traces, trace_pairs
from deeptrace.trace import Trace
from deeptrace.train.grpo.weights import CREDITS, RewardWeights

__all__ = ["Grounding", "Similarity", "ground"]

Floats = NDArray[np.float64]
Similarity = Callable[[str, str], float]
"""(predicted text, true text) -> likeness in [0, 1]."""

_LAZY_IS_RIGHT = 0.9


@dataclass(frozen=True, slots=True)
class Grounding:
    """How well an answer's traces are grounded; None where the truth cannot tell.

    Attributes:
        score: in [0, 1], the formula above.
        credits: each of `CREDITS` over the matched pairs, with the same denominator, and `box_best`; in [0, 1].
        measured: plain `box_iou`, `tiou`, `viou` averaged over the true traces (one that is not found has 0), and
            `onset_error_s` over the matched pairs.
    """

    score: float | None
    credits: dict[str, float | None]
    measured: dict[str, float | None]


def ground(
    true: tuple[Trace, ...],
    named: tuple[Trace, ...],
    *,
    duration_s: float,
    weights: RewardWeights,
    similarity: Similarity,
) -> Grounding:
    """Match the traces of an answer to the true ones.

    Args:
        true, named: traces of one video, see `truth.sayable`.
        duration_s: its length; NaN where not known, times then count for nothing.
        weights: see `RewardWeights`.
        similarity: of two explanations, the predicted one first.
    """
    a, b = trace_columns([true]), trace_columns([named])
    length = np.array([duration_s])
    pairs = trace_pairs(a, b, length)
    known = _known(a, length)
    credits = _credits(a, b, pairs, length, weights.onset_tolerance, similarity)
    credits = np.where(known[pairs.true], credits, np.nan)
    weight = np.where(known, np.array(weights.credits), 0.0)
    total = weight.sum(axis=1)
    apart = a.has_box[pairs.true] & ~(pairs.box_iou > 0)
    with np.errstate(invalid="ignore"):
        score = np.nan_to_num(np.nansum(credits * weight[pairs.true], axis=1) / total[pairs.true])
    score[apart] = 0.0
    matched = match_traces(replace(pairs, overlap=score), a.video)
    row = matched.true * len(b) + matched.predicted  # all pairs stand in order of true, then named
    best = _first_box(a, b, pairs)

    def share(values: Floats, counted: NDArray[np.bool_]) -> float | None:
        """Sum of `values` of the matched pairs over the balanced count of true and named traces."""
        if not counted.any():
            return None
        spoken = max(len(b) - int((~counted).sum()), int(counted[matched.true].sum()))
        whole = weights.recall * int(counted.sum()) + (1 - weights.recall) * spoken
        return float(np.nansum(values) / whole) if whole > 0 else 0.0

    quality = share(matched.overlap, total > 0)
    parts = {name: share(credits[row, k], known[:, k]) for k, name in enumerate(CREDITS)}
    if quality is not None and best is not None:
        quality = (1 - weights.box_best) * quality + weights.box_best * best
    return Grounding(quality, parts | {"box_best": best}, _measured(a, b, matched, pairs, known))


def _known(true: TraceColumns, length: Floats) -> NDArray[np.bool_]:
    """Which credits the truth can tell of each true trace, (T, 5) in the order of `CREDITS`."""
    timed = ~np.isnan(length[true.video])
    onset, offset = (~np.isnan(true.span[:, side]) & timed for side in (0, 1))
    text = np.array([bool(words.strip()) for words in true.texts], dtype=bool)
    return np.stack([true.has_box, onset, offset, true.has_box & (onset | offset), text], axis=1)


def _credits(
    true: TraceColumns,
    named: TraceColumns,
    pairs: TracePairs,
    length: Floats,
    tolerance: float,
    similarity: Similarity,
) -> Floats:
    """The credits of all pairs, (K, 5) in the order of `CREDITS`; those that the truth cannot tell hold anything."""
    i, j = pairs.true, pairs.predicted
    frame = ((true.box[:, 2] - true.box[:, 0]) * (true.box[:, 3] - true.box[:, 1]))[i]
    clip = (np.diff(true.filled_span(length), axis=1)[:, 0] / length[true.video])[i]
    late = np.abs(true.span[i, 0] - named.span[j, 0]) / (tolerance * length[true.video[i]])
    silent = np.isnan(named.span[j]).all(axis=1)
    alike = [similarity(named.texts[q], true.texts[p]) if true.texts[p] else 0.0 for p, q in zip(i, j, strict=True)]
    return np.stack(
        [
            _above(pairs.box_iou, frame),
            np.clip(1.0 - np.nan_to_num(late, nan=1.0), 0.0, 1.0),
            np.where(silent, 0.0, _above(pairs.tiou, clip)),
            _above(pairs.overlap, frame * clip),
            np.clip(np.array(alike, dtype=float), 0.0, 1.0),
        ],
        axis=1,
    )


def _above(value: Floats, lazy: Floats) -> Floats:
    """`value` above what a lazy answer gets, in [0, 1]; NaN, a part that was not named, is 0."""
    right = ~(lazy < _LAZY_IS_RIGHT)
    gained = np.clip((value - lazy) / np.where(right, 1.0, 1.0 - lazy), 0.0, 1.0)
    return np.nan_to_num(np.where(right, value, gained), nan=0.0)


def _first_box(true: TraceColumns, named: TraceColumns, pairs: TracePairs) -> float | None:
    """Credit of the first box named, with the true trace it fits best; None where no true box is known."""
    if not true.has_box.any():
        return None
    boxed = np.flatnonzero(named.has_box)
    if not len(boxed):
        return 0.0
    mine = pairs.take((pairs.predicted == boxed[0]) & true.has_box[pairs.true])
    corners = true.box[mine.true]
    return float(_above(mine.box_iou, np.prod(corners[:, 2:] - corners[:, :2], axis=1)).max())


def _measured(
    true: TraceColumns, named: TraceColumns, matched: TracePairs, pairs: TracePairs, known: NDArray[np.bool_]
) -> dict[str, float | None]:
    row = matched.true * len(named) + matched.predicted
    plain = {"box_iou": (0, pairs.box_iou), "tiou": (2, pairs.tiou), "viou": (3, pairs.overlap)}
    out: dict[str, float | None] = {}
    for name, (column, values) in plain.items():
        counted = known[:, column]
        found = np.nansum(values[row][counted[matched.true]])
        out[name] = float(found / counted.sum()) if counted.any() else None
    errors = np.abs(true.span[matched.true, 0] - named.span[matched.predicted, 0])
    errors = errors[~np.isnan(errors)]
    out["onset_error_s"] = float(errors.mean()) if len(errors) else None
    return out
