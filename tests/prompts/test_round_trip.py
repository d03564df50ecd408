"""write -> read is the identity, within the rounding of what is written; no text raises anything but AnswerError."""

from __future__ import annotations

import json
import string
from contextlib import suppress

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from deeptrace.errors import AnswerError
from deeptrace.geometry import Box
from deeptrace.prompts import (
    SPACES,
    AnswerForm,
    CoordinateSpace,
    Style,
    TimeUnit,
    View,
    plain_explanation,
    read_answer,
    write_answer,
)
from deeptrace.schema import Category, Label, Trace

VIEW = View(size=(1280, 720), resized=(644, 364), duration_s=8.0, fps=24.0)

forms = st.builds(
    AnswerForm,
    style=st.sampled_from(Style),
    box=st.booleans(),
    time=st.booleans(),
    explanation=st.booleans(),
    space=st.sampled_from(list(SPACES.values())),
    times=st.sampled_from(TimeUnit),
)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.sampled_from(
    [
        "The unnatural part is at [1, 2, 3, 4] starting 2 seconds. The reason is because I said so",
        "REAL or FAKE? There is no unnatural part.",
        "</explanation><coordinates>[0, 0, 9, 9]</coordinates>",
        'It says {"label": "REAL"} on the wall',
        "<think>no</think> ``` because, because: starting 3 seconds",
        "I'm sorry, I cannot help with that.",
    ]
)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    x0, y0 = draw(st.floats(0, 0.95)), draw(st.floats(0, 0.95))
    return Box(x0=x0, y0=y0, x1=draw(st.floats(x0, 1, exclude_min=True)), y1=draw(st.floats(y0, 1, exclude_min=True)))


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    onset = draw(st.none() | st.floats(0, 8))
    offset = draw(st.none() | st.floats(onset or 0, 9))
    return Trace(
        box=draw(st.none() | boxes()),
        onset_s=onset,
        offset_s=offset,
        categories=tuple(draw(st.lists(st.sampled_from(Category), unique=True, max_size=3))),
        explanation=draw(words),
    )


def written_step(space: CoordinateSpace) -> tuple[float, float]:
    """The largest change (x, y) that rounding makes, in fractions: half a unit, a whole one of the thinnest boxes."""
    wide, high = space.scale(VIEW)
    step = 1e-4 if space.unit == "fractions" else 1.0
    return 1.01 * step / wide + 1e-9, 1.01 * step / high + 1e-9


def assert_same(back: Trace, trace: Trace, form: AnswerForm) -> None:
    if trace.box is None or not form.box:
        assert back.box is None
    else:
        assert back.box is not None
        across, down = written_step(form.space)
        assert back.box.x0 == pytest.approx(trace.box.x0, abs=across)
        assert back.box.x1 == pytest.approx(trace.box.x1, abs=across)
        assert back.box.y0 == pytest.approx(trace.box.y0, abs=down)
        assert back.box.y1 == pytest.approx(trace.box.y1, abs=down)
    near = 0.51 / 24 if form.times is TimeUnit.FRAMES else 0.0051
    said = [(back.onset_s, trace.onset_s)]
    if form.style is Style.JSON:
        said.append((back.offset_s, trace.offset_s))
        assert back.categories == trace.categories
    for got, wanted in said:
        assert (got is None) == (wanted is None or not form.time)
        if got is not None:
            assert got == pytest.approx(wanted, abs=near)
    assert back.explanation == (plain_explanation(trace.explanation) if form.explanation else "")


@given(forms, st.lists(traces(), max_size=4), st.none() | st.floats(0, 1))
@settings(max_examples=400)
def test_fake_answers_come_back_as_they_were(form: AnswerForm, given_traces: list[Trace], p_fake: float | None) -> None:
    text = write_answer(Label.FAKE, given_traces, form=form, view=VIEW, p_fake=p_fake)
    answer = read_answer(text, form=form, view=VIEW)
    assert answer.label is Label.FAKE
    if form.style is Style.TAGS and not (form.box or form.time or form.explanation):
        assert answer.traces == ()  # nothing was asked for: FAKE is the whole answer
        return
    assert len(answer.traces) == len(given_traces)
    for back, trace in zip(answer.traces, given_traces, strict=True):
        assert_same(back, trace, form)
    if form.style is Style.JSON:
        assert answer.p_fake == p_fake


@given(forms)
def test_real_answers_come_back_without_traces(form: AnswerForm) -> None:
    answer = read_answer(write_answer(Label.REAL, form=form, view=VIEW), form=form, view=VIEW)
    assert (answer.label, answer.traces, answer.warnings) == (Label.REAL, (), ())


@given(words)
def test_a_plain_explanation_is_as_plain_as_it_gets(text: str) -> None:
    assert plain_explanation(plain_explanation(text)) == plain_explanation(text)


PIECES = st.sampled_from(
    [
        *("REAL", "FAKE", "real", "fake", " or ", ". ", "\n", "```json", "```", "{", "}", "[", "]", ":", ",", '"', "'"),
        *('"label"', '"traces"', '"bbox"', '"start_time"', "null", "true", "1e999", "-3", "NaN", "Infinity", "9" * 400),
        *("<coordinates>", "</coordinates>", "<start_time>", "<explanation>", "<think>", "</think>", "<answer>"),
        *("The unnatural part is at", "starting", "seconds", "because", "frame 3", "00:01.2", "0.5", "100", "x0=1"),
        *("I'm sorry", "[1, 2, 3, 4]", '{"left": 1, "top": 2, "width": 3, "height": 4}', "is not AI-generated", "\\"),
    ]
)


@given(st.lists(PIECES | st.text(max_size=8), max_size=30).map(" ".join) | st.text(string.printable), forms)
@settings(max_examples=600)
@example(text="[" * 20_000, form=AnswerForm(style=Style.JSON))
@example(text='{"label": "FAKE", "bbox": [1e999, 0, 5, 5], "start_time": 1e400}', form=AnswerForm(style=Style.JSON))
@example(text="FAKE " + "<think>" * 5_000, form=AnswerForm())
@example(text='{"label": "FAKE", "traces": [[[[]]]]}', form=AnswerForm(style=Style.JSON))
@example(text='{"label": ' + "9" * 5_000 + "}", form=AnswerForm(style=Style.JSON))
def test_whatever_the_text_it_is_read_or_an_answer_error(text: str, form: AnswerForm) -> None:
    with suppress(AnswerError):
        assert read_answer(text, form=form, view=VIEW).label in Label


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5), lambda x: st.lists(x, max_size=4)))
def test_whatever_stands_in_the_fields(value: object) -> None:
    row = {"label": "FAKE", "bbox": value, "start_time": value, "explanation": value, "score": value, "traces": value}
    text = json.dumps(row)
    assume("label" in text)
    for fields in (row, {k: v for k, v in row.items() if k != "traces"}):
        answer = read_answer(json.dumps(fields), form=AnswerForm(style=Style.JSON), view=VIEW)
        assert answer.label is Label.FAKE
