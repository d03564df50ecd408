"""Truths and the answers about them, for tests: made clips of 1000 x 500 pixels that last 10 s."""

from __future__ import annotations

from hypothesis import strategies as st

from deeptrace.geometry import Box
from deeptrace.prompts import FINE_TUNING, AnswerForm, write_answer
from deeptrace.schema import Label, Media, Sample, Trace
from deeptrace.train.grpo.ground_truth import GroundTruth

WIDTH, HEIGHT, DURATION_S = 1000, 500, 10.0
MEDIA = Media(width=WIDTH, height=HEIGHT, duration_s=DURATION_S, fps=20.0, frames=200)
WORDS = ("cup", "handle", "bends", "melts", "hand", "blurs", "tree", "left", "suddenly", "vanishes")


def fake(*traces: Trace, form: AnswerForm = FINE_TUNING) -> GroundTruth:
    return GroundTruth.of(Sample(video_id="f", path="f.mp4", label=Label.FAKE, media=MEDIA, traces=traces), form=form)


def real(form: AnswerForm = FINE_TUNING) -> GroundTruth:
    return GroundTruth.of(Sample(video_id="r", path="r.mp4", label=Label.REAL, media=MEDIA), form=form)


def trace(
    box: tuple[float, float, float, float] | None = (0.2, 0.2, 0.5, 0.6),
    onset_s: float | None = 2.0,
    offset_s: float | None = 6.0,
    text: str = "The cup handle bends.",
) -> Trace:
    return Trace(
        box=None if box is None else Box.from_fractions(*box), onset_s=onset_s, offset_s=offset_s, explanation=text
    )


def said(truth: GroundTruth, *traces: Trace, label: Label = Label.FAKE) -> str:
    """The answer that names `traces`, in the truth's form."""
    return write_answer(label, traces, form=truth.form, view=truth.view)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    """Boxes on whole pixels, so that writing them loses nothing."""
    x0, y0 = draw(st.integers(0, WIDTH - 2)), draw(st.integers(0, HEIGHT - 2))
    x1, y1 = draw(st.integers(x0 + 1, WIDTH)), draw(st.integers(y0 + 1, HEIGHT))
    return Box(x0=x0 / WIDTH, y0=y0 / HEIGHT, x1=x1 / WIDTH, y1=y1 / HEIGHT)


@st.composite
def traces(draw: st.DrawFn, *, blanks: bool = True) -> Trace:
    """Traces with times on tenths of a second; with `blanks`, any part may be missing as in RewardData."""
    onset = draw(st.integers(0, 99)) / 10
    offset = draw(st.integers(round(onset * 10) + 1, 100)) / 10
    words = draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=8))
    text = " ".join(["The", *words]) + "."
    if not blanks:
        return Trace(box=draw(boxes()), onset_s=onset, offset_s=offset, explanation=text)
    return Trace(
        box=draw(st.one_of(st.none(), boxes())),
        onset_s=draw(st.sampled_from([None, onset])),
        offset_s=draw(st.sampled_from([None, offset])),
        explanation=draw(st.sampled_from(["", text])),
    )
