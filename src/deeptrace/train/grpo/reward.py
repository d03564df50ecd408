"""The grounded reward of an answer: its words, compared with the ground truth. Plain functions, no model, no network.

    unreadable answer (refused, cut off, no label, both labels)   -1
    real video,      REAL   1 - format * (1 - form kept) - false_trace * n / (n + 1)
    real video,      FAKE   -false_alarm - false_trace * n / (n + 1)
    generated video, REAL   -miss
    generated video, FAKE   label + format * form kept + (1 - label - format) * grounding

`n` traces named, the weights as in `RewardWeights`; a generated video of which no trace is known is rewarded for label
and form alone, scaled to 1. So the rewards lie in [-1, 1]; the best answer has 1; an unreadable one is worst; a hedge
("FAKE ... the video is real") earns less than either honest answer with its label. Answers are read by
`prompts.read_answer`, as detectors' are.

*Grounding*: the traces of an answer are matched one to one to the true ones. A pair earns the weighted mean of its
credits, over the parts that the ground truth states:

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

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from deeptrace.errors import AnswerError
from deeptrace.metrics.arrays import TraceColumns, trace_columns
from deeptrace.metrics.matching import TracePairs, match_traces, trace_pairs
from deeptrace.metrics.text import rouge_l
from deeptrace.prompts import Answer, read_answer
from deeptrace.schema import Label, Trace
from deeptrace.train.grpo.ground_truth import GroundTruth, sayable

__all__ = ["DEFAULT_WEIGHTS", "PARTS", "RewardWeights", "ScoredAnswer", "Similarity", "grounded_reward", "score_answer"]

CREDITS = ("box", "onset", "tiou", "viou", "explanation")
"""What a predicted trace earns against a true one, each in [0, 1]."""


class RewardWeights(BaseModel):
    """Weights of `score_answer`; the rewards lie in [-1, 1].

    Attributes:
        label: what FAKE alone earns on a generated video.
        format: what the form asked for earns; the rest, 1 - label - format, is for grounding.
        miss: cost of REAL on a generated video.
        false_alarm: cost of FAKE on a real video; above `miss` by default, for an accusation is the graver mistake.
        false_trace: cost of traces named on a real video: of n traces, n / (n + 1) of it.
        box_best: share of the grounding that the first box named earns on its own, with the true trace it fits best.
        box: weight of the boxes' IoU within a matched pair of traces.
        onset: weight of the onset within a pair.
        tiou: weight of the temporal IoU within a pair.
        viou: weight of the volume IoU within a pair.
        explanation: weight of the explanations' likeness within a pair.
        recall: how much a true trace that is not named costs against a named one that is not true, in [0, 1): 0.5 is
            the balance of F1; 0 forgives missing ones, for models that are taught to name a single trace.
        onset_tolerance: error of an onset that earns nothing, as a fraction of the video's duration.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    label: float = Field(default=0.3, gt=0, lt=1)
    format: float = Field(default=0.05, ge=0, lt=1)
    miss: float = Field(default=0.5, gt=0, lt=1)
    false_alarm: float = Field(default=0.7, gt=0, lt=1)
    false_trace: float = Field(default=0.2, ge=0, lt=1)
    box_best: float = Field(default=0.1, ge=0, le=1)
    box: float = Field(default=0.4, ge=0)
    onset: float = Field(default=0.2, ge=0)
    tiou: float = Field(default=0.1, ge=0)
    viou: float = Field(default=0.15, ge=0)
    explanation: float = Field(default=0.15, ge=0)
    recall: float = Field(default=0.5, ge=0, lt=1)
    onset_tolerance: float = Field(default=0.25, gt=0, le=1)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.label + self.format >= 1:
            raise ValueError("expected label + format below 1, so that grounding is worth something")
        if self.false_alarm + self.false_trace >= 1:
            raise ValueError("expected false_alarm + false_trace below 1, so that an unreadable answer stays the worst")
        if self.format + self.false_trace >= 1:
            raise ValueError("expected format + false_trace below 1, so that a right REAL stays above 0")
        if sum(self.credits) <= 0:
            raise ValueError(f"expected a positive weight among {', '.join(CREDITS)}")
        return self

    @property
    def credits(self) -> tuple[float, ...]:
        """The weights within a pair, in the order of `CREDITS`."""
        return tuple(getattr(self, name) for name in CREDITS)


Floats = NDArray[np.float64]
Similarity = Callable[[str, str], float]
"""(predicted text, true text) -> likeness in [0, 1]."""

_LAZY_IS_RIGHT = 0.9


