"""The routes of what people say: answers to verdicts, annotations, and both as files."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deeptrace.errors import DataError
from deeptrace.schema import Label
from deeptrace.server.responses import RequestError, one_line
from deeptrace.studio import labels
from deeptrace.studio.annotations import EditBody, ForeignIdError, ObjectId, add_edits, annotation_of, history_of
from deeptrace.studio.clips_api import ClipsApi, download
from deeptrace.studio.database import answers, clips, now
from deeptrace.studio.people_api import Who
from deeptrace.studio.projects import check_kinds, task_of
from deeptrace.studio.review import may_annotate

__all__ = ["add_answers"]


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


def _add_exports(api: APIRouter, all_clips: ClipsApi) -> None:
    workshop, settings = all_clips.workshop, all_clips.workshop.settings

    @api.get("/export/all_data.json")
    def labelled() -> Response:
        """Answers and annotations as RewardData; paths are relative where the studio shows a folder."""
        beside = settings.data if settings.place is None or settings.is_evaluation else settings.place
        below = None if settings.is_run or beside is None else beside if beside.is_dir() else beside.parent
        author = settings.author if all_clips.accounts is None else None
        rows = labels.labelled_rows(workshop.database, author=author, below=below)
        return download(json.dumps(rows, ensure_ascii=False, indent=1), "application/json", "all_data.json")

    @api.post("/import")
    async def bring_labels(request: Request, person: Who) -> dict[str, Any]:
        """Bring RewardData's rows in as one's own annotations of the clips that are here."""
        try:
            rows = json.loads(await request.body())
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise ValueError("expected a list of objects")
            return await asyncio.to_thread(labels.import_rows, workshop.database, rows, author=person.name)
        except (ValueError, DataError, RecursionError) as error:
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


def _label_of(decision: str | None, says: str) -> str | None:
    """The label that an answer to a verdict comes to; an "unclear" one can be neither agreed with nor turned round."""
    meant = {"generated": Label.FAKE, "real": Label.REAL}.get(decision or "")
    if meant is None or says not in ("agree", "disagree"):
        return None
    other = Label.REAL if meant is Label.FAKE else Label.FAKE
    return (meant if says == "agree" else other).value
