"""What models really write: spaces, times, fences, several traces, contradictions, refusals; and what is unreadable."""

from __future__ import annotations

import pytest

from deeptrace.errors import AnswerError, RefusalError, SettingsError
from deeptrace.prompts import (
    FINE_TUNING,
    JSON,
    SPACES,
    ZERO_SHOT,
    AnswerForm,
    Style,
    TimeUnit,
    View,
    coordinate_space,
    read_answer,
    read_time,
    verdict_of_text,
    write_time,
)
from deeptrace.schema import Category, Label, Outcome

VIEW = View(size=(1000, 500), resized=(500, 250), duration_s=10.0, fps=10.0)
SENTENCE = (
    "FAKE. The video is AI-generated. The unnatural part is at {box} starting {time}. The reason is because it melts."
)
WANTED = (0.1, 0.2, 0.4, 0.6)


def test_the_papers_answers() -> None:
    fake = read_answer(SENTENCE.format(box="[100, 100, 400, 300]", time="1.2 seconds"), view=VIEW)
    assert (fake.label, fake.warnings) == (Label.FAKE, ())
    (trace,) = fake.traces
    assert trace.box is not None
    assert (trace.box.as_tuple(), trace.onset_s, trace.explanation) == (WANTED, 1.2, "it melts.")
    real = read_answer("REAL. The video is real. There is no unnatural part.", view=VIEW)
    assert (real.label, real.traces, real.warnings) == (Label.REAL, (), ())
    tags = read_answer(
        "FAKE\n<coordinates>[100, 100, 400, 300]</coordinates>\n<start_time>1.2</start_time>\n"
        "<explanation>it melts.</explanation>",
        form=ZERO_SHOT,
        view=VIEW,
    )
    assert tags == fake


@pytest.mark.parametrize(
    ("space", "written"),
    [
        ("pixels", "[100, 100, 400, 300]"),
        ("pixels_ltwh", "[100, 100, 300, 200]"),
        ("pixels_yxyx", "[100, 100, 300, 400]"),
        ("resized_pixels", "[50, 50, 200, 150]"),
        ("resized_pixels_ltwh", "[50, 50, 150, 100]"),
        ("fractions", "[0.1, 0.2, 0.4, 0.6]"),
        ("fractions_ltwh", "[0.1, 0.2, 0.3, 0.4]"),
        ("fractions_yxyx", "[0.2, 0.1, 0.6, 0.4]"),
        ("permille", "[100, 200, 400, 600]"),
        ("permille_ltwh", "[100, 200, 300, 400]"),
        ("permille_yxyx", "[200, 100, 600, 400]"),
        ("1024ths_yxyx", "[204.8, 102.4, 614.4, 409.6]"),
    ],
)
@pytest.mark.parametrize("style", Style)
def test_every_space_in_every_form(space: str, written: str, style: Style) -> None:
    text = {
        Style.SENTENCE: SENTENCE.format(box=written, time="1.2 seconds"),
        Style.TAGS: f"FAKE <coordinates>{written}</coordinates>",
        Style.JSON: f'{{"label": "FAKE", "traces": [{{"box": {written}}}]}}',
    }[style]
    answer = read_answer(text, form=AnswerForm(style=style, space=coordinate_space(space)), view=VIEW)
    assert answer.traces[0].box is not None
    assert answer.traces[0].box.as_tuple() == pytest.approx(WANTED)


def test_a_space_is_named_or_an_error() -> None:
    with pytest.raises(SettingsError, match="permille_yxyx"):
        coordinate_space("gemini")


