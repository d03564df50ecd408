"""Trace, Verdict and Sample: what they refuse, and that their JSON is the contract's and loses nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptrace.geometry import Box, Interval, Keyframe, Tube
from deeptrace.schema import (
    Category,
    ContentCredentials,
    CredentialsState,
    Decision,
    DetectorInfo,
    Label,
    Media,
    Outcome,
    Sample,
    StatedOrigin,
    Trace,
    Verdict,
    categories_of_tags,
)

BOX = Box(x0=0.1, y0=0.2, x1=0.45, y1=0.7)
FULL = Verdict(
    video="clips/a.mp4",
    outcome=Outcome.SCORED,
    label=Label.FAKE,
    p_fake=0.93,
    traces=(
        Trace(
            categories=(Category.SUDDEN_BLURRING,),
            onset_s=1.2,
            offset_s=2.4,
            score=0.81,
            box=BOX,
            keyframes=(Keyframe(time_s=1.2, box=BOX),),
            explanation="The face loses its sharpness.",
        ),
    ),
    reward=0.21,
    media=Media(width=1280, height=720, duration_s=5.04, fps=24.0, frames=121, sampled_times_s=(0.0, 0.5)),
    detector=DetectorInfo(name="tracenet", version="1", settings={"threshold": 0.5}),
    elapsed_s=0.31,
)


def test_the_json_of_a_verdict_is_the_contracts() -> None:
    row = json.loads(FULL.model_dump_json())
    assert list(row) == [
        *("video", "outcome", "label", "p_fake", "traces", "reward", "media", "detector", "elapsed_s"),
        *("warnings", "error", "raw", "usage", "flaws", "unfamiliar", "content_credentials"),
        *("segment_scores", "decision"),
    ]
    assert row["traces"][0]["box"] == [0.1, 0.2, 0.45, 0.7]
    assert row["traces"][0]["keyframes"] == [{"time_s": 1.2, "box": [0.1, 0.2, 0.45, 0.7]}]
    assert (row["outcome"], row["label"], row["error"]) == ("scored", "FAKE", None)
    assert Verdict.model_validate_json(FULL.model_dump_json()) == FULL


def said(p_fake: float, label: Label, **settings: float) -> Verdict:
    info = DetectorInfo(name="t", version="1", settings=settings)
    return Verdict(video="a.mp4", outcome=Outcome.SCORED, label=label, p_fake=p_fake, detector=info)


def test_what_is_unlike_all_that_was_learned_from_is_unclear() -> None:
    for verdict in (said(0.99, Label.FAKE, threshold=0.9, real_below=0.2), said(0.01, Label.REAL)):
        unlike = verdict.model_copy(update={"unfamiliar": True})
        assert unlike.decision is Decision.UNCLEAR
        assert (unlike.label, unlike.p_fake) == (verdict.label, verdict.p_fake)


def test_between_its_two_thresholds_a_detector_is_unclear() -> None:
    strict = {"threshold": 0.943155, "real_below": 0.471737}
    assert said(0.93, Label.REAL, **strict).decision is Decision.UNCLEAR
    assert said(0.95, Label.FAKE, **strict).decision is Decision.GENERATED
    assert said(0.4, Label.REAL, **strict).decision is Decision.REAL
    assert said(0.95, Label.REAL, **strict).decision is Decision.UNCLEAR, "label and thresholds contradict each other"
    assert said(0.93, Label.REAL, threshold=0.95).decision is Decision.REAL, "not calibrated: its own word"
    assert Verdict.failed("a.mp4", Outcome.CRASHED, "died").decision is None


@given(st.text(max_size=40), st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3))
def test_a_sample_survives_json(text: str, extra: dict[str, object]) -> None:
    sample = Sample(video_id=text, path=text, label=Label.FAKE, traces=(Trace(explanation=text, box=BOX),), extra=extra)
    assert Sample.model_validate_json(sample.model_dump_json()) == sample


@pytest.mark.parametrize("outcome", [o for o in Outcome if o not in (Outcome.SCORED, Outcome.JUDGE_FAILED)])
def test_a_failure_carries_an_error_and_no_number(outcome: Outcome) -> None:
    failed = Verdict.failed("a.mp4", outcome, "line one\nline two")
    assert (failed.label, failed.p_fake, failed.reward, failed.error) == (None, None, None, "line one line two")
    with pytest.raises(ValueError, match="no label, p_fake or reward"):
        Verdict.failed("a.mp4", outcome, "why", p_fake=0.5)
    with pytest.raises(ValueError, match="one-line error"):
        Verdict(video="a.mp4", outcome=outcome)


def test_a_scored_verdict_needs_a_label() -> None:
    with pytest.raises(ValueError, match="expected a label"):
        Verdict(video="a.mp4", outcome=Outcome.SCORED, p_fake=0.5)


@pytest.mark.parametrize(
    "fields",
    [
        {"onset_s": 3, "offset_s": 2},
        {"onset_s": -1},
        {"score": 1.5},
        {"box": [0.5, 0, 0.2, 1]},
        {"surprise": 1},
        {"keyframes": [{"time_s": 1, "box": [0, 0, 1, 1]}, {"time_s": 1, "box": [0, 0, 1, 1]}]},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_trace_refuses_nonsense(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        Trace.model_validate(fields)


def test_where_and_when_of_a_trace() -> None:
    assert Trace(box=BOX).tube is None
    assert Trace(onset_s=1, offset_s=2).tube is None
    assert Trace(onset_s=1).interval is None
    still = Trace(box=BOX, onset_s=1, offset_s=2)
    assert still.tube == Tube.constant(BOX, Interval(onset_s=1, offset_s=2))
    assert Trace.from_tube(still.tube, categories=[Category.OBJECT_MERGING]).tube == still.tube


@pytest.mark.parametrize(
    ("tag", "category"),
    [
        ("unexpected move for still things", Category.UNEXPECTED_MOVE),
        ("Shape distortion", Category.OBJECT_DISTORTION),
        ("merging", Category.OBJECT_MERGING),
        ("splitting", Category.OBJECT_SPLITTING),
        ("overlap background distortion", Category.BACKGROUND_DISTORTION),
        ("weird motion (unnatural movement paths / patterns)", Category.OBJECT_TRAJECTORY),
        ("Blurring", Category.SUDDEN_BLURRING),
        ("disappearance", Category.OBJECT_DISAPPEARANCE),
        ("object suddenly disappears", Category.OBJECT_DISAPPEARANCE),
        ("sudden appearance", Category.REDUNDANT_OBJECT),
        ("redundant parts", Category.REDUNDANT_OBJECT),
        ("extra limb", Category.REDUNDANT_OBJECT),
        *((kind.value, kind) for kind in Category),
        *((kind.display_name, kind) for kind in Category),
    ],
)
def test_tags_of_the_annotation_tool(tag: str, category: Category) -> None:
    assert categories_of_tags([tag]) == ((category,), ())


def test_tags_without_a_category() -> None:
    assert categories_of_tags(["None of the above", " ", "merging", "Merging", "odd"]) == (
        (Category.OBJECT_MERGING,),
        ("odd",),
    )


def test_the_line_on_content_credentials() -> None:
    full = ContentCredentials(
        state=CredentialsState.VALID,
        signer="A Studio",
        signed_at=datetime(2026, 11, 1, 12, 30, tzinfo=UTC),
        generator="A Program 2.1",
        origin=StatedOrigin.PARTLY_GENERATED,
        ingredients=2,
    )
    assert full.summary == (
        "Content Credentials: valid; declared partly AI-generated; signed by A Studio on 2026-11-01; "
        "made with A Program 2.1; 2 ingredients"
    )
    assert ContentCredentials.model_validate_json(full.model_dump_json()) == full
    lines = {ContentCredentials(state=state).summary for state in CredentialsState}
    assert len(lines) == len(CredentialsState)
