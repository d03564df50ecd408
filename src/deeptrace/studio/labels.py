"""What people said, as data: answers and annotations as RewardData and back, verdicts as CSV and JSON lines.

RewardData is what `deeptrace eval`, `train tracenet` and `audit` read.
"""

from __future__ import annotations

import csv
import io
import math
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic import ValidationError

from deeptrace.data import rows_of_sample, samples_of_rows
from deeptrace.data.reward_row import VIDEO_FIELDS, RewardRow
from deeptrace.geometry import Box, Interval, Keyframe, Tube, hull
from deeptrace.io.csv_cells import csv_cell
from deeptrace.schema import ContentCredentials, Label, Media, Sample, Trace
from deeptrace.server.responses import RequestError, one_line
from deeptrace.studio.accounts import Person
from deeptrace.studio.annotations import (
    CLIP,
    CONSENSUS,
    ClipFacts,
    ConflictError,
    Edit,
    EditBody,
    Key,
    TraceObject,
    add_edits,
    read_object,
)
from deeptrace.studio.database import Database, annotated, answers, assignments, clips, verdicts
from deeptrace.studio.projects import begins_blank
from deeptrace.studio.workshop import DATA

__all__ = [
    "import_rows",
    "import_samples",
    "labelled_rows",
    "labelled_samples",
    "media_by_name",
    "verdict_lines",
    "verdicts_csv",
]

_CSV = (
    "video",
    "sha256",
    "outcome",
    "decision",
    "label",
    "p_fake",
    "traces",
    "kinds",
    "detector",
    "content_credentials",
    "answer",
    "answer_label",
    "note",
)


def labelled_samples(database: Database, *, author: str | None, below: Path | None = None) -> list[Sample]:
    """One sample a clip that somebody annotated or answered, by name.

    A clip's label is what its annotation says, else what the last answer says, else FAKE where traces are marked; clips
    that nobody could tell are left out.

    Args:
        database: of the studio.
        author: whose annotations; None for what a reviewer decided on each clip, or, where a single person was to
            annotate it, for theirs. Clips that several annotated or are to annotate, and that nobody has decided on
            yet, are left out.
        below: folder that paths are made relative to where they lie in it.
    """
    with database.reading() as connection:
        said = {row.clip_id: row.label for row in connection.execute(sa.select(answers).order_by(answers.c.id))}
        drawn = _own(connection, author) if author is not None else standing(connection)
        rows = connection.execute(sa.select(clips).where(clips.c.media.is_not(None)).order_by(clips.c.name, clips.c.id))
        found = []
        for row in rows:
            annotation = drawn.get(row.id)
            if annotation is not UNDECIDED:
                decided = annotation is not None and annotation.author == CONSENSUS
                answer = None if decided else said.get(row.id)
                found.append(sample_of(row, annotation, answer, below))
    return [sample for sample in found if sample is not None]


def labelled_rows(database: Database, *, author: str | None, below: Path | None = None) -> list[dict[str, Any]]:
    """The same as RewardData's rows."""
    return [row for sample in labelled_samples(database, author=author, below=below) for row in rows_of_sample(sample)]


def _own(connection: Any, author: str) -> dict[int, Any]:
    return {row.clip_id: row for row in connection.execute(sa.select(annotated).where(annotated.c.author == author))}


STANDARD = "faketrace_standard_explanation"
"""A field of our own in RewardData's rows: a standard wording of the explanation, which stands beside it as it is."""

UNDECIDED = object()
"""In place of an annotation where there are several, or are to be, and nobody has decided between them."""


def standing(connection: Any) -> dict[int, Any]:
    """By clip the annotation that counts among a team: a reviewer's, or a single person's; else `UNDECIDED`."""
    by_clip: dict[int, list[Any]] = {}
    for row in connection.execute(sa.select(annotated).where(annotated.c.version > 0).order_by(annotated.c.id)):
        by_clip.setdefault(row.clip_id, []).append(row)
    several = sa.select(assignments.c.clip_id).group_by(assignments.c.clip_id).having(sa.func.count() > 1)
    found: dict[int, Any] = dict.fromkeys(connection.scalars(several), UNDECIDED)
    for clip_id, rows in by_clip.items():
        decided = next((row for row in rows if row.author == CONSENSUS and row.done), None)
        if decided is not None:
            found[clip_id] = decided
        elif clip_id not in found:
            found[clip_id] = rows[0] if len(rows) == 1 and rows[0].author != CONSENSUS else UNDECIDED
    return found


