"""The application: pages, and the routes that they call."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import sqlalchemy as sa
from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException

import deeptrace
from deeptrace.benchmark.leaderboard import read_entries
from deeptrace.detectors.curves import camera_range
from deeptrace.errors import DataError, SettingsError
from deeptrace.schema import Category, Label, Verdict
from deeptrace.server.inputs import Inputs, shown
from deeptrace.server.responses import RequestError, declined, error_reply, http_error, one_line
from deeptrace.server.schemas import ClipRef, ClipResult, Reason
from deeptrace.studio import labels
from deeptrace.studio.accounts import AccountError, Accounts, Person, Role
from deeptrace.studio.annotations import (
    MOST,
    ConflictError,
    EditBody,
    ForeignIdError,
    ObjectId,
    add_edits,
    annotation_of,
    history_of,
)
from deeptrace.studio.database import annotated, answers, assignments, clips, jobs, now, verdicts
from deeptrace.studio.explore import read_exploration
from deeptrace.studio.explore_api import add_explore
from deeptrace.studio.guard import Guard
from deeptrace.studio.people_api import Who, account_trouble, add_people
from deeptrace.studio.review import may_annotate, open_work
from deeptrace.studio.review_api import REVIEW_PAGES, add_review
from deeptrace.studio.workshop import DATA, Workshop
from deeptrace.urls import public_url

__all__ = ["StudioApi"]

log = logging.getLogger(__name__)

PAGES = ("/", "/triage", "/explore", "/clip/{clip_id}", "/annotate/{clip_id}", "/people", "/leaderboard", *REVIEW_PAGES)
_SORTS = {"p": clips.c.p_fake, "name": clips.c.name, "added": clips.c.id}
_LISTED = (
    clips.c.id, clips.c.name, clips.c.state, clips.c.error, clips.c.outcome, clips.c.decision, clips.c.p_fake,
    clips.c.kinds, clips.c.media, clips.c.verdict_id,
)  # fmt: skip


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NewClip(_Body):
    """A clip by its path on this machine, or by its URL."""

    path: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    url: Annotated[str, Field(min_length=1, max_length=8192)] | None = None


class Answer(_Body):
    """What an analyst says of a verdict; `id` is made by the page, so that an answer sent twice counts once."""

    id: ObjectId
    says: Literal["agree", "disagree", "unsure", "none"]
    note: Annotated[str, Field(max_length=2000)] = ""


class Filter(BaseModel):
    """Which clips, in which order."""

    q: Annotated[str, Field(max_length=200)] = ""
    decision: Literal["", "generated", "unclear", "real", "none"] = ""
    says: Literal["", "agree", "disagree", "unsure", "none"] = ""
    kind: Annotated[str, Field(max_length=40)] = ""
    sort: Literal["p", "name", "added"] = "p"
    order: Literal["up", "down"] = "down"


class StudioApi:
    """One studio: an ASGI application whose work runs from its start to its end.

    Args:
        workshop: its clips and the work on them; started and closed by the application.

    Attributes:
        asgi: the application.
        app: the same without what stands before it.
        accounts: who may use it; None for everybody who can reach it.

    Raises:
        SettingsError, DataError: what is to be explored cannot be read; there are to be accounts but there is no admin.
    """

    def __init__(self, workshop: Workshop) -> None:
        self.workshop = workshop
        self.accounts = _accounts(workshop)
        self._inputs = Inputs(workshop.settings.inputs)
        self._explored = read_exploration(workshop.settings)
        if workshop.settings.leaderboard is not None:
            read_entries(workshop.settings.leaderboard)  # what is wrong with it is said now, not in the page
        app = FastAPI(title="deeptrace studio", lifespan=self._life, docs_url=None, redoc_url=None)
        app.state.accounts = self.accounts
        api = APIRouter(prefix="/api")
        for add in (
            self._add_lists,
            self._add_arrivals,
            self._add_clips,
            self._add_files,
            self._add_answers,
            self._add_exports,
        ):
            add(api)
        add_explore(api, workshop, self._explored)
        add_people(api)
        add_review(api, workshop)
        app.include_router(api)
        web = Path(str(files("deeptrace.studio") / "web"))
        app.mount("/static", StaticFiles(directory=web))
        for path in PAGES:
            app.add_api_route(path, lambda: FileResponse(web / "index.html"), include_in_schema=False)
        app.add_exception_handler(RequestError, declined)
        app.add_exception_handler(HTTPException, http_error)
        app.add_exception_handler(RequestValidationError, _invalid)
        app.add_exception_handler(ConflictError, _conflict)
        app.add_exception_handler(ForeignIdError, _foreign)
        app.add_exception_handler(AccountError, account_trouble)
        app.add_exception_handler(Exception, _unforeseen)
        self.app, settings = app, workshop.settings
        self.asgi = Guard(app, settings.limits, accounts=self.accounts, author=settings.author, names=settings.names)

    @asynccontextmanager
    async def _life(self, _app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(self.workshop.start)
        try:
            yield
        finally:
            await self._inputs.aclose()
            await asyncio.to_thread(self.workshop.close)

    # -- clips ---------------------------------------------------------------------------------------------------------

    def _add_lists(self, api: APIRouter) -> None:
        workshop, settings = self.workshop, self.workshop.settings

        @api.get("/studio")
        def about(person: Who) -> dict[str, Any]:
            """What this studio is and allows."""
            says = self._says(person)[0]
            with workshop.database.reading() as connection:
                count = connection.scalar(sa.select(sa.func.count()).where(clips.c.origin != DATA))
                done = connection.scalar(sa.select(sa.func.count()).where(clips.c.verdict_id.is_not(None)))
                answered = connection.scalar(sa.select(sa.func.count()).select_from(clips).where(says.is_not(None)))
            return {
                "version": deeptrace.__version__,
                "detector": settings.detector,
                "place": "" if settings.place is None else str(settings.place),
                "author": person.name,
                "roots": list(settings.inputs.roots),
                "hosts": list(settings.hosts),
                "most_bytes": settings.limits.clip_bytes,
                "explore": None if self._explored is None else self._explored.name,
                "clips": {"all": count, "analysed": done, "answered": answered},
                "jobs": workshop.queue.counts(),
                "leaderboard": settings.leaderboard is not None,
                "work": open_work(workshop.database, person),
                "kinds": [{"id": kind.value, "name": kind.display_name, "meaning": kind.meaning} for kind in Category],
            }

        @api.get("/clips")
        def listed(
            person: Who,
            wanted: Annotated[Filter, Query()],
            offset: Annotated[int, Query(ge=0, le=MOST)] = 0,
            limit: Annotated[int, Query(ge=1, le=500)] = 100,
        ) -> dict[str, Any]:
            """A page of the clips that a filter lets through, and how many they are in all."""
            with workshop.database.reading() as connection:
                says, label, traces = self._says(person)
                where = _where(wanted, says)
                total = connection.scalar(sa.select(sa.func.count()).select_from(clips).where(*where))
                column = _SORTS[wanted.sort]
                ordered = (column.desc() if wanted.order == "down" else column.asc()).nulls_last()
                columns = (*_LISTED, says.label("says"), label.label("answer_label"), traces.label("traces"))
                query = sa.select(*columns).where(*where).order_by(ordered, clips.c.id).offset(offset).limit(limit)
                found = [_item(row) for row in connection.execute(query)]
            return {"total": total, "offset": offset, "clips": found}

    def _says(self, person: Person) -> tuple[Any, Any, Any]:
        """What was answered and marked, as columns: the last answer, its label, how many traces.

        Who annotates sees only their own, so that nobody is led by others.
        """
        if not self._sees_own(person):
            return clips.c.says, clips.c.answer_label, clips.c.traces
        last = answers.c.clip_id == clips.c.id, answers.c.author == person.name
        says, label = (
            sa.select(column).where(*last).order_by(answers.c.id.desc()).limit(1).scalar_subquery()
            for column in (answers.c.says, answers.c.label)
        )
        mine = annotated.c.clip_id == clips.c.id, annotated.c.author == person.name
        return sa.func.nullif(says, "none"), label, sa.select(annotated.c.traces).where(*mine).scalar_subquery()

    def _sees_own(self, person: Person) -> bool:
        """Whoever annotates: annotators, and others that clips are assigned to."""
        if self.accounts is None or person.role is Role.ANNOTATOR:
            return self.accounts is not None
        with self.workshop.database.reading() as connection:
            assigned = sa.select(assignments.c.id).where(assignments.c.person_id == person.id).limit(1)
            return connection.scalar(assigned) is not None

    def _add_arrivals(self, api: APIRouter) -> None:
        workshop = self.workshop

        @api.post("/clips", status_code=201)
        async def bring(request: Request, body: NewClip) -> dict[str, int]:
            """Bring in a file of this machine, or what is at a URL."""
            request.state.detail = shown(body.path or public_url(body.url or ""))
            if (body.path is None) == (body.url is None):
                raise RequestError(422, "unprocessable", "expected a path or a URL")
            if body.path is not None:
                ready = self._inputs.at_path(body.path, shown(body.path))
                if isinstance(ready, ClipResult):
                    raise _refused(ready)
                (clip_id,) = await asyncio.to_thread(
                    workshop.add, [(os.path.basename(ready.path), ready.path)], "path", first=True
                )
                return {"id": clip_id}
            return {"id": await self._fetched(str(body.url))}

        @api.post("/uploads", status_code=201)
        async def upload(request: Request, name: Annotated[str, Query(max_length=1000)] = "") -> dict[str, int]:
            """Bring in a file; the body is its bytes."""
            request.state.detail = shown(name)
            with self._scratch() as scratch:
                size = 0
                with scratch.open("wb") as file:
                    async for chunk in request.stream():
                        size += len(chunk)
                        await asyncio.to_thread(file.write, chunk)
                if size == 0:
                    raise RequestError(422, "unprocessable", f"{shown(name)}: is empty (0 bytes)")
                clip_id = await asyncio.to_thread(
                    workshop.add_file, os.path.basename(name.replace("\\", "/")) or "upload", scratch, "upload"
                )
            return {"id": clip_id}

    def _add_clips(self, api: APIRouter) -> None:
        workshop = self.workshop

        @api.get("/clips/{clip_id}")
        def one(clip_id: int, person: Who) -> dict[str, Any]:
            """All that is known of a clip, but for the times of its frames."""
            row = self._row(clip_id)
            says, label, traces = self._says(person)
            with workshop.database.reading() as connection:
                query = sa.select(says.label("says"), label.label("label"), traces.label("traces"))
                said = connection.execute(query.where(clips.c.id == clip_id)).one()
            author = person.name if self._sees_own(person) else None
            return _whole(row, workshop, author) | dict(said._mapping)

        @api.get("/clips/{clip_id}/times")
        def times(clip_id: int) -> list[float]:
            """When each frame is shown, in seconds after the first: what boxes and steps go by."""
            return list(self._row(clip_id).times_s or ())

        @api.post("/clips/{clip_id}/jobs/{task}", status_code=202)
        def work(
            request: Request, clip_id: int, task: Literal["detect", "prepare", "proxy", "overlay", "report"]
        ) -> dict[str, bool]:
            """Have something made of a clip: another verdict, a copy that browsers play, an overlay, a report."""
            row = self._row(clip_id)
            request.state.detail = f"{task} of {row.name}"
            if task in ("overlay", "report") and row.verdict_id is None:
                raise RequestError(409, "unprocessable", "there is no verdict on this clip yet")
            workshop.queue.add([clip_id], task, priority=20)
            return {"queued": True}

    async def _fetched(self, url: str) -> int:
        with self._scratch() as scratch:
            (ready,) = await self._inputs.ready([ClipRef(url=url)], scratch.parent)
            if isinstance(ready, ClipResult):
                raise _refused(ready)
            fetched = Path(ready.path)
            try:
                name = os.path.basename(ready.name.partition("?")[0].rstrip("/")) or "clip"
                return await asyncio.to_thread(self.workshop.add_file, name, fetched, "url")
            finally:
                fetched.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _scratch(self) -> Iterator[Path]:
        """A file beside the clips, gone with the request unless it was moved."""
        incoming = self.workshop.home / "incoming"
        incoming.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=incoming) as folder:
            yield Path(folder) / "clip"

    def _row(self, clip_id: int) -> Any:
        with self.workshop.database.reading() as connection:
            known = sa.select(clips).where(clips.c.id == clip_id)
            row = connection.execute(known).first() if 0 < clip_id <= MOST else None
        if row is None:
            raise RequestError(404, "not_found", f"there is no clip {clip_id}")
        return row

    # -- files ---------------------------------------------------------------------------------------------------------

    def _add_files(self, api: APIRouter) -> None:
        workshop = self.workshop

        @api.get("/clips/{clip_id}/media")
        def media(clip_id: int) -> Response:
            """What the player plays, by byte ranges: the file itself, or the H.264 copy of it."""
            row = self._row(clip_id)
            if row.play == "direct":
                return _file(Path(row.path), row.mime)
            return _file(workshop.folder(clip_id) / "proxy.mp4", "video/mp4")

        @api.get("/clips/{clip_id}/{name}.jpg")
        def picture(clip_id: int, name: Literal["poster", "strip"]) -> Response:
            """A still of the clip, or eight of them side by side."""
            return _file(workshop.folder(clip_id) / f"{name}.jpg", "image/jpeg")

        @api.get("/clips/{clip_id}/overlay.mp4")
        def overlay(clip_id: int) -> Response:
            """The clip with its traces drawn in, once that is made."""
            name = f"{Path(self._row(clip_id).name).stem}.overlay.mp4"
            return _file(workshop.folder(clip_id) / "overlay.mp4", "video/mp4", name)

        @api.get("/clips/{clip_id}/report.html")
        def report(clip_id: int) -> Response:
            """The report on the clip, once that is made."""
            name = f"{Path(self._row(clip_id).name).stem}.report.html"
            return _file(workshop.folder(clip_id) / "report.html", "text/html", name)

        @api.get("/clips/{clip_id}/verdict.json")
        def verdict(clip_id: int) -> Response:
            """The newest verdict, in the contract's format."""
            row = self._row(clip_id)
            with workshop.database.reading() as connection:
                said = connection.scalar(sa.select(verdicts.c.verdict).where(verdicts.c.id == row.verdict_id))
            if said is None:
                raise RequestError(404, "not_found", "there is no verdict on this clip yet")
            return _download(json.dumps(said, ensure_ascii=False), "application/json", f"{Path(row.name).stem}.json")

        @api.get("/clips/{clip_id}/heat")
        def heat(clip_id: int) -> dict[str, Any]:
            """Where traces may lie: rows of bytes over time, 255 for certain."""
            path = workshop.folder(clip_id) / "heat.npz"
            if not path.is_file():
                raise RequestError(404, "not_found", "there is no heat map of this clip")
            with np.load(path, allow_pickle=False) as found:
                values, at = found["heat"], found["times_s"]
                shape = {"rows": values.shape[1], "columns": values.shape[2]}
                return {"times_s": at.round(4).tolist(), **shape, "heat": values.reshape(len(values), -1).tolist()}

    # -- what people say -----------------------------------------------------------------------------------------------

    def _add_answers(self, api: APIRouter) -> None:
        workshop = self.workshop

        @api.post("/clips/{clip_id}/answers", status_code=201)
        def answer(clip_id: int, body: Answer, person: Who) -> dict[str, Any]:
            """Keep what an analyst says of the newest verdict; "none" takes the last answer back."""
            row = self._row(clip_id)
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

        @api.get("/clips/{clip_id}/annotation")
        def annotation(clip_id: int, person: Who) -> dict[str, Any]:
            """One's own annotation as it stands, with its version."""
            self._row(clip_id)
            with workshop.database.reading() as connection:
                return annotation_of(connection, clip_id, person.name)

        @api.post("/clips/{clip_id}/annotation/edits")
        def edit(clip_id: int, body: EditBody, person: Who) -> dict[str, Any]:
            """Keep edits; 409 with both versions where others came first."""
            self._row(clip_id)
            if self.accounts is not None:
                may_annotate(workshop.database, clip_id, person)
            return add_edits(workshop.database, clip_id, person.name, body)

        @api.get("/clips/{clip_id}/annotation/edits")
        def history(clip_id: int, person: Who) -> list[dict[str, Any]]:
            """Every edit of one's own that there ever was, in order."""
            with workshop.database.reading() as connection:
                return history_of(connection, clip_id, person.name)

    # -- in and out ----------------------------------------------------------------------------------------------------

    def _add_exports(self, api: APIRouter) -> None:
        workshop, settings = self.workshop, self.workshop.settings

        @api.get("/export/all_data.json")
        def labelled() -> Response:
            """Answers and annotations as RewardData; paths are relative where the studio shows a folder."""
            beside = settings.data if settings.place is None or settings.is_evaluation else settings.place
            below = None if settings.is_run or beside is None else beside if beside.is_dir() else beside.parent
            author = settings.author if self.accounts is None else None
            rows = labels.labelled_rows(workshop.database, author=author, below=below)
            return _download(json.dumps(rows, ensure_ascii=False, indent=1), "application/json", "all_data.json")

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
        def lines() -> Response:
            """The newest verdict of each clip."""
            text = "".join(
                json.dumps(said, ensure_ascii=False) + "\n" for said in labels.verdict_lines(workshop.database)
            )
            return _download(text, "application/x-ndjson", "verdicts.jsonl")

        @api.get("/export/verdicts.csv")
        def table() -> Response:
            """Clips, SHA-256, verdicts and answers as a table."""
            return _download(labels.verdicts_csv(workshop.database), "text/csv; charset=utf-8", "verdicts.csv")


