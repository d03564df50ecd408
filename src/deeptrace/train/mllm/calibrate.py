"""Temperature and thresholds of a trained checkpoint, from what it said of the validation split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from deeptrace.detectors.calibration import Calibration
from deeptrace.detectors.label_tokens import logit
from deeptrace.evaluate.calibrate import LEAST_VIDEOS, fit_temperature
from deeptrace.evaluate.thresholds import fit_thresholds
from deeptrace.trace import Label, Sample, Verdict

__all__ = ["calibrate"]


def calibrate(
    samples: Sequence[Sample], verdicts: Mapping[str, Verdict], *, form: str, fitted_on: str
) -> Calibration | None:
    """The calibration that `hf:` applies: a temperature, and thresholds on the probabilities that it gives.

    Args:
        samples: of the validation split.
        verdicts: of the checkpoint, without an earlier calibration, by video id.
        form: name of the question (see `detector_settings`).
        fitted_on: name of the data and split.

    Returns:
        None where fewer than 20 videos have a probability and a truth, or all are of one kind: a fit would be noise.
    """
    known = [
        (verdict.p_fake, sample.label is Label.FAKE)
        for sample in samples
        if (verdict := verdicts.get(sample.video_id)) is not None
        and verdict.p_fake is not None
        and sample.label is not None
    ]
    logits, fake = np.array([logit(p) for p, _ in known]), np.array([truth for _, truth in known], dtype=bool)
    if len(known) < LEAST_VIDEOS or fake.all() or not fake.any():
        return None
    temperature, after = fit_temperature(logits, fake)
    fitted = Calibration(
        temperature=temperature,
        form=form,
        fitted_on=fitted_on,
        videos=len(known),
        nll_before=float(np.logaddexp(0.0, np.where(fake, -logits, logits)).mean()),
        nll_after=after,
    )
    thresholds = fit_thresholds([fitted.apply(p) for p, _ in known], fake.tolist())
    return fitted.model_copy(update={"thresholds": thresholds})
