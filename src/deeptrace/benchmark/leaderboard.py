"""A leaderboard kept in a repository: one JSON file a run, extended by pull request, rebuilt and checked by CI.

An entry is made from a finished run (`entry_of_run`), so that nobody types numbers. `read_entries` checks what a reader
of a pull request would: fields, ranges, the paper's own arithmetic (accuracy and overall out of their parts), that
outcomes add up, and that entries of one data set and split were measured against the same ground truth.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterable, Sequence
from datetime import date
from io import StringIO
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from deeptrace.benchmark.folder import SavedRun
from deeptrace.errors import DataError, SettingsError
from deeptrace.metrics import overall_score, row_weighted_accuracy
from deeptrace.plural import plural
from deeptrace.schema import DetectorInfo, Outcome

__all__ = ["Entry", "add_entry", "entry_of_run", "plain_tables", "read_entries", "render_csv", "render_markdown"]

Score = float | None
_TOLERANCE = 1e-3
_TRACES = ("tiou", "viou", "recall_viou_30", "map_viou_30", "map_viou_50", "false_traces_per_real_video")
_COLUMNS = (
    ("paper", "overall", "overall"),
    ("paper", "accuracy", "acc (rows)"),
    ("paper", "explanation", "expl."),
    ("paper", "bbox_iou", "box IoU"),
    ("paper", "time_distance", "time dist"),
    ("per_video", "accuracy", "acc (videos)"),
    ("per_video", "auroc", "AUROC"),
    ("grounded", "overall", "grounded"),
    ("traces", "viou", "vIoU"),
    ("traces", "map_viou_30", "AP@.3"),
)
_LOWER = frozenset({"time_distance"})
"""Of the columns those where less is better."""


class _Fields(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class EntryData(_Fields):
    """The data: a hash of its ground truth, and its size."""

    name: str = Field(min_length=1)
    split: str = Field(min_length=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    videos: int = Field(gt=0)
    fake_rows: int = Field(ge=0)
    real_rows: int = Field(ge=0)


class Entry(_Fields):
    """One run on the leaderboard.

    Attributes:
        name: of the method, as shown.
        submitted_by: who submitted it.
        made: day of the run.
        url: of code, paper or model card; may be empty.
        notes: one line; may be empty.
        run: key of the run's manifest.
        data: what it was measured on.
        detector: who predicted; None for a file of predictions.
        judge: of explanations; None where there was none.
        scores: block -> metric -> value, as in the evaluation JSON.
        intervals: 95 %, "block.metric" -> [low, high].
        outcomes: how the verdicts ended.
        deeptrace: version that measured.
    """

    name: str = Field(min_length=1, max_length=80)
    submitted_by: str = Field(min_length=1, max_length=80)
    made: date
    url: str = Field(default="", pattern=r"^(https?://\S+)?$")
    notes: str = Field(default="", max_length=300)
    run: str = Field(pattern=r"^[0-9a-f]{16}$")
    data: EntryData
    detector: DetectorInfo | None = None
    judge: str | None = None
    scores: dict[str, dict[str, Score]]
    intervals: dict[str, tuple[float, float]] = Field(default_factory=dict)
    outcomes: dict[str, int]
    deeptrace: str

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        unknown = set(self.outcomes) - {*Outcome, "missing"}
        if unknown or sum(self.outcomes.values()) != self.data.videos:
            raise ValueError(f"outcomes: expected counts that add up to {plural(self.data.videos, 'video')}")
        for block, metric, _ in _COLUMNS:
            if metric not in self.scores.get(block, {}):
                raise ValueError(f"scores: {block}.{metric} is missing (null is allowed)")
        for block in ("paper", "per_video", "grounded"):
            for metric, value in self.scores[block].items():
                if value is not None and not 0 <= value <= 100:
                    raise ValueError(f"scores: {block}.{metric} is {value}, outside 0 to 100")
        self._check_paper()
        return self

    def _check_paper(self) -> None:
        """The paper's arithmetic, wherever all parts are known."""
        paper = self.scores["paper"]
        fake, real = paper.get("fake_accuracy"), paper.get("real_accuracy")
        if None not in (fake, real, paper["accuracy"]):
            rows = {"fake_rows": self.data.fake_rows, "real_rows": self.data.real_rows}
            _same("paper.accuracy", paper["accuracy"], row_weighted_accuracy(fake, real, **rows))  # type: ignore[arg-type]
        parts = [paper[name] for name in ("accuracy", "explanation", "bbox_iou", "time_distance")]
        if paper["overall"] is not None:
            if None in parts:
                raise ValueError("scores: paper.overall is stated, but one of its four parts is null")
            _same("paper.overall", paper["overall"], overall_score(*parts))  # type: ignore[arg-type]


