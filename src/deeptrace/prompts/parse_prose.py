"""Readers of free text: the paper's sentences, and prose."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar

from deeptrace.geometry import Box
from deeptrace.prompts.answer import Answer
from deeptrace.prompts.coordinates import View
from deeptrace.prompts.parse_box_text import Written, find_boxes
from deeptrace.prompts.parse_boxes import BoxReader
from deeptrace.prompts.parse_labels import Reading, find_label, says_more_than_the_label
from deeptrace.prompts.parse_numbers import plain
from deeptrace.prompts.parse_times import Span, TimeUnit, doubts, find_moments, read_span, read_spans
from deeptrace.prompts.template import AnswerForm
from deeptrace.schema import Label, Trace

__all__ = ["PART", "Prose", "joined", "nth", "prose", "read_prose", "read_sentences", "trace_of"]

_T = TypeVar("_T")

PART = re.compile(
    r"\b(?:the|another)\s+unnatural\s+parts?\s+(?:is|are|starts?|starting)\b"
    r"|(?:^\s*|(?<=AI-generated\. ))there\s+is\s+an\s+unnatural\s+part\b",
    re.I | re.M,
)
_NONE = re.compile(r"\bthere\s+(?:is|are)\s+no\s+unnatural\s+parts?\b|\bthe\s+video\s+is\s+real\b", re.I)
_ITEM = re.compile(r"^[ \t]*(?:\d{1,2}[.)]|[-*•])[ \t]+(?=[^\n]*\d)", re.M)  # of a list of parts
_REASON = re.compile(
    r"\b(?:the\s+)?reason\s+is\s*(?:that|because|:)?\s*|\bbecause\s+|\bexplanation\s*:\s*|,\s*(?:as|since)\s+"
    r"|原因(?:是|[:：])\s*|因为|이유(?:는|[:：])\s*|потому\s+что\s*|причина\s*:\s*",
    re.I,
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+|(?<=[。！？])")
_LABEL_OPENS = re.compile(r"[\s\"'*_`#<>\[({-]*(?:FAKE|REAL)\b(?:\s*\([^)\n]{0,40}\))?[\s\"'*_`>\])}.,:;!-]*")
_LABEL_CLOSES = re.compile(r"[\s\"'*_`(]*\b(?:FAKE|REAL)[\s\"'*_`).!]*\Z")
_MARKUP = re.compile(r"</?(?:box|ref|det|bbox|quad|p)>", re.I)
_GAP = "□"  # where a box stood: neither a space, which words could be joined over, nor a letter
_CUT_TIME = "the answer stops within the start time: left out"
_BARE_END = re.compile(r"\b(?:start|begin|onset|from|at|around)\w*\W+(?:[a-z]+\s+){0,2}(?:\d+\.)?\d+\Z", re.I)
_CUT_END = re.compile(r"\d\Z|(?<![.\d])\d+\.\Z")
# a time in a column of its own, or on a line of its own: "FAKE, [..], 1.5, The hand melts"
_COLUMN = re.compile(
    r"(?:[\s)\]]*[,;|]\s*|[ \t)\]]*\n[ \t]*(?:(?:\d{1,2}[.)]|[-*•])[ \t]+)?)"
    r"(\d+(?:\.\d+)?(?:\s*s(?:ec\w*)?)?)\s*?(?:[;|\n)\]]|\Z|,(?!\d))\s*"
)
# A cue makes a bare number behind it a time: "starting 2", "beginning around 3.5".
_CUE = re.compile(
    r"\b(?:start(?:s|ing|ed)?|begin(?:s|ning)?|began|onset|between|zwischen|entre|между|from|ab|desde|depuis|time|timestamp|at|around|since|after|near)\b[\s:=~]*"
    r"(?:(?:time|at|from|is|of|on|around|about|approximately|roughly|the|t|frame|second|timestamp|in)\b[\s:=~]*){0,5}",
    re.I,
)
_STARTS = re.compile(r"start|begin|began|onset|from|time", re.I)
_DASH = re.compile(r"\s*[-~]\s*")
_LASTS = re.compile(
    r"\b(?:for|lasting|lasts?|over|within|during|every|another|of)\s+(?:about\s+|around\s+|the\s+|a\s+|only\s+)?$", re.I
)
_LONG = re.compile(r"[\s-]*(?:long|videos?|clips?|footage|later|apart|earlier|of\s+(?:video|footage))\b", re.I)
_FROM_THE_START = re.compile(
    r"\b(?:from|at|since)\s+(?:the\s+)?(?:very\s+)?(?:beginning|start|outset|first\s+(?:frame|second|moment))\b|\bthroughout\b|从一开始|从头|처음부터|с\s+самого\s+начала",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Prose:
    """What free text, or a sentence of it, states.

    Attributes:
        boxes: in order.
        spans: start and end of each box, or one for all.
        why: the reason, or the sentences that say more than label, place and time.
    """

    boxes: tuple[Box | None, ...] = ()
    spans: tuple[Span, ...] = ()
    why: str = ""


def read_sentences(text: str, form: AnswerForm, view: View, label: Reading | None = None) -> Answer:
    """Read `FAKE. The video is AI-generated. The unnatural part is at [..] starting T seconds. The reason is ..`.

    Several parts may stand on lines of their own or follow one another.

    Raises:
        AnswerError, RefusalError: no readable label.
    """
    starts = [found.start() for found in PART.finditer(text)]
    opening = text[: starts[0]] if starts else text
    if len(starts) == 1 and len(items := [item.start() for item in _ITEM.finditer(text, starts[0])]) > 1:
        starts = items  # "The unnatural parts are:", and a list of them
    read = label or find_label(opening if opening.strip() else text)
    warnings = list(read.warnings)
    reader = BoxReader(form.space, view)
    traces: list[Trace] = []
    for start, end in pairwise([*starts, len(text)]):
        traces += _part(text[start:end], form, view, reader, warnings)
    return _finished(read, traces, opening, [*warnings, *reader.warnings])


def _part(segment: str, form: AnswerForm, view: View, reader: BoxReader, warnings: list[str]) -> list[Trace]:
    head, reason = _split_reason(segment)
    found = joined(prose(head, form, view, reader))
    place = re.split(r"start|from", head, maxsplit=1)[0]
    if not found.boxes and re.search(r"\d\D+\d", place):
        found = replace(found, boxes=tuple(reader.read_text(place)))
    whole = form.times is TimeUnit.FRAMES and head.endswith(".")
    if not reason and found.spans and not whole and _CUT_END.search(head):  # the form has a unit behind it
        warnings.append(_CUT_TIME)
        found = replace(found, spans=())
    return _prose_traces(replace(found, why=" ".join(reason.split())), view, warnings) or [Trace()]


def read_prose(text: str, form: AnswerForm, view: View, label: Reading | None = None) -> Answer:
    """Read free text: brackets of four numbers, a start, a reason. A sentence that says the label alone is no trace.

    Raises:
        AnswerError, RefusalError: no readable label.
    """
    read = label or find_label(text)
    warnings = list(read.warnings)
    reader = BoxReader(form.space, view)
    segments = prose(text, form, view, reader)
    if segments[-1].spans and _BARE_END.search(plain(text)):
        warnings.append(_CUT_TIME)
        segments[-1] = replace(segments[-1], spans=segments[-1].spans[:-1])
    if read.label is Label.REAL:
        segments = [segment for segment in segments if segment.boxes]
    traces = [trace for segment in segments for trace in _prose_traces(segment, view, warnings)]
    return _finished(read, traces, text, [*warnings, *reader.warnings])


def _prose_traces(found: Prose, view: View, warnings: list[str]) -> list[Trace]:
    boxes = found.boxes or ((None,) if found.spans or found.why else ())
    return [trace_of(box, nth(found.spans, i), None, found.why, view, warnings) for i, box in enumerate(boxes)]


def _finished(read: Reading, traces: list[Trace], opening: str, warnings: list[str]) -> Answer:
    if read.label is Label.FAKE and _NONE.search(opening):
        warnings.append("a FAKE answer that says there is nothing unnatural")
    if read.label is Label.REAL and traces:
        warnings.append("a REAL answer that names unnatural parts: they are kept")
    return Answer(read.label, tuple(traces), read.p_fake, tuple(warnings), read.at)


def prose(text: str, form: AnswerForm, view: View, reader: BoxReader) -> list[Prose]:
    """What free text states: at least one, and one for each sentence that has places of its own.

    A time or reason that is stated once belongs to all of them.

    Args:
        text: of an answer, or what stands around its tags or JSON.
        form, view: see `read_answer`.
        reader: of the boxes.
    """
    written = find_boxes(text)
    blank = _blanked(text, written)
    sentences = [0, *(found.end() for found in _SENTENCE.finditer(blank))]
    cuts = sorted({max(start for start in sentences if start <= four.start) for four in written})
    found = []
    for start, end in zip([0, *cuts[1:]], [*cuts[1:], len(text)], strict=True):
        own = [four for four in written if start <= four.start < end]
        found.append(_stated_in(blank[start:end], [four.end - start for four in own], form, view))
        found[-1] = replace(found[-1], boxes=tuple(reader.box(four) for four in own))
    spans, reasons = [part.spans for part in found if part.spans], [part.why for part in found if part.why]
    return [
        replace(
            part, spans=spans[0] if len(spans) == 1 else part.spans, why=reasons[0] if len(reasons) == 1 else part.why
        )
        for part in found
    ]


def _blanked(text: str, written: list[Written]) -> str:
    """The text with a sign of its own in the place of each box; it is as long as it was."""
    for four in written:
        text = f"{text[: four.start]}{_GAP * (four.end - four.start)}{text[four.end :]}"
    return text


def joined(parts: list[Prose]) -> Prose:
    """Several as one: their boxes, a time for each, and all reasons."""
    boxes = tuple(box for part in parts for box in part.boxes)
    if len(parts) == 1 or not boxes:
        return parts[0]
    spans = tuple(nth(part.spans, i) or (None, None) for part in parts for i in range(len(part.boxes)))
    return Prose(boxes, spans, " ".join(dict.fromkeys(part.why for part in parts)).strip())


def _stated_in(blank: str, ends: list[int], form: AnswerForm, view: View) -> Prose:
    """Times and reason of a text whose boxes, which end at `ends`, are blanked."""
    head, reason = _split_reason(blank)
    if ends and (column := _COLUMN.match(plain(blank), ends[-1])) is not None:
        span = read_span(column.group(1), unit=form.times, view=view)
        return Prose((), (span,), " ".join((reason or blank[column.end() :]).replace(_GAP, " ").split()))
    every = _times(plain(head), form, view)
    spans = every if len(every) == len(ends) > 1 else every[:1] or _times(plain(reason), form, view)[:1]
    why = reason.replace(_GAP, " ") or _reasons(blank, form, view)
    return Prose((), tuple(spans), " ".join(why.split()))


def _split_reason(text: str) -> tuple[str, str]:
    found = _REASON.search(text)
    return (text[: found.start()], text[found.end() :]) if found else (text, "")


def _times(flat: str, form: AnswerForm, view: View) -> list[Span]:
    """The times that free text states, those behind "starting", "from" and the like first.

    A bare number is one behind such a word alone; a length ("for 2 seconds", "a 5-second clip") is none.
    """
    found: list[Span] = []
    for cue in sorted(_CUE.finditer(flat), key=lambda cue: _STARTS.match(cue.group(0)) is None):
        behind = re.split(r",(?!\d)|[;()\[\]\n]|\.\s", flat[cue.end() : cue.end() + 48])[0]
        moments = find_moments(behind)
        if moments and moments[0].start == 0:  # "between 1 and 2 s" is read with its first word
            found += read_spans(flat[cue.start() : cue.end() + len(behind)], unit=form.times, view=view)[:1]
    moments = find_moments(flat)
    for head, moment in zip([None, *moments], moments, strict=False):
        shown = flat[moment.start : moment.end]
        if moment.kind == "bare" or re.search(r"\d\s*(?:m|h|'|\")$", shown):
            continue
        ranged = head is not None and head.kind == "bare" and _DASH.fullmatch(flat, head.end, moment.start)
        start = head.start if head is not None and ranged else moment.start  # "during 1.5-3.0 s"
        lasts = _LASTS.search(flat[max(start - 24, 0) : start]) or _LONG.match(flat, moment.end)
        if lasts and not ranged:
            continue
        stated = read_spans(flat[start : start + 48], unit=form.times, view=view)[:1]
        found += [span for span in stated if not any(span[0] in other for other in found)]
    if not found and _FROM_THE_START.search(flat):
        return [(0.0, None)]
    return found


def _reasons(blank: str, form: AnswerForm, view: View) -> str:
    """The sentences that say more than the label; those that say more than where and when, if there are any."""
    telling, pure = [], []
    for sentence in _SENTENCE.split(_MARKUP.sub(" ", blank).replace(_GAP, " ")):
        opens = _LABEL_OPENS.match(sentence)
        words = " ".join(_LABEL_CLOSES.sub("", sentence[opens.end() if opens else 0 :]).split()).strip(" ,;:|-")
        timeless = plain(words)
        for moment in reversed(find_moments(words)):
            timeless = f"{timeless[: moment.start]} {timeless[moment.end :]}"
        if says_more_than_the_label(timeless):
            telling.append(words)
            if not _times(plain(words), form, view):
                pure.append(words)
    return " ".join(pure or telling).strip(" \"'*`")


def trace_of(box: Box | None, span: Span | None, end: float | None, why: str, view: View, warnings: list[str]) -> Trace:
    """A trace of what was stated apart; adds to `warnings` what is odd about its times."""
    onset, offset = span or (None, None)
    offset = end if end is not None else offset
    if onset is not None and offset is not None and offset < onset:
        warnings.append(f"end {offset:g} s lies before start {onset:g} s: left out")
        offset = None
    warnings += doubts(onset, offset, view)
    return Trace(box=box, onset_s=onset, offset_s=offset, explanation=why)


def nth(values: Sequence[_T | None], index: int) -> _T | None:
    """The value that belongs to trace `index`; what is stated once belongs to all."""
    if len(values) == 1:
        return values[0]
    return values[index] if index < len(values) else None
