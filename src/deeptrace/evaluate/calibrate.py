"""Fit the temperature of a language model's `p_fake` on a finished evaluation, and keep it beside the model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.optimize import minimize_scalar

from deeptrace.data.jsonio import atomic_path
from deeptrace.detectors.calibration import CALIBRATION_FILE, Calibration
from deeptrace.detectors.label_tokens import logit
from deeptrace.errors import DataError
from deeptrace.evaluate.run_folder import SavedRun, read_run
from deeptrace.trace import Label

__all__ = ["calibrate_run", "fit_temperature", "keep_calibration"]

LEAST_VIDEOS = 20
"""Fewer tell too little; a temperature fitted on them would be noise."""
_RANGE = (0.01, 100.0)


def fit_temperature(logits: Sequence[float] | np.ndarray, fake: Sequence[bool] | np.ndarray) -> tuple[float, float]:
    """The temperature that makes the truth likeliest, and the mean negative log-likelihood with it, in nats.

    Args:
        logits: (N,) of FAKE, as the model says.
        fake: (N,) the truth.

    Raises:
        ValueError: the truth is not of both kinds.
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


def calibrate_run(folder: str | os.PathLike[str]) -> Calibration:
    """The calibration that a finished evaluation gives; an earlier one that its probabilities carry is taken off.

    Raises:
        DataError: it is no finished evaluation of a detector, has too few probabilities, or videos of one kind only.
    """
    run = read_run(folder)
    detector = run.manifest.get("detector")
    if not isinstance(detector, dict):
        raise DataError(str(folder), "is an evaluation of a predictions file", "Calibrate one of a detector.")
    settings = detector.get("settings") or {}
    earlier = Calibration.model_validate(settings["calibration"]) if settings.get("calibration") else None
    logits, fake = _logits(run)
    if len(logits) < LEAST_VIDEOS:
        raise DataError(
            str(folder), f"has {len(logits)} videos with a probability and a truth, of {LEAST_VIDEOS} needed"
        )
    raw = np.array(logits) * (1.0 if earlier is None else earlier.temperature)
    try:
        temperature, after = fit_temperature(raw, fake)
    except ValueError as error:
        raise DataError(str(folder), str(error)) from None
    data = run.manifest["data"]
    return Calibration(
        temperature=temperature,
        form=settings.get("form"),
        fitted_on=f"{data['name']}, split {data['split']}",
        videos=len(logits),
        nll_before=_nll(raw, np.array(fake), 1.0),
        nll_after=after,
    )


def _logits(run: SavedRun) -> tuple[list[float], list[bool]]:
    pairs = [
        (logit(verdict.p_fake), sample.label is Label.FAKE)
        for sample, verdict in zip(run.samples, run.verdicts, strict=True)
        if verdict is not None and verdict.p_fake is not None and sample.label is not None
    ]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


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
