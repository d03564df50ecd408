"""Fusion: findings in the model's own words and space, and answers verified by what was measured."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptrace.detectors.vlm.fusion import verified, with_findings
from deeptrace.geometry import Box
from deeptrace.prompts import FINE_TUNING, SPACES, ZERO_SHOT, View, question
from deeptrace.schema import Category, DetectorInfo, Label, Outcome, Trace, Verdict

BOX = Box(x0=0.25, y0=0.5, x1=0.5, y1=0.75)
MEASURED = Trace(
    categories=(Category.SUDDEN_BLURRING,), onset_s=1.0, offset_s=2.0, box=BOX, score=0.7, explanation="It blurs."
)
EXPERT = DetectorInfo(name="tracenet", version="1", settings={})


def measured(p_fake: float | None, *traces: Trace) -> Verdict:
    label = Label.REAL if p_fake is not None and p_fake < 0.5 else Label.FAKE
    return Verdict(video="v.mp4", outcome=Outcome.SCORED, label=label, p_fake=p_fake, traces=traces, detector=EXPERT)


def said(label: Label, *traces: Trace, p_fake: float | None = None) -> Verdict:
    return Verdict(video="v.mp4", outcome=Outcome.SCORED, label=label, p_fake=p_fake, traces=traces)


@pytest.mark.parametrize(
    ("space", "numbers"),
    [("pixels", [320, 360, 640, 540]), ("resized_pixels", [70, 84, 140, 126]), ("permille_yxyx", [500, 250, 750, 500])],
)
def test_findings_stand_before_the_question_in_the_models_own_space(space, numbers):
    view = View(size=(1280, 720), resized=(280, 168), duration_s=4.0)
    form = ZERO_SHOT.in_space(SPACES[space])
    text = with_findings(question(form), measured(0.873, MEASURED), form=form, view=view)
    assert text.endswith(question(form))
    told = json.loads(re.search(r"\{.*\}(?= Check each)", text).group())
    assert told["fake_probability"] == 0.87
    assert told["traces"][0]["box"] == numbers
    assert (told["traces"][0]["start_time"], told["traces"][0]["end_time"]) == (1.0, 2.0)
    assert told["traces"][0]["explanation"] == "It blurs."
    assert "tracenet" in text


def test_the_mark_of_the_video_stays_in_front_and_ablations_stay_without():
    form = FINE_TUNING.without("box", "time")
    text = with_findings(question(form), measured(0.9, MEASURED), form=form, view=View(size=(64, 48)))
    assert text.startswith("<video> A measuring program")
    assert text.count("<video>") == 1
    told = json.loads(re.search(r"\{.*\}(?= Check each)", text).group())
    assert "box" not in told["traces"][0]
    assert "start_time" not in told["traces"][0]


def test_an_expert_without_findings_changes_neither_question_nor_answer():
    failed = Verdict.failed("v.mp4", Outcome.MODEL_FAILED, "broken", detector=EXPERT)
    assert with_findings("q", failed, form=ZERO_SHOT, view=View()) == "q"
    verdict = verified(said(Label.FAKE), failed, weight=0.5)
    assert verdict.label is Label.FAKE
    assert verdict.warnings == ("not verified by tracenet: broken",)


def test_answers_that_failed_stay_failed():
    unreadable = Verdict.failed("v.mp4", Outcome.PARSE_FAILED, "no label", raw="hm")
    assert verified(unreadable, measured(0.99, MEASURED), weight=0.9) == unreadable


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.sampled_from(list(Label)))
def test_the_probability_lies_between_both_and_follows_the_label(stated, found, weight, label):
    verdict = verified(said(label, p_fake=stated), measured(found, MEASURED), weight=weight)
    low, high = sorted(min(max(p, 1e-4), 1 - 1e-4) for p in (stated, found))
    assert low - 1e-9 <= verdict.p_fake <= high + 1e-9
    assert weight == 0 or verdict.label is (Label.FAKE if verdict.p_fake >= 0.5 else Label.REAL)
    assert "verified by tracenet" in verdict.warnings[0]
    assert weight > 0 or verdict.label is label


def test_a_label_without_probability_yields_to_strong_evidence_alone():
    assert verified(said(Label.REAL), measured(0.7, MEASURED), weight=0.5).label is Label.REAL
    turned = verified(said(Label.REAL), measured(0.95, MEASURED), weight=0.5)
    assert turned.label is Label.FAKE
    assert turned.traces == (MEASURED,)
    assert "REAL turned into FAKE" in turned.warnings[0]
    back = verified(said(Label.FAKE, MEASURED), measured(0.05), weight=0.5)
    assert back.label is Label.REAL
    assert back.traces == ()


def test_traces_get_what_they_lack_from_the_measured_trace_they_meet():
    elsewhere = Trace(box=Box(x0=0.8, y0=0.0, x1=1.0, y1=0.2), onset_s=3.0, offset_s=3.5)
    no_box = Trace(onset_s=1.5, explanation="The hand melts.")
    no_time = Trace(box=Box(x0=0.3, y0=0.5, x1=0.5, y1=0.8))
    unmet = Trace(box=Box(x0=0.0, y0=0.0, x1=0.1, y1=0.1), onset_s=0.2)
    verdict = verified(said(Label.FAKE, no_box, no_time, unmet), measured(0.9, elsewhere, MEASURED), weight=0.5)
    boxed, timed, kept = verdict.traces
    assert (boxed.box, boxed.onset_s, boxed.offset_s) == (BOX, 1.5, 2.0)
    assert (boxed.explanation, boxed.categories) == ("The hand melts.", MEASURED.categories)
    assert (timed.onset_s, timed.offset_s, timed.box) == (1.0, 2.0, no_time.box)
    assert kept == unmet
    assert verdict.warnings[-1] == "trace 3: nothing was measured there"
