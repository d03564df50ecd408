"""Answers that a program misreads and a careful reader does not: places, times, wrappers, broken JSON, cut ends.

The shared file holds answers in the style of many models with what a careful reader reads in them; the kinds below are
our own variants of every one of its faults.
"""

from __future__ import annotations

import json
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeptrace.errors import AnswerError
from deeptrace.geometry import Box
from deeptrace.prompts import (
    FINE_TUNING,
    JSON,
    SPACES,
    ZERO_SHOT,
    AnswerForm,
    CoordinateSpace,
    Style,
    TimeUnit,
    View,
    read_answer,
    read_time,
    verdict_of_text,
    write_answer,
)
from deeptrace.schema import Label, Outcome, Trace

SHARED_VIEW = View(size=(1280, 720), resized=(644, 364), duration_s=5.0, fps=24.0)
VIEW = View(size=(1000, 1000), duration_s=5.0, fps=24.0)
BOX = (0.1, 0.2, 0.3, 0.4)


# -- the shared cases --------------------------------------------------------------------------------------------


@cache
def shared_cases(folder: Path) -> list[dict[str, Any]]:
    path = folder / "cases" / "answers.json"
    if not path.is_file():
        pytest.skip("needs the awkward answers beside the checkout")
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("number", range(170))
def test_an_awkward_answer_is_read_as_a_careful_reader_would(shared_dir: Path, number: int) -> None:
    cases = shared_cases(shared_dir)
    if number >= len(cases):
        pytest.skip("the file has fewer cases")
    case = cases[number]
    want = case["want"]
    unit, order = case["space"].split("/")
    form = AnswerForm(style=Style(case["form"]), space=CoordinateSpace(unit, order))
    labels = ["None"] if want.get("fail") else want.get("labels") or [want["label"]]
    try:
        answer = read_answer(case["text"], form=form, view=SHARED_VIEW)
    except AnswerError:
        assert "None" in labels, case["text"]
        return
    assert answer.label in labels, case["text"]
    if "boxes" in want:
        boxes = [None if trace.box is None else trace.box.as_tuple() for trace in answer.traces]
        assert boxes == [None if box is None else pytest.approx(box, abs=0.002) for box in want["boxes"]]
    if "onsets" in want:
        assert [t.onset_s for t in answer.traces] == [None if s is None else pytest.approx(s) for s in want["onsets"]]


# -- where -------------------------------------------------------------------------------------------------------

IN_TEXT = [  # all of them the box 100, 200 to 300, 400
    "[{0}, {1}, {2}, {3}]",
    "({0}, {1}, {2}, {3})",
    "[{0} {1} {2} {3}]",
    "[[{0}, {1}, {2}, {3}]]",
    "[{0}px, {1}px, {2}px, {3}px]",
    "({0},{1}),({2},{3})",
    "({0}, {1}) to ({2}, {3})",
    "({0},{1})-({2},{3})",
    "[[{0}, {1}], [{2}, {3}]]",
    "top-left ({0}, {1}), bottom-right ({2}, {3})",
    "upper left corner at ({0}, {1}) and lower right corner at ({2}, {3})",
    "<box>({0},{1}),({2},{3})</box>",
    "<box>{0} {1} {2} {3}</box>",
    "<|box_start|>({0},{1}),({2},{3})<|box_end|>",
    "<|det|>[[{0}, {1}, {2}, {3}]]<|/det|>",
    "<|begin_of_box|>[{0}, {1}, {2}, {3}]<|end_of_box|>",
    "x0={0}, y0={1}, x1={2}, y1={3}",
    "x1: {0}, y1: {1}, x2: {2}, y2: {3}",
    "x_min={0}, y_min={1}, x_max={2}, y_max={3}",
    "ymin: {1}, xmin: {0}, ymax: {3}, xmax: {2}",
    "left: {0}, top: {1}, right: {2}, bottom: {3}",
    "top: {1}, left: {0}, bottom: {3}, right: {2}",
    "x: {0}, y: {1}, width: {w}, height: {h}",
    "x={0} y={1} w={w} h={h}",
    "left: {0}, top: {1}, width: {w}, height: {h}",
    "cx: {cx}, cy: {cy}, w: {w}, h: {h}",
    "centre ({cx}, {cy}), size ({w}, {h})",
    "(x, y, width, height) = ({0}, {1}, {w}, {h})",
    "[{0}, {1}, {w}, {h}] (x, y, width, height)",
    "[ymin, xmin, ymax, xmax] = [{1}, {0}, {3}, {2}]",
    "x from {0} to {2}, y from {1} to {3}",
    "x ∈ [{0}, {2}], y ∈ [{1}, {3}]",
    "x: {0}-{2}, y: {1}-{3}",
    "<x0>{0}</x0><y0>{1}</y0><x1>{2}</x1><y1>{3}</y1>",
    '{{"x0": {0}, "y0": {1}, "x1": {2}, "y1": {3}}}',
    "[{0}，{1}，{2}，{3}]",
    "［{0}、{1}、{2}、{3}］",
    "[{2}, {3}, {0}, {1}]",
]
IN_PLACE = [
    "{0} {1} {2} {3}",
    "{0}, {1}, {2}, {3}",
    "[{0}; {1}; {2}; {3}]",
    "x0: {0}\ny0: {1}\nx1: {2}\ny1: {3}",
]
SENTENCES = [
    "FAKE {box}",
    "FAKE. The region {box} is wrong because the hand melts.",
    "The video is FAKE.\nLook at {box}: the hand melts.",
    "**FAKE** - {box} - the hand melts",
    "FAKE. The video is AI-generated. The unnatural part is at {box} starting 1.5 seconds. The reason is because ...",
]


