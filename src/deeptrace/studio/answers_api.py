"""The routes of what people say: answers to verdicts, annotations, and both as files."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deeptrace.errors import DataError, SettingsError
from deeptrace.net.chat_client import storable
from deeptrace.schema import Label, Media
from deeptrace.server.responses import RequestError, one_line
from deeptrace.studio import labels
from deeptrace.studio.accounts import Person
from deeptrace.studio.annotations import (
    EditBody,
    ForeignIdError,
    Key,
    ObjectId,
    Seconds,
    add_edits,
    annotation_of,
    history_of,
)
from deeptrace.studio.clips_api import ClipsApi, download
from deeptrace.studio.database import Database, answers, clips, now
from deeptrace.studio.foreign import READ_FROM, ReadFrom, WriteTo, read_labels, zipped_labels
from deeptrace.studio.people_api import Who
from deeptrace.studio.projects import check_kinds, task_of
from deeptrace.studio.review import may_annotate

__all__ = ["add_answers"]

_FOLLOWED = 8
"""Boxes that are followed at once."""


class Answer(BaseModel):
    """What an analyst says of a verdict; `id` is made by the page, so that an answer sent twice counts once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: ObjectId
    says: Literal["agree", "disagree", "unsure", "none"]
    note: Annotated[str, Field(max_length=2000)] = ""


def add_answers(api: APIRouter, all_clips: ClipsApi) -> None:
    """Add the routes."""
    _add_answers(api, all_clips)
    _add_annotations(api, all_clips)
    _add_tracking(api, all_clips)
    _add_exports(api, all_clips)


def _add_answers(api: APIRouter, all_clips: ClipsApi) -> None:
    workshop = all_clips.workshop

    @api.post("/clips/{clip_id}/answers", status_code=201)
    def answer(clip_id: int, body: Answer, person: Who) -> dict[str, Any]:
        """Keep what an analyst says of the newest verdict; "none" takes the last answer back."""
        row = all_clips.row(clip_id)
        all_clips.check_verdict(clip_id, person)
        label = _label_of(row.decision, body.says)
        with workshop.database.writing() as connection:
            named = sa.select(answers.c.clip_id, answers.c.author).where(answers.c.client_id == body.id)
            known = connection.execute(named).first()
            if known not in (None, (clip_id, person.name)):
                raise ForeignIdError(f"answer id {body.id!r} belongs to another clip: give every answer its own")
            if known is None:
                said = {"says": body.says, "label": label, "note": body.note}
                whose = {"client_id": body.id, "clip_id": clip_id, "author": person.name}
                values = {**whose, **said, "verdict_id": row.verdict_id, "said_at": now()}
                connection.execute(sa.insert(answers).values(**values))
                says = None if body.says == "none" else body.says
                this = sa.update(clips).where(clips.c.id == clip_id)
                connection.execute(this.values(says=says, answer_label=label))
        return {"says": body.says, "label": label, "note": body.note}


def _add_annotations(api: APIRouter, all_clips: ClipsApi) -> None:
    workshop = all_clips.workshop

    @api.get("/clips/{clip_id}/annotation")
    def annotation(clip_id: int, person: Who) -> dict[str, Any]:
        """One's own annotation as it stands, with its version."""
        all_clips.row(clip_id)
        with workshop.database.reading() as connection:
            return annotation_of(connection, clip_id, person.name)

    @api.get("/clips/{clip_id}/task")
    def task(clip_id: int, person: Who) -> dict[str, Any] | None:
        """What one is to know of a clip that is one's own to annotate in a project; null for none."""
        all_clips.row(clip_id)
        return task_of(workshop.database, clip_id, person)

    @api.post("/clips/{clip_id}/annotation/edits")
    def edit(clip_id: int, body: EditBody, person: Who) -> dict[str, Any]:
        """Keep edits; 409 with both versions where others came first."""
        all_clips.row(clip_id)
        if all_clips.accounts is not None:
            may_annotate(workshop.database, clip_id, person)
            check_kinds(task_of(workshop.database, clip_id, person), body)
        return add_edits(workshop.database, clip_id, person.name, body)

    @api.get("/clips/{clip_id}/annotation/edits")
    def history(clip_id: int, person: Who) -> list[dict[str, Any]]:
        """Every edit of one's own that there ever was, in order."""
        with workshop.database.reading() as connection:
            return history_of(connection, clip_id, person.name)


