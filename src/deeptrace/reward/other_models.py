"""Scores of other reward models beside ours, and beside what people marked: which agree, and with what.

A file of scores is a table with a row a clip. Three shapes are known, any other table is taken as it stands:

- **VideoScore2**: the list that its `eval/eval_vs2.py` writes: `video_name`, `v_score_model`, `t_score_model`,
  `p_score_model`, and the model's text in `output`, which is read where a score is null. TIGER-AI-Lab/VideoScore2 at
  3291ec5; He et al., arXiv 2509.22799.
- **VideoAlign**: `out_single.csv` or `out_pair.csv` of its `eval_videogen_rewardbench.py`: `path` and `reward_VQ`,
  `reward_MQ`, `reward_TA`, `reward_Overall`, in pairs each with `_A` and `_B`. KwaiVGI/VideoAlign at 219ab9d; Liu et
  al., arXiv 2501.13918.
- **ours**: `rewards.jsonl` of `deeptrace score --out`, or verdicts with a reward.
- any table with a column that names the clip (`video`, `path`, `video_path`, `video_id`, `video_name`, `file`): each
  column of numbers is a score.

VideoJudge rates answers about a video, and VideoRewardBench pairs of such answers: neither is a score of the clip.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from deeptrace.data.tables import iter_table_rows
from deeptrace.errors import DataError
from deeptrace.io.atomic import short_name
from deeptrace.metrics.correlation import Correlation, kendall, spearman
from deeptrace.plural import plural
from deeptrace.schema import Label, Sample, Trace

__all__ = ["MARKS", "Agreement", "ScoreColumn", "amount_of_marks", "compare_scores", "read_scores"]

MARKS = ("number of traces", "area x time")
"""What is counted of the traces that were marked in a clip."""

_CLIP = ("video", "path", "video_path", "video_id", "video_name", "file", "filename")
_FEWEST = 3
"""Clips below which there is no order to speak of."""


@dataclass(frozen=True)
class _Shape:
    """A known table: the column that names a clip, its scores by the name they get, and the model's text."""

    clip: str
    scores: Mapping[str, str]
    text: str = ""


_VIDEOSCORE2 = _Shape(
    "video_name",
    {
        "visual quality": "v_score_model",
        "text alignment": "t_score_model",
        "physical consistency": "p_score_model",
    },
    "output",
)
_VIDEOALIGN = {"VQ": "visual quality", "MQ": "motion quality", "TA": "text alignment", "Overall": "overall"}
_SHAPES = (
    _VIDEOSCORE2,
    _Shape("path", {name: f"reward_{key}" for key, name in _VIDEOALIGN.items()}),
    *(
        _Shape(f"path_{side}", {name: f"reward_{key}_{side}" for key, name in _VIDEOALIGN.items()})
        for side in ("A", "B")
    ),
    _Shape("video", {"reward": "reward"}),
)
# Its scores as its answers end, in the order of `_VIDEOSCORE2.scores` (eval/eval_vs2.py).
_ANSWER = re.compile(
    r"visual quality:\s*([\d.]+).*?text-to-video alignment:\s*([\d.]+).*?physical/common-sense consistency:\s*([\d.]+)",
    re.DOTALL | re.IGNORECASE,
)


@dataclass
class ScoreColumn:
    """One score of many clips.

    Attributes:
        name: of file and score.
        values: score by the clip's name as the file has it; higher is better.
        empty: number of rows without this score.
    """

    name: str
    values: dict[str, float] = field(default_factory=dict)
    empty: int = 0


def read_scores(path: str | os.PathLike[str]) -> list[ScoreColumn]:
    """The scores of a file, a column each.

    Raises:
        DataError: the file cannot be read, no column names the clip, a clip has two different scores, or there is no
            score at all.
    """
    name = short_name(path)
    title = Path(name).stem
    found: dict[str, ScoreColumn] = {}
    for number, row in iter_table_rows(path):
        where = f"{name}, row {number}"
        for clip, scores in _scored(row, where):
            for key, value in scores.items():
                column = found.setdefault(key, ScoreColumn(f"{title}: {key}"))
                if value is None:
                    column.empty += 1
                elif column.values.setdefault(clip, value) != value:
                    raise DataError(where, f"{clip!r} has another score in {key!r} than before")
    kept = [column for column in found.values() if column.values]
    if not kept:
        raise DataError(name, "has no scores", "A row names a clip and has numbers.")
    return kept