def filled(pattern: str, numbers: tuple[int, int, int, int]) -> str:
    x0, y0, x1, y1 = numbers
    return pattern.format(*numbers, w=x1 - x0, h=y1 - y0, cx=(x0 + x1) / 2, cy=(y0 + y1) / 2)


@st.composite
def corners(draw: st.DrawFn) -> tuple[int, int, int, int]:
    x0, y0 = draw(st.integers(0, 900)), draw(st.integers(0, 900))
    return x0, y0, draw(st.integers(x0 + 2, 1000)), draw(st.integers(y0 + 2, 1000))


def read_boxes(text: str, form: AnswerForm = ZERO_SHOT, view: View = VIEW) -> list[tuple[float, ...] | None]:
    answer = read_answer(text, form=form, view=view)
    assert answer.label is Label.FAKE
    return [None if trace.box is None else trace.box.as_tuple() for trace in answer.traces]


@given(corners(), st.sampled_from(IN_TEXT), st.sampled_from(SENTENCES))
@settings(max_examples=300)
def test_a_box_anywhere_in_a_text(numbers: tuple[int, int, int, int], pattern: str, sentence: str) -> None:
    text = sentence.format(box=filled(pattern, numbers))
    assert read_boxes(text) == [pytest.approx([part / 1000 for part in numbers])]


@given(
    corners(),
    st.sampled_from(IN_TEXT + IN_PLACE),
    st.sampled_from(["pixels", "permille", "resized_pixels", "permille_ltwh"]),
)
@settings(max_examples=200)
def test_a_box_in_its_tag(numbers: tuple[int, int, int, int], pattern: str, space: str) -> None:
    text = f"FAKE\n<coordinates>{filled(pattern, numbers)}</coordinates>\n<start_time>1.5</start_time>"
    if space == "permille_ltwh":  # four numbers in a row are what the space says: only named ones have their own order
        pattern = next(named for named in IN_TEXT if "ymin" in named)
        text = f"FAKE\n<coordinates>{filled(pattern, numbers)}</coordinates>"
    assert read_boxes(text, ZERO_SHOT.in_space(SPACES[space])) == [pytest.approx([part / 1000 for part in numbers])]


@given(
    st.lists(corners(), min_size=2, max_size=4),
    st.sampled_from(["; ", ", ", " and ", "\n"]),
    st.sampled_from(IN_TEXT[:6]),
)
def test_several_boxes_in_one_tag(several: list[tuple[int, int, int, int]], between: str, pattern: str) -> None:
    text = f"FAKE <coordinates>{between.join(filled(pattern, numbers) for numbers in several)}</coordinates>"
    assert read_boxes(text) == [pytest.approx([part / 1000 for part in numbers]) for numbers in several]


@pytest.mark.parametrize(
    ("written", "space", "box"),
    [
        ("[10%, 20%, 30%, 40%]", "pixels", BOX),
        ("10, 20, 30, 40 %", "permille", BOX),
        ("[0,1; 0,2; 0,3; 0,4]", "fractions", BOX),
        ("(200,100),(400,300)", "permille_yxyx", BOX),
        ("<loc0205><loc0102><loc0410><loc0307>", "pixels", (102 / 1024, 205 / 1024, 307 / 1024, 410 / 1024)),
        ("[0100,0200,0300,0400]", "permille", BOX),
        ("[1,024, 200, 1,280, 400]", "pixels", None),  # nothing of it lies in a frame 1000 wide
        ("[x0, y0, x1, y1]", "pixels", None),
        ("N/A", "pixels", None),
        ("upper left", "pixels", None),
    ],
)
def test_units_that_a_box_writes(written: str, space: str, box: tuple[float, ...] | None) -> None:
    text = f"FAKE <coordinates>{written}</coordinates>"
    found = read_boxes(text, ZERO_SHOT.in_space(SPACES[space]))
    assert found == [None if box is None else pytest.approx(box, abs=1e-6)]


@pytest.mark.parametrize(
    "value",
    [
        "[100, 200, 300, 400]",
        "[[100, 200], [300, 400]]",
        "[[[100, 200], [300, 400]]]",
        '["100", "200", "300px", "400"]',
        '["10%", "20%", "30%", "40%"]',
        '"[100, 200, 300, 400]"',
        '"(100,200),(300,400)"',
        '"x: 100, y: 200, width: 200, height: 200"',
        '{"xMin": 100, "yMin": 200, "xMax": 300, "yMax": 400}',
        '{"top_left": [100, 200], "bottom_right": [300, 400]}',
        '{"x": [100, 300], "y": [200, 400]}',
        '[{"x": 100, "y": 200}, {"x": 300, "y": 400}]',
        "[[100, 200], [300, 200], [300, 400], [100, 400]]",
    ],
)
def test_a_box_in_json(value: str) -> None:
    assert read_boxes(f'{{"label": "FAKE", "box": {value}}}', JSON) == [pytest.approx(BOX)]


def test_json_fields_that_name_the_order() -> None:
    assert read_boxes('{"label": "FAKE", "bbox_xywh": [100, 200, 200, 200]}', JSON) == [pytest.approx(BOX)]
    assert read_boxes('{"label": "FAKE", "left": 100, "top": 200, "width": 200, "height": 200}', JSON) == [
        pytest.approx(BOX)
    ]


# -- when --------------------------------------------------------------------------------------------------------


