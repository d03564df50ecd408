"""The answers that each form of question allows, as patterns: what `protocol.write_answer` writes, and no more."""

from __future__ import annotations

from deeptrace.detectors.transformers.strict.automaton import (
    Pattern,
    either,
    many,
    one_of,
    optional,
    sequence,
    text,
    utf8_except,
)
from deeptrace.protocol import AnswerForm, Style, TimeUnit
from deeptrace.protocol.write import FAKE_OPENING, REAL_SENTENCE
from deeptrace.trace import Category

__all__ = ["MAX_TRACES", "answer_pattern"]

MAX_TRACES = 6
"""Most traces of an answer; the data have at most 6 a video."""

_DIGIT = one_of(b"0123456789")
_WORD_START = utf8_except(' <>[]{}"\\')
_PROSE = sequence(_WORD_START, optional(many(utf8_except('<>[]{}"\\'))))
"""An explanation: one line that begins with no space and holds nothing the forms mark their parts with."""


def answer_pattern(form: AnswerForm) -> Pattern:
    """Every answer of the form. A space may stand before it, as tokenizers of words put one there."""
    answers = {Style.SENTENCE: _sentences, Style.TAGS: _tags, Style.JSON: _json}[form.style](form)
    return sequence(optional(text(" ")), answers)


def _whole(digits: int) -> Pattern:
    return either(text("0"), sequence(one_of(b"123456789"), optional(many(_DIGIT, at_most=digits - 1))))


def _fraction(digits: int) -> Pattern:
    return either(text("1"), sequence(text("0"), optional(sequence(text("."), many(_DIGIT, at_most=digits)))))


def _box(form: AnswerForm) -> Pattern:
    number = _fraction(4) if form.space.unit == "fractions" else _whole(4)
    four = [number, *[sequence(text(", "), number)] * 3]
    return sequence(text("["), *four, text("]"))


def _time(form: AnswerForm) -> Pattern:
    if form.times is TimeUnit.FRAMES:
        return _whole(4)
    if form.times is TimeUnit.CLOCK:
        sixties = sequence(one_of(b"012345"), _DIGIT)
        return sequence(_DIGIT, _DIGIT, text(":"), sixties, text("."), _DIGIT, _DIGIT)
    return sequence(_whole(4), optional(sequence(text("."), many(_DIGIT, at_most=2))))


def _sentences(form: AnswerForm) -> Pattern:
    parts = [text("There is an unnatural part")] if not form.box and not form.time else [text("The unnatural part is")]
    if form.box:
        parts += [text(" at "), _box(form)]
    if form.time:
        words = {TimeUnit.SECONDS: " starting ", TimeUnit.CLOCK: " starting ", TimeUnit.FRAMES: " starting frame "}
        parts += [text(words[form.times]), _time(form)]
        parts += [text(" seconds")] if form.times is TimeUnit.SECONDS else []
    parts.append(text("."))
    if form.explanation:
        parts += [text(" The reason is because "), _PROSE]
    one = sequence(*parts)
    more = optional(many(sequence(text("\n"), one), at_most=MAX_TRACES - 1))
    return either(text(REAL_SENTENCE), sequence(text(f"{FAKE_OPENING} "), one, more))


def _tags(form: AnswerForm) -> Pattern:
    tags = []
    if form.box:
        tags.append(sequence(text("<coordinates>"), _box(form), text("</coordinates>")))
    if form.time:
        tags.append(sequence(text("<start_time>"), _time(form), text("</start_time>")))
    if form.explanation:
        tags.append(sequence(text("<explanation>"), _PROSE, text("</explanation>")))
    if not tags:
        return either(text("REAL"), text("FAKE"))
    group = sequence(tags[0], *(sequence(text(" "), tag) for tag in tags[1:]))
    return either(text("REAL"), sequence(text("FAKE"), many(sequence(text("\n"), group), at_most=MAX_TRACES)))


def _json(form: AnswerForm) -> Pattern:
    null = text("null")
    kinds = either(*(text(f'"{kind}"') for kind in Category))
    listed = optional(sequence(kinds, optional(many(sequence(text(", "), kinds), at_most=2))))
    fields = []
    if form.box:
        fields.append(sequence(text('"box": '), either(_box(form), null)))
    if form.time:
        stated = sequence(text('"'), _time(form), text('"')) if form.times is TimeUnit.CLOCK else _time(form)
        fields += [sequence(text(f'"{name}": '), either(stated, null)) for name in ("start_time", "end_time")]
    fields.append(sequence(text('"categories": ['), listed, text("]")))
    if form.explanation:
        fields.append(sequence(text('"explanation": "'), optional(_PROSE), text('"')))
    trace = sequence(text("{"), fields[0], *(sequence(text(", "), part) for part in fields[1:]), text("}"))
    traces = sequence(trace, optional(many(sequence(text(", "), trace), at_most=MAX_TRACES - 1)))
    sure = either(_fraction(2), null)
    opening = [text('", "fake_probability": '), sure, text(', "traces": [')]
    return sequence(
        text('{"label": "'),
        either(sequence(text("REAL"), *opening), sequence(text("FAKE"), *opening, optional(traces))),
        text("]}"),
    )
