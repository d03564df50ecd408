from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptrace.errors import DataError, SettingsError
from deeptrace.geometry import Box, Interval, Keyframe, Tube
from deeptrace.metrics.reward import AUTHENTICITY_WEIGHT, FLAW_MIDPOINT, STRENGTH, UNCATEGORISED, unrewarded
from deeptrace.plural import plural
from deeptrace.reward import explain_reward, scalar_reward
from deeptrace.schema import Category, Flaws, Label, Media, Outcome, Trace, Verdict

MEDIA = Media(width=640, height=360, duration_s=4.0, fps=24.0)
unit = st.floats(0, 1)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    x0, y0 = draw(st.floats(0, 0.9)), draw(st.floats(0, 0.9))
    return Box(x0=x0, y0=y0, x1=draw(st.floats(x0 + 0.05, 1)), y1=draw(st.floats(y0 + 0.05, 1)))


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    onset = draw(st.floats(0, 3))
    return Trace(
        categories=tuple(draw(st.lists(st.sampled_from(Category), max_size=3, unique=True))),
        onset_s=onset,
        offset_s=onset + draw(st.floats(0.01, 3)),
        score=draw(st.none() | unit),
        box=draw(st.none() | boxes()),
    )


def verdict(p_fake: float | None = 0.5, rows: tuple[Trace, ...] = (), **known: Any) -> Verdict:
    known = {"label": Label.FAKE, "media": MEDIA, **known}
    return Verdict(video="a.mp4", outcome=Outcome.SCORED, p_fake=p_fake, traces=rows, **known)


@given(unit, st.lists(traces(), max_size=5))
def test_bounded_and_the_product_of_its_parts(p_fake: float, rows: list[Trace]) -> None:
    parts = explain_reward(verdict(p_fake, tuple(rows)))
    assert 0 <= parts.reward <= 1
    assert parts.reward == pytest.approx(parts.authenticity * parts.trace_factor)
    assert parts.authenticity == pytest.approx(1 - p_fake)
    assert math.fsum(parts.cost_by_category.values()) == pytest.approx(parts.trace_cost)
    named = {kind.value for row in rows for kind in row.categories} | {
        UNCATEGORISED for row in rows if not row.categories
    }
    assert set(parts.cost_by_category) == named


@given(unit, unit, st.lists(traces(), max_size=3))
def test_falls_as_the_probability_rises(a: float, b: float, rows: list[Trace]) -> None:
    low, high = sorted((a, b))
    assert scalar_reward(verdict(low, tuple(rows))) >= scalar_reward(verdict(high, tuple(rows)))


@given(unit, st.lists(traces(), max_size=3), traces())
def test_one_more_trace_never_raises_it(p_fake: float, rows: list[Trace], extra: Trace) -> None:
    assert scalar_reward(verdict(p_fake, (*rows, extra))) <= scalar_reward(verdict(p_fake, tuple(rows))) + 1e-12


@given(traces(), unit, unit, boxes())
def test_a_surer_larger_or_longer_trace_never_raises_it(row: Trace, a: float, b: float, inner: Box) -> None:
    low, high = sorted((a, b))
    less, more = (row.model_copy(update={"score": score}) for score in (low, high))
    assert scalar_reward(verdict(0.2, (more,))) <= scalar_reward(verdict(0.2, (less,))) + 1e-12
    small = row.model_copy(update={"box": inner})
    whole = row.model_copy(update={"box": Box(x0=0, y0=0, x1=1, y1=1)})
    assert scalar_reward(verdict(0.2, (whole,))) <= scalar_reward(verdict(0.2, (small,))) + 1e-12
    longer = row.model_copy(update={"offset_s": (row.offset_s or 0) + 1})
    assert scalar_reward(verdict(0.2, (longer,))) <= scalar_reward(verdict(0.2, (row,))) + 1e-12


@given(st.permutations([Trace(score=0.3), Trace(score=0.9, box=Box(x0=0, y0=0, x1=0.5, y1=0.5)), Trace(score=0.1)]))
def test_order_does_not_matter(rows: list[Trace]) -> None:
    expected = scalar_reward(verdict(0.1, tuple(sorted(rows, key=lambda row: row.score or 0))))
    assert scalar_reward(verdict(0.1, tuple(rows))) == pytest.approx(expected)


def test_the_formula_on_a_case_worked_by_hand() -> None:
    # A box of 0.5 x 0.5 growing to 1 x 0.5 over 1 s of a 4 s clip: mean area 0.375, duration fraction 0.25, score 0.8.
    tube = Tube(
        onset_s=1.0,
        offset_s=2.0,
        keyframes=(
            Keyframe(time_s=1.0, box=Box(x0=0, y0=0, x1=0.5, y1=0.5)),
            Keyframe(time_s=2.0, box=Box(x0=0, y0=0, x1=1, y1=0.5)),
        ),
    )
    kinds = (Category.OBJECT_MERGING, Category.SUDDEN_BLURRING)
    row = Trace.from_tube(tube, categories=kinds, score=0.8)
    parts = explain_reward(verdict(0.25, (row,)), weights={Category.OBJECT_MERGING: 3.0, Category.SUDDEN_BLURRING: 1.0})
    severity = 0.8 * 0.375 * 0.25
    assert parts.cost_by_category == {
        "object_merging": pytest.approx(severity * 1.5),
        "sudden_blurring": pytest.approx(severity * 0.5),
    }
    assert parts.reward == pytest.approx(0.75 * math.exp(-STRENGTH * severity * 2))


