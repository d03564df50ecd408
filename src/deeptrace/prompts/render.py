"""Traces -> the text of an answer: what a model is trained to say, and the other half of the round trip."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from deeptrace.prompts.coordinates import View
from deeptrace.prompts.parse import MARKS
from deeptrace.prompts.parse_fields import NOTHING
from deeptrace.prompts.parse_times import TimeUnit, write_time
from deeptrace.prompts.template import FINE_TUNING, AnswerForm, Style
from deeptrace.schema import Label, Trace

__all__ = ["plain_explanation", "write_answer"]

REAL_SENTENCE = "REAL. The video is real. There is no unnatural part."
FAKE_OPENING = "FAKE. The video is AI-generated."

# What would be read back as structure if an explanation said it: nobody writes `MARKS` in prose, and an answer must not
# be able to say two things.
_SENTENCE_MARK = re.compile(r"\b(?:the|another)\s+unnatural\s+parts?(?=\s+(?:is|are|starts?|starting)\b)", re.I)


def plain_explanation(text: str) -> str:
    """An explanation as an answer can carry it: one line, single spaces, none of the forms' own marks.

    `read_answer(write_answer(...))` gives exactly this back. "None" and "N/A" are no explanation.

    Examples:
        >>> plain_explanation("The  cup  <explanation>melts</explanation>")
        'The cup melts'
    """
    flat = " ".join(text.split())
    while (cleaned := " ".join(MARKS.sub(" ", flat).split())) != flat:
        flat = cleaned
    return "" if NOTHING.fullmatch(flat) else _SENTENCE_MARK.sub("this part", flat)


def write_answer(
    label: Label,
    traces: Iterable[Trace] = (),
    *,
    form: AnswerForm = FINE_TUNING,
    view: View | None = None,
    p_fake: float | None = None,
) -> str:
    """The answer text for a label and its traces.

    Parts that `form` does not ask for are left out, and so are parts a trace does not have. Several traces stand
    one a line in the sentence form, one group of tags a line in the tag form, in a list in the JSON form.

    Args:
        label: REAL or FAKE. The sentence and tag forms of a REAL answer name no traces.
        traces: what to name, in order.
        form: what is asked for, and how it is written.
        view: size of the frame for pixel spaces, frame times for times as frames.
        p_fake: stated by the JSON form alone.

    Raises:
        SettingsError: a pixel space, and `view` does not know the frame's size.
        ValueError: times as frames, and `view` knows neither frame times nor a frame rate.

    Examples:
        >>> from deeptrace.geometry import Box
        >>> from deeptrace.prompts.coordinates import coordinate_space
        >>> trace = Trace(onset_s=1.2, box=Box(x0=0.25, y0=0.25, x1=0.75, y1=1.0))
        >>> print(write_answer(Label.FAKE, [trace], view=View(size=(1280, 720))))
        FAKE. The video is AI-generated. The unnatural part is at [320, 180, 960, 720] starting 1.2 seconds.
        >>> form = FINE_TUNING.in_space(coordinate_space("permille")).without("time")
        >>> print(write_answer(Label.FAKE, [trace], form=form))
        FAKE. The video is AI-generated. The unnatural part is at [250, 250, 750, 1000].
        >>> print(write_answer(Label.REAL))
        REAL. The video is real. There is no unnatural part.
    """
    view = view or View()
    if form.style is Style.JSON:
        rows = [_json_trace(trace, form, view) for trace in traces]
        return json.dumps({"label": str(label), "fake_probability": p_fake, "traces": rows}, ensure_ascii=False)
    if label is Label.REAL:
        return REAL_SENTENCE if form.style is Style.SENTENCE else "REAL"
    if form.style is Style.SENTENCE:
        return " ".join([FAKE_OPENING, "\n".join(_sentence_trace(trace, form, view) for trace in traces)]).strip()
    return "\n".join(["FAKE", *(_tag_trace(trace, form, view) for trace in traces)])


def _numbers(trace: Trace, form: AnswerForm, view: View) -> str | None:
    if trace.box is None or not form.box:
        return None
    return f"[{', '.join(f'{number:g}' for number in form.space.to_numbers(trace.box, view))}]"


def _sentence_trace(trace: Trace, form: AnswerForm, view: View) -> str:
    words = "The unnatural part is"
    if (box := _numbers(trace, form, view)) is not None:
        words += f" at {box}"
    if form.time and trace.onset_s is not None:
        time = write_time(trace.onset_s, unit=form.times, view=view)
        words += {
            TimeUnit.SECONDS: f" starting {time} seconds",
            TimeUnit.CLOCK: f" starting {time}",
            TimeUnit.FRAMES: f" starting frame {time}",
        }[form.times]
    if words.endswith("is"):
        words = "There is an unnatural part"
    reason = plain_explanation(trace.explanation) if form.explanation else ""
    return f"{words}. The reason is because {reason}" if reason else f"{words}."


def _tag_trace(trace: Trace, form: AnswerForm, view: View) -> str:
    tags = []
    if form.box:
        tags.append(f"<coordinates>{_numbers(trace, form, view) or ''}</coordinates>")
    if form.time:
        time = "" if trace.onset_s is None else write_time(trace.onset_s, unit=form.times, view=view)
        tags.append(f"<start_time>{time}</start_time>")
    if form.explanation:
        tags.append(f"<explanation>{plain_explanation(trace.explanation)}</explanation>")
    return " ".join(tags)


def _json_trace(trace: Trace, form: AnswerForm, view: View) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if form.box:
        box = None if trace.box is None else form.space.to_numbers(trace.box, view)
        fields["box"] = None if box is None else [int(n) if n == int(n) else n for n in box]
    if form.time:
        for name, time_s in (("start_time", trace.onset_s), ("end_time", trace.offset_s)):
            fields[name] = None if time_s is None else _json_time(time_s, form, view)
    fields["categories"] = [str(kind) for kind in trace.categories]
    if form.explanation:
        fields["explanation"] = plain_explanation(trace.explanation)
    return fields


def _json_time(time_s: float, form: AnswerForm, view: View) -> float | int | str:
    written = write_time(time_s, unit=form.times, view=view)
    if form.times is TimeUnit.CLOCK:
        return written
    return int(written) if form.times is TimeUnit.FRAMES else float(written)
