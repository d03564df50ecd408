"""The text of an answer -> label, traces and warnings, or an error that says why not. Never a default."""

from __future__ import annotations

import re
from typing import Any

from deeptrace.errors import AnswerError, RefusalError
from deeptrace.protocol.answer import Answer, verdict_of_answer
from deeptrace.protocol.form import FINE_TUNING, AnswerForm, Style
from deeptrace.protocol.read_json import read_json
from deeptrace.protocol.read_text import TAG, read_sentences, read_tags
from deeptrace.protocol.spaces import View
from deeptrace.trace import Outcome, Verdict

__all__ = ["read_answer", "verdict_of_text"]

_LIMIT = 50_000
_CHAT_TOKEN = re.compile(r"<\|[^|<>\n]{1,40}\|>|</?s>")
_THOUGHT_END = re.compile(r"</think(?:ing)?>", re.I)
_THOUGHT_START = re.compile(r"<think(?:ing)?>", re.I)
_WRAPPED = re.compile(r"<answer>(.*?)(?:</answer>|\Z)", re.S | re.I)
_JSON_START = re.compile(r"\s*(?:```|[{\[]\s*[{\"'])")


def read_answer(text: str, *, form: AnswerForm = FINE_TUNING, view: View | None = None) -> Answer:
    """Read a model's answer.

    The form asked for is tried first; an answer in one of the other forms is read all the same, with a warning.
    Thoughts (`<think>`), chat tokens and `<answer>` tags are put aside. Only the first 50,000 characters are read.

    Args:
        text: what the model said.
        form: what it was asked for: tells the space of its boxes and what a bare time means.
        view: what it was shown. Without it boxes in pixels cannot be placed: they are left out, with a warning.

    Raises:
        RefusalError: the model declined.
        AnswerError: anything else that is not a readable REAL or FAKE. Never another error, whatever the text.
    """
    view = view or View()
    said = _said(text)
    has_tags = TAG.search(said) is not None
    if form.style is Style.JSON or (not has_tags and _JSON_START.match(said)):
        answer = read_json(said, form, view)
        if answer is not None:
            return answer if form.style is Style.JSON else _surprised(answer, "a JSON answer to a question for text")
        if form.style is Style.JSON:
            answer = (read_tags if has_tags else read_sentences)(said, form, view)
            return _surprised(answer, "a text answer to a question for JSON")
    if has_tags:
        answer = read_tags(said, form, view)
        return answer if form.style is Style.TAGS else _surprised(answer, "an answer in tags to a question for text")
    answer = read_sentences(said, form, view)
    if form.style is Style.TAGS and answer.traces:
        return _surprised(answer, "an answer without the tags asked for")
    return answer


def verdict_of_text(
    text: str, *, video: str, form: AnswerForm = FINE_TUNING, view: View | None = None, **known: Any
) -> Verdict:
    """The verdict on `video` that `text` states; an unreadable one is an outcome, `refused` or `parse_failed`.

    Args:
        text: what the model said; kept in `raw`.
        video: path, URL or id.
        form, view: as for `read_answer`.
        known: further fields of the verdict (media, detector, elapsed_s).
    """
    try:
        answer = read_answer(text, form=form, view=view)
    except RefusalError as error:
        return Verdict.failed(video, Outcome.REFUSED, str(error), raw=text, **known)
    except AnswerError as error:
        return Verdict.failed(video, Outcome.PARSE_FAILED, str(error), raw=text, **known)
    return verdict_of_answer(answer, video=video, raw=text, **known)


def _said(text: str) -> str:
    said = _THOUGHT_END.split(_CHAT_TOKEN.sub(" ", text[:_LIMIT]))[-1]
    if _THOUGHT_START.search(said):
        raise AnswerError("", "the answer stops within the model's thoughts", "Allow it more tokens.")
    if (wrapped := _WRAPPED.search(said)) and wrapped.group(1).strip():
        said = wrapped.group(1)
    said = said.strip()
    if not said:
        raise AnswerError("", "the answer is empty")
    return said


def _surprised(answer: Answer, warning: str) -> Answer:
    return Answer(answer.label, answer.traces, answer.p_fake, (warning, *answer.warnings))