def test_what_is_not_known_counts_in_full() -> None:
    assert explain_reward(verdict(0.0, (Trace(),))).trace_cost == 1.0
    still = Trace(box=Box(x0=0, y0=0, x1=0.5, y1=0.5), onset_s=1.0)
    assert explain_reward(verdict(0.0, (still,))).trace_cost == pytest.approx(0.25)


@pytest.mark.parametrize(("label", "expected"), [(Label.REAL, 1.0), (Label.FAKE, 0.0)])
def test_a_label_without_a_probability_counts_as_it_says(label: Label, expected: float) -> None:
    assert scalar_reward(verdict(None, label=label)) == expected


def test_a_failure_has_no_reward() -> None:
    with pytest.raises(DataError, match=r"decode_failed.*broken"):
        scalar_reward(Verdict.failed("a.mp4", Outcome.DECODE_FAILED, "broken"))


@pytest.mark.parametrize(("seen", "has"), [(0, True), (1, False), (3, False), (4, True)])
def test_a_verdict_on_too_few_frames_has_no_reward(seen: int, has: bool) -> None:
    few = verdict(0.1, media=MEDIA.model_copy(update={"sampled_times_s": tuple(k / 8 for k in range(seen))}))
    assert (unrewarded(few) is None) is has
    if not has:
        with pytest.raises(DataError, match=f"only {plural(seen, 'frame')} to go by"):
            scalar_reward(few)


@pytest.mark.parametrize("weight", [-0.1, math.inf, math.nan])
def test_senseless_weights_are_refused(weight: float) -> None:
    with pytest.raises(SettingsError, match="unexpected_move"):
        scalar_reward(verdict(), weights={Category.UNEXPECTED_MOVE: weight})


def test_an_interval_of_the_whole_clip_costs_its_area() -> None:
    row = Trace.from_tube(Tube.constant(Box(x0=0, y0=0, x1=0.5, y1=1), Interval(onset_s=0, offset_s=4)), score=1.0)
    assert scalar_reward(verdict(0.0, (row,))) == pytest.approx(math.exp(-STRENGTH * 0.5))


# -- flaws ----------


severities = st.floats(-6, 12)


def flawed(severity: float, p_fake: float = 0.5, rows: tuple[Trace, ...] = ()) -> Verdict:
    return verdict(p_fake, rows, flaws=Flaws(severity=severity, parts={"flicker": severity}))


@given(severities, unit, st.lists(traces(), max_size=3))
def test_with_flaws_it_is_bounded_and_the_product_of_three(severity: float, p_fake: float, rows: list[Trace]) -> None:
    parts = explain_reward(flawed(severity, p_fake, tuple(rows)))
    assert 0 <= parts.reward <= 1
    product = parts.authenticity**AUTHENTICITY_WEIGHT * parts.trace_factor * parts.flaw_factor
    assert parts.reward == pytest.approx(product)
    assert parts.flaw_factor == pytest.approx(1 / (1 + math.exp(severity - FLAW_MIDPOINT)))
    assert (parts.flaw_severity, parts.flaws) == (severity, {"flicker": severity})


@given(severities, st.floats(0, 6), unit, st.lists(traces(), max_size=3))
def test_worse_flaws_never_raise_it(severity: float, more: float, p_fake: float, rows: list[Trace]) -> None:
    better, worse = (scalar_reward(flawed(s, p_fake, tuple(rows))) for s in (severity, severity + more))
    assert worse <= better + 1e-12


@given(severities, unit, unit)
def test_with_flaws_too_it_falls_as_the_probability_rises(severity: float, a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert scalar_reward(flawed(severity, low)) >= scalar_reward(flawed(severity, high))


def test_clips_that_the_detector_is_sure_of_still_differ_by_their_flaws() -> None:
    slight, gross = (scalar_reward(flawed(severity, 0.98)) for severity in (0.0, 2.0))
    assert slight - gross > 0.15
    assert scalar_reward(verdict(0.98)) == pytest.approx(0.02)  # a detector that measures no flaws: authenticity leads


def test_authenticity_counts_as_much_as_is_asked() -> None:
    clip = flawed(1.0, 0.75)
    assert scalar_reward(clip, authenticity_weight=0) == pytest.approx(0.5)
    assert scalar_reward(clip, authenticity_weight=1) == pytest.approx(0.125)
    assert scalar_reward(verdict(0.75), authenticity_weight=0) == 1.0
    for senseless in (-1.0, math.inf, math.nan):
        with pytest.raises(SettingsError, match="authenticity_weight"):
            scalar_reward(clip, authenticity_weight=senseless)
