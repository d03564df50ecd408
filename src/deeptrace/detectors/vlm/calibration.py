"""How sure a language model may be believed to be: a temperature for `p_fake`, kept beside the model's files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deeptrace.errors import SettingsError
from deeptrace.metrics.logistic import expit, logit
from deeptrace.schema import Label, Verdict

__all__ = [
    "CALIBRATION_FILE",
    "Calibration",
    "calibrated",
    "calibration_facts",
    "calibration_of",
    "decided",
    "limit_of",
    "log_odds",
    "read_calibration",
]

CALIBRATION_FILE = "deeptrace_calibration.json"
_SUREST = 30.0


class Calibration(BaseModel):
    """Temperature scaling of the probability of FAKE, fitted on videos that the model was not trained on.

    Attributes:
        temperature: the logit of FAKE is divided by it; above 1 where the model is too sure.
        form: the question that it was fitted with; another question needs another fit.
        fitted_on: name of the data and split.
        videos: number of videos.
        nll_before, nll_after: mean negative log-likelihood, in nats, on those videos.
        thresholds: on the calibrated probability, by name (see `evaluate.thresholds`); a detector applies one where it
            is asked to.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    temperature: float = Field(gt=0)
    form: str | None = None
    fitted_on: str = ""
    videos: int = Field(default=0, ge=0)
    nll_before: float | None = None
    nll_after: float | None = None
    thresholds: dict[str, float] = Field(default_factory=dict)

    def apply(self, p_fake: float) -> float:
        """The calibrated probability."""
        return float(expit(log_odds(p_fake) / self.temperature))

    def text(self) -> str:
        """The file's content."""
        return json.dumps(self.model_dump(mode="json"), indent=2) + "\n"


def calibration_of(given: str | float | None, *folders: str | Path | None) -> Calibration | None:
    """The calibration that a detector's setting means.

    Args:
        given: a temperature, a file or folder, "auto" for what is kept in the first of `folders` that has one, "none".
        folders: of adapter and checkpoint, which may be ids on the hub.

    Raises:
        SettingsError: the named file is missing, damaged or without a valid temperature.
    """
    if given is None or given == "none":
        return None
    if isinstance(given, (int, float)):
        if not given > 0:
            raise SettingsError(f"calibration={given}", "expected a temperature above 0")
        return Calibration(temperature=float(given))
    if given != "auto":
        return read_calibration(given)
    kept = (Path(folder) for folder in folders if folder is not None)
    found = next((folder for folder in kept if (folder / CALIBRATION_FILE).is_file()), None)
    return None if found is None else read_calibration(found)


def read_calibration(path: str | Path) -> Calibration:
    """The calibration in a file, or in a folder.

    Raises:
        SettingsError: there is none, or it is damaged.
    """
    file = Path(path) / CALIBRATION_FILE if Path(path).is_dir() else Path(path)
    try:
        return Calibration.model_validate_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(
            f"calibration={path}", "no such file", "Make one: deeptrace calibrate RUN --to FOLDER"
        ) from None
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise SettingsError(f"calibration={path}", f"cannot be read: {error}") from error


def calibrated(verdict: Verdict, calibration: Calibration | None, form: str) -> Verdict:
    """The verdict with its probability calibrated; where another question was calibrated, it says so.

    Args:
        verdict: of a language model; one without a probability stays as it is.
        calibration: None to leave all as it is.
        form: of the question asked.
    """
    if calibration is None or verdict.p_fake is None:
        return verdict
    warnings = verdict.warnings
    if calibration.form not in (None, form):
        warnings = (*warnings, f"p_fake was calibrated with another question ({calibration.form})")
    return verdict.model_copy(update={"p_fake": calibration.apply(verdict.p_fake), "warnings": warnings})


def limit_of(threshold: str | float | None, calibration: Calibration | None, *, verify: bool = False) -> float | None:
    """The `p_fake` from which on a video is FAKE; None to leave the label to the model.

    Args:
        threshold: a number from 0 to 1, a name in `Calibration.thresholds`, or None.
        calibration: of the detector.
        verify: whether answers are verified by an expert.

    Raises:
        SettingsError: the number is out of range, the calibration knows no such name, or `verify` decides already.
    """
    if threshold is None:
        return None
    if verify:
        raise SettingsError(
            "threshold", "cannot be combined with verify, which decides by two probabilities", "Leave one out."
        )
    if isinstance(threshold, str):
        known = {} if calibration is None else calibration.thresholds
        if threshold not in known:
            named = f"this model's calibration has {', '.join(known)}" if known else "no thresholds are kept with it"
            raise SettingsError(f"threshold={threshold}", f"unknown: {named}", "Or give a number from 0 to 1.")
        return known[threshold]
    if not 0.0 <= threshold <= 1.0:
        raise SettingsError(f"threshold={threshold}", "expected a number from 0 to 1")
    return float(threshold)


def calibration_facts(calibration: Calibration | None, threshold: str | float | None) -> dict[str, Any]:
    """What records say of both: they change `p_fake` and label.

    Raises:
        SettingsError: as `limit_of`.
    """
    return {
        "calibration": None if calibration is None else calibration.model_dump(mode="json"),
        "threshold": limit_of(threshold, calibration),
        "threshold_name": threshold if isinstance(threshold, str) else None,
    }


def decided(verdict: Verdict, limit: float | None) -> Verdict:
    """The verdict with its label by `p_fake`; a label that this turns is noted, and REAL keeps no traces of a FAKE.

    Args:
        verdict: calibrated; one without a probability keeps the label that was written, and says so.
        limit: of `limit_of`.
    """
    if limit is None or verdict.label is None:
        return verdict
    if verdict.p_fake is None:
        return verdict.model_copy(update={"warnings": (*verdict.warnings, "no p_fake: the label is the one written")})
    label = Label.FAKE if verdict.p_fake >= limit else Label.REAL
    if label is verdict.label:
        return verdict
    note = f"{verdict.label} written, {label} by the threshold: p_fake {verdict.p_fake:.3f}, threshold {limit:.3f}"
    traces = () if label is Label.REAL else verdict.traces
    return verdict.model_copy(update={"label": label, "traces": traces, "warnings": (*verdict.warnings, note)})


def log_odds(p_fake: float) -> float:
    """ln(p / (1 - p)) of a probability, at most 30 in size, so that a model that is wholly sure stays a finite number.

    >>> log_odds(0.5), log_odds(1.0)
    (0.0, 30.0)
    """
    return min(max(float(logit(p_fake)), -_SUREST), _SUREST)