def _accounts(workshop: Workshop) -> Accounts | None:
    """Once there are accounts, they are always asked for."""
    accounts = Accounts(workshop.database)
    if not (workshop.settings.accounts or accounts.any()):
        return None
    try:
        accounts.prepare()
    except AccountError as error:
        mend = "Make an account for one: the same command with --add-person NAME --role admin."
        raise SettingsError("accounts", str(error), mend) from None
    return accounts


def _where(wanted: Filter, says: Any) -> list[Any]:
    where: list[Any] = [clips.c.origin != DATA]
    if wanted.q:
        escaped = wanted.q.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        where.append(clips.c.name.ilike(f"%{escaped}%", escape="\\"))
    for column, value in ((clips.c.decision, wanted.decision), (says, wanted.says)):
        if value:
            where.append(column.is_(None) if value == "none" else column == value)
    if wanted.kind:
        where.append(clips.c.kinds.contains(f" {wanted.kind} ", autoescape=True))
    return where


def _label_of(decision: str | None, says: str) -> str | None:
    """The label that an answer to a verdict comes to; an "unclear" one can be neither agreed with nor turned round."""
    meant = {"generated": Label.FAKE, "real": Label.REAL}.get(decision or "")
    if meant is None or says not in ("agree", "disagree"):
        return None
    other = Label.REAL if meant is Label.FAKE else Label.FAKE
    return (meant if says == "agree" else other).value