class Tracked(BaseModel):
    """A box at a moment, and how long it is to be followed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    key: Key
    until_s: Seconds


def _add_tracking(api: APIRouter, all_clips: ClipsApi) -> None:
    # Each waits in a thread of the server's, of which there are forty: others need some, too.
    free = threading.BoundedSemaphore(_FOLLOWED)

    @api.post("/clips/{clip_id}/track")
    def track(clip_id: int, body: Tracked) -> dict[str, Any]:
        """Keyframes of a box that follows what is in it; `until_s` says how far it could. Nothing is kept."""
        all_clips.row(clip_id)
        if not free.acquire(blocking=False):
            line = "boxes of others are being followed just now: try again in a moment"
            raise RequestError(429, "busy", line, retry_after_s=2)
        try:
            found = all_clips.workshop.track(clip_id, body.key.box, body.key.time_s, body.until_s)
        finally:
            free.release()
        if found.get("error"):
            raise RequestError(422, "unprocessable", str(found["error"]))
        return found


def _add_exports(api: APIRouter, all_clips: ClipsApi) -> None:
    workshop, settings = all_clips.workshop, all_clips.workshop.settings

    beside = settings.data if settings.place is None or settings.is_evaluation else settings.place
    below = None if settings.is_run or beside is None else beside if beside.is_dir() else beside.parent
    author = settings.author if all_clips.accounts is None else None

    @api.get("/export/all_data.json")
    def labelled() -> Response:
        """Answers and annotations as RewardData; paths are relative where the studio shows a folder."""
        rows = labels.labelled_rows(workshop.database, author=author, below=below)
        return download(json.dumps(rows, ensure_ascii=False, indent=1), "application/json", "all_data.json")

    @api.get("/export/labels/{to}.zip")
    def as_others(to: WriteTo) -> Response:
        """The same as another annotation tool's files, with a note of what has no place there.

        Headers say how many videos are in it, and how many had to be left out.
        """
        samples = labels.labelled_samples(workshop.database, author=author, below=below)
        try:
            zipped, done = zipped_labels(samples, to, root=below)
        except DataError as error:
            raise RequestError(422, "unprocessable", str(error)) from None
        headers = {
            "Content-Disposition": f'attachment; filename="{to}.zip"',
            "X-Deeptrace-Videos": str(done.videos),
            "X-Deeptrace-Left-Out": str(done.left_out),
        }
        return Response(zipped, media_type="application/zip", headers=headers)

    def check_for(person: Person) -> labels.Check | None:
        """What an edit in the page is asked, too; nothing without accounts."""
        if all_clips.accounts is None:
            return None

        def check(clip_id: int, body: EditBody) -> None:
            may_annotate(workshop.database, clip_id, person)
            check_kinds(task_of(workshop.database, clip_id, person), body)

        return check

    @api.post("/import")
    async def bring_labels(
        request: Request, person: Who, of: Annotated[Literal["rewarddata"] | ReadFrom, Query()] = "rewarddata"
    ) -> dict[str, Any]:
        """Bring RewardData's rows, or another tool's labels, in as one's own annotations of the clips that are here."""
        request.state.detail = of
        body = await request.body()
        try:
            return await asyncio.to_thread(_brought, workshop.database, body, of, person.name, check_for(person))
        except (ValueError, DataError, SettingsError, RecursionError) as error:
            line = one_line(error) if isinstance(error, ValidationError) else str(error)
            raise RequestError(422, "unprocessable", line) from None

    @api.get("/export/verdicts.jsonl")
    def lines(person: Who) -> Response:
        """The newest verdict of each clip, but for those on which one's own task begins blank."""
        found = labels.verdict_lines(workshop.database, person)
        text = "".join(json.dumps(said, ensure_ascii=False) + "\n" for said in found)
        return download(text, "application/x-ndjson", "verdicts.jsonl")

    @api.get("/export/verdicts.csv")
    def table(person: Who) -> Response:
        """Clips, SHA-256, verdicts and answers as a table; without clips on which one's own task begins blank."""
        return download(labels.verdicts_csv(workshop.database, person), "text/csv; charset=utf-8", "verdicts.csv")


def _brought(database: Database, body: bytes, of: str, author: str, check: labels.Check | None) -> dict[str, Any]:
    """Labels of a body as somebody's annotations; see `labels.import_samples`."""
    if not body.strip():
        raise ValueError("the file is empty")
    if of == "rewarddata":
        rows = json.loads(body)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError("expected a list of objects")
        _check_storable(rows)
        return labels.import_rows(database, rows, author=author, check=check)
    known = labels.media_by_name(database)

    def media(path: str) -> Media:
        if (found := known.get(path) or known.get(PurePosixPath(path).stem)) is None:
            raise DataError(path, "is no clip of this studio")
        return found

    (tool,) = (name for name in READ_FROM if name == of)
    found = read_labels(body, tool, media)
    report = labels.import_samples(database, found.samples, author=author, check=check)
    refused = [str(error) for error in found.refused]
    said: dict[str, Any] = storable(report | {"warnings": [*found.warnings, *refused][:50]})
    return said


def _check_storable(rows: list[dict[str, Any]]) -> None:
    """Rows are kept as they came, so that what cannot be written again may not come in.

    Raises:
        ValueError: a row holds a number that JSON has no word for, or half of a surrogate pair.
    """
    for number, row in enumerate(rows, 1):
        try:
            json.dumps(row, ensure_ascii=False, allow_nan=False).encode()
        except UnicodeEncodeError:
            raise ValueError(f"row {number}: half of a surrogate pair (\\uD800 to \\uDFFF) is no text") from None
        except ValueError:
            raise ValueError(f"row {number}: NaN and Infinity are no JSON: write null, or leave it out") from None


def _label_of(decision: str | None, says: str) -> str | None:
    """The label that an answer to a verdict comes to; an "unclear" one can be neither agreed with nor turned round."""
    meant = {"generated": Label.FAKE, "real": Label.REAL}.get(decision or "")
    if meant is None or says not in ("agree", "disagree"):
        return None
    other = Label.REAL if meant is Label.FAKE else Label.FAKE
    return (meant if says == "agree" else other).value