@given(
    st.integers(0, 3_599_999),
    st.sampled_from(
        [
            "{s:.3f}",
            "{s:.3f}s",
            "{s:.3f} seconds",
            "{comma} s",
            "around {s:.3f} s",
            "t={s:.3f}s",
            "{m}m {r:.3f}s",
            "{m}m{r:.3f}s",
            "{m} min {r:.3f} sec",
            "{m} minutes and {r:.3f} seconds",
            "{m:02d}:{r:06.3f}",
            "00:{m:02d}:{r:06.3f}",
            "{m:02d}:{sec:02d}:{ms:03d}",
            "00:{m:02d}:{sec:02d}:{ms:03d}",
            "{m:02d}：{r:06.3f}",
            "{m}分{r:.3f}秒",
            "{m}분 {r:.3f}초",
            "{m} мин {r:.3f} с",
            "第{s:.3f}秒",
            "{s:.3f}초부터",
            "{s:.3f}s (frame 36)",
            "Frame 3 ({s:.3f} s)",
            "frame 36 / {s:.3f}s",
            "{s:.3f}s - 3600 s",
            "from {s:.3f} to 3600.5",
            "{s:.3f}–3600.0",
            "{all} ms",
        ]
    ),
)
@settings(max_examples=400)
def test_a_time_in_every_style(milliseconds: int, pattern: str) -> None:
    seconds = milliseconds / 1000
    rest = seconds % 60
    text = pattern.format(
        s=seconds,
        comma=f"{seconds:.3f}".replace(".", ","),
        m=milliseconds // 60_000,
        r=rest,
        sec=milliseconds % 60_000 // 1000,
        ms=milliseconds % 1000,
        all=milliseconds,
    )
    assert read_time(text, view=VIEW) == pytest.approx(seconds)
    wide = text.translate({ord("0") + digit: chr(0xFF10 + digit) for digit in range(10)})
    assert read_time(wide, view=VIEW) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("stated", "span"),
    [
        ("1.5 - 3.0", (1.5, 3.0)),
        ("1-2 s", (1.0, 2.0)),
        ("between 1 and 2 seconds", (1.0, 2.0)),
        ("00:01-00:03", (1.0, 3.0)),
        ("1.5~3.0s", (1.5, 3.0)),
        ("frames 12-24", (0.5, 1.0)),
        ("1.5초에서 3초까지", (1.5, 3.0)),
        ("从1.5秒到3秒", (1.5, 3.0)),
        ("From the beginning", (0.0, None)),
        ("throughout the video", (0.0, None)),
        ("the first frame", (0.0, None)),
        ("从一开始", (0.0, None)),
        ("half a second", (0.5, None)),
        ("second 2", (2.0, None)),
        ("на 3-й секунде", (3.0, None)),
        ("à la 3e seconde", (3.0, None)),
        ("2 s 500 ms", (2.5, None)),
        ("1.5s - end", (1.5, None)),
        ("24 frames per second", (None, None)),
        ("unknown", (None, None)),
    ],
)
@pytest.mark.parametrize("style", ["tag", "json", "field"])
def test_ranges_and_words(stated: str, span: tuple[float | None, float | None], style: str) -> None:
    text = {
        "tag": f"FAKE <coordinates>[100, 200, 300, 400]</coordinates><start_time>{stated}</start_time>",
        "json": f'{{"label": "FAKE", "box": [100, 200, 300, 400], "start_time": "{stated}"}}',
        "field": f"FAKE\nCoordinates: [100, 200, 300, 400]\nStart time: {stated}\nExplanation: It melts.",
    }[style]
    (trace,) = read_answer(text, form=JSON if style == "json" else ZERO_SHOT, view=VIEW).traces
    assert (trace.onset_s, trace.offset_s) == span


@pytest.mark.parametrize(
    ("text", "onset"),
    [
        ("FAKE. Around the 0.5 second mark, the hand melts.", 0.5),
        ("FAKE. The hand melts, beginning around 3.5 seconds.", 3.5),
        ("FAKE. The hand melts between 1 and 2 seconds.", 1.0),
        ("FAKE. The hand melts from frame 12 to frame 24.", 0.5),
        ("FAKE. In this 5-second clip the hand melts for 2 seconds.", None),
        ("FAKE. The hand starts to have 6 fingers.", None),
        ("FAKE. The hand melts throughout.", 0.0),
        ("FAKE. A second hand with 6 fingers appears.", None),
        ("FAKE。不自然的部分从1.5秒开始。", 1.5),
        ("FAKE. 1.5초부터 손이 녹는다.", 1.5),
    ],
)
def test_a_time_in_prose(text: str, onset: float | None) -> None:
    (trace,) = read_answer(text, form=ZERO_SHOT, view=VIEW).traces
    assert trace.onset_s == onset


@pytest.mark.parametrize("form", [FINE_TUNING, ZERO_SHOT, JSON], ids=lambda form: form.style)
def test_a_time_beyond_the_video_is_doubted_and_kept(form: AnswerForm) -> None:
    traces = [Trace(box=Box(x0=0.1, y0=0.2, x1=0.3, y1=0.4), onset_s=62.0, explanation="It melts.")]
    answer = read_answer(write_answer(Label.FAKE, traces, form=form, view=VIEW), form=form, view=VIEW)
    assert answer.traces[0].onset_s == 62.0
    assert any("beyond the end of the video" in warning for warning in answer.warnings)