def _same(name: str, stated: float | None, computed: float) -> None:
    if stated is None or abs(stated - computed) > _TOLERANCE:
        raise ValueError(f"scores: {name} is {stated}, but its parts give {computed:.4f}")


def entry_of_run(
    run: SavedRun, *, name: str, submitted_by: str, url: str = "", notes: str = "", data_name: str = ""
) -> Entry:
    """The entry of a finished run.

    Args:
        run: the run.
        name, submitted_by, url, notes: as in `Entry`.
        data_name: what the data is called on the leaderboard; the name of its folder by default.

    Raises:
        DataError: its numbers do not add up (the run was edited).
    """
    result, manifest = run.evaluation, run.manifest
    stated = (("paper", result.paper), ("per_video", result.per_video), ("grounded", result.grounded))
    blocks = {block: _rounded(values.model_dump(exclude_unset=True)) for block, values in stated}
    blocks["traces"] = _rounded(result.traces.model_dump(include=set(_TRACES)))
    data, counts = manifest.data, result.counts
    shown = {f"{block}.{metric}" for block, metric, _ in _COLUMNS}
    fields: dict[str, Any] = {
        "name": name,
        "submitted_by": submitted_by,
        "made": manifest.made[:10],
        "url": url,
        "notes": notes,
        "run": manifest.run,
        "data": {
            **data.model_dump(exclude={"rows"}),
            **({"name": data_name} if data_name else {}),
            "fake_rows": data.rows - counts.real_videos,
            "real_rows": counts.real_videos,
        },
        "detector": manifest.detector,
        "judge": None if manifest.judge is None else manifest.judge.name,
        "scores": blocks,
        "intervals": {
            key: [round(v, 6) for v in limits] for key, limits in result.intervals.items() if limits and key in shown
        },
        "outcomes": result.outcomes,
        "deeptrace": manifest.versions.get("deeptrace", "unknown"),
    }
    return _entry(fields, str(run.path))