@pytest.mark.parametrize(
    "written",
    [
        '{"left": 100, "top": 100, "width": 300, "height": 200}',
        '{"x0": 100, "y0": 100, "x1": 400, "y1": 300}',
        '{"x1": 100, "y1": 100, "x2": 400, "y2": 300}',
        '{"xmin": "100", "ymin": "100px", "xmax": 400, "ymax": 300}',
        "[100, 100, 400, 300]",
        '["100", "100", "400", "300"]',
        "[[100, 100, 400, 300]]",
        '"[100, 100, 400, 300]"',
        '"x0=100, y0=100, x1=400, y1=300"',
        '"left: 100, top: 100, width: 300, height: 200"',
        "[400, 300, 100, 100]",
    ],
)
@pytest.mark.parametrize("key", ["box", "bbox", "bbox_2d", "coordinates", "Bounding Box"])
def test_a_box_as_list_object_or_text(written: str, key: str) -> None:
    answer = read_answer(f'{{"label": "FAKE", "{key}": {written}}}', form=JSON, view=VIEW)
    (trace,) = answer.traces
    assert trace.box is not None
    assert trace.box.as_tuple() == pytest.approx(WANTED)


@pytest.mark.parametrize(
    ("written", "warning"),
    [
        ("[1280, 720, 1280, 720]", "no area"),
        ("[1, 2, 3]", "not four numbers"),
        ('{"left": 3}', "not readable"),
        ('"somewhere left"', None),
        ("17", "neither a list nor an object"),
        ("[0.1, 0.2, 0.4, 0.6]", "read as fractions"),
        ("[100, 100, 4000, 300]", "out of the frame"),
        ("[400, 300, 100, 100]", "put in order"),
    ],
)
def test_an_odd_box_is_a_warning(written: str, warning: str | None) -> None:
    answer = read_answer(f'{{"label": "FAKE", "bbox": {written}, "start_time": 2}}', form=JSON, view=VIEW)
    assert answer.traces[0].onset_s == 2
    assert (warning is None and not answer.warnings) or any(str(warning) in text for text in answer.warnings)


def test_pixels_of_an_unknown_frame_are_left_out_with_a_warning() -> None:
    answer = read_answer(SENTENCE.format(box="[100, 100, 400, 300]", time="1 seconds"))
    assert answer.traces[0].box is None
    assert any("size of the frame is not known" in text for text in answer.warnings)


@pytest.mark.parametrize(
    ("stated", "seconds"),
    [
        (1.2, 1.2),
        ("1.2", 1.2),
        ("1.2s", 1.2),
        ("1.2 seconds", 1.2),
        ("1200 ms", 1.2),
        ("00:01.2", 1.2),
        ("00:00:01.20", 1.2),
        ("01:02", 62),
        ("2 min", 120),
        ("frame 12", 1.2),
        ("Frame #12", 1.2),
        ("the 12th frame", 1.2),
        ("around 1.2s into the clip", 1.2),
        (0, 0),
        (None, None),
        (True, None),
        ("", None),
        ("never", None),
        ("-3", None),
        (-3, None),
        (float("nan"), None),
        (float("inf"), None),
        (10**400, None),
        ([1.2], 1.2),
        ([1.2, 3.0], 1.2),
        ([1, 2, 3], None),
        ({"start": 1.2, "end": 3}, 1.2),
    ],
)
def test_times(stated: object, seconds: float | None) -> None:
    assert read_time(stated, view=VIEW) == (None if seconds is None else pytest.approx(seconds))


def test_bare_numbers_as_frames() -> None:
    assert read_time(12, unit=TimeUnit.FRAMES, view=VIEW) == pytest.approx(1.2)
    assert read_time("1.2s", unit=TimeUnit.FRAMES, view=VIEW) == pytest.approx(1.2)  # a unit that is written wins
    shown = View(frame_times_s=(0.0, 0.7, 1.9))
    assert read_time("frame 2", view=shown) == 1.9
    assert read_time("frame 3", view=shown) is None
    assert read_time("frame 3") is None
    with pytest.raises(ValueError, match="frame rate"):
        write_time(1.0, unit=TimeUnit.FRAMES)