def _item(row: Any) -> dict[str, Any]:
    """A clip for lists."""
    media = row.media or {}
    return {
        "id": row.id,
        "name": row.name,
        "state": row.state,
        "error": row.error,
        "outcome": row.outcome,
        "decision": row.decision,
        "p_fake": row.p_fake,
        "kinds": row.kinds.split(),
        "says": row.says,
        "label": row.answer_label,
        "traces": row.traces,
        "duration_s": media.get("duration_s"),
        "width": media.get("width"),
        "height": media.get("height"),
    }


def _whole(row: Any, workshop: Workshop, author: str | None) -> dict[str, Any]:
    """Args: row: of the clip; workshop: where it is; author: whose note is shown, None for the last one's."""
    with workshop.database.reading() as connection:
        said = connection.execute(sa.select(verdicts).where(verdicts.c.id == row.verdict_id)).first()
        query = sa.select(answers).where(answers.c.clip_id == row.id).order_by(answers.c.id.desc()).limit(1)
        query = query if author is None else query.where(answers.c.author == author)
        answer = connection.execute(query).first()
        latest = sa.select(jobs).where(jobs.c.clip_id == row.id).order_by(jobs.c.id)
        work = {job.task: job for job in connection.execute(latest)}
        ahead = _ahead(connection, work)
    folder = workshop.folder(row.id)
    return _item(row) | {
        "path": row.path if row.origin in ("folder", "path", "run") else None,
        "sha256": row.sha256,
        "media": row.media,
        "play": row.play,
        "play_note": row.play_note,
        "verdict": None if said is None else said.verdict,
        "curves": {} if said is None else said.curves,
        "ranges": {} if said is None else _ranges(said.verdict, said.curves),
        "has_heat": said is not None and said.has_heat,
        "note": "" if answer is None else answer.note,
        "jobs": {task: {"state": job.state, "error": job.error} for task, job in work.items()},
        "ahead": ahead,
        "made": [name for name in ("overlay.mp4", "report.html") if (folder / name).is_file()],
    }