def add_entry(entry: Entry, folder: str | os.PathLike[str]) -> Path:
    """Write `entry` into the leaderboard's folder under a name made of its data, method and run; returns the file.

    Raises:
        SettingsError: it is there already, or cannot be written.
    """
    parts = (entry.data.name, entry.data.split, entry.name, entry.run[:8])
    stem = "-".join(re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-") or "x" for part in parts)
    target = Path(folder) / f"{stem}.json"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("x", encoding="utf-8") as file:
            file.write(json.dumps(entry.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n")
    except FileExistsError:
        raise SettingsError(str(target), "this run is on the leaderboard already") from None
    except OSError as error:
        raise SettingsError(str(target), f"cannot be written: {error.strerror}") from error
    return target


def read_entries(folder: str | os.PathLike[str]) -> list[Entry]:
    """All entries of the folder, checked one by one and against each other, by file name.

    Raises:
        DataError: the folder has none, or one is invalid; the message names file and field.
    """
    files = sorted(Path(folder).glob("*.json"))
    if not files:
        raise DataError(str(folder), "has no entries", "Add one: deeptrace leaderboard add RUN --name ... --by ...")
    entries: list[Entry] = []
    truth: dict[tuple[str, str], tuple[str, Path]] = {}
    names: dict[str, tuple[str, str]] = {}
    runs: dict[str, Path] = {}
    for file in files:
        try:
            entry = _entry(json.loads(file.read_text(encoding="utf-8")), str(file))
        except ValueError as error:
            raise DataError(str(file), f"is not JSON: {error}") from error
        key = (entry.data.name, entry.data.split)
        known, first = truth.setdefault(key, (entry.data.sha256, file))
        if known != entry.data.sha256:
            raise DataError(
                str(file),
                f"was measured against other ground truth of {key[0]}, split {key[1]}, than {first.name}",
                "Evaluate it again on the same annotations, or give the data another name.",
            )
        if names.setdefault(known, key) != key:
            raise DataError(
                str(file),
                f"calls the data {key[0]}, split {key[1]}, that {', split '.join(names[known])} is the same as",
                f"Add it with --data-name {names[known][0]!r}.",
            )
        if entry.run in runs:
            raise DataError(str(file), f"is the same run as {runs[entry.run].name}")
        runs[entry.run] = file
        entries.append(entry)
    return entries


def render_markdown(entries: Iterable[Entry]) -> str:
    """The leaderboard as Markdown: a table a data set and split, best first by grounded overall, then accuracy."""
    lines = [
        "# Leaderboard",
        "",
        "Made by `deeptrace leaderboard build` from the JSON files in this folder; do not edit. To add a run, see",
        "[the benchmark](../benchmark.md#the-leaderboard). A dash was not measured; it is not a zero.",
    ]
    for (name, split), found in _grouped(entries):
        data = found[0].data
        lines += ["", f"## {_cell(name)}, {_cell(split)}", ""]
        lines += [f"{plural(data.videos, 'video')}, ground truth `{data.sha256[:12]}`.", ""]
        lines.append("| method | " + " | ".join(title for *_, title in _COLUMNS) + " | failed | judge | by | made |")
        lines.append("|---|" + "---:|" * (len(_COLUMNS) + 1) + "---|---|---|")
        lines += [_line(entry) for entry in found]
    return "\n".join(lines) + "\n"


def plain_tables(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """The same as data for a page that sorts them: a table a data set and split, best first.

    Returns:
        Of each `data`, `split`, `videos`, `sha256`, `columns` (`metric` as "block.metric", `title`, and `better`: "up"
        or "down") and `rows`: `name`, `run`, `url`, `notes`, `judge`, `by`, `made`, `failed` and `cells`, a column
        each: `value` (None where it was not measured), its `text`, and the `interval` of 95 % as text, empty where none
        is known.
    """
    columns = [
        {"metric": f"{block}.{metric}", "title": title, "better": "down" if metric in _LOWER else "up"}
        for block, metric, title in _COLUMNS
    ]
    return [
        {
            "data": name,
            "split": split,
            "videos": found[0].data.videos,
            "sha256": found[0].data.sha256,
            "columns": columns,
            "rows": [_plain_row(entry) for entry in found],
        }
        for (name, split), found in _grouped(entries)
    ]


def _plain_row(entry: Entry) -> dict[str, Any]:
    cells = []
    for block, metric, _ in _COLUMNS:
        limits = entry.intervals.get(f"{block}.{metric}", ())
        interval = "–".join(_text(block, metric, limit) for limit in limits)
        value = entry.scores[block][metric]
        cells.append({"value": value, "text": _text(block, metric, value), "interval": interval})
    about = {"name": entry.name, "run": entry.run, "url": entry.url, "notes": entry.notes, "judge": entry.judge}
    return about | {
        "by": entry.submitted_by,
        "made": entry.made.isoformat(),
        "failed": _failed(entry),
        "cells": cells,
    }


def _grouped(entries: Iterable[Entry]) -> list[tuple[tuple[str, str], list[Entry]]]:
    """Entries by data set and split, the best first."""
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in sorted(entries, key=_order):
        groups.setdefault((entry.data.name, entry.data.split), []).append(entry)
    return sorted(groups.items())


def render_csv(entries: Sequence[Entry]) -> str:
    """The same numbers as CSV, one line an entry; empty cells were not measured."""
    buffer = StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    names = [f"{block}.{metric}" for block, metric, _ in _COLUMNS]
    writer.writerow(
        ["data", "split", "method", "run", *names, "videos", "failed", "judge", "submitted_by", "made", "url"]
    )
    for entry in sorted(entries, key=lambda e: (e.data.name, e.data.split, *_order(e))):
        values = [entry.scores[block][metric] for block, metric, _ in _COLUMNS]
        about = [entry.data.videos, _failed(entry), entry.judge or "", entry.submitted_by, entry.made, entry.url]
        writer.writerow([entry.data.name, entry.data.split, entry.name, entry.run, *values, *about])
    return buffer.getvalue()


def _entry(fields: Any, where: str) -> Entry:
    try:
        return Entry.model_validate(fields)
    except ValidationError as error:
        problem = error.errors()[0]
        raise DataError(where, f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}") from error


def _order(entry: Entry) -> tuple[float, float, str]:
    grounded, accuracy = entry.scores["grounded"]["overall"], entry.scores["per_video"]["accuracy"]
    return (-(grounded if grounded is not None else -1.0), -(accuracy if accuracy is not None else -1.0), entry.name)


def _line(entry: Entry) -> str:
    cells = [_text(block, metric, entry.scores[block][metric]) for block, metric, _ in _COLUMNS]
    name = f"[{_cell(entry.name)}]({entry.url})" if entry.url else _cell(entry.name)
    about = [str(_failed(entry)), _cell(entry.judge or "–"), _cell(entry.submitted_by), entry.made.isoformat()]
    return f"| {name} | " + " | ".join([*cells, *about]) + " |"


def _text(block: str, metric: str, value: Score) -> str:
    digits = 3 if metric == "auroc" or block == "traces" else 1
    return "–" if value is None else f"{value:.{digits}f}"


def _failed(entry: Entry) -> int:
    return sum(entry.outcomes.values()) - entry.outcomes.get("scored", 0)


def _cell(text: str) -> str:
    return " ".join("".join(f"\\{char}" if char in "|\\`*_<>[]" else char for char in text).split())


def _rounded(block: dict[str, Score]) -> dict[str, Score]:
    return {name: None if value is None else round(value, 6) for name, value in block.items()}