def test_several_traces_in_each_form() -> None:
    lines = (
        "FAKE. The video is AI-generated. The unnatural part is at [0, 0, 500, 250] starting 1 seconds. The reason is "
        "because the hand melts. The unnatural part is at [500, 250, 1000, 500] starting 2.5 seconds. The reason is "
        "because the cup splits."
    )
    tags = (
        "FAKE <coordinates>[0, 0, 500, 250]</coordinates> <start_time>1s</start_time> <explanation>the hand melts."
        "</explanation> <coordinates>[500, 250, 1000, 500]</coordinates> <start_time>2.5</start_time> "
        "<explanation>the cup splits."  # never closed
    )
    rows = (
        '{"label": "FAKE", "traces": [{"bbox": [0, 0, 500, 250], "start": 1, "reason": "the hand melts."}, '
        '{"bbox": [500, 250, 1000, 500], "start": "00:02.5", "reason": "the cup splits."}]}'
    )
    read = [read_answer(t, form=f, view=VIEW) for t, f in ((lines, FINE_TUNING), (tags, ZERO_SHOT), (rows, JSON))]
    assert read[0].traces == read[1].traces == read[2].traces
    assert [t.onset_s for t in read[0].traces] == [1, 2.5]
    assert [t.explanation for t in read[0].traces] == ["the hand melts.", "the cup splits."]


def test_several_boxes_share_what_is_said_once() -> None:
    text = "FAKE <coordinates>[[0, 0, 9, 9], [10, 10, 99, 99]]</coordinates><start_time>3</start_time>"
    assert [t.onset_s for t in read_answer(text, form=ZERO_SHOT, view=VIEW).traces] == [3, 3]


@pytest.mark.parametrize(
    "text",
    [
        '```json\n{"label": "FAKE", "fake_probability": "0.9", "start_time": "1.2s"}\n```',
        'Here is my answer:\n```\n{"label": "FAKE", "fake_probability": 0.9, "start_time": 1.2}\n``` I hope it helps.',
        "{'label': 'FAKE', 'fake_probability': 0.9, 'start_time': 1.2, 'bbox': None}",
        '{"label": "FAKE", "fake_probability": 0.9, "start_time": 1.2,}',
        '{"label": "FAKE", "fake_probability": "90%", "start_time": 1.2, "explanation": "the hand mel',
        '<think>REAL? no.</think><answer>{"label": "fake", "p_fake": 0.9, "onset": 1.2}</answer><|im_end|>',
        '{"is_fake": true, "fake_probability": 90, "start_time": 1.2}',
        'FAKE\n[{"start_time": 1.2}]',
    ],
)
def test_json_as_models_wrap_and_break_it(text: str) -> None:
    answer = read_answer(text, form=JSON, view=VIEW)
    assert answer.label is Label.FAKE
    assert answer.traces[0].onset_s == 1.2
    assert answer.p_fake in (None, 0.9)


def test_categories_and_scores_of_json() -> None:
    text = '{"label": "FAKE", "traces": [{"categories": ["Blurring", "sparkles"], "confidence": 0.7}]}'
    answer = read_answer(text, form=JSON, view=VIEW)
    assert (answer.traces[0].categories, answer.traces[0].score) == ((Category.SUDDEN_BLURRING,), 0.7)
    assert any("sparkles" in text for text in answer.warnings)