@dataclass(frozen=True, slots=True)
class Grounding:
    """How well an answer's traces are grounded; None where the ground truth cannot tell.

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
        true, named: traces of one video, see `ground_truth.sayable`.
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
    """Which credits the ground truth states for each true trace, (T, 5) in the order of `CREDITS`."""
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
    """The credits of all pairs, (K, 5) in the order of `CREDITS`; those that it cannot tell hold anything."""
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


DEFAULT_WEIGHTS = RewardWeights()

PARTS = ("label", "format", "box_best", *CREDITS, "false_traces")
"""What a reward is made of: `ScoredAnswer.parts`."""

_NOT_GROUNDED = Grounding(None, dict.fromkeys((*CREDITS, "box_best")), {})


@dataclass(frozen=True, slots=True)
class ScoredAnswer:
    """An answer with its reward.

    Attributes:
        reward: in [-1, 1].
        parts: each of `PARTS`: `label` 1 or 0, `format` and the credits in [0, 1], `false_traces` in (-1, 0]; None
            where the ground truth cannot tell (the credits of a real video, an onset that nobody annotated).
        measured: see `Grounding.measured`; empty where nothing was grounded.
        answer: as read; None when it was unreadable.
        traces: what was named, as far as the form asks for it.
        error: why it was unreadable, one line.
    """

    reward: float
    parts: Mapping[str, float | None]
    measured: Mapping[str, float | None] = field(default_factory=dict)
    answer: Answer | None = None
    traces: tuple[Trace, ...] = ()
    error: str | None = None


def grounded_reward(
    text: str, truth: GroundTruth, *, weights: RewardWeights = DEFAULT_WEIGHTS, similarity: Similarity = rouge_l
) -> float:
    """The reward of an answer, in [-1, 1]; see the module for the formula."""
    return score_answer(text, truth, weights=weights, similarity=similarity).reward


def score_answer(
    text: str,
    truth: GroundTruth,
    *,
    weights: RewardWeights = DEFAULT_WEIGHTS,
    similarity: Similarity = rouge_l,
    finished: bool = True,
) -> ScoredAnswer:
    """The reward of an answer with its parts.

    Args:
        text: the model's words.
        truth: what is true of the video, and how the answer is to be read.
        weights: see `RewardWeights`.
        similarity: of two explanations, in [0, 1]; a judge can take this place.
        finished: False when generation ran into its limit: the form is then not kept.
    """
    try:
        answer = read_answer(text, form=truth.form, view=truth.view)
    except AnswerError as error:
        parts = dict.fromkeys(PARTS) | {"label": 0.0, "format": 0.0}
        return ScoredAnswer(-1.0, parts, error=str(error))
    named = sayable(answer.traces, truth.form)
    says_fake = answer.label is Label.FAKE
    kept = _form_kept(answer, named, truth) if finished else 0.0
    grounding = _NOT_GROUNDED
    if truth.is_fake:
        grounding = ground(
            truth.traces,
            named if says_fake else (),
            duration_s=truth.duration_s,
            weights=weights,
            similarity=similarity,
        )
    false_traces = None if truth.is_fake else -len(named) / (len(named) + 1)
    parts = {
        "label": float(says_fake == truth.is_fake),
        "format": kept,
        **grounding.credits,
        "false_traces": false_traces,
    }
    reward = _combined(says_fake, kept, grounding.score, false_traces, weights)
    return ScoredAnswer(reward, {name: parts[name] for name in PARTS}, grounding.measured, answer, named)


def _combined(
    says_fake: bool, kept: float, grounding: float | None, false_traces: float | None, weights: RewardWeights
) -> float:
    if false_traces is not None:
        extra = weights.false_trace * false_traces
        return -weights.false_alarm + extra if says_fake else 1.0 - weights.format * (1.0 - kept) + extra
    if not says_fake:
        return -weights.miss
    said = weights.label + weights.format * kept
    if grounding is None:
        return said / (weights.label + weights.format)
    return said + (1.0 - weights.label - weights.format) * grounding


def _form_kept(answer: Answer, named: tuple[Trace, ...], truth: GroundTruth) -> float:
    """How far the answer has the form asked for, in [0, 1]: half for nothing odd, half for saying what was asked.

    Asked is each part that the form asks for, of every trace named, save for as many as lack it in the truth.
    """
    clean = 0.0 if answer.warnings else 0.5
    if answer.label is Label.REAL or not truth.is_fake:
        return clean + 0.5 * (answer.label is Label.FAKE or not named)
    asked = said = 0
    for part in (_has_box, _has_onset, _has_text):
        lacking = sum(not part(trace) for trace in truth.traces)
        wanted = max(max(len(named), 1) - lacking, 0) if lacking < len(truth.traces) else 0
        asked += wanted
        said += min(sum(map(part, named)), wanted)
    return clean + 0.5 * (said / asked if asked else 1.0)


def _has_box(trace: Trace) -> bool:
    return trace.box is not None


def _has_onset(trace: Trace) -> bool:
    return trace.onset_s is not None


def _has_text(trace: Trace) -> bool:
    return bool(trace.explanation.strip())
