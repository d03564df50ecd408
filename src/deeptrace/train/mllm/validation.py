"""The validation split of a training: its videos, what checkpoints said of them, and the calibration that follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deeptrace.data.jsonio import iter_objects, write_lines
from deeptrace.detectors.calibration import Calibration
from deeptrace.evaluate.calibrate import fit_calibration
from deeptrace.evaluate.truth import read_truth
from deeptrace.trace import Sample, Verdict
from deeptrace.train.mllm.settings import DataPart

__all__ = ["ValidationVideos", "calibration_at", "keep_verdicts"]

FOLDER = "validation"


@dataclass(frozen=True)
class ValidationVideos:
    """What checkpoints are measured on.

    Attributes:
        samples: the videos, whose files lie below `root`.
        root: folder or URL.
        name: of data and split, for records.
    """

    samples: tuple[Sample, ...]
    root: str
    name: str

    @classmethod
    def read(cls, part: DataPart, *, most: int | None, seed: int) -> ValidationVideos:
        """The videos of a split; at most `most` of them, drawn by `seed`, the same ones each time.

        Raises:
            DataError: the split cannot be read or has no video.
        """
        truth = read_truth(part.path, split=part.split)
        samples = tuple(truth.samples)
        if most is not None and most < len(samples):
            drawn = np.random.default_rng(seed).permutation(len(samples))[:most]
            samples = tuple(samples[k] for k in sorted(drawn))
        return cls(samples, str(truth.root), f"{truth.name}, split {part.split}")


def keep_verdicts(out: Path, step: int, videos: ValidationVideos, verdicts: Sequence[Verdict]) -> None:
    """Keep what the checkpoint of a step said of the videos, (N,), in the run's folder."""
    pairs = zip(videos.samples, verdicts, strict=True)
    rows = ({"video_id": sample.video_id, **verdict.model_dump(mode="json")} for sample, verdict in pairs)
    write_lines(rows, _file(out, step))


def calibration_at(out: Path, step: int, videos: ValidationVideos, *, form: str) -> Calibration | None:
    """The calibration of the checkpoint of a step, from the answers that were kept.

    Args:
        out: the run's folder.
        step: of the checkpoint.
        videos: of the validation.
        form: name of the question (see `detector_settings`).

    Returns:
        None where the checkpoint was not asked, or where its answers tell too little (see `fit_calibration`).
    """
    if not _file(out, step).is_file():
        return None
    said = {row.pop("video_id"): Verdict.model_validate(row) for _, row in iter_objects(_file(out, step))}
    verdicts = [said.get(sample.video_id) for sample in videos.samples]
    try:
        return fit_calibration(videos.samples, verdicts, form=form, fitted_on=videos.name)
    except ValueError:
        return None


def _file(out: Path, step: int) -> Path:
    return out / FOLDER / f"step-{step}.jsonl"
