"""What it does to a project that some tasks begin with the detector's traces: time saved, and people led by them.

Which tasks do is drawn by chance (`projects.drawn`), so that the two groups differ in nothing else but by chance. How
long a task took, the page says with each edit (`annotations.Edit.active_s`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa

from deeptrace.metrics.agreement import trace_overlap
from deeptrace.metrics.arrays import Floats
from deeptrace.metrics.intervals import bootstrap_ratios, percentile_interval
from deeptrace.schema import Label, Media, Sample, Verdict
from deeptrace.studio.annotations import CONSENSUS
from deeptrace.studio.database import Database, annotated, assignments, clips, edits, people, verdicts
from deeptrace.studio.projects import project_of
from deeptrace.studio.review import round_of

__all__ = ["prefilling"]

_PART = 200
_LABEL = {"generated": Label.FAKE, "real": Label.REAL}
_MEASURES = (
    "seconds",
    "known_overlap",
    "decided_overlap",
    "detector_overlap",
    "known_label",
    "decided_label",
    "detector_label",
)


def prefilling(database: Database, project_id: int) -> dict[str, Any]:
    """How tasks that began with the detector's traces went, beside those that began blank.

    Returns:
        `prefilled` and `blank`, of each group `tasks`, how many are `handed_in`, and by measure `{"n", "mean",
        "interval"}`: `seconds` of work on a task; `known_*` on honeypots against what is known, `decided_*` on other
        clips against what a reviewer decided, `detector_*` against what the detector says: `overlap` of the traces (see
        `trace_overlap`), and `label`, the share of same labels ("unclear" is none). `difference` has of each measure
        prefilled less blank. Intervals are of 95 %, by resampling tasks (2,000 times); None where there is too little.

    Raises:
        AccountError: there is no such project.
    """
    with database.reading() as connection:
        project_of(connection, project_id)
        mine = assignments.c.project_id == project_id
        counted = sa.select(assignments.c.prefilled, sa.func.count()).where(mine).group_by(assignments.c.prefilled)
        tasks = {bool(row[0]): int(row[1]) for row in connection.execute(counted)}
        found = [line for rows in _handed_in(connection, project_id) for line in _measured(connection, rows)]
    table = np.array(found, dtype=float).reshape(len(found), 1 + len(_MEASURES))
    began = table[:, 0] == 1
    said: dict[str, Any] = {
        name: {"tasks": tasks.get(flag, 0), "handed_in": int((began == flag).sum())}
        for name, flag in (("prefilled", True), ("blank", False))
    } | {"difference": {}}
    for at, measure in enumerate(_MEASURES, 1):
        for group, value in _compared(table[:, at], began).items():
            said[group][measure] = value
    return said


def _compared(values: Floats, began: np.ndarray) -> dict[str, dict[str, Any]]:
    """The mean of a measure in both groups and how far they are apart, each with its interval; NaN is not measured."""
    known = ~np.isnan(values)
    values, began = values[known], began[known]
    groups = {"prefilled": began, "blank": ~began}
    sums = {name: (values * inside, inside.astype(float)) for name, inside in groups.items()}
    drawn = bootstrap_ratios(sums) if len(values) else {name: np.full(1, np.nan) for name in groups}
    found: dict[str, dict[str, Any]] = {
        name: {
            "n": int(inside.sum()),
            "mean": float(values[inside].mean()) if inside.any() else None,
            "interval": percentile_interval(drawn[name]) if inside.sum() > 1 else None,
        }
        for name, inside in groups.items()
    }
    apart = [found[name]["mean"] for name in groups]
    both = min(one["n"] for one in found.values()) > 1
    found["difference"] = {
        "n": len(values),
        "mean": None if None in apart else apart[0] - apart[1],
        "interval": percentile_interval(drawn["prefilled"] - drawn["blank"]) if both else None,
    }
    return found


def _handed_in(connection: Any, project_id: int) -> Iterator[Sequence[Any]]:
    """The tasks of a project that are handed in, in parts, with the seconds of work on each."""
    spent = sa.select(sa.func.sum(edits.c.active_s)).where(edits.c.annotation_id == annotated.c.id).scalar_subquery()
    mine = (annotated.c.clip_id == assignments.c.clip_id) & (annotated.c.author == people.c.name)
    query = (
        sa.select(
            assignments.c.id,
            assignments.c.clip_id,
            assignments.c.prefilled,
            assignments.c.honeypot,
            annotated.c.objects,
            spent.label("seconds"),
        )
        .join(people, people.c.id == assignments.c.person_id)
        .join(annotated, mine)
        .where(assignments.c.project_id == project_id, annotated.c.done)
        .order_by(assignments.c.id)
        .limit(_PART)
    )
    last = 0
    while rows := connection.execute(query.where(assignments.c.id > last)).all():
        last = rows[-1].id
        yield rows


def _measured(connection: Any, rows: Sequence[Any]) -> Iterator[list[float]]:
    """Of each task whether it was pre-filled, and the measures in their order; NaN for what cannot be said."""
    ids = [row.clip_id for row in rows]
    media = _pairs(connection, sa.select(clips.c.id, clips.c.media).where(clips.c.id.in_(ids)))
    over = sa.select(annotated.c.clip_id, annotated.c.objects)
    over = over.where(annotated.c.clip_id.in_(ids), annotated.c.author == CONSENSUS, annotated.c.done)
    decided = _pairs(connection, over)
    said = sa.select(clips.c.id, verdicts.c.verdict).join(verdicts, verdicts.c.id == clips.c.verdict_id)
    newest = _pairs(connection, said.where(clips.c.id.in_(ids)))
    detected = {clip_id: _sample(clip_id, media[clip_id], value) for clip_id, value in newest.items()}
    rows = [row for row in rows if media.get(row.clip_id)]
    theirs = [round_of(row.clip_id, media[row.clip_id], row.objects) for row in rows]
    truth = [
        round_of(row.clip_id, media[row.clip_id], decided[row.clip_id]) if row.clip_id in decided else None
        for row in rows
    ]
    trap = np.array([row.honeypot for row in rows], dtype=bool)
    overlap, label = _agree(theirs, truth)
    by_detector = _agree(theirs, [detected.get(row.clip_id) for row in rows])
    seconds = np.array([np.nan if row.seconds is None else row.seconds for row in rows], dtype=float)
    columns = (
        np.array([row.prefilled for row in rows], dtype=float),
        seconds,
        np.where(trap, overlap, np.nan),
        np.where(trap, np.nan, overlap),
        by_detector[0],
        np.where(trap, label, np.nan),
        np.where(trap, np.nan, label),
        by_detector[1],
    )
    yield from np.stack(columns, axis=1).tolist() if rows else ()


def _pairs(connection: Any, query: Any) -> dict[int, Any]:
    """What a query of two columns says, the second by the first."""
    return {row[0]: row[1] for row in connection.execute(query)}


def _agree(theirs: Sequence[Sample], others: Sequence[Sample | None]) -> tuple[Floats, Floats]:
    """Overlap of traces and whether the label is the same, (N,) each; NaN where there is nothing to compare with."""
    overlap, same = np.full(len(theirs), np.nan), np.full(len(theirs), np.nan)
    at = [number for number, other in enumerate(others) if other is not None]
    both = [theirs[number] for number in at], [other for other in others if other is not None]
    overlap[at] = trace_overlap(*both)
    for number, mine, other in zip(at, *both, strict=True):
        if other.label is not None:
            same[number] = float(mine.label is other.label)
    return overlap, same


def _sample(clip_id: int, media: Any, said: Any) -> Sample | None:
    """What a detector says of a clip as if it had annotated it; None where it says nothing."""
    verdict = Verdict.model_validate(said)
    if media is None or verdict.decision is None:
        return None
    label = _LABEL.get(verdict.decision.value)
    name = str(clip_id)
    return Sample(video_id=name, path=name, label=label, media=Media.model_validate(media), traces=verdict.traces)
