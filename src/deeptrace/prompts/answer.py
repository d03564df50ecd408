"""Answer: what a model said, read; and the one place where an Answer becomes a Verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from deeptrace.schema import Label, Outcome, Trace, Verdict

__all__ = ["Answer", "verdict_of_answer"]


@dataclass(frozen=True, slots=True)
class Answer:
    """A readable answer.

    Attributes:
        label: REAL or FAKE, as the model said.
        traces: what it named, in its order. A REAL answer that names traces all the same keeps them, with a warning.
        p_fake: the probability it stated; None when it stated none.
        warnings: what was odd, one line each: contradictions, unusable boxes or times, an unexpected form.
        label_at: index of the word REAL or FAKE in the text that the label was read from; None where it was read from
            other words.
    """

    label: Label
    traces: tuple[Trace, ...] = ()
    p_fake: float | None = None
    warnings: tuple[str, ...] = ()
    label_at: int | None = field(default=None, compare=False)


def verdict_of_answer(answer: Answer, *, video: str, **known: Any) -> Verdict:
    """The verdict of a readable answer; `known` are further fields of it (media, detector, raw, ...).

    Examples:
        >>> said = verdict_of_answer(Answer(Label.REAL, p_fake=0.2), video="a.mp4")
        >>> str(said.outcome), str(said.label), said.p_fake
        ('scored', 'REAL', 0.2)
    """
    return Verdict(
        video=video,
        outcome=Outcome.SCORED,
        label=answer.label,
        p_fake=answer.p_fake,
        traces=answer.traces,
        warnings=answer.warnings,
        **known,
    )