# -- several traces ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "FAKE <coordinates>[100, 200, 300, 400], [500, 500, 600, 600]</coordinates><start_time>0.5, 2.0</start_time>",
        "FAKE\nThe hand at [100, 200, 300, 400] melts at 0.5 s. The cup at [500, 500, 600, 600] splits at 2.0 s.",
        "Verdict: FAKE\nRegions:\n - hand: [100, 200, 300, 400] @ 0.5 s\n - cup: [500, 500, 600, 600] @ 2.0s",
        "FAKE\n1. [100, 200, 300, 400] from 0.5 s: the hand\n2. [500, 500, 600, 600] from 2.0 s: the cup",
        "FAKE. The unnatural parts are:\n1. The hand at [100, 200, 300, 400], starting at 0.5 seconds, because it "
        "melts.\n2. The cup at [500, 500, 600, 600], starting at 2.0 seconds, because it splits.",
        "| Area | Start |\n|---|---|\n| [100, 200, 300, 400] | 0.5 s |\n| [500, 500, 600, 600] | 2.0 s |\n\nFAKE",
        '[{"label": "FAKE", "box": [100, 200, 300, 400], "time": 0.5}, {"box": [500, 500, 600, 600], "time": 2}]',
        '{"label": "FAKE", "box": [100, 200, 300, 400], "time": 0.5}\n{"box": [500, 500, 600, 600], "time": 2}',
        'FAKE\n```json\n[{"box": [100, 200, 300, 400], "time": 0.5}, {"box": [500, 500, 600, 600], "time": 2}]\n```',
        '{"label": "FAKE", "boxes": [[100, 200, 300, 400], [500, 500, 600, 600]], "times": [0.5, 2.0]}',
    ],
)
def test_each_trace_has_its_own_time(text: str) -> None:
    answer = read_answer(text, form=ZERO_SHOT, view=VIEW)
    assert answer.label is Label.FAKE
    assert [trace.box.as_tuple() for trace in answer.traces if trace.box] == [
        pytest.approx(BOX),
        pytest.approx((0.5, 0.5, 0.6, 0.6)),
    ]
    assert [trace.onset_s for trace in answer.traces] == [0.5, 2.0]


def test_what_one_trace_leaves_out_is_not_taken_from_another() -> None:
    text = (
        "FAKE <coordinates>[0, 0, 9, 9]</coordinates><start_time>1</start_time><explanation>a</explanation>"
        "<coordinates>[9, 9, 99, 99]</coordinates><explanation>b</explanation>"
    )
    traces = read_answer(text, form=ZERO_SHOT, view=VIEW).traces
    assert [(trace.onset_s, trace.explanation) for trace in traces] == [(1.0, "a"), (None, "b")]


def test_rows_that_contradict_one_another_are_no_answer() -> None:
    with pytest.raises(AnswerError, match="both"):
        read_answer('[{"label": "REAL", "box": [0, 0, 9, 9]}, {"label": "FAKE", "box": [9, 9, 99, 99]}]', form=JSON)


# -- what is no trace --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "FAKE. The video is AI-generated.",
        "FAKE\n\nThe answer is FAKE.",
        "I think this video is FAKE.",
        "The video is definitely AI generated",
        "FAKE. I am 90 % confident.",
        "FAKE. Decide whether the video is AI-generated or real by detecting unnatural parts.",
        "Verdict: FAKE\nConfidence: high",
        "<answer>FAKE</answer>",
        "Based on the frames provided, the video is AI-generated.\n\nFAKE",
        "FAKE입니다.",
    ],
)
def test_an_echo_or_a_label_alone_is_no_trace(text: str) -> None:
    assert read_answer(text, form=ZERO_SHOT, view=VIEW).traces == ()


def test_an_explanation_is_words_about_the_video() -> None:
    for text, why in (
        ("FAKE (100, 200, 300, 400) at 1.5 s", ""),
        ("FAKE. The <ref>left hand</ref><box>[[100, 200, 300, 400]]</box> melts.", "The left hand melts."),
        (
            "My assessment: FAKE.\n\nThe region is [100, 200, 300, 400], beginning at 1 s. The wheel melts.",
            "The wheel melts.",
        ),
        ("The video is fake, as the dog has five legs.", "the dog has five legs."),
        ("Explanation: it looks REAL, but hands melt.\nVerdict: FAKE", "it looks REAL, but hands melt."),
    ):
        (trace,) = read_answer(text, form=ZERO_SHOT, view=VIEW).traces
        assert trace.explanation == why


# -- wrappers ----------------------------------------------------------------------------------------------------

PLAIN = [
    "FAKE",
    "FAKE <coordinates>[100, 200, 300, 400]</coordinates><start_time>1.5</start_time><explanation>Melts.</explanation>",
    "FAKE. The hand at [100, 200, 300, 400] melts, starting at 1.5 seconds.",
    '{"label": "FAKE", "box": [100, 200, 300, 400], "start_time": 1.5, "explanation": "It melts."}',
    "**Label:** FAKE\n**Coordinates:** [100, 200, 300, 400]\n**Start time:** 1.5 s\n**Explanation:** It melts.",
]
WRAPPERS = [
    "<think>It seems REAL. [1, 2, 3, 4]?</think>\n\n{}",
    "It seems REAL. [1, 2, 3, 4]?\n</think>\n\n{}",
    "<thinking>REAL</thinking>{}",
    "<reasoning>REAL at 3 s</reasoning>\n{}",
    "◁think▷REAL?◁/think▷{}",
    "[THINK]REAL?[/THINK]{}",
    "<seed:think>REAL?</seed:think>{}",
    "<|channel>thought\nREAL?<channel|>{}",
    "<|channel|>analysis<|message|>REAL? {{}}<|end|><|start|>assistant<|channel|>final<|message|>{}",
    "analysisThe video looks REAL.assistantfinal{}",
    "Here is my thought process: REAL? Here is my response: {}",
    "<answer>{}</answer>",
    "<think>REAL</think><answer>\n{}\n</answer><|im_end|>",
    "It may be REAL. <answer>{}",
    "assistant\n{}",
    "{}<|im_end|>",
    "{}<|im_end|>\n<|im_start|>user\nREAL or FAKE?",
    "<s>{}</s>",
    "{}<｜end▁of▁sentence｜>",
    "{}<end_of_turn>\n",
    "```\n{}\n```",
]


