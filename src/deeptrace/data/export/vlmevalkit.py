"""A VLMEvalKit-style TSV: one row a question, for its `VideoBaseDataset`.

Columns `index`, `video` (path below the data root without its ending, as the toolkit appends one), `question` and
`answer` are the toolkit's; `video_path`, `label`, `source`, `split`, `width`, `height`, `fps`, `duration` and `traces`
(JSON, our own) are there for scoring.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable
from pathlib import PurePosixPath

from deeptrace.data.export.conversations import turns
from deeptrace.data.jsonio import atomic_path
from deeptrace.protocol import ZERO_SHOT, AnswerForm
from deeptrace.trace import Sample

__all__ = ["TSV_COLUMNS", "write_vlmevalkit"]

TSV_COLUMNS = (
    "index",
    "video",
    "video_path",
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
)


def write_vlmevalkit(samples: Iterable[Sample], path: str | os.PathLike[str], *, form: AnswerForm = ZERO_SHOT) -> int:
    """Write the TSV, one row a video with all its traces in the answer; returns how many.

    Raises:
        DataError: a sample without a label, or a box in pixels without a stated frame size.
    """
    count = 0
    with atomic_path(path) as scratch, open(scratch, "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerow(TSV_COLUMNS)
        for index, sample in enumerate(samples):
            ((asked, answer),) = turns(sample, form=form, per="video")
            media = sample.media
            video = str(PurePosixPath(sample.path).with_suffix("")) if sample.path else sample.video_id
            traces = json.dumps([trace.model_dump(mode="json") for trace in sample.traces], ensure_ascii=False)
            size = (media.width, media.height, media.fps, media.duration_s) if media else ("", "", "", "")
            about = (str(sample.label), sample.source or "", sample.split or "")
            table.writerow([index, video, sample.path, asked, answer, *about, *size, traces])
            count += 1
    return count