def _ranges(verdict: dict[str, Any], curves: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Where camera footage lies, for the curves of which that is known."""
    detector = Verdict.model_validate(verdict).detector
    known = {name: camera_range(name, detector) for name in curves}
    return {name: ends for name, ends in known.items() if ends is not None}


def _ahead(connection: Any, work: dict[str, Any]) -> int:
    """How many detections come before this clip's."""
    mine = work.get("detect")
    if mine is None or mine.state != "queued":
        return 0
    earlier = (jobs.c.priority > mine.priority) | ((jobs.c.priority == mine.priority) & (jobs.c.id < mine.id))
    query = sa.select(sa.func.count()).where(jobs.c.task == "detect", jobs.c.state.in_(("queued", "running")), earlier)
    return int(connection.scalar(query))


def _file(path: Path, mime: str, download: str | None = None) -> Response:
    if not path.is_file():
        raise RequestError(404, "not_found", "this is not there, or not yet")
    # Somebody else's bytes: they are media or a download, never a page of ours.
    headers = {"Content-Security-Policy": "sandbox; default-src 'none'", "Cache-Control": "private, no-cache"}
    return FileResponse(path, media_type=mime, headers=headers, filename=download)


def _download(text: str, mime: str, name: str) -> Response:
    safe = "".join(char if char.isascii() and (char.isalnum() or char in "._- ") else "_" for char in name)
    return Response(text, media_type=mime, headers={"Content-Disposition": f'attachment; filename="{safe}"'})


def _refused(result: ClipResult) -> RequestError:
    status = {Reason.NOT_FOUND: 404, Reason.TOO_LARGE: 413, Reason.NOT_ALLOWED: 403}.get(
        result.reason or Reason.UNREADABLE, 422
    )
    code = {404: "not_found", 413: "too_large"}.get(status, "unprocessable")
    return RequestError(status, code, f"{result.video}: {result.error}")


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"][1:]) or "the request"
    return error_reply(422, "unprocessable", f"{place}: {first['msg'].removeprefix('Value error, ')}"[:500])


async def _conflict(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ConflictError)
    body = {"detail": str(error), "code": "conflict", "current": error.current, "yours": error.yours}
    return JSONResponse(body, 409)


async def _foreign(_request: Request, error: Exception) -> Response:
    return error_reply(422, "unprocessable", str(error))


async def _unforeseen(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return error_reply(500, "failed", "the studio failed on this request; its log says why")
