"""Temperature and thresholds from what a checkpoint said of the validation videos."""

from __future__ import annotations

import numpy as np
import pytest

from deeptrace.trace import Label, Outcome, Sample, Verdict
from deeptrace.train.mllm.calibrate import calibrate


def said(logits: np.ndarray, fake: np.ndarray) -> tuple[list[Sample], dict[str, Verdict]]:
    samples, verdicts = [], {}
    for number, (logit, truth) in enumerate(zip(logits, fake, strict=True)):
        label = Label.FAKE if truth else Label.REAL
        name = f"v{number}"
        samples.append(Sample(video_id=name, path=f"{name}.mp4", label=label, source="made"))
        p_fake = float(1 / (1 + np.exp(-logit)))
        verdicts[name] = Verdict(video=name, outcome=Outcome.SCORED, label=label, p_fake=p_fake)
    return samples, verdicts


def test_the_temperature_that_sharpened_is_found_and_thresholds_are_on_what_it_gives() -> None:
    dice = np.random.default_rng(3)
    true = dice.normal(0, 2, 2000)
    fake = dice.random(len(true)) < 1 / (1 + np.exp(-true))
    samples, verdicts = said(true * 3.0, fake)
    found = calibrate(samples, verdicts, form="json", fitted_on="made, split val")
    assert found is not None
    assert found.temperature == pytest.approx(3.0, rel=0.15)
    assert found.nll_after < found.nll_before
    assert (found.videos, found.form, found.fitted_on) == (2000, "json", "made, split val")
    p_fake = np.array([found.apply(verdicts[s.video_id].p_fake) for s in samples])
    accused = {name: (p_fake[~fake] >= limit).mean() for name, limit in found.thresholds.items()}
    missed = (p_fake[fake] < found.thresholds["balanced"]).mean()
    assert set(accused) == {"balanced", "fpr_1", "fpr_5"}
    assert 0 < accused["fpr_1"] <= 0.01 < accused["fpr_5"] <= 0.05
    assert accused["balanced"] == pytest.approx(missed, abs=0.01)


def test_videos_without_a_probability_do_not_count_and_too_few_fit_nothing() -> None:
    logits, fake = np.linspace(-3, 3, 24), np.arange(24) % 2 == 0
    samples, verdicts = said(logits, fake)
    told = {"form": "json", "fitted_on": "made"}
    for name in ("v0", "v1", "v2"):
        verdicts[name] = verdicts[name].model_copy(update={"p_fake": None})
    del verdicts["v3"]
    found = calibrate(samples, verdicts, **told)
    assert found is not None
    assert found.videos == 20
    del verdicts["v4"]
    assert calibrate(samples, verdicts, **told) is None


def test_one_kind_of_video_fits_nothing() -> None:
    samples, verdicts = said(np.linspace(-3, 3, 30), np.ones(30, dtype=bool))
    assert calibrate(samples, verdicts, form="json", fitted_on="made") is None
