"""REAL or FAKE, out of a model's words; and whether it declined to say. No readable label is an error, not REAL."""

from __future__ import annotations

import re

from deeptrace.errors import AnswerError, RefusalError
from deeptrace.trace import Label

__all__ = ["find_label", "label_of_word", "refuse_if_declined"]

_WORDS = {
    **dict.fromkeys(
        ("fake", "ai-generated", "ai generated", "generated", "synthetic", "artificial", "deepfake", "ai"), Label.FAKE
    ),
    **dict.fromkeys(
        ("real", "authentic", "genuine", "not ai-generated", "not generated", "camera footage"), Label.REAL
    ),
}

# "REAL", "**FAKE**", "[FAKE, ...", "Answer: REAL", '"label": "FAKE"', "The answer is: FAKE"
_LEADING = re.compile(
    r"[\s\W_]{0,40}(?i:(?:the\s+)?(?:final\s+)?(?:answer|label|verdict|prediction|classification|output|result)\b"
    r"[\s\W_]{0,10}(?:is\b[\s\W_]{0,10})?)?"
    r"(?P<word>REAL\b|FAKE\b|(?:real|fake|Real|Fake)(?=\W{0,4}$|[.,:;!\n*\"'\])]))"
)
_UPPER = re.compile(r"\b(REAL|FAKE)\b")
_NOT = re.compile(r"\b(?:not|than|rather|isn't|never|neither)\b", re.I)
_SENTENCE_END = re.compile(r"[.!?\n]")

# "The video is AI-generated", "this appears to be a real recording", "is not real"
_PROSE = re.compile(
    r"\b(?:video|clip|footage|image|it|this|scene|sequence|content)\s+(?:most\s+|very\s+)?(?:likely\s+|probably\s+)?"
    r"(?:is|was|are|appears?|looks?|seems?|has\s+been)\s+(?P<between>(?:[\w'-]+\s+){0,4}?)"
    r"(?P<word>fake|ai[- ]generated|generated|synthetic|artificial|deepfake|real|authentic|genuine)\b"
    r"(?![- ](?:time|life|world))",
    re.I,
)

_BARE = re.compile(r"\W*(?:the\s+answer\s+is\W+)?(true|false)\W*", re.I)

# "I cannot see anything unnatural" is an answer; "I cannot see the video" is none.
_REFUSAL = re.compile(
    r"\bi(?:'m|\s+am)\s+(?:very\s+|so\s+|really\s+)?sorry\b|\bi\s+(?:must\s+)?(?:decline|apologi[sz]e)\b|\bsorry,?\s+but\b"
    r"|\bi\s+(?:can't|cannot|won't)\W*$|\bdo(?:n't|\s+not)\s+have\s+(?:the\s+)?access\s+to\b"
    r"|\b(?:can(?:'t|\s*not)|could\s*n(?:'|o)t|unable\s+to|not\s+able\s+to|won't)\s+(?:\w+\s+)?(?:assist|help|comply|view|watch"
    r"|analy[sz]e|access|process|provide|determine|answer|judge|verify|open|play"
    r"|see\s+(?:the\s+|this\s+|any\s+)?(?:videos?|clips?|footage)\b)"
    r"|\bas\s+an?\s+(?:ai|text-based|large)\s+(?:language\s+)?(?:model|assistant)\b",
    re.I,
)


def label_of_word(word: str) -> Label | None:
    """The label that one word or short phrase is, whatever its case and quotes; None when it is none."""
    return _WORDS.get(" ".join(word.lower().replace("_", "-").strip(" \t\r\n\"'`*.!,:;[](){}<>").split()))


def refuse_if_declined(text: str) -> None:
    """Raise when `text` declines to answer.

    Raises:
        RefusalError: it does.
    """
    if found := _REFUSAL.search(text.replace("\u2019", "'")):
        raise RefusalError("", f"the model declined to answer ({found.group(0)!r})")


def find_label(text: str) -> tuple[Label, list[str]]:
    """The label that `text` states, and warnings on how it was read.

    In this order: a label the text opens with; a refusal; the only label it names in capitals; the only one its
    sentences state ("the video is AI-generated"); a lone `True` or `False`, as an answer to "is it AI-generated?".

    Raises:
        RefusalError: the model declined.
        AnswerError: no label, or both (an echo of "REAL or FAKE").
    """
    text = text.replace("\u2019", "'")
    if (lead := _LEADING.match(text)) is not None:
        label = Label(lead.group("word").upper())
        _check_no_echo(text, lead.end(), label)
        return label, []
    refuse_if_declined(text)
    named = {_upper(found, text) for found in _UPPER.finditer(text)}
    if len(named) == 1:
        return named.pop(), ["the label does not open the answer: taken from within it"]
    if named:
        raise AnswerError("", "the answer names both REAL and FAKE")
    stated = {_stated(found) for found in _PROSE.finditer(text)}
    if len(stated) == 1:
        return stated.pop(), ["no REAL or FAKE: the label is taken from a sentence"]
    if stated:
        raise AnswerError("", "the answer's sentences call the video both real and fake")
    if bare := _BARE.fullmatch(text):
        label = Label.FAKE if bare.group(1).lower() == "true" else Label.REAL
        return label, [f"a lone {bare.group(1)!r} is read as {label}"]
    raise AnswerError("", "the answer has no REAL or FAKE")


def _check_no_echo(text: str, end: int, label: Label) -> None:
    """Raise when the sentence that opens with `label` names the other one too, unless as "not REAL"."""
    stop = _SENTENCE_END.search(text, end)
    rest = text[end : stop.start() if stop else len(text)]
    other = "REAL" if label is Label.FAKE else "FAKE"
    if (found := re.search(rf"\b{other}\b", rest)) and not _NOT.search(rest[: found.start()]):
        raise AnswerError("", "the answer names both REAL and FAKE")
    if re.match(rf"\W{{0,3}}(?:or|/)\W{{0,3}}{other}\b", rest, re.I):
        raise AnswerError("", "the answer names both REAL and FAKE")


def _upper(found: re.Match[str], text: str) -> Label:
    """The label that a word in capitals stands for: the other one after "not"."""
    label = Label(found.group(1))
    if re.search(r"(?:\bnot|n't)\s+(?:a\s+)?[\"'*]*$", text[max(found.start() - 12, 0) : found.start()], re.I):
        return Label.REAL if label is Label.FAKE else Label.FAKE
    return label


def _stated(found: re.Match[str]) -> Label:
    label = _WORDS[found.group("word").lower().replace("ai generated", "ai-generated")]
    if _NOT.search(found.group("between")):
        return Label.REAL if label is Label.FAKE else Label.FAKE
    return label
