"""The folder of an evaluation: everything needed to go on with it, to compare it and to check it.

DIR/manifest.json       what the run is; written first
DIR/results.jsonl       the detector's results as they come, append-only, under what they were computed from
DIR/truth.jsonl         the samples measured against, one a line
DIR/predictions.jsonl   one verdict a sample, in their order; a predictions file in its own right
DIR/judgements.jsonl    one line a row that a judge was asked about
DIR/evaluation.json     the numbers
DIR/report.html, .md    the same for people
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from deeptrace.data.jsonio import atomic_path, iter_objects, write_lines
from deeptrace.errors import DataError, SettingsError
from deeptrace.evaluate.journal import Journal
from deeptrace.evaluate.judging import Judgement
from deeptrace.evaluate.manifest import differences
from deeptrace.folder_lock import FolderLock
from deeptrace.trace import Sample, Verdict

__all__ = ["EvaluationFolder", "SavedRun", "read_run"]

MANIFEST, RESULTS, TRUTH, PREDICTIONS = "manifest.json", "results.jsonl", "truth.jsonl", "predictions.jsonl"
JUDGEMENTS, EVALUATION = "judgements.jsonl", "evaluation.json"


class EvaluationFolder:
    """A run's folder, open for writing; a context manager.

    Args:
        folder: made when it does not exist.
        manifest: of the run that is about to begin.
        resume: go on with what is there.

    Raises:
        SettingsError: it holds a run already and `resume` was not asked for, it holds a run of other data or settings
            (the message names them), another run writes into it, or it cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str], manifest: dict[str, Any], *, resume: bool) -> None:
        self.path = Path(folder)
        earlier = _read_json(self.path / MANIFEST)
        if earlier is not None and not resume:
            raise SettingsError(
                str(folder), "holds an earlier evaluation", "Add --resume to go on with it, or name another."
            )
        if earlier is not None and earlier.get("run") != manifest["run"]:
            other = ", ".join(differences(earlier, manifest)) or "format"
            raise SettingsError(str(folder), f"holds an evaluation with another {other}", "Name another folder.")
        self._lock = FolderLock(folder)
        self.write_json(MANIFEST, manifest)
        self.journal = Journal(self.path / RESULTS)

    def __enter__(self) -> EvaluationFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.journal.close()
        self._lock.release()

    def write_json(self, name: str, value: Any) -> None:
        """Write a file, whole or not at all."""
        with atomic_path(self.path / name) as scratch:
            scratch.write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")

    def write_truth(self, samples: Iterable[Sample]) -> None:
        """Write the samples, without the fields that mean nothing here."""
        plain = (sample.model_copy(update={"extra": {}}).model_dump(mode="json") for sample in samples)
        write_lines(plain, self.path / TRUTH)

    def write_predictions(self, samples: Sequence[Sample], verdicts: Sequence[Verdict | None]) -> None:
        """Write the verdicts under their samples' ids; a sample without one has no line."""
        known = (
            verdict.model_copy(update={"video": sample.video_id}).model_dump(mode="json")
            for sample, verdict in zip(samples, verdicts, strict=True)
            if verdict is not None
        )
        write_lines(known, self.path / PREDICTIONS)

    def write_judgements(self, rows: Iterable[Judgement]) -> None:
        """Write what the judge said of each row."""
        write_lines((asdict(row) for row in rows), self.path / JUDGEMENTS)


@dataclass(frozen=True)
class SavedRun:
    """An evaluation as it lies in its folder.

    Attributes:
        name: of the folder.
        path: of the folder.
        manifest, evaluation: as written.
        samples: the truth.
        verdicts: one a sample, None where there is none.
        scores: the judge's, by row; empty without a judge.
    """

    name: str
    path: Path
    manifest: dict[str, Any]
    evaluation: dict[str, Any]
    samples: list[Sample]
    verdicts: list[Verdict | None]
    scores: dict[tuple[str, int], float | None]


def read_run(folder: str | os.PathLike[str]) -> SavedRun:
    """Read a finished evaluation.

    Raises:
        DataError: the folder holds none, or one that is not finished or damaged.
    """
    path = Path(folder)
    manifest, evaluation = _read_json(path / MANIFEST), _read_json(path / EVALUATION)
    if manifest is None:
        raise DataError(str(folder), "holds no evaluation", "Make one with: deeptrace eval ... --out DIR")
    if evaluation is None:
        raise DataError(str(folder), "holds an evaluation that is not finished", "Go on with it: --resume.")
    try:
        samples = [Sample.model_validate(fields) for _, fields in iter_objects(path / TRUTH)]
        by_id = {fields["video"]: Verdict.model_validate(fields) for _, fields in iter_objects(path / PREDICTIONS)}
        scores = {}
        if (path / JUDGEMENTS).exists():
            rows = [fields for _, fields in iter_objects(path / JUDGEMENTS)]
            scores = {(str(row["key"][0]), int(row["key"][1])): row["score"] for row in rows}
    except (ValidationError, KeyError, IndexError, TypeError) as error:
        raise DataError(str(folder), f"is damaged: {' '.join(str(error).split())[:200]}") from error
    verdicts = [by_id.get(sample.video_id) for sample in samples]
    name = path.resolve().name
    return SavedRun(name, path, manifest, evaluation, samples, verdicts, scores)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataError(str(path), f"cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise DataError(str(path), f"expected an object but got {type(value).__name__}")
    return value
