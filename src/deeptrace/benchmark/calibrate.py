"""Fit temperature and thresholds of a language model's `p_fake` on validation videos; keep them beside the model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.optimize import minimize_scalar

from deeptrace.benchmark.folder import read_run
from deeptrace.detectors.vlm.calibration import CALIBRATION_FILE, Calibration, log_odds
from deeptrace.errors import DataError
from deeptrace.io.atomic import atomic_path
from deeptrace.metrics.binary import fit_thresholds
from deeptrace.metrics.logistic import expit
from deeptrace.plural import plural
from deeptrace.schema import Label, Sample, Verdict

__all__ = ["calibrate_run", "fit_calibration", "fit_temperature", "keep_calibration"]

LEAST_VIDEOS = 20
"""Fewer tell too little; a temperature fitted on them would be noise."""
_RANGE = (0.01, 100.0)


def fit_temperature(logits: Sequence[float] | np.ndarray, fake: Sequence[bool] | np.ndarray) -> tuple[float, float]:
    """The temperature that makes the ground truth likeliest, and the mean negative log-likelihood with it, in nats.

    Args:
        logits: (N,) of FAKE, as the model says.
        fake: (N,) ground truth, true for generated.

    Raises:
        ValueError: the videos are not of both kinds.
    """
    scores, truth = np.asarray(logits, dtype=np.float64), np.asarray(fake, dtype=bool)
    if truth.all() or not truth.any():
        raise ValueError("expected videos of both kinds")
    found = minimize_scalar(
        lambda at: _nll(scores, truth, float(np.exp(at))), bounds=tuple(np.log(_RANGE)), method="bounded"
    )
    temperature = float(np.exp(found.x))
    return temperature, _nll(scores, truth, temperature)


def _nll(logits: np.ndarray, fake: np.ndarray, temperature: float) -> float:
    signed = np.where(fake, logits, -logits) / temperature
    return float(np.logaddexp(0.0, -signed).mean())


def fit_calibration(
    samples: Sequence[Sample],
    verdicts: Sequence[Verdict | None],
    *,
    form: str | None,
    fitted_on: str,
    earlier: Calibration | None = None,
) -> Calibration:
    """The calibration that `hf:` applies: a temperature, and thresholds on the probabilities that it gives.

    Args:
        samples: of a validation split, (N,).
        verdicts: of the model on them, (N,); those without a probability do not count.
        form: name of the question.
        fitted_on: name of the data and split.
        earlier: calibration that the probabilities carry, which is taken off.

    Raises:
        ValueError: fewer than 20 videos have a probability and ground truth, or all are of one kind: it would be noise.
    """
    known = [
        (log_odds(verdict.p_fake), sample.label is Label.FAKE)
        for sample, verdict in zip(samples, verdicts, strict=True)
        if verdict is not None and verdict.p_fake is not None and sample.label is not None
    ]
    if len(known) < LEAST_VIDEOS:
        raise ValueError(
            f"has {plural(len(known), 'video')} with a probability and ground truth; {LEAST_VIDEOS} are needed"
        )
    said, fake = np.array([value for value, _ in known]), np.array([truth for _, truth in known], dtype=bool)
    raw = said * (1.0 if earlier is None else earlier.temperature)
    temperature, after = fit_temperature(raw, fake)
    return Calibration(
        temperature=temperature,
        form=form,
        fitted_on=fitted_on,
        videos=len(known),
        nll_before=_nll(raw, fake, 1.0),
        nll_after=after,
        thresholds=fit_thresholds([float(expit(value / temperature)) for value in raw], fake.tolist()),
    )


def calibrate_run(folder: str | os.PathLike[str]) -> Calibration:
    """The calibration that a finished evaluation gives; an earlier one that its probabilities carry is taken off.

    Raises:
        DataError: it is no finished evaluation of a detector, has too few probabilities, or videos of one kind only.
    """
    run = read_run(folder)
    detector = run.manifest.detector
    if detector is None:
        raise DataError(str(folder), "is an evaluation of a predictions file", "Calibrate one of a detector.")
    settings = detector.settings
    earlier = Calibration.model_validate(settings["calibration"]) if settings.get("calibration") else None
    data = run.manifest.data
    fitted_on = f"{data.name}, split {data.split}"
    try:
        return fit_calibration(
            run.samples, run.verdicts, form=settings.get("form"), fitted_on=fitted_on, earlier=earlier
        )
    except ValueError as error:
        raise DataError(str(folder), str(error)) from None


def keep_calibration(calibration: Calibration, folder: str | os.PathLike[str]) -> Path:
    """Write it beside a model's files; returns the file.

    Raises:
        DataError: the folder does not exist, or cannot be written.
    """
    path = Path(folder) / CALIBRATION_FILE
    if not path.parent.is_dir():
        raise DataError(str(folder), "no such folder", "Name the checkpoint's or the adapter's folder.")
    try:
        with atomic_path(path) as scratch:
            scratch.write_text(calibration.text(), "utf-8")
    except OSError as error:
        raise DataError(str(path), f"cannot be written: {error.strerror}") from error
    return path