@pytest.mark.parametrize("form", [ZERO_SHOT, JSON], ids=lambda form: form.style)
@pytest.mark.parametrize("plain", PLAIN)
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrappers_change_nothing(wrapper: str, plain: str, form: AnswerForm) -> None:
    wrapped = wrapper.format(plain)
    alone, answer = read_answer(plain, form=form, view=VIEW), read_answer(wrapped, form=form, view=VIEW)
    assert (answer.label, answer.traces) == (alone.label, alone.traces)
    assert alone.label_at is not None
    assert answer.label_at is not None
    assert wrapped[answer.label_at : answer.label_at + 4] == "FAKE"
    assert answer.label_at == wrapped.index(plain) + alone.label_at


@pytest.mark.parametrize(
    "text",
    [
        "<think>FAKE, I guess",
        "[THINK]It is FAKE",
        "◁think▷FAKE",
        "<|channel|>analysis<|message|>FAKE",
        "analysisThe video is FAKE.",
        "<think>FAKE</think>",
        "<|channel>thought\nFAKE",
    ],
)
def test_thoughts_are_no_answer(text: str) -> None:
    with pytest.raises(AnswerError, match="thoughts"):
        read_answer(text, view=VIEW)


def test_a_label_alone_in_its_wrapper_keeps_what_stands_outside() -> None:
    text = "It seems REAL at first.\n<coordinates>[100, 200, 300, 400]</coordinates>\n<answer>FAKE</answer>"
    answer = read_answer(text, form=ZERO_SHOT, view=VIEW)
    assert answer.label is Label.FAKE
    assert [trace.box.as_tuple() for trace in answer.traces if trace.box] == [pytest.approx(BOX)]
    boxed = read_answer("The hand [100, 200, 300, 400] melts. The answer is \\boxed{\\text{FAKE}}", view=VIEW)
    assert boxed.label is Label.FAKE
    assert len(boxed.traces) == 1


def test_escaped_tags() -> None:
    text = "FAKE &lt;coordinates&gt;[100, 200, 300, 400]&lt;/coordinates&gt; &lt;start_time&gt;2.0&lt;/start_time&gt;"
    (trace,) = read_answer(text, form=ZERO_SHOT, view=VIEW).traces
    assert (trace.box and trace.box.as_tuple(), trace.onset_s) == (pytest.approx(BOX), 2.0)


# -- broken and cut JSON -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '{"label": "FAKE", "box": [100, 200, 300, 400], "start_time": 1.5, "explanation": "line one\nline two"}',
        "{'label': 'FAKE', 'box': [100, 200, 300, 400], 'start_time': 1.5, 'explanation': 'the dog's tail', 'x': None}",
        '{"label": "FAKE", "box": [100, 200, 300, 400], "start_time": 1.5, "explanation": "He says "no" and melts"}',
        '{label: "FAKE", box: [100, 200, 300, 400], start_time: 00:01.5,}',
        '{"label": "FAKE", // sure\n "box": [100, 200, 300, 400], "start_time": 1.5s}',
        '{"label": "FAKE" "box": [100 200 300 400] "start_time": 1.5}',
        "{“label”： “FAKE”， “box”： [100， 200， 300， 400]， “start_time”： 1.5}",
        '{\\"label\\": \\"FAKE\\", \\"box\\": [100, 200, 300, 400], \\"start_time\\": 1.5}',
        '{"label": "FAKE", "traces": [{"box": [100, 200, 300, 400], "start_time": 1.5}, ...]}',
        '```json\n{"label": "FAKE", "traces": [{"box": [100, 200, 300, 400], "start_time": 1.5, "explanation": "The ha',
        'addCriterion\n{"label": "FAKE", "box": [100, 200, 300, 400], "start_time": 1.5}',
        'Here it is:\n{"result": {"label": "FAKE", "box": [100, 200, 300, 400], "start_time": "1.5s"}}\nHope it helps.',
        '{"name": "report", "arguments": {"label": "FAKE", "box": [100, 200, 300, 400], "start": 1.5}}</tool_call>',
        '{"verdict": {"label": "FAKE"}, "anomalies": [{"box": [100, 200, 300, 400], "timestamp": "00:01.5"}]}',
        '{"label": "FAKE", "traces": ["The hand melts at 1.5 s in [100, 200, 300, 400]"]}',
        '{"video_authenticity": "AI-generated", "trace": {"bbox": "100,200,300,400", "time": 1.5}}',
        '{"REAL": false, "FAKE": true, "where": [100, 200, 300, 400], "when": 1.5}',
        '{"标签": "假", "坐标": [100, 200, 300, 400], "开始时间": "1.5秒"}',
        '{"label": "FAKE", "anomalies": [{"area": [100, 200, 300, 400], "from": 1.5, "to": 2, "note": "It melts."}]}',
        'FAKE\n```json\n[{"box": [100, 200, 300, 400], "label": "hand"}]\n```\nIt is fake from 1.5 seconds on.',
    ],
)
@pytest.mark.parametrize("form", [JSON, ZERO_SHOT], ids=lambda form: form.style)
def test_json_as_models_break_it(text: str, form: AnswerForm) -> None:
    answer = read_answer(text, form=form, view=VIEW)
    (trace,) = answer.traces
    assert (answer.label, trace.box and trace.box.as_tuple(), trace.onset_s) == (Label.FAKE, pytest.approx(BOX), 1.5)


@pytest.mark.parametrize(
    "text",
    [
        '{"label": "REAL" or "FAKE", "fake_probability": a number from 0 to 1, "traces": [...]}',
        '{"label": "REAL or FAKE"}',
        '{"label": "FA',
        "{}",
        '{"fake_probability": 0.99}',
        '{"label": "hand"}',
        "I think {maybe} [1, 2]",
    ],
)
def test_json_that_states_no_label(text: str) -> None:
    with pytest.raises(AnswerError):
        read_answer(text, form=JSON, view=VIEW)


