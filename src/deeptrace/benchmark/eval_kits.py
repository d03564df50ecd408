"""Answers that an evaluation kit collected, measured as `deeptrace eval` measures them.

The kits run the model; what it said of each row (see `deeptrace.data.exporters.eval_kits`) is read and scored here.
`doc_to_visual`, `doc_to_text`, `process_results` and `AGGREGATIONS` are what an lmms-eval task names.

Boxes are read in pixels of the original video, which is what the exported question asks for. Explanations need a judge
and are not scored here: keep the answers and give them to `deeptrace eval --predictions FILE --judge NAME`.

Source: EvolvingLMMs-Lab/lmms-eval docs/guides/task_guide.md, lmms_eval/api/task.py.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from deeptrace.data.exporters.eval_kits import LMMS_METRICS
from deeptrace.errors import DataError
from deeptrace.metrics.summary import evaluate_pairs
from deeptrace.prompts import AnswerForm, Style, View
from deeptrace.prompts.parse import verdict_of_text
from deeptrace.schema import Label, Media, Outcome, Sample, Trace, Verdict

__all__ = [
    "AGGREGATIONS",
    "doc_to_text",
    "doc_to_visual",
    "path_of_row",
    "process_results",
    "sample_of_row",
    "scores_of_answers",
    "verdict_of_answer_to",
]

Row = Mapping[str, Any]

# What VLMEvalKit stores where the model could not be asked; no answer at all, and not one that cannot be read.
_NOT_ASKED = "Failed to obtain answer"


def sample_of_row(row: Row) -> Sample:
    """The ground truth that a row holds.

    Raises:
        DataError: the row is invalid.
    """
    where = f"row {row.get('index')}"
    try:
        traces = tuple(Trace.model_validate(item) for item in json.loads(str(row["traces"])))
        return Sample(
            video_id=str(row["video_id"]),
            path=str(row["video_path"]),
            label=Label(row["label"]),
            source=_text(row.get("source")),
            split=_text(row.get("split")),
            media=_media(row),
            traces=traces,
        )
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        problem = f"is not a row of an exported benchmark: {' '.join(str(error).split())[:200]}"
        raise DataError(where, problem, "Export the dataset again.") from error


def _media(row: Row) -> Media | None:
    width, height, duration, fps = (_number(row.get(name)) for name in ("width", "height", "duration", "fps"))
    if width is None or height is None or duration is None:
        return None
    return Media(width=int(width), height=int(height), duration_s=duration, fps=fps)


def _number(value: Any) -> float | None:
    if value is None or value == "":
        return None
    number = float(value)
    return None if math.isnan(number) else number  # an empty cell of a table


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def path_of_row(row: Row, folder: str = "") -> str:
    """Where a row's video is: below the dataset's folder that the row states, else below `folder`."""
    path = str(row["video_path"])
    if "://" in path or os.path.isabs(path):
        return path
    return os.path.join(_text(row.get("root")) or folder, path)


def verdict_of_answer_to(row: Row, answer: Any) -> Verdict:
    """What the model said of a row. No answer, or one that cannot be read, is an outcome and no verdict REAL."""
    video = str(row.get("video_id"))
    if not isinstance(answer, str) or not answer.strip():
        return Verdict.failed(video, Outcome.PARSE_FAILED, "the answer is empty")
    if answer.startswith(_NOT_ASKED):
        return Verdict.failed(video, Outcome.MODEL_FAILED, answer, raw=answer)
    form = AnswerForm(style=Style(row["style"])) if _text(row.get("style")) else AnswerForm()
    return verdict_of_text(answer, video=video, form=form, view=View.of(_media(row)))


def scores_of_answers(rows: Sequence[Row], answers: Sequence[Any]) -> dict[str, Any]:
    """The blocks of `deeptrace.metrics.evaluate_pairs` for one answer a row.

    Raises:
        DataError: a row is invalid.
    """
    samples = [sample_of_row(row) for row in rows]
    verdicts = [verdict_of_answer_to(row, answer) for row, answer in zip(rows, answers, strict=True)]
    return evaluate_pairs(samples, verdicts, text=False)


# -- lmms-eval --------------------------------------------------------------------------------------------------------


def doc_to_visual(doc: Row, *_: Any, **__: Any) -> list[str]:
    """The video's path.

    Raises:
        DataError: there is no such file.
    """
    path = path_of_row(doc)
    if "://" not in path and not os.path.isfile(path):
        raise DataError(path, "no such file", "Export with --root DIR, the dataset's folder.")
    return [path]


def doc_to_text(doc: Row, *_: Any, **__: Any) -> str:
    """The question."""
    return str(doc["question"])


def process_results(doc: Row, results: Sequence[str], **_: Any) -> dict[str, dict[str, Any]]:
    """What each metric's aggregation takes of one document: its row and the answer."""
    item = {"row": dict(doc), "answer": results[0] if results else ""}
    return dict.fromkeys(LMMS_METRICS, item)


def _aggregation(name: str) -> Callable[[Sequence[Mapping[str, Any]]], float]:
    def aggregate(items: Sequence[Mapping[str, Any]]) -> float:
        scores = scores_of_answers([item["row"] for item in items], [item["answer"] for item in items])
        if name == "readable":
            return 100.0 * scores["outcomes"].get(Outcome.SCORED.value, 0) / len(items) if items else math.nan
        value = scores["per_video"]["accuracy"] if name == "accuracy_per_video" else scores["paper"][name]
        return math.nan if value is None else float(value)

    aggregate.__name__ = f"aggregate_{name}"
    return aggregate


AGGREGATIONS = {name: _aggregation(name) for name in LMMS_METRICS}
"""Name of a metric -> the mean over the documents, 0 to 100; NaN where the rows have no data for it."""
