"""Answer: what a model said, read; and the one place where an Answer becomes a Verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deeptrace.trace import Label, Outcome, Trace, Verdict

__all__ = ["Answer", "verdict_of_answer"]


@dataclass(frozen=True, slots=True)
class Answer:
    """A readable answer.

    Attributes:
        label: REAL or FAKE, as the model said.
        traces: what it named, in its order. A REAL answer that names traces all the same keeps them, with a warning.
        p_fake: the probability it stated; None when it stated none.
        warnings: what was odd, one line each: contradictions, unusable boxes or times, an unexpected form.
    """

    label: Label
    traces: tuple[Trace, ...] = ()
    p_fake: float | None = None
    warnings: tuple[str, ...] = ()


def verdict_of_answer(answer: Answer, *, video: str, **known: Any) -> Verdict:
    """The verdict of a readable answer; `known` are further fields of it (media, detector, raw, ...)."""
    return Verdict(
        video=video,
        outcome=Outcome.SCORED,
        label=answer.label,
        p_fake=answer.p_fake,
        traces=answer.traces,
        warnings=answer.warnings,
        **known,
    )