@pytest.mark.parametrize(
    ("text", "label", "warning"),
    [
        ('{"label": "REAL", "fake_probability": 0.9}', "REAL", "contradicts"),
        ('{"label": "REAL", "start_time": 1, "bbox": [0, 0, 9, 9]}', "REAL", "kept"),
        ("REAL. The unnatural part is at [0, 0, 9, 9] starting 2 seconds.", "REAL", "kept"),
        ("FAKE. The video is real. There is no unnatural part.", "FAKE", "nothing unnatural"),
        ('{"label": "FAKE", "start_time": 5, "end_time": 2}', "FAKE", "before start"),
        ("REAL <coordinates>[0, 0, 9, 9]</coordinates>", "REAL", "kept"),
    ],
)
def test_contradictions_are_kept_with_a_warning(text: str, label: str, warning: str) -> None:
    answer = read_answer(text, form=JSON if text.startswith("{") else FINE_TUNING, view=VIEW)
    assert answer.label == label
    assert any(warning in line for line in answer.warnings)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("**FAKE**", "FAKE"),
        ("The answer is: FAKE", "FAKE"),
        ("[FAKE, 0.0, 0.0]", "FAKE"),
        ("Fake.", "FAKE"),
        ("Label: real", "REAL"),
        ("FAKE, not REAL.", "FAKE"),
        ("I'm sorry to say so. FAKE?", None),
        ("The video is a real video.", "REAL"),
        ("The image is not AI-generated.", "REAL"),
        ("This video appears to be AI-generated.", "FAKE"),
        ("After a close look I conclude REAL", "REAL"),
        ("I cannot detect any unnatural parts, so it is REAL.", "REAL"),
        ("I could not see anything unnatural: REAL", "REAL"),
        ("This is not FAKE.", "REAL"),
        ("It isn't REAL", "FAKE"),
        ("**Verdict:** FAKE", "FAKE"),
        ("True.", "FAKE"),
        (" False", "REAL"),
        ("REAL or FAKE", None),
        ("REAL/FAKE", None),
        ('"REAL or FAKE"', None),
        ('{"label":"REAL or FAKE","fake_probability":0.0}', None),
        ("FAKE for AI-generated video and REAL for authentic video.", None),
        ("The video is real. The video is fake.", None),
        ("The image contains a person with long hair.", None),
        ("A real-time strategy game with realistic graphics", None),
        ("1296x720", None),
        ("0.0", None),
        ("!" * 256, None),
        ('{"fake_probability": 0.99}', None),
        ("<think>FAKE, I guess", None),
        ("", None),
    ],
)
def test_which_label_or_none(text: str, label: str | None) -> None:
    if label is None:
        with pytest.raises(AnswerError):
            read_answer(text, view=VIEW)
    else:
        assert read_answer(text, view=VIEW).label == label


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, I cannot watch videos.",
        "As an AI language model, I don't have access to video.",
        "Sorry, but I can't see the video.",
        "I am not able to watch this.",
        "I don't have access to the video.",
        "I am unable to determine whether this video is REAL or FAKE.",
        '{"explanation": "I cannot assist with this request."}',
    ],
)
@pytest.mark.parametrize("form", [FINE_TUNING, ZERO_SHOT, JSON], ids=lambda form: form.style)
def test_refusals(text: str, form: AnswerForm) -> None:
    with pytest.raises(RefusalError):
        read_answer(text, form=form, view=VIEW)
    assert verdict_of_text(text, video="a.mp4", form=form).outcome is Outcome.REFUSED


def test_an_answer_in_another_form_is_read_with_a_warning() -> None:
    sentence = SENTENCE.format(box="[100, 100, 400, 300]", time="1.2 seconds")
    as_json = '{"label": "FAKE", "bbox": [100, 100, 400, 300], "start_time": 1.2, "explanation": "it melts."}'
    for text, form in ((sentence, JSON), (as_json, FINE_TUNING), (as_json, ZERO_SHOT), (sentence, ZERO_SHOT)):
        answer = read_answer(text, form=form, view=VIEW)
        assert answer.traces[0].onset_s == 1.2
        assert any("answer" in warning for warning in answer.warnings)


def test_free_prose_keeps_its_reason() -> None:
    answer = read_answer(
        "FAKE - the hand at (100, 100, 400, 300) melts, starting at 2.5s because it has no bones.", view=VIEW
    )
    (trace,) = answer.traces
    assert trace.box is not None
    assert (trace.onset_s, trace.explanation) == (2.5, "it has no bones.")
    plain = read_answer("FAKE. The dog has five legs.", view=VIEW)
    assert [t.explanation for t in plain.traces] == ["The dog has five legs."]


def test_the_verdict_of_a_text_keeps_the_text() -> None:
    verdict = verdict_of_text("nonsense", video="a.mp4")
    assert (verdict.outcome, verdict.label, verdict.p_fake, verdict.raw) == (
        Outcome.PARSE_FAILED,
        None,
        None,
        "nonsense",
    )
    fine = verdict_of_text("REAL", video="a.mp4", elapsed_s=0.5)
    assert (fine.outcome, fine.label, fine.elapsed_s) == (Outcome.SCORED, Label.REAL, 0.5)


def test_all_spaces_are_spaces_of_their_own() -> None:
    assert len(set(SPACES.values())) == len(SPACES)
