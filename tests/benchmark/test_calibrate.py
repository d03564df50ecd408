"""Temperature and thresholds from what a model said of validation videos."""

from __future__ import annotations

import numpy as np
import pytest

from deeptrace.benchmark.calibrate import fit_calibration
from deeptrace.schema import Label, Outcome, Sample, Verdict


def said(logits: np.ndarray, fake: np.ndarray) -> tuple[list[Sample], list[Verdict | None]]:
    samples: list[Sample] = []
    verdicts: list[Verdict | None] = []
    for number, (logit, truth) in enumerate(zip(logits, fake, strict=True)):
        label = Label.FAKE if truth else Label.REAL
        name = f"v{number}"
        samples.append(Sample(video_id=name, path=f"{name}.mp4", label=label, source="made"))
        p_fake = float(1 / (1 + np.exp(-logit)))
        verdicts.append(Verdict(video=name, outcome=Outcome.SCORED, label=label, p_fake=p_fake))
    return samples, verdicts


def test_the_temperature_that_sharpened_is_found_and_thresholds_are_on_what_it_gives() -> None:
    dice = np.random.default_rng(3)
    true = dice.normal(0, 2, 2000)
    fake = dice.random(len(true)) < 1 / (1 + np.exp(-true))
    samples, verdicts = said(true * 3.0, fake)
    found = fit_calibration(samples, verdicts, form="json", fitted_on="made, split val")
    assert found.temperature == pytest.approx(3.0, rel=0.15)
    assert found.nll_after < found.nll_before
    assert (found.videos, found.form, found.fitted_on) == (2000, "json", "made, split val")
    p_fake = np.array([found.apply(verdict.p_fake) for verdict in verdicts])
    accused = {name: (p_fake[~fake] >= limit).mean() for name, limit in found.thresholds.items()}
    missed = (p_fake[fake] < found.thresholds["balanced"]).mean()
    assert set(accused) == {"balanced", "fpr_1", "fpr_5"}
    assert 0 < accused["fpr_1"] <= 0.01 < accused["fpr_5"] <= 0.05
    assert accused["balanced"] == pytest.approx(missed, abs=0.01)


def test_an_earlier_calibration_is_taken_off() -> None:
    dice = np.random.default_rng(5)
    true = dice.normal(0, 2, 200)
    samples, verdicts = said(true, dice.random(len(true)) < 1 / (1 + np.exp(-true)))
    told = {"form": "json", "fitted_on": "made"}
    first = fit_calibration(samples, verdicts, **told)
    carried = [verdict.model_copy(update={"p_fake": first.apply(verdict.p_fake)}) for verdict in verdicts]
    again = fit_calibration(samples, carried, earlier=first, **told)
    assert again.temperature == pytest.approx(first.temperature, rel=1e-4)
    assert again.thresholds == pytest.approx(first.thresholds, abs=1e-4)


def test_videos_without_a_probability_do_not_count_and_too_few_fit_nothing() -> None:
    logits, fake = np.linspace(-3, 3, 24), np.arange(24) % 2 == 0
    samples, verdicts = said(logits, fake)
    told = {"form": "json", "fitted_on": "made"}
    verdicts[:3] = [verdict.model_copy(update={"p_fake": None}) for verdict in verdicts[:3]]
    verdicts[3] = None
    assert fit_calibration(samples, verdicts, **told).videos == 20
    verdicts[4] = None
    with pytest.raises(ValueError, match="has 19 videos with a probability and ground truth; 20 are needed"):
        fit_calibration(samples, verdicts, **told)


def test_one_kind_of_video_fits_nothing() -> None:
    samples, verdicts = said(np.linspace(-3, 3, 30), np.ones(30, dtype=bool))
    with pytest.raises(ValueError, match="both kinds"):
        fit_calibration(samples, verdicts, form="json", fitted_on="made")
