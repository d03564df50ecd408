"""Readers of the sentence form and the tag form."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

from deeptrace.geometry import Box
from deeptrace.protocol.answer import Answer
from deeptrace.protocol.boxes import BoxReader
from deeptrace.protocol.form import AnswerForm
from deeptrace.protocol.labels import find_label
from deeptrace.protocol.spaces import View
from deeptrace.protocol.times import TimeUnit, read_time
from deeptrace.trace import Label, Trace

__all__ = ["TAG", "read_sentences", "read_tags"]

_PART = re.compile(
    r"\bthe\s+unnatural\s+parts?\s+(?:is|are|starts?|starting)\b|^\s*there\s+is\s+an\s+unnatural\s+part\b", re.I | re.M
)
_OPENING = re.compile(r"\W*FAKE\b\W*(?:The\s+video\s+is\s+AI[- ]generated\b[.\s]*)?", re.I)
_NONE = re.compile(r"\bthere\s+(?:is|are)\s+no\s+unnatural\s+parts?\b|\bthe\s+video\s+is\s+real\b", re.I)
_REASON = re.compile(r"\b(?:the\s+)?reason\s+is\s*(?:that|because|:)?\s*|\bbecause\s+|\bexplanation\s*:\s*", re.I)
_START = re.compile(
    r"\b(?:starting|starts?|start\s*time|starting\s+time|begins?|beginning|onset|from)\b\s*(?:time\b)?\s*(?:is\b|at\b|from\b|of\b|on\b|:|=)?"
    r"\s*(?P<time>[^,;()\[\]\n]{1,40})",
    re.I,
)
_T = TypeVar("_T")

TAG = re.compile(
    r"<\s*(?P<tag>coordinates|start[_ ]?time|explanation)\s*>(?P<body>.*?)"
    r"(?=<\s*/?\s*(?:coordinates|start[_ ]?time|explanation)\s*>|\Z)",
    re.I | re.S,
)


def read_sentences(text: str, form: AnswerForm, view: View) -> Answer:
    """Read `FAKE. The video is AI-generated. The unnatural part is at [..] starting T seconds. The reason is ..`.

    Several parts may stand on lines of their own or follow one another. Prose that names no "unnatural part" is read
    for brackets of four numbers, a start and a reason.

    Raises:
        AnswerError, RefusalError: no readable label.
    """
    label, warnings = find_label(text)
    boxes = BoxReader(form.space, view)
    opening = _OPENING.match(text)
    body = text[opening.end() :] if opening else text
    starts = [found.start() for found in _PART.finditer(body)]
    if starts:
        ends = [*starts[1:], len(body)]
        traces = [_part(body[a:b], form, view, boxes) for a, b in zip(starts, ends, strict=True)]
    else:
        traces = _prose(body, form, view, boxes, label)
    if label is Label.FAKE and _NONE.search(body[: starts[0]] if starts else body):
        warnings.append("a FAKE answer that says there is nothing unnatural")
    if label is Label.REAL and traces:
        warnings.append("a REAL answer that names unnatural parts: they are kept")
    return Answer(label, tuple(traces), None, (*warnings, *boxes.warnings))


def _part(segment: str, form: AnswerForm, view: View, boxes: BoxReader) -> Trace:
    head, reason = _split_reason(segment)
    found = boxes.read_text(head) if re.search(r"\d\D+\d", head.partition("start")[0]) else []
    return Trace(
        box=found[0] if found else None,
        onset_s=_start(head, form.times, view),
        explanation=" ".join(reason.split()),
    )


def _prose(body: str, form: AnswerForm, view: View, boxes: BoxReader, label: Label) -> list[Trace]:
    head, reason = _split_reason(body)
    found = boxes.read_text(head) if re.search(r"[\[({][^\[\](){}]*\d[^\[\](){}]*\d", head) else []
    onset = _start(head, form.times, view)
    if not found and (onset is None or label is Label.REAL):
        if label is Label.REAL:
            return []
        text = " ".join((reason or body).split()).strip(" .\"'*`")
        return [Trace(onset_s=onset, explanation=" ".join((reason or body).split()))] if text else []
    explanation = " ".join(reason.split())
    return [Trace(box=box, onset_s=onset, explanation=explanation) for box in found or [None]]


def _split_reason(text: str) -> tuple[str, str]:
    found = _REASON.search(text)
    return (text[: found.start()], text[found.end() :]) if found else (text, "")


def _start(head: str, unit: TimeUnit, view: View) -> float | None:
    for found in _START.finditer(head):
        stated = read_time(found.group("time").rstrip(" ."), unit=unit, view=view)
        if stated is not None:
            return stated
    return None


def read_tags(text: str, form: AnswerForm, view: View) -> Answer:
    """Read `FAKE <coordinates>[..]</coordinates> <start_time>T</start_time> <explanation>..</explanation>`.

    Tags may be unclosed, several groups may follow one another, and one pair of tags may hold several boxes, which
    then share what is stated once.

    Raises:
        AnswerError, RefusalError: no readable label outside the tags.
    """
    outside = re.sub(r"<\s*/\s*(?:coordinates|start[_ ]?time|explanation)\s*>", " ", TAG.sub(" ", text), flags=re.I)
    label, warnings = find_label(outside)
    reader = BoxReader(form.space, view)
    boxes: list[Box | None] = []
    times: list[float | None] = []
    reasons: list[str] = []
    for found in TAG.finditer(text):
        tag, body = found.group("tag").lower(), found.group("body").strip()
        if tag == "coordinates":
            boxes += (reader.read_text(body) if body else []) or [None]
        elif tag == "explanation":
            reasons.append(" ".join(body.split()))
        else:
            times.append(read_time(body, unit=form.times, view=view))
            if body and times[-1] is None:
                warnings.append(f"start time {body[:40]!r} is not readable")
    count = max(len(boxes), len(times), len(reasons), 0)
    traces = [
        Trace(box=_nth(boxes, i), onset_s=_nth(times, i), explanation=_nth(reasons, i) or "") for i in range(count)
    ]
    if label is Label.REAL:
        traces = [trace for trace in traces if trace.box is not None or trace.onset_s is not None]
        if traces:
            warnings.append("a REAL answer that names unnatural parts: they are kept")
    return Answer(label, tuple(traces), None, (*warnings, *reader.warnings))


def _nth(values: Sequence[_T | None], index: int) -> _T | None:
    """The value that belongs to trace `index`; what is stated once belongs to all."""
    if len(values) == 1:
        return values[0]
    return values[index] if index < len(values) else None