def sample_of(clip: Any, annotation: Any, answered: str | None, below: Path | None) -> Sample | None:
    """What is said of a clip; None where nothing is.

    Args:
        clip: its row.
        annotation: the row of one, or None.
        answered: the label that an answer gave it.
        below: folder that its path is made relative to.
    """
    objects = [] if annotation is None else [read_object(value) for value in annotation.objects.values()]
    found = [(trace_of(value), value.standard) for value in objects if isinstance(value, TraceObject)]
    found.sort(key=lambda one: (one[0].onset_s is None, one[0].onset_s or 0.0))
    traces = [trace for trace, _ in found]
    stated = next((value.label for value in objects if isinstance(value, ClipFacts)), None)
    label = stated or (Label(answered) if answered else None) or (Label.FAKE if traces else None)
    if label is None:
        return None
    path = clip.path if below is None else _relative(clip.path, below)
    imported = [] if annotation is None else annotation.imported_rows or []
    if imported:
        first = RewardRow(imported[0])
        imported = _with_standard(imported, found, name=first.video_id)
        known = {"video_id": first.video_id, "path": first.path, "source": first.source, "split": first.split}
        extra = {"rows": imported}
        media = first.media or Media.model_validate(clip.media)
        return Sample(label=label, prompt=first.prompt, media=media, traces=tuple(traces), extra=extra, **known)
    media = Media.model_validate(clip.media)
    rows = _with_standard([], found, name=clip.name)
    extra = {"rows": rows} if rows else {}
    return Sample(video_id=clip.name, path=path, label=label, media=media, traces=tuple(traces), extra=extra)


def _with_standard(
    rows: Sequence[dict[str, Any]], found: Sequence[tuple[Trace, str]], *, name: str
) -> list[dict[str, Any]]:
    """A row for each trace that carries its standard wording; `rows` as they are where no trace ever had one.

    Args:
        rows: that were imported.
        found: the traces, each with its standard wording.
        name: of the video.
    """
    if not any(words for _, words in found) and not any(STANDARD in row for row in rows):
        return list(rows)
    rest, made = [dict(row) for row in rows], []
    for trace, words in found:
        match = next((row for row in rest if RewardRow(row).trace == trace), None)
        if match is not None:
            rest.remove(match)
        video = {field: rows[0][field] for field in VIDEO_FIELDS if field in rows[0]} if rows else {"video_id": name}
        base = {field: value for field, value in (video if match is None else match).items() if field != STANDARD}
        made.append(base | ({STANDARD: words} if words else {}))
    return made or [{field: value for field, value in row.items() if field != STANDARD} for row in rows]


def trace_of(value: TraceObject) -> Trace:
    """An annotated object as a trace: of a box that stands still no keyframes, of times at which it is off gaps.

    What is off at first or at last is none of its time: it begins when it is switched on, and ends when it is switched
    off for good. One that is never on keeps its times, and no place.
    """
    keys = [Keyframe(time_s=key.time_s, box=Box.from_fractions(*key.box)) for key in value.keys]
    onset, offset, gaps = _gaps_of(value)
    still = len({key.box for key in keys}) == 1 and (len(keys) == 1 or any(key.off for key in value.keys))
    made = Trace(
        categories=tuple(value.kinds),
        onset_s=onset,
        offset_s=offset,
        box=hull(key.box for key in keys) if keys else None,
        keyframes=() if still else tuple(keys),
        explanation=value.explanation,
        gaps=gaps,
    )
    if value.keys and all(key.off for key in value.keys) and value.keys[0].time_s <= (value.onset_s or 0.0):
        return made.model_copy(update={"box": None, "keyframes": (), "gaps": ()})
    return made.model_copy(update={"box": made.tube.box}) if gaps and made.tube is not None else made


