"""Thresholds of a language model's calibrated probability: named, given as a number, or not asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptrace.detectors.vlm.calibration import Calibration, decided, limit_of
from deeptrace.errors import SettingsError
from deeptrace.schema import Label, Outcome, Trace, Verdict

FITTED = Calibration(temperature=2.0, thresholds={"balanced": 0.4, "fpr_1": 0.9})
TRACE = Trace(onset_s=1.0)


def said(label: Label, p_fake: float | None) -> Verdict:
    traces = (TRACE,) if label is Label.FAKE else ()
    return Verdict(video="v.mp4", outcome=Outcome.SCORED, label=label, p_fake=p_fake, traces=traces)


def test_a_threshold_is_a_name_that_is_kept_or_a_number() -> None:
    assert limit_of(None, FITTED) is None
    assert limit_of("fpr_1", FITTED) == 0.9
    assert limit_of(0.25, None) == 0.25


@pytest.mark.parametrize(
    ("threshold", "calibration", "words"),
    [
        ("fpr_5", FITTED, "this model's calibration has balanced, fpr_1"),
        ("fpr_5", None, "no thresholds are kept with it"),
        ("fpr_5", Calibration(temperature=1.0), "no thresholds are kept with it"),
        (1.5, FITTED, "expected a number from 0 to 1"),
        (-0.1, None, "expected a number from 0 to 1"),
    ],
)
def test_a_threshold_that_is_not_there_is_one_clear_line(
    threshold: str | float, calibration: Calibration | None, words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        limit_of(threshold, calibration)


@given(st.sampled_from(list(Label)), st.floats(0, 1), st.floats(0, 1))
def test_the_label_follows_the_probability(label: Label, p_fake: float, limit: float) -> None:
    found = decided(said(label, p_fake), limit)
    assert (found.label is Label.FAKE) == (p_fake >= limit)
    assert found.p_fake == p_fake
    assert bool(found.warnings) == (found.label is not label)
    assert found.traces == ((TRACE,) if label is found.label is Label.FAKE else ())


def test_without_a_threshold_or_a_probability_the_label_is_the_one_written() -> None:
    assert decided(said(Label.FAKE, 0.1), None) == said(Label.FAKE, 0.1)
    kept = decided(said(Label.FAKE, None), 0.5)
    assert kept.label is Label.FAKE
    assert kept.warnings == ("no p_fake: the label is the one written",)
    failed = Verdict.failed("v.mp4", Outcome.PARSE_FAILED, "no label")
    assert decided(failed, 0.5) == failed
