"""How sure a language model may be believed to be: a temperature for `p_fake`, kept beside the model's files."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deeptrace.detectors.label_tokens import logit, probability
from deeptrace.errors import SettingsError
from deeptrace.trace import Verdict

__all__ = ["CALIBRATION_FILE", "Calibration", "calibrated", "calibration_of", "read_calibration"]

CALIBRATION_FILE = "deeptrace_calibration.json"


class Calibration(BaseModel):
    """Temperature scaling of the probability of FAKE, fitted on videos that the model was not trained on.

    Attributes:
        temperature: the logit of FAKE is divided by it; above 1 where the model is too sure.
        form: the question that it was fitted with; another question needs another fit.
        fitted_on: name of the data and split.
        videos: how many.
        nll_before, nll_after: mean negative log-likelihood, in nats, on those videos.
        thresholds: on the calibrated probability, by name (see `evaluate.thresholds`); for the record, as the label is
            the one that the model wrote.
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
        return probability(logit(p_fake) / self.temperature)

    def text(self) -> str:
        """The file's content."""
        return json.dumps(self.model_dump(mode="json"), indent=2) + "\n"


def calibration_of(given: str | float | None, *folders: str | Path | None) -> Calibration | None:
    """The calibration that a detector's setting means.

    Args:
        given: a temperature, a file or folder, "auto" for what is kept in the first of `folders` that has one, "none".
        folders: of adapter and checkpoint, which may be ids on the hub.

    Raises:
        SettingsError: there is none where one is named, it is damaged, or no temperature.
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