@pytest.mark.parametrize(
    ("written", "p_fake"),
    [
        (".85", 0.85),
        ("1.0000001", 1.0),
        ("1.00000002384", 1.0),
        ("-1e-9", 0.0),
        ('"0,9"', 0.9),
        ('"0.9"', 0.9),
        ('"90 %"', 0.9),
        ('"９０％"', 0.9),
        ('"≈ 0.9 (high)"', 0.9),
        ("90", 0.9),
        ("1.5", None),
        ("101", None),
        ("NaN", None),
        ("Infinity", None),
        ('"high"', None),
    ],
)
def test_probabilities(written: str, p_fake: float | None) -> None:
    answer = read_answer(f'{{"label": "FAKE", "fake_probability": {written}}}', form=JSON)
    assert answer.p_fake == (None if p_fake is None else pytest.approx(p_fake))


def test_a_probability_by_other_names() -> None:
    assert read_answer('{"label": "REAL", "real_probability": 0.75}', form=JSON).p_fake == 0.25
    both = read_answer('{"REAL": 0.25, "FAKE": 0.75}', form=JSON)
    assert (both.label, both.p_fake) == (Label.FAKE, 0.75)


@st.composite
def written_answers(draw: st.DrawFn) -> tuple[str, AnswerForm]:
    """An answer of one or two traces, as written in one of the forms."""
    traces = []
    for _ in range(draw(st.integers(1, 2))):
        x0, y0, x1, y1 = (part / 1000 for part in draw(corners()))
        why = draw(st.sampled_from(["It melts at 2 places.", "The cup splits in 2", "6 fingers, 3 of them bent"]))
        onset = draw(st.integers(0, 499)) / 100
        traces.append(Trace(box=Box(x0=x0, y0=y0, x1=x1, y1=y1), onset_s=onset, explanation=why))
    times = draw(st.sampled_from([TimeUnit.SECONDS, TimeUnit.CLOCK]))
    form = AnswerForm(style=draw(st.sampled_from(Style)), times=times)
    text = write_answer(Label.FAKE, traces, form=form, view=VIEW, p_fake=0.87)
    if form.style is Style.JSON and draw(st.booleans()):
        text = f"```json\n{json.dumps(json.loads(text), indent=1)}\n```"
    return text, form


@given(written_answers(), st.data())
@settings(max_examples=400)
def test_no_number_comes_out_of_a_cut_answer_that_was_not_in_the_whole_one(
    written: tuple[str, AnswerForm], data: st.DataObject
) -> None:
    text, form = written
    whole = read_answer(text, form=form, view=VIEW)
    boxes, onsets = {trace.box for trace in whole.traces}, {trace.onset_s for trace in whole.traces}
    with suppress(AnswerError):
        cut = read_answer(text[: data.draw(st.integers(1, len(text) - 1))], form=form, view=VIEW)
        assert cut.label is Label.FAKE
        assert {trace.box for trace in cut.traces} <= {*boxes, None}
        assert {trace.onset_s for trace in cut.traces} <= {*onsets, None}
        assert cut.p_fake in (None, 0.87)


# -- whatever the text -------------------------------------------------------------------------------------------

BITS = st.sampled_from(
    [
        *(
            "FAKE",
            "REAL",
            "fake",
            "not",
            "is",
            "the video",
            "no evidence that",
            "?",
            ":",
            "|",
            "- ",
            "1. ",
            "\n",
            "10 %",
            "yes",
        ),
        *(
            "<answer>",
            "</answer>",
            "◁think▷",
            "[/THINK]",
            "<|channel|>",
            "<|message|>",
            "assistantfinal",
            "\\boxed{",
            "}",
            "&lt;",
        ),
        *(
            "Coordinates:",
            "Start time:",
            "| Area | Start |",
            "|---|---|",
            "(1,2)",
            "(3,4)",
            "x0=1",
            "ymin",
            "1:2:345",
            "0,9",
            "秒",
        ),
        *(
            '{"label"',
            '"traces": [',
            '"box"',
            "1.0000001",
            "<loc0001>",
            "１２",
            "\ud800",
            "从",
            "frame 3",
            "half a second",
        ),
    ]
)


@given(st.lists(BITS | st.text(max_size=6), max_size=40).map(" ".join), st.sampled_from(Style))
@settings(max_examples=600)
def test_whatever_the_text_it_is_a_verdict(text: str, style: Style) -> None:
    verdict = verdict_of_text(text, video="a.mp4", form=AnswerForm(style=style), view=VIEW)
    assert verdict.outcome in (Outcome.SCORED, Outcome.PARSE_FAILED, Outcome.REFUSED)
    assert json.loads(verdict.model_dump_json())["video"] == "a.mp4"


