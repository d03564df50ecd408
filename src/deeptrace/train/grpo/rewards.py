"""The grounded reward of an answer: its words, read and compared with the truth. Plain functions, no model, no network.

    unreadable answer (refused, cut off, no label, both labels)   -1
    real video,      REAL   1 - format * (1 - form kept) - false_trace * n / (n + 1)
    real video,      FAKE   -false_alarm - false_trace * n / (n + 1)
    generated video, REAL   -miss
    generated video, FAKE   label + format * form kept + (1 - label - format) * grounding

`n` traces named, `grounding` as in `credit`, the weights as in `RewardWeights`; a generated video of which no trace is
known is rewarded for label and form alone, scaled to 1. So the rewards lie in [-1, 1]; the best answer has 1; an
unreadable one is worst; a hedge ("FAKE ... the video is real") earns less than either honest answer with its label.
Answers are read by `protocol.read_answer`, as detectors' are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from deeptrace.errors import AnswerError
from deeptrace.metrics.text import rouge_l
from deeptrace.protocol import Answer, read_answer
from deeptrace.trace import Label, Trace
from deeptrace.train.grpo.credit import Grounding, Similarity, ground
from deeptrace.train.grpo.truth import Truth, sayable
from deeptrace.train.grpo.weights import CREDITS, RewardWeights

__all__ = ["DEFAULT_WEIGHTS", "PARTS", "ScoredAnswer", "grounded_reward", "score_answer"]

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
            where the truth cannot tell (the credits of a real video, an onset that nobody annotated).
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
    text: str, truth: Truth, *, weights: RewardWeights = DEFAULT_WEIGHTS, similarity: Similarity = rouge_l
) -> float:
    """The reward of an answer, in [-1, 1]; see the module for the formula."""
    return score_answer(text, truth, weights=weights, similarity=similarity).reward


def score_answer(
    text: str,
    truth: Truth,
    *,
    weights: RewardWeights = DEFAULT_WEIGHTS,
    similarity: Similarity = rouge_l,
    finished: bool = True,
) -> ScoredAnswer:
    """The reward of an answer with its parts.

    Args:
        text: what the model said.
        truth: what is true of the video, and how the answer is to be read.
        weights: see `RewardWeights`.
        similarity: of two explanations, in [0, 1]; a judge can stand here.
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


def _form_kept(answer: Answer, named: tuple[Trace, ...], truth: Truth) -> float:
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