def _gaps_of(value: TraceObject) -> tuple[float | None, float | None, tuple[Interval, ...]]:
    """Onset and offset of an annotated object as it is to be seen, and the gaps in between."""
    onset, offset = value.onset_s, value.offset_s
    gaps: list[Interval] = []
    since_s: float | None = None
    for key in value.keys:
        if key.off:
            since_s = key.time_s if since_s is None else since_s
        elif since_s is not None:
            if since_s <= (onset or 0.0):
                onset = max(key.time_s, onset or 0.0)
            elif offset is None or key.time_s < offset:
                gaps.append(Interval(onset_s=since_s, offset_s=key.time_s))
            elif since_s < offset:
                offset = since_s
            since_s = None
    if since_s is not None and (onset or 0.0) < since_s < (math.inf if offset is None else offset):
        offset = since_s
    if onset is not None and offset is not None and onset >= offset:  # it is on outside its own time only
        return value.onset_s, value.offset_s, ()
    return onset, offset, tuple(gaps)


def _objects_of(sample: Sample) -> list[TraceObject]:
    """The traces of a sample as annotated objects, with the standard wording that their rows carry."""
    rows = sample.extra.get("rows") or []
    stated = [row.get(STANDARD) for row in rows] if len(rows) == len(sample.traces) else [None] * len(sample.traces)
    return [
        object_of(trace).model_copy(update={"standard": words[:5000] if isinstance(words, str) else ""})
        for trace, words in zip(sample.traces, stated, strict=True)
    ]


def object_of(trace: Trace, *, by: str = "person") -> TraceObject:
    """The other way round; a gap begins and ends with a keyframe."""
    keyframes = trace.keyframes
    if not keyframes and trace.box is not None:
        keyframes = (Keyframe(time_s=trace.onset_s or 0.0, box=trace.box),)
    boxes = {key.time_s: key.box.as_tuple() for key in keyframes}
    if keyframes and trace.gaps:
        tube = Tube(onset_s=0.0, offset_s=0.0, keyframes=keyframes)
        for moment in (moment for gap in trace.gaps for moment in (gap.onset_s, gap.offset_s)):
            boxes.setdefault(moment, Box.from_fractions(*tube.corners_at([moment])[0]).as_tuple())
    keys = [
        Key(time_s=moment, box=box, off=any(gap.onset_s <= moment < gap.offset_s for gap in trace.gaps))
        for moment, box in sorted(boxes.items())
    ]
    return TraceObject(
        kinds=list(trace.categories),
        onset_s=trace.onset_s,
        offset_s=trace.offset_s,
        keys=keys,
        explanation=trace.explanation,
        by="detector" if by == "detector" else "person",
    )


def _relative(path: str, below: Path) -> str:
    base = str(below.absolute())
    return os.path.relpath(path, base).replace(os.sep, "/") if path.startswith(base + os.sep) else path


Check = Callable[[int, EditBody], None]
"""Asked of each clip, by its number, and the edits that are to be made on it; a `RequestError` leaves it out."""


def import_rows(
    database: Database, rows: Sequence[dict[str, Any]], *, author: str, check: Check | None = None
) -> dict[str, Any]:
    """Bring RewardData's rows in as an author's annotations, for the clips that are here by path, name or id.

    An annotation that is there already is left alone.

    Returns:
        `{"imported": clips, "traces": of them, "unmatched": names, "kept": clips that had an annotation, "refused":
        a line for each clip that the author may not annotate so}`.

    Raises:
        DataError: a row is invalid.
    """
    samples = samples_of_rows(RewardRow(row, f"row {number}") for number, row in enumerate(rows, 1))
    return import_samples(database, samples, author=author, check=check)


def media_by_name(database: Database) -> dict[str, Media]:
    """Of each clip that could be opened, by its path, its name and its name without the suffix."""
    found: dict[str, Media] = {}
    with database.reading() as connection:
        query = sa.select(clips.c.name, clips.c.path, clips.c.media).where(clips.c.media.is_not(None))
        for name, path, media in connection.execute(query.order_by(clips.c.id)):
            known = Media.model_validate(media)
            found |= {path: known, name: known}
            found.setdefault(Path(name).stem, known)
    return found


