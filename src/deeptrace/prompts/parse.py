"""The text of an answer -> label, traces and warnings, or an error that says why not. Never a default."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from deeptrace.errors import AnswerError, RefusalError
from deeptrace.prompts.answer import Answer, verdict_of_answer
from deeptrace.prompts.coordinates import View
from deeptrace.prompts.find_json import FoundJson, find_json
from deeptrace.prompts.parse_fields import SQUARE_TAG, TAG, TAG_MARK, read_fields, read_tags
from deeptrace.prompts.parse_json import names_parts, read_json
from deeptrace.prompts.parse_labels import Reading, find_label
from deeptrace.prompts.parse_prose import PART, read_prose, read_sentences
from deeptrace.prompts.template import FINE_TUNING, AnswerForm, Style
from deeptrace.schema import Outcome, Verdict

__all__ = ["MARKS", "read_answer", "verdict_of_text", "without_thoughts"]

_LIMIT = 50_000

# -- what is said before, around and after the answer ------------------------------------------------------------

_HARMONY = re.compile(
    r"<\|channel\|>\s*(\w+).{0,200}?<\|message\|>(.*?)(?=<\|(?:end|return|start|channel|call)\|>|\Z)", re.S
)
_HARMONY_BARE = re.compile(
    r"\s*analysis(?=[A-Z])"
)  # its marks dropped as special tokens: "analysisThe ...assistantfinalFAKE"
_FINAL_BARE = "assistantfinal"
_THOUGHTS = r"think(?:ing)?|thoughts?|reasoning|reflection|analysis|scratchpad"
_THOUGHT_START = re.compile(
    rf"<\s*(?:\w{{1,12}}:)?(?:{_THOUGHTS})\s*>|◁think▷|\[THINK\]|<\|(?:begin_of_thought|START_THINKING)\|>"
    r"|<\|channel>\s*thought|<unused94>",
    re.I,
)
_THOUGHT_END = re.compile(
    rf"<\s*/\s*(?:\w{{1,12}}:)?(?:{_THOUGHTS})\s*>|◁/think▷|\[/THINK\]|<\|(?:end_of_thought|END_THINKING)\|>"
    r"|<channel\|>|<unused95>|\A\s*here\s+is\s+my\s+thought\s+process\s*:.*?\bhere\s+is\s+my\s+response\s*:",
    re.I | re.S,
)
_WRAPPERS = r"(?:final[_ ]?)?answer|response|output|solution"
_WRAPPED = re.compile(
    rf"<(?P<name>{_WRAPPERS})>(?P<tagged>.*?)(?:</(?P=name)>|\Z)"
    r"|\\(?:boxed|text(?:bf)?|mathrm|mathbf)\{(?:\\(?:text(?:bf)?|mathrm|mathbf)\{)?(?P<boxed>[^{}]*)\}"
    r"|<\|(?P<mark>begin_of_box|begin_of_solution|START_RESPONSE)\|>(?P<marked>.*?)(?:<\|(?:end_of_box|end_of_solution|END_RESPONSE)\|>|\Z)",
    re.S | re.I,
)
_TURN_ENDS = re.compile(
    r"<\|(?:im_end|endoftext|eot_id|end|eom_id|end_of_text|return)\|>|</s>|<end_of_turn>|<eos>|<｜end▁of▁sentence｜>"
)
_CHAT_TOKEN = re.compile(
    r"<\|[^|<>\n]{1,40}\|>|<｜[^<>｜\n]{1,40}｜>|</?s>|<(?:start|end)_of_turn>|<(?:bos|eos|pad|unk)>|\[/?INST\]"
)
_ROLE = re.compile(r"\s*(?:assistant|model)\s*(?::|\n)", re.I)
_ESCAPED = re.compile(r"&lt;\s*/?\s*(?:coord|start|expl|answer|think|bbox|end)|[{,\[]\s*&quot;", re.I)
_ENTITIES = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&#39;": "'", "&apos;": "'", "&amp;": "&"}

MARKS = re.compile(
    rf"{_THOUGHT_START.pattern}|{_THOUGHT_END.pattern}|{TAG_MARK}|</?(?:{_WRAPPERS})>|\\boxed\{{|{_CHAT_TOKEN.pattern}|```",
    re.I | re.S,
)
"""What is structure in an answer, and no words of it."""

_LONG_RUN = re.compile(r"(?s:(\s{40})\s+|((.)\3{39})\3+)")  # a model that repeats itself; no reader needs more of it
_LETTERS = re.compile(r"[^\W\d_]{3}")
_JSON_START = re.compile(r"\s*(?:```|[{\[]\s*[{\"'])")


@dataclass(frozen=True, slots=True)
class _Said:
    """The answer alone.

    Attributes:
        text: without thoughts, channels and chat tokens; what was within the text became as many spaces. Long runs of
            one character are cut short.
        offset: where it begins in the whole text.
        runs: for each run cut short, where its rest was to be, and how long it was.
        label: the label, where a wrapper holds nothing else: "<answer>FAKE</answer>" beside its reasons.
        warnings: on what was not read.
    """

    text: str
    offset: int
    runs: tuple[tuple[int, int], ...] = ()
    label: Reading | None = None
    warnings: tuple[str, ...] = ()

    def place(self, at: int) -> int:
        """Where a place in `text` is in the whole text."""
        return self.offset + at + sum(left_out for start, left_out in self.runs if start <= at)


def read_answer(text: str, *, form: AnswerForm = FINE_TUNING, view: View | None = None) -> Answer:
    """Read a model's answer.

    The form asked for is tried first; an answer in one of the other forms is read all the same, with a warning.
    Thoughts (`<think>`, `[THINK]`, harmony's channels), chat tokens and wrappers such as `<answer>` are put aside. Of
    what remains, the first 50,000 characters are read.

    Args:
        text: what the model said.
        form: what it was asked for: tells the space of its boxes and what a bare time means.
        view: what it was shown. Without it boxes in pixels cannot be placed: they are left out, with a warning.

    Raises:
        RefusalError: the model declined.
        AnswerError: anything else that is not a readable REAL or FAKE. Never another error, whatever the text.

    Examples:
        >>> view = View(size=(1280, 720), duration_s=5.0)
        >>> said = "FAKE. The unnatural part is at [320, 180, 960, 720] starting 1.2 seconds."
        >>> answer = read_answer(said, view=view)
        >>> str(answer.label), answer.traces[0].box.as_tuple(), answer.traces[0].onset_s
        ('FAKE', (0.25, 0.25, 0.75, 1.0), 1.2)
        >>> read_answer("REAL or FAKE")
        Traceback (most recent call last):
            ...
        deeptrace.errors.AnswerError: the answer names both REAL and FAKE without deciding
        >>> read_answer("I'm sorry, but I cannot view the video.")
        Traceback (most recent call last):
            ...
        deeptrace.errors.RefusalError: the model declined to answer ("I'm sorry")
    """
    said = _said(_writable(text))
    answer = _read(said, form, view or View())
    at = None if answer.label_at is None else said.place(answer.label_at)
    return replace(answer, label_at=at, warnings=(*said.warnings, *answer.warnings))


def _read(said: _Said, form: AnswerForm, view: View) -> Answer:
    """The answer by the first reader that fits: that of the form asked for, then the most definite of the others."""
    text, label = said.text, said.label
    tagged, parts = TAG.search(text) is not None, PART.search(text) is not None
    found = _json(text, asked=form.style is Style.JSON, other=tagged or parts)
    if found is not None:
        answer = read_json(text, found, form, view, label)
        return answer if form.style is Style.JSON else _surprised(answer, "a JSON answer to a question for text")
    if tagged:
        answer = read_tags(text, form, view, label)
        style = "text" if form.style is Style.SENTENCE else "JSON"
        return (
            answer if form.style is Style.TAGS else _surprised(answer, f"an answer in tags to a question for {style}")
        )
    fields = None if parts else read_fields(text, form, view, label)
    answer = fields or (read_sentences if parts else read_prose)(text, form, view, label)
    if form.style is Style.JSON:
        return _surprised(answer, "a text answer to a question for JSON")
    if form.style is Style.TAGS and answer.traces:
        return _surprised(answer, "an answer without the tags asked for")
    return answer


def _json(text: str, *, asked: bool, other: bool) -> FoundJson | None:
    """The JSON that is the answer: any where it was asked for; else one that opens the text or names its parts.

    An explanation in tags or sentences may quote an object.
    """
    if not asked and other and not _JSON_START.match(text):
        return None
    found = find_json(text)
    if found is None or asked:
        return found
    return found if names_parts(found) and (_JSON_START.match(text) or _on_its_own(text, found.start)) else None


def _on_its_own(text: str, start: int) -> bool:
    """Whether JSON begins a line, or follows a colon or label, not words of a sentence."""
    line = text[text.rfind("\n", 0, start) + 1 : start].strip(" \t`*json")
    return not line or line[-1] in ":." or line.upper() in ("REAL", "FAKE")


def verdict_of_text(
    text: str, *, video: str, form: AnswerForm = FINE_TUNING, view: View | None = None, **known: Any
) -> Verdict:
    """The verdict on `video` that `text` states; an unreadable one is an outcome, `refused` or `parse_failed`.

    Args:
        text: what the model said; kept in `raw`.
        video: path, URL or id.
        form, view: as for `read_answer`.
        known: further fields of the verdict (media, detector, elapsed_s).

    Examples:
        >>> said = verdict_of_text("REAL. The video is real.", video="a.mp4")
        >>> str(said.outcome), str(said.label), said.raw
        ('scored', 'REAL', 'REAL. The video is real.')
        >>> str(verdict_of_text("Well.", video="a.mp4").outcome)
        'parse_failed'
    """
    text = _writable(text)
    try:
        answer = read_answer(text, form=form, view=view)
    except RefusalError as error:
        return Verdict.failed(video, Outcome.REFUSED, str(error), raw=text, **known)
    except AnswerError as error:
        return Verdict.failed(video, Outcome.PARSE_FAILED, str(error), raw=text, **known)
    return verdict_of_answer(answer, video=video, raw=text, **known)


def _writable(text: str) -> str:
    """The text with a question mark for each half of a surrogate pair, which UTF-8 cannot write."""
    return text.encode("utf-8", "replace").decode()


def _said(text: str) -> _Said:
    """The answer without what stands before, around and after it.

    Raises:
        AnswerError: there is none: the text is empty, or stops within the model's thoughts.
    """
    if _ESCAPED.search(text) and TAG.search(text) is None:
        for entity, sign in _ENTITIES.items():
            text = text.replace(entity, sign + " " * (len(entity) - 1))
    if TAG.search(text) is None and any(tag.group(1).startswith("/") for tag in SQUARE_TAG.finditer(text)):
        text = SQUARE_TAG.sub(r"<\1>", text)
    start, end = _spoken(text)
    if (over := _TURN_ENDS.search(text, start, end)) is not None and text[start : over.start()].strip():
        end = over.start()
    if (role := _ROLE.match(text, start, end)) is not None and text[role.end() : end].strip():
        start = role.end()
    label: Reading | None = None
    if (wrapper := _wrapper(text, start, end)) is not None:
        label = _wrapped_label(text, start, end, wrapper)
        if label is None:
            start, end = wrapper
        else:
            label = replace(label, at=None if label.at is None else label.at + wrapper[0] - start)
    warnings = (
        () if end - start <= _LIMIT else (f"the answer is longer than {_LIMIT} characters: the rest was not read",)
    )
    said = _CHAT_TOKEN.sub(lambda token: " " * len(token.group(0)), text[start : min(end, start + _LIMIT)])
    if not said.strip():
        raise AnswerError("", "the answer is empty")
    said, runs = _shortened(said)
    return _Said(said, start, runs, label, warnings)


def _shortened(text: str) -> tuple[str, tuple[tuple[int, int], ...]]:
    """The text with long runs of one character cut short, and what was left out of it: where, and how much."""
    runs: list[tuple[int, int]] = []
    gone = 0
    for run in _LONG_RUN.finditer(text):
        kept = run.group(1) or run.group(2)
        runs.append((run.start() + len(kept) - gone, len(run.group(0)) - len(kept)))
        gone += runs[-1][1]
    return _LONG_RUN.sub(lambda run: run.group(1) or run.group(2), text) if runs else text, tuple(runs)


def without_thoughts(text: str) -> str:
    """What a model says after its thoughts, in its final channel or wrapper.

    Raises:
        AnswerError: it stops within its thoughts.
    """
    start, end = _spoken(text)
    start, end = _wrapper(text, start, end) or (start, end)
    return _CHAT_TOKEN.sub(" ", text[start:end])


def _spoken(text: str) -> tuple[int, int]:
    """Where the answer stands: in the final channel, or after the thoughts."""
    stops = AnswerError("", "the answer stops within the model's thoughts", "Allow it more tokens.")
    if channels := list(_HARMONY.finditer(text)):
        finals = [
            channel for channel in channels if channel.group(1).lower().startswith("final") and channel.group(2).strip()
        ]
        if not finals:
            raise stops
        return finals[-1].span(2)
    if _HARMONY_BARE.match(text):
        if _FINAL_BARE not in text:
            raise stops
        return text.rindex(_FINAL_BARE) + len(_FINAL_BARE), len(text)
    start = 0
    for thought in _THOUGHT_END.finditer(text):
        start = thought.end()
    if start and not text[start:].strip():  # thoughts come last: the answer is before them
        first = _THOUGHT_START.search(text)
        if first is None or not text[: first.start()].strip():
            raise stops
        return 0, first.start()
    if (opened := _THOUGHT_START.search(text, start)) is None:
        return start, len(text)
    if text[start : opened.start()].strip():
        return start, opened.start()
    wrapper = _wrapper(text, opened.end(), len(text))
    if wrapper is None or not re.match(r"</", text[wrapper[1] :]):
        raise stops
    return wrapper


def _wrapper(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Where the last wrapper's content stands that is not blank: that of `<answer>`, `\\boxed{}` and their like."""
    found = None
    for wrapped in _WRAPPED.finditer(text, start, end):
        name = next(name for name in ("tagged", "boxed", "marked") if wrapped.group(name) is not None)
        grounds = wrapped.group("mark") == "begin_of_box" and not _LETTERS.search(wrapped.group(name))  # GLM marks both
        if wrapped.group(name).strip() and not grounds:
            found = wrapped.span(name)
    return found


def _wrapped_label(text: str, start: int, end: int, wrapper: tuple[int, int]) -> Reading | None:
    """The label of a wrapper that holds nothing else, where places and times stand outside of it.

    None where the wrapper is the whole answer.
    """
    content, outside = text[slice(*wrapper)], text[start : wrapper[0]] + text[wrapper[1] : end]
    try:
        label = find_label(content)
    except AnswerError:
        return None
    bare = not re.search(r"\d", content) and len(content) < 200
    return label if bare and (TAG.search(outside) or re.search(r"[\[(]\s*\d|\"\w+\"\s*:", outside)) else None


def _surprised(answer: Answer, warning: str) -> Answer:
    return replace(answer, warnings=(warning, *answer.warnings))