@pytest.mark.parametrize(
    "piece", ["[", "{", '{"a":', "1, ", "not ", "FAKE ", "x=1 ", "<think>", "<coordinates>", "\n", "1 s ", "`"]
)
def test_a_model_that_repeats_itself_takes_no_long_time(piece: str) -> None:
    for style in Style:
        with suppress(AnswerError):
            read_answer(piece * (8000 // len(piece)), form=AnswerForm(style=style), view=VIEW)


# -- a second set of our own: what it misread at first, by kind ------------------------------------------------------

SAID = [
    ("There is little doubt that the footage is genuine.", Label.REAL),
    ("There is hardly any doubt that this video is fake.", Label.FAKE),
    ("is_ai_generated: true", Label.FAKE),
    ("is_real: true", Label.REAL),
    ("is_fake = no", Label.REAL),
    ("Not FAKE, REAL", Label.REAL),
    ("Not REAL, FAKE", Label.FAKE),
    ("My guess: real", Label.REAL),
    ("It fails to look real; synthetic.", Label.FAKE),
    ("The clip fails to appear authentic.", Label.FAKE),
    ("No AI artifacts whatsoever; a genuine recording.", Label.REAL),
    ("A fake video.", Label.FAKE),
    ("这段视频是真实的。", Label.REAL),
    ("这段视频不是真实的，而是AI生成的。", Label.FAKE),
    ("该视频由AI生成。", Label.FAKE),
    ("这个视频没有AI生成的痕迹，视频是实拍的。", Label.REAL),
    ("この動画は本物です。", Label.REAL),
    ("この動画は本物ではありません。", Label.FAKE),
    ("この動画はAIで生成されたものです。", Label.FAKE),
    ("이 영상은 가짜입니다.", Label.FAKE),
    ("이 영상은 진짜가 아닙니다.", Label.FAKE),
    ("Это видео настоящее.", Label.REAL),
    ("Это видео сгенерировано нейросетью.", Label.FAKE),
]


@pytest.mark.parametrize(("text", "label"), SAID, ids=[text[:30] for text, _ in SAID])
def test_a_label_said_in_other_words_and_languages(text: str, label: Label) -> None:
    assert read_answer(text, view=VIEW).label is label


@pytest.mark.parametrize(
    "text",
    [
        "这段视频是否真实？",
        "视频中的人物是假的。",
        "这段视频可能是AI生成的。",
        "Not REAL or FAKE",
        "fake probability: 50%",
    ],
)
def test_what_is_asked_doubted_or_said_of_something_else_is_no_label(text: str) -> None:
    with pytest.raises(AnswerError):
        read_answer(text, view=VIEW)


@pytest.mark.parametrize(
    "box",
    [
        "center (200, 300), size 200 x 200",
        "centre at 200, 300 and a size of 200 by 200",
        "center: (200, 300); size: 200×200",
        "center: (200, 300), width: 200, height: 200",
        "centred at (200, 300) with a width of 200 and a height of 200",
    ],
)
def test_a_centre_with_a_size_in_words(box: str) -> None:
    answer = read_answer(
        f"FAKE\n<coordinates>{box}</coordinates>\n<explanation>The hand melts.</explanation>", view=VIEW
    )
    assert [trace.box and trace.box.as_tuple() for trace in answer.traces] == [pytest.approx(BOX)]


@pytest.mark.parametrize(("text", "seconds"), [("PT1.5S", 1.5), ("PT1M2S", 62.0), ("PT0M2.25S", 2.25)])
def test_durations_of_iso_8601(text: str, seconds: float) -> None:
    assert read_time(text) == seconds


# -- a third set of our own, by kind ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "FAKE <coordinates><bbox>100 200 300 400</bbox></coordinates><start_time>1.5</start_time>",
        'FAKE <coordinates x0="100" y0="200" x1="300" y1="400"/><start_time value="1.5"/>',
        'FAKE <coordinates format="xyxy">[100, 200, 300, 400]</coordinates><start_time unit="s">1.5</start_time>',
        "FAKE<坐标>[100,200,300,400]</坐标><开始时间>1.5秒</开始时间>",
        "FAKE\n[100, 200, 300, 400]\n1.5\nThe hand melts.",
        "FAKE\n(100, 200, 300, 400)\n1.5 s",
        "1. FAKE\n2. [100, 200, 300, 400]\n3. 1.5\n4. The hand melts.",
        "FAKE\n< coordinates >[100, 200, 300, 400]< /coordinates >\n< start_time >1.5< /start_time >",
        "FAKE\n[coordinates] [100, 200, 300, 400] [/coordinates]\n[start_time] 1.5 [/start_time]",
        "FAKE | [100, 200, 300, 400] | 1.5 | The hand melts",
        "FAKE\nKoordinaten: [100, 200, 300, 400]\nStartzeit: 1,5 s\nErklärung: Die Hand schmilzt.",
        "FAKE\nCoordonnées : [100, 200, 300, 400]\nDébut : 1,5 s\nExplication : La main fond.",
        "FAKE\nCoordenadas: [100, 200, 300, 400]\nInicio: 1,5 s\nExplicación: La mano se derrite.",
        "判定：FAKE\n座標：[100, 200, 300, 400]\n開始時刻：1.5秒\n説明：手が溶ける。",
        "FAKE. La mano [100, 200, 300, 400] se derrite a partir del segundo 1.5.",
        "FAKE. Die Hand [100, 200, 300, 400] schmilzt ab Sekunde 1.5.",
    ],
)
def test_a_place_and_time_in_other_tags_lines_and_languages(text: str) -> None:
    (trace,) = read_answer(text, form=ZERO_SHOT, view=VIEW).traces
    assert trace.box is not None
    assert (trace.box.as_tuple(), trace.onset_s) == (pytest.approx(BOX), 1.5)


@pytest.mark.parametrize("space", ["pixels", "resized_pixels", "permille", "permille_yxyx"])
def test_numbers_up_to_one_are_fractions_in_every_space(space: str) -> None:
    written = "[0.2, 0.1, 0.4, 0.3]" if space.endswith("yxyx") else "[0.1, 0.2, 0.3, 0.4]"
    answer = read_answer(
        f"FAKE <coordinates>{written}</coordinates>", form=ZERO_SHOT.in_space(SPACES[space]), view=SHARED_VIEW
    )
    assert [trace.box and trace.box.as_tuple() for trace in answer.traces] == [pytest.approx(BOX)]
    assert any("read as fractions" in warning for warning in answer.warnings)


def test_what_an_object_that_is_cut_off_has_said_so_far() -> None:
    text = (
        '{"label": "FAKE", "fake_probability": 0.7, "traces": [\n'
        '{"box": [100, 200, 300, 400], "start_time": 1.5, "end_time": 2, "categories": [], "explanation": "a"},\n'
        '{"box": [500, 500, 600, 600], "start_time": 2.5, "end_time": 3, "categories": [], "expl'
    )
    answer = read_answer(text, form=JSON, view=VIEW)
    assert [trace.onset_s for trace in answer.traces] == [1.5, 2.5]
    assert answer.p_fake == 0.7
    assert "the answer stops within its JSON" in answer.warnings