def import_samples(
    database: Database, samples: Iterable[Sample], *, author: str, check: Check | None = None
) -> dict[str, Any]:
    """The same with samples, as other tools' files are read."""
    report: dict[str, Any] = {"imported": 0, "traces": 0, "unmatched": [], "kept": 0, "refused": []}
    with database.reading() as connection:
        known: dict[str, int] = {}
        for clip_id, name, path in connection.execute(sa.select(clips.c.id, clips.c.name, clips.c.path)):
            known |= {path: clip_id, name: clip_id}
            known.setdefault(Path(name).stem, clip_id)
        busy = set(connection.scalars(sa.select(annotated.c.clip_id).where(annotated.c.author == author)))
    brought: set[int] = set()
    for sample in samples:
        clip_id = next((known[key] for key in (sample.path, sample.video_id) if key in known), None)
        if clip_id is None:
            report["unmatched"].append(sample.path or sample.video_id)
        elif clip_id in brought:
            report["refused"].append(f"{sample.path or sample.video_id}: is a clip that the file names before")
        elif clip_id in busy:
            report["kept"] += 1
        else:
            try:
                bodies = _edits_of(sample)
                for body in bodies if check is not None else ():
                    check(clip_id, body)  # type: ignore[misc]
                _import(database, clip_id, author, sample, bodies)
            except (RequestError, ValueError, ConflictError) as error:  # the others come in all the same
                report["refused"].append(f"{sample.path or sample.video_id}: {_why(error)}")
                continue
            brought.add(clip_id)
            report["imported"] += 1
            report["traces"] += len(sample.traces)
    return report


def _why(error: Exception) -> str:
    if isinstance(error, ConflictError):
        return "was annotated in the meantime"
    if isinstance(error, ValidationError):
        return one_line(error)
    return error.line if isinstance(error, RequestError) else str(error)


def _edits_of(sample: Sample) -> list[EditBody]:
    made = [Edit(id=uuid.uuid4().hex, object=CLIP, after=ClipFacts(label=sample.label, done=True))]
    made += [Edit(id=uuid.uuid4().hex, object=uuid.uuid4().hex, after=one) for one in _objects_of(sample)]
    return [EditBody(version=first, edits=made[first : first + 500]) for first in range(0, len(made), 500)]


def _import(database: Database, clip_id: int, author: str, sample: Sample, bodies: Sequence[EditBody]) -> None:
    for body in bodies:
        add_edits(database, clip_id, author, body)
    with database.writing() as connection:
        this = (annotated.c.clip_id == clip_id) & (annotated.c.author == author)
        connection.execute(sa.update(annotated).where(this).values(imported_rows=sample.extra.get("rows")))


def verdict_lines(database: Database, person: Person) -> Iterator[dict[str, Any]]:
    """The newest verdict of each clip that somebody may see one of, by name, in the contract's format."""
    with database.reading() as connection:
        query = sa.select(verdicts.c.verdict).join(clips, clips.c.verdict_id == verdicts.c.id)
        query = query.where(~begins_blank(person)).order_by(clips.c.name)
        yield from (row.verdict for row in connection.execute(query))


def verdicts_csv(database: Database, person: Person) -> str:
    """A table of all clips whose verdicts somebody may see: names, SHA-256 of their bytes, verdicts and answers.

    Cells are no formulas.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_CSV)
    with database.reading() as connection:
        notes = {row.clip_id: row.note for row in connection.execute(sa.select(answers).order_by(answers.c.id))}
        query = sa.select(clips, verdicts.c.verdict, verdicts.c.detector).outerjoin(
            verdicts, clips.c.verdict_id == verdicts.c.id
        )
        query = query.where(clips.c.origin != DATA, ~begins_blank(person))
        for row in connection.execute(query.order_by(clips.c.name, clips.c.id)):
            said = row.verdict or {}
            cells = (
                row.name,
                row.sha256 or "",
                row.outcome or row.state,
                row.decision or "",
                said.get("label") or "",
                "" if row.p_fake is None else f"{row.p_fake:.4f}",
                len(said.get("traces", ())),
                row.kinds.strip(),
                row.detector or "",
                _credentials(said.get("content_credentials")),
                row.says or "",
                row.answer_label or "",
                notes.get(row.id, ""),
            )
            table.writerow([csv_cell(cell) for cell in cells])
    return text.getvalue()


def _credentials(kept: dict[str, Any] | None) -> str:
    """What is signed into a file, as a verdict states it; empty where nobody looked."""
    return "" if kept is None else ContentCredentials.model_validate(kept).words