def _scored(row: Mapping[str, Any], where: str) -> Iterator[tuple[str, dict[str, float | None]]]:
    """Each clip of a row with its scores; None for one that is not there."""
    shapes = [shape for shape in _SHAPES if shape.clip in row and all(key in row for key in shape.scores.values())]
    if not shapes:
        clip = next((key for key in _CLIP if row.get(key) not in (None, "")), None)
        if clip is None:
            raise DataError(where, f"names no clip: expected a column {', '.join(_CLIP)}")
        yield str(row[clip]), {key: _number(value) for key, value in row.items() if key not in _CLIP}
        return
    for shape in shapes:
        said = {key: _number(row[column]) for key, column in shape.scores.items()}
        answer = _ANSWER.search(str(row.get(shape.text) or "")) if shape.text and None in said.values() else None
        if answer is not None:
            read = dict(zip(shape.scores, (_number(one) for one in answer.groups()), strict=True))
            said = {key: read[key] if value is None else value for key, value in said.items()}
        yield str(row[shape.clip]), said


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or value in (None, ""):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def amount_of_marks(traces: Sequence[Trace], duration_s: float) -> tuple[float, float]:
    """How much is marked: the number of traces with a place and time, and the sum of area times share of the clip."""
    boxed = [(trace.box, trace.interval) for trace in traces if trace.box is not None and trace.interval is not None]
    shares = [box.area * min(when.duration_s / duration_s, 1.0) for box, when in boxed]
    return float(len(boxed)), float(sum(shares))


@dataclass(frozen=True)
class Agreement:
    """One score beside one other thing: marks, of which fewer is better, or another score.

    Attributes:
        score: name of the score.
        other: what it is set beside.
        clips: number of clips that have both.
        within: Kendall's tau-b and Spearman's rho within generators.
        overall: the same over all clips.
    """

    score: str
    other: str
    clips: int
    within: tuple[Correlation, Correlation]
    overall: tuple[Correlation, Correlation]

    def as_json(self) -> dict[str, Any]:
        """One row."""
        sides = {"within": self.within, "overall": self.overall}
        return {"score": self.score, "other": self.other, "clips": self.clips} | {
            side: dict(zip(("kendall", "spearman"), (one.as_json() for one in both), strict=True))
            for side, both in sides.items()
        }


def compare_scores(
    samples: Sequence[Sample], columns: Sequence[ScoreColumn], *, resamples: int = 2000, seed: int = 0
) -> tuple[list[Agreement], list[str]]:
    """Each score beside the marks of the clips, and beside the first score; on generated clips that name a generator.

    Args:
        samples: with their traces; a clip is found by its id, path, or file name where no other has it.
        columns: the scores, the reference first.
        resamples: draws of generators for the intervals.
        seed: of the draws.

    Returns:
        The agreements, and remarks: scores of unknown clips, rows without a score.

    Raises:
        DataError: no clip has both a generator and a score.
    """
    used = [sample for sample in samples if sample.label is Label.FAKE and sample.source]
    index = _index(used)
    remarks: list[str] = []
    placed: list[dict[int, float]] = []
    for column in columns:
        at: dict[int, float] = {}
        for clip, value in column.values.items():
            if (place := _place(clip, index)) is not None:
                at[place] = value
        if missing := len(column.values) - len(at):
            remarks.append(f"{column.name}: {missing} of {len(column.values)} scores are of no generated clip here")
        if column.empty:
            remarks.append(f"{column.name}: {plural(column.empty, 'row')} without a score")
        placed.append(at)
    if not any(placed):
        raise DataError("scores", "are of no generated clip of the data", "Clips are found by id, path or file name.")
    marked = np.array([amount_of_marks(s.traces, s.media.duration_s if s.media else 1.0) for s in used])
    others = {name: dict(enumerate(-marked[:, k])) for k, name in enumerate(MARKS)}
    groups = [str(sample.source) for sample in used]
    found = []
    for number, (column, at) in enumerate(zip(columns, placed, strict=True)):
        beside = others | ({columns[0].name: placed[0]} if number else {})
        for other, values in beside.items():
            both = sorted(set(at) & set(values))
            if len(both) < _FEWEST:
                remarks.append(f"{column.name}: {plural(len(both), 'clip')} beside {other}, too few to order")
                continue
            x, y = np.array([at[i] for i in both]), np.array([values[i] for i in both])
            mine = [groups[i] for i in both]
            sides = [
                (
                    kendall(x, y, mine, within=within, resamples=resamples, seed=seed),
                    spearman(x, y, mine, within=within, resamples=resamples, seed=seed),
                )
                for within in (True, False)
            ]
            found.append(Agreement(column.name, other, len(both), sides[0], sides[1]))
    return found, remarks


def _place(clip: str, index: Mapping[str, int]) -> int | None:
    """Which sample a name means: itself, what of the path lies below some folder, or the file's name."""
    parts = clip.replace("\\", "/").split("/")
    names = [clip, *("/".join(parts[at:]) for at in range(len(parts))), PurePosixPath(parts[-1]).stem]
    return next((index[name] for name in names if name in index), None)


def _index(samples: Sequence[Sample]) -> dict[str, int]:
    """Sample by id and path; by file name, with and without its ending, where it is the only one."""
    found: dict[str, int] = {}
    for at, sample in enumerate(samples):
        found[sample.video_id] = found[sample.path] = at
    names: dict[str, set[int]] = {}
    for at, sample in enumerate(samples):
        path = PurePosixPath(sample.path)
        for name in {path.name, path.stem}:
            names.setdefault(name, set()).add(at)
    return {name: next(iter(places)) for name, places in names.items() if len(places) == 1} | found