@pytest.mark.parametrize(
    "between", ["between 1.2 and 1.8 s", "between 1.2 s and 1.8 s", "zwischen 1,2 s und 1,8 s", "entre 1,2 s et 1,8 s"]
)
def test_a_range_in_words(between: str) -> None:
    (trace,) = read_answer(f"FAKE. {between}: [100, 200, 300, 400]", form=ZERO_SHOT, view=VIEW).traces
    assert (trace.onset_s, trace.offset_s) == (1.2, 1.8)


# -- a fourth set of our own, by kind --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        '"bbox_coordinates": [100, 200, 300, 400]',
        '"area_of_interest": [100, 200, 300, 400]',
        '"roi": [100, 200, 300, 400]',
        '"bbox_pixels": "100, 200, 300, 400"',
        '"polygon": [[100, 200], [300, 200], [300, 400], [100, 400]]',
    ],
)
def test_a_box_by_a_name_that_is_like_one(fields: str) -> None:
    assert read_boxes(f'{{"label": "FAKE", "traces": [{{{fields}}}]}}', JSON) == [pytest.approx(BOX)]


@pytest.mark.parametrize(
    "text",
    [
        '{"label": "FAKE", "traces": [[100, 200, 300, 400]], "start_time": 1.5}',
        '```json\n{"label": "FAKE"}\n```\n```json\n{"box": [100, 200, 300, 400], "start_time": 1.5}\n```',
        '[{"label": "FAKE"}, {"box": [100, 200, 300, 400], "start_time": 1.5}]',
        '{"isAIGenerated": true, "anomaly": {"box": [100, 200, 300, 400], "time": "1.5s"}}',
        '{"label": "FAKE", "box": [100, 200, 300, 400], "frame_range": [36, 48]}',
        "FAKE. During 1.5-3.0 s, [100, 200, 300, 400] melts.",
        "(FAKE, [100, 200, 300, 400], 1.5)",
        "FAKE <coordinates>[100, 200, w=200, h=200]</coordinates> <start_time>1.5</start_time>",
        "The answer is \\text{FAKE}: [100, 200, 300, 400] from 1.5 s.",
    ],
)
def test_a_place_and_time_wherever_they_are_stated(text: str) -> None:
    form = JSON if text[0] in "[{`" else ZERO_SHOT
    (trace,) = read_answer(text, form=form, view=VIEW).traces
    assert trace.box is not None
    assert (trace.box.as_tuple(), trace.onset_s) == (pytest.approx(BOX), 1.5)


def test_numbered_times_in_one_tag() -> None:
    text = "FAKE <coordinates>1) [100, 200, 300, 400]\n2) [500, 500, 600, 600]</coordinates>"
    traces = read_answer(f"{text}<start_time>1) 1.0\n2) 2.5</start_time>", form=ZERO_SHOT, view=VIEW).traces
    assert [trace.onset_s for trace in traces] == [1.0, 2.5]
    assert read_time("最初から") == 0.0


PLACED = st.sampled_from(
    [
        "<coordinates>{box}</coordinates>\n<start_time>{time}</start_time>\n<explanation>{why}</explanation>",
        "Coordinates: {box}\nStart time: {time}\nExplanation: {why}",
        "| field | value |\n|---|---|\n| coordinates | {box} |\n| start time | {time} |\n\n**Explanation:** {why}",
        "1. **Area**: {box}\n2. **Start**: {time}\n3. **Reason**: {why}",
        "The most suspicious region is {box}, beginning around {time}. {why}",
    ]
)
HEADS = st.sampled_from(
    ["FAKE", "**FAKE**", "Label: FAKE", "答案：FAKE", "The video is AI-generated.", "It looks REAL, but it is FAKE."]
)
WRAPPED = st.sampled_from(
    ["{}", "<think>REAL? [1, 2, 3, 4] at 4 s.</think>{}", "<answer>{}</answer>", "[THINK]REAL[/THINK]{}<|im_end|>"]
)
TIMES = st.sampled_from(["1.5 s", "1.5 seconds", "00:01.5", "1500 ms", "1.5s (frame 36)"])
REASONS = st.sampled_from(["The cup turns into 3 spoons.", "It looks fake.", "A real hand has five fingers."])


@pytest.mark.parametrize("between", ["\n", " ", ", ", "\n2) "])
@pytest.mark.parametrize("box", ["(0, 0, 2, 2)", "[0, 0, 2, 2]", "(0, 0, 20, 20)", "(100, 200, 300, 400)"])
def test_the_last_number_of_a_bracket_does_not_number_a_list(box: str, between: str) -> None:
    text = f"FAKE\nCoordinates: {box}{between}Start time: 1.5 s\nExplanation: The cup melts."
    (trace,) = read_answer(text, form=ZERO_SHOT, view=VIEW).traces
    assert trace.box is not None
    wanted = [float(part) / 1000 for part in box.strip("()[]").split(",")]
    assert (trace.box.as_tuple(), trace.onset_s) == (pytest.approx(wanted), 1.5)


@given(corners(), st.sampled_from(IN_TEXT[:8]), HEADS, PLACED, WRAPPED, TIMES, REASONS)
@settings(max_examples=150)
def test_what_is_read_apart_is_read_together(
    numbers: tuple[int, int, int, int], box: str, head: str, body: str, wrapper: str, time: str, why: str
) -> None:
    text = wrapper.format(f"{head}\n\n{body.format(box=filled(box, numbers), time=time, why=why)}")
    (trace,) = read_answer(text, form=ZERO_SHOT, view=VIEW).traces
    assert trace.box is not None
    assert (trace.box.as_tuple(), trace.onset_s) == (pytest.approx([part / 1000 for part in numbers]), 1.5)
