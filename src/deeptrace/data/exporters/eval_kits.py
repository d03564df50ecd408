"""Benchmarks for two evaluation kits: VLMEvalKit's TSV and a task folder of lmms-eval.

Both hold a row a video with the question, the right answer and what the answer is measured by; the code that the kits
call with it is in `deeptrace.benchmark.eval_kits` and `deeptrace.benchmark.vlmevalkit`.

    LMUData=FOLDER python -m deeptrace.benchmark.vlmevalkit run.py --config CONFIG        # FOLDER/NAME.tsv
    lmms_eval --include_path FOLDER --tasks deeptrace --model ...                         # FOLDER/deeptrace.yaml

Columns `index`, `video` (path below `root` without its ending, as VLMEvalKit appends one), `question` and `answer` are
VLMEvalKit's; `video_path`, `root`, `video_id`, `label`, `source`, `split`, `width`, `height`, `fps`, `duration`,
`traces` (JSON, our own) and `style` (of the answer form) are there for scoring.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from deeptrace.data.exporters.conversations import turns
from deeptrace.io import jsonl
from deeptrace.io.atomic import atomic_path
from deeptrace.prompts import ZERO_SHOT, AnswerForm
from deeptrace.schema import Sample

__all__ = ["LMMS_METRICS", "ROW_COLUMNS", "write_lmms_eval", "write_vlmevalkit"]

ROW_COLUMNS = (
    "index",
    "video",
    "video_path",
    "root",
    "video_id",
    "question",
    "answer",
    "label",
    "source",
    "split",
    "width",
    "height",
    "fps",
    "duration",
    "traces",
    "style",
)
LMMS_METRICS = {
    "accuracy": True,
    "fake_accuracy": True,
    "real_accuracy": True,
    "bbox_iou": True,
    "bbox_distance": False,
    "time_distance": False,
    "accuracy_per_video": True,
    "readable": True,
}
"""Metrics of the lmms-eval task, and whether more is better."""

LMMS_TASK = "deeptrace"
_UTILS = '''"""What lmms-eval calls for this task; see deeptrace.benchmark.eval_kits."""

from deeptrace.benchmark.eval_kits import AGGREGATIONS, doc_to_text, doc_to_visual, process_results  # noqa: F401

globals().update({f"aggregate_{name}": function for name, function in AGGREGATIONS.items()})
'''


def write_vlmevalkit(
    samples: Iterable[Sample],
    path: str | os.PathLike[str],
    *,
    form: AnswerForm = ZERO_SHOT,
    root: str | os.PathLike[str] | None = None,
) -> int:
    """Write the TSV, one row a video with all its traces in the answer; returns how many.

    Args:
        samples: with labels.
        path: the file; VLMEvalKit looks for NAME.tsv in its `LMUData` folder.
        form: what is asked and how it is answered.
        root: the dataset's folder, stated in the rows; None for the folder of the TSV.

    Raises:
        DataError: a sample without a label, or a box in pixels without a stated frame size.
    """
    count = 0
    with atomic_path(path) as scratch, open(scratch, "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerow(ROW_COLUMNS)
        for row in _rows(samples, form, root):
            table.writerow(["" if row[name] is None else row[name] for name in ROW_COLUMNS])
            count += 1
    return count


def write_lmms_eval(
    samples: Iterable[Sample],
    folder: str | os.PathLike[str],
    *,
    form: AnswerForm = ZERO_SHOT,
    root: str | os.PathLike[str] | None = None,
) -> int:
    """Write `deeptrace.yaml`, `utils.py` and `deeptrace.jsonl`; returns the number of rows.

    The task names its rows by their place on disk: write it anew where the folder moves.

    Args:
        samples: with labels.
        folder: where to; given to lmms-eval as `--include_path`.
        form: what is asked and how it is answered.
        root: the dataset's folder; None for the folder in which lmms-eval is started.

    Raises:
        DataError: as `write_vlmevalkit`.
    """
    base = Path(folder)
    rows = base / f"{LMMS_TASK}.jsonl"
    count = jsonl.write_lines(_rows(samples, form, root), rows)
    for name, text in (("utils.py", _UTILS), (f"{LMMS_TASK}.yaml", _task(rows))):
        with atomic_path(base / name) as scratch:
            scratch.write_text(text, encoding="utf-8")
    return count


def _rows(samples: Iterable[Sample], form: AnswerForm, root: str | os.PathLike[str] | None) -> Iterator[dict[str, Any]]:
    """One row a video, its fields in the order of `ROW_COLUMNS`."""
    for index, sample in enumerate(samples):
        ((asked, answer),) = turns(sample, form=form, per="video")
        media = sample.media
        yield {
            "index": index,
            "video": str(PurePosixPath(sample.path).with_suffix("")) if sample.path else sample.video_id,
            "video_path": sample.path,
            "root": None if root is None else os.path.abspath(root),
            "video_id": sample.video_id,
            "question": asked,
            "answer": answer,
            "label": str(sample.label),
            "source": sample.source,
            "split": sample.split,
            "width": media and media.width,
            "height": media and media.height,
            "fps": media and media.fps,
            "duration": media and media.duration_s,
            "traces": json.dumps([trace.model_dump(mode="json") for trace in sample.traces], ensure_ascii=False),
            "style": form.style.value,
        }


def _task(rows: Path) -> str:
    """The YAML of the task. Strings are quoted as JSON, which YAML reads."""
    metrics = "".join(
        f"  - metric: {name}\n    aggregation: !function utils.aggregate_{name}\n"
        f"    higher_is_better: {str(up).lower()}\n"
        for name, up in LMMS_METRICS.items()
    )
    return f"""task: {LMMS_TASK}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {json.dumps(os.path.abspath(rows))}
test_split: test
output_type: generate_until
doc_to_visual: !function utils.doc_to_visual
doc_to_text: !function utils.doc_to_text
doc_to_target: answer
generation_kwargs:
  max_new_tokens: 1024
  temperature: 0
  do_sample: false
process_results: !function utils.process_results
metric_list:
{metrics}metadata:
  - version: 1.0
"""
