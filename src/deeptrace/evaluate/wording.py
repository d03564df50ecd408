"""A verdict in words for people: careful ones, because a score is evidence and not proof."""

from __future__ import annotations

from deeptrace.geometry import Box
from deeptrace.trace import Label, Outcome, Trace, Verdict

__all__ = ["DIED", "headline", "over_time", "place", "probability", "span", "trace_line"]

DIED, _OVERDUE = "the worker process", "took longer than the time limit"
_OUTCOMES = {
    Outcome.DECODE_FAILED: "cannot be read",
    Outcome.MODEL_FAILED: "detector failed",
    Outcome.REFUSED: "model refused",
    Outcome.PARSE_FAILED: "answer not understood",
    Outcome.JUDGE_FAILED: "judge failed",
}


def headline(verdict: Verdict) -> str:
    """The verdict in a few words."""
    if verdict.label is None:
        why = verdict.error or ""
        if why.startswith(_OVERDUE):  # the outcome has no word for these two, whose file may well be sound
            return "ran out of time"
        return "crashed" if why.startswith(DIED) else _OUTCOMES[verdict.outcome]
    return "looks AI-generated" if verdict.label is Label.FAKE else "looks real"


def over_time(limit_s: float) -> str:
    """What the error of a video says that was stopped at its time limit."""
    return f"{_OVERDUE} of {limit_s:g} s"


def probability(verdict: Verdict) -> str:
    """p_fake beside the threshold it was compared with, "0.93 (>= 0.50)"; "not stated" when there is none."""
    if verdict.label is None:
        return ""
    if verdict.p_fake is None:
        return "not stated"
    threshold = verdict.detector.settings.get("threshold") if verdict.detector is not None else None
    if not isinstance(threshold, (int, float)):
        return f"{verdict.p_fake:.2f}"
    sign = ">=" if verdict.p_fake >= threshold else "<"
    return f"{verdict.p_fake:.2f} ({sign} {threshold:.2f})"


def trace_line(trace: Trace) -> str:
    """When, where, which and how sure: "1.2-2.4 s, upper left (14 % of the frame), Sudden blurring, score 0.81"."""
    kinds = " and ".join(kind.display_name for kind in trace.categories)
    parts = [span(trace), place(trace.box), kinds, None if trace.score is None else f"score {trace.score:.2f}"]
    return ", ".join(part for part in parts if part)


def span(trace: Trace) -> str:
    """When, in seconds."""
    if trace.onset_s is None:
        return "time not stated"
    if trace.offset_s is None:
        return f"from {trace.onset_s:.1f} s"
    return f"{trace.onset_s:.1f}–{trace.offset_s:.1f} s"


def place(box: Box | None) -> str:
    """Where, in words, with the share of the frame."""
    if box is None:
        return "place not stated"
    return f"{'nearly everywhere' if box.nearly_everywhere else box.place} ({100 * box.area:.0f} % of the frame)"
