"""The folder of an evaluation: everything needed to go on with it, to compare it and to check it.

DIR/manifest.json       what the run is; written first
DIR/journal.jsonl       the detector's results as they come, append-only, under what they were computed from
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

from deeptrace.benchmark.judge import Judgement
from deeptrace.benchmark.manifest import CIRCUMSTANCES
from deeptrace.benchmark.result import EvaluationResult, Manifest
from deeptrace.errors import DataError
from deeptrace.io.jsonl import iter_objects, write_json, write_lines
from deeptrace.io.run_store import MANIFEST, RunStore
from deeptrace.schema import Sample, Verdict
from deeptrace.urls import public_url

__all__ = ["EVALUATION", "PREDICTIONS", "EvaluationFolder", "SavedRun", "read_run"]

TRUTH, PREDICTIONS, JUDGEMENTS = "truth.jsonl", "predictions.jsonl", "judgements.jsonl"
EVALUATION = "evaluation.json"


class EvaluationFolder:
    """A run's folder, open for writing; a context manager.

    Args:
        folder: made when it does not exist.
        manifest: of the run that is about to begin.
        resume: whether to go on with what is there.

    Attributes:
        store: of the detector's results.

    Raises:
        SettingsError: as of `RunStore`.
    """

    def __init__(self, folder: str | os.PathLike[str], manifest: Manifest, *, resume: bool) -> None:
        stated = manifest.as_json()
        data, predictions = stated["data"], stated["predictions"]
        repeated = {"sampling", "pixel_budget", "prompt"}  # the detector's own settings
        settings = {name: value for name, value in stated.items() if name not in repeated | set(CIRCUMSTANCES)}
        settings |= {"data": data["sha256"], "split": data["split"]}
        settings |= {"predictions": None if predictions is None else predictions["sha256"]}
        about = {"data": data["name"], **{name: stated[name] for name in CIRCUMSTANCES}}
        files = (TRUTH, PREDICTIONS, JUDGEMENTS, EVALUATION)
        self.store = RunStore(folder, "eval", settings, resume=resume, about=about, files=files)
        self.path = self.store.path

    def __enter__(self) -> EvaluationFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()

    def write_evaluation(self, result: EvaluationResult) -> None:
        """Write the numbers; the run is then finished."""
        write_json(result.as_json(), self.path / EVALUATION)

    def write_ground_truth(self, samples: Iterable[Sample]) -> None:
        """Write the samples, without the fields that mean nothing here."""
        plain = (
            sample.model_copy(update={"extra": {}, "path": public_url(sample.path)}).model_dump(mode="json")
            for sample in samples
        )
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
        manifest, evaluation: as written; the manifest is part of the evaluation too.
        samples: the ground truth.
        verdicts: one a sample, None where there is none.
        scores: the judge's scores, by row; empty without a judge.
    """

    name: str
    path: Path
    manifest: Manifest
    evaluation: EvaluationResult
    samples: list[Sample]
    verdicts: list[Verdict | None]
    scores: dict[tuple[str, int], float | None]


def read_run(folder: str | os.PathLike[str]) -> SavedRun:
    """Read a finished evaluation.

    Raises:
        DataError: the folder holds none, or one that is not finished or damaged.
    """
    path = Path(folder)
    found = _read_json(path / EVALUATION)
    if found is None:
        if not (path / MANIFEST).exists():
            raise DataError(str(folder), "holds no evaluation", "Make one with: deeptrace eval ... --out DIR")
        raise DataError(str(folder), "holds an evaluation that is not finished", "Go on with it: --resume.")
    try:
        evaluation = EvaluationResult.model_validate(found)
        samples = [Sample.model_validate(fields) for _, fields in iter_objects(path / TRUTH)]
        by_id = {fields["video"]: Verdict.model_validate(fields) for _, fields in iter_objects(path / PREDICTIONS)}
        scores = {}
        if (path / JUDGEMENTS).exists():
            rows = [fields for _, fields in iter_objects(path / JUDGEMENTS)]
            scores = {(str(row["key"][0]), int(row["key"][1])): row["score"] for row in rows}
    except (ValidationError, KeyError, IndexError, TypeError) as error:
        problem = " ".join(str(error).split())[:200]
        raise DataError(str(folder), f"holds a run of another version, or is damaged: {problem}") from error
    verdicts = [by_id.get(sample.video_id) for sample in samples]
    name = path.resolve().name
    return SavedRun(name, path, evaluation.manifest, evaluation, samples, verdicts, scores)


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
