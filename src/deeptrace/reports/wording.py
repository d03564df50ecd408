"""A verdict in words for people: careful ones, because a score is evidence and not proof."""

from __future__ import annotations

from deeptrace.geometry import Box
from deeptrace.schema import Trace, Verdict

__all__ = ["headline", "place", "probability", "span", "trace_line", "trace_phrase"]


def headline(verdict: Verdict) -> str:
    """The verdict in a few words."""
    return verdict.outcome.display_name if verdict.decision is None else verdict.decision.display_name


def probability(verdict: Verdict) -> str:
    """p_fake beside the threshold it was compared with, "0.93 (at least 0.50)"; "not stated" when there is none."""
    if verdict.label is None:
        return ""
    if verdict.p_fake is None:
        return "not stated"
    threshold = verdict.detector.settings.get("threshold") if verdict.detector is not None else None
    if not isinstance(threshold, (int, float)):
        return f"{verdict.p_fake:.2f}"
    side = "at least" if verdict.p_fake >= threshold else "below"
    return f"{verdict.p_fake:.2f} ({side} {threshold:.2f})"


def trace_line(trace: Trace) -> str:
    """When, where, which and how sure: "1.2-2.4 s, upper left (14 % of the frame), Sudden blurring, score 0.81".

    A weak trace begins with "weak guess".
    """
    kinds = " and ".join(kind.display_name for kind in trace.categories)
    parts = [span(trace), place(trace.box), kinds, None if trace.score is None else f"score {trace.score:.2f}"]
    line = ", ".join(part for part in parts if part)
    return f"weak guess: {line}" if trace.weak else line


def trace_phrase(trace: Trace) -> str:
    """A trace in one short line: "1.2–2.4 s, upper left, Sudden blurring"; only the likeliest of its kinds."""
    where = None if trace.box is None else "nearly everywhere" if trace.box.nearly_everywhere else trace.box.place
    kind = trace.categories[0].display_name if trace.categories else None
    line = ", ".join(part for part in (span(trace), where, kind) if part)
    return f"weak guess: {line}" if trace.weak else line


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
