"""The routes of clips: lists of them, how they come in, one of them with its files."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import sqlalchemy as sa
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field

import deeptrace
from deeptrace.detectors.curves import camera_range
from deeptrace.schema import Category, Verdict
from deeptrace.server.inputs import Inputs, shown
from deeptrace.server.responses import RequestError
from deeptrace.server.schemas import ClipRef, ClipResult, Reason
from deeptrace.studio.accounts import Accounts, Person, Role
from deeptrace.studio.annotations import MOST
from deeptrace.studio.database import annotated, answers, assignments, clips, jobs, verdicts
from deeptrace.studio.people_api import Who
from deeptrace.studio.projects import begins_blank, may_see_verdict
from deeptrace.studio.review import open_work
from deeptrace.studio.workshop import DATA, Workshop
from deeptrace.urls import public_url

__all__ = ["ClipsApi", "download"]

_SORTS = {"p": "p_fake", "name": "name", "added": "id"}
_LISTED = ("id", "name", "state", "error", "outcome", "decision", "p_fake", "kinds", "media", "verdict_id")
_SAID = ("outcome", "decision", "p_fake", "kinds", "verdict_id")
"""What a detector says, of those."""
_UNSAID: dict[str, Any] = {
    "outcome": None, "decision": None, "p_fake": None, "kinds": [], "verdict": None, "curves": {}, "ranges": {},
    "has_heat": False, "made": [],
}  # fmt: skip
_BUT_TIMES = [column for column in clips.c if column is not clips.c.times_s]


class NewClip(BaseModel):
    """A clip by its path on this machine, or by its URL."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    url: Annotated[str, Field(min_length=1, max_length=8192)] | None = None


class Filter(BaseModel):
    """Which clips, in which order."""

    q: Annotated[str, Field(max_length=200)] = ""
    decision: Literal["", "generated", "unclear", "real", "none"] = ""
    says: Literal["", "agree", "disagree", "unsure", "none"] = ""
    kind: Annotated[str, Field(max_length=40)] = ""
    sort: Literal["p", "name", "added"] = "p"
    order: Literal["up", "down"] = "down"


class ClipsApi:
    """The routes of clips, and what other routes ask about one.

    Args:
        workshop: which has the clips.
        inputs: what may come in by its path or URL.
        accounts: who may use the studio; None for everybody who can reach it.
        explored: name of the dataset that can be explored; None for none.
    """

    def __init__(self, workshop: Workshop, inputs: Inputs, accounts: Accounts | None, explored: str | None) -> None:
        self.workshop, self.accounts = workshop, accounts
        self._inputs, self._explored = inputs, explored

    def add(self, api: APIRouter) -> None:
        """Add the routes."""
        self._add_lists(api)
        self._add_arrivals(api)
        self._add_clips(api)
        self._add_files(api)

    def row(self, clip_id: int) -> Any:
        """What the database has of a clip, but for the times of its frames: of an hour they are a megabyte.

        Raises:
            RequestError: there is no such clip.
        """
        with self.workshop.database.reading() as connection:
            known = sa.select(*_BUT_TIMES).where(clips.c.id == clip_id)
            row = connection.execute(known).first() if 0 < clip_id <= MOST else None
        if row is None:
            raise RequestError(404, "not_found", f"there is no clip {clip_id}")
        return row

    def check_verdict(self, clip_id: int, person: Person) -> None:
        """Nothing; who is to annotate a clip from nothing is not told what a detector says of it.

        Raises:
            RequestError: this person is.
        """
        with self.workshop.database.reading() as connection:
            if not may_see_verdict(connection, person, clip_id):
                line = "your task on this clip begins blank: what a detector says of it is not shown to you"
                raise RequestError(403, "unprocessable", line)

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
                "explore": self._explored,
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
            says, label, traces = self._says(person)
            with workshop.database.reading() as connection:
                listed = _shown_to(connection, person)
                where = _where(wanted, says, listed)
                total = connection.scalar(sa.select(sa.func.count()).select_from(clips).where(*where))
                column = listed[_SORTS[wanted.sort]]
                ordered = (column.desc() if wanted.order == "down" else column.asc()).nulls_last()
                said = (says.label("says"), label.label("answer_label"), traces.label("traces"))
                columns = [column.label(name) for name, column in listed.items()]
                query = (
                    sa.select(*columns, *said).where(*where).order_by(ordered, clips.c.id).offset(offset).limit(limit)
                )
                found = [_item(row) | {"hidden": bool(row.hidden)} for row in connection.execute(query)]
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
            row = self.row(clip_id)
            says, label, traces = self._says(person)
            with workshop.database.reading() as connection:
                query = sa.select(says.label("says"), label.label("label"), traces.label("traces"))
                said = connection.execute(query.where(clips.c.id == clip_id)).one()
                hidden = not may_see_verdict(connection, person, clip_id)
            author = person.name if self._sees_own(person) else None
            whole = _whole(row, workshop, author) | dict(said._mapping) | {"hidden": hidden}
            return whole | _UNSAID if hidden else whole

        @api.get("/clips/{clip_id}/times")
        def times(clip_id: int) -> list[float]:
            """When each frame is shown, in seconds after the first: what boxes and steps go by."""
            self.row(clip_id)
            with workshop.database.reading() as connection:
                return list(connection.scalar(sa.select(clips.c.times_s).where(clips.c.id == clip_id)) or ())

        @api.post("/clips/{clip_id}/jobs/{task}", status_code=202)
        def work(
            request: Request,
            clip_id: int,
            task: Literal["detect", "prepare", "proxy", "overlay", "report"],
            person: Who,
        ) -> dict[str, bool]:
            """Have something made of a clip: another verdict, a copy that browsers play, an overlay, a report."""
            row = self.row(clip_id)
            request.state.detail = f"{task} of {row.name}"
            if task in ("overlay", "report"):
                self.check_verdict(clip_id, person)
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

    def _add_files(self, api: APIRouter) -> None:
        workshop = self.workshop

        @api.get("/clips/{clip_id}/media")
        def media(clip_id: int) -> Response:
            """What the player plays, by byte ranges: the file itself, or the H.264 copy of it."""
            row = self.row(clip_id)
            if row.play == "direct":
                return _file(Path(row.path), row.mime)
            return _file(workshop.folder(clip_id) / "proxy.mp4", "video/mp4")

        @api.get("/clips/{clip_id}/{name}.jpg")
        def picture(clip_id: int, name: Literal["poster", "strip"]) -> Response:
            """A still of the clip, or eight of them side by side."""
            return _file(workshop.folder(clip_id) / f"{name}.jpg", "image/jpeg")

        @api.get("/clips/{clip_id}/overlay.mp4")
        def overlay(clip_id: int, person: Who) -> Response:
            """The clip with its traces drawn in, once that is made."""
            self.check_verdict(clip_id, person)
            name = f"{Path(self.row(clip_id).name).stem}.overlay.mp4"
            return _file(workshop.folder(clip_id) / "overlay.mp4", "video/mp4", name)

        @api.get("/clips/{clip_id}/report.html")
        def report(clip_id: int, person: Who) -> Response:
            """The report on the clip, once that is made."""
            self.check_verdict(clip_id, person)
            name = f"{Path(self.row(clip_id).name).stem}.report.html"
            return _file(workshop.folder(clip_id) / "report.html", "text/html", name)

        @api.get("/clips/{clip_id}/verdict.json")
        def verdict(clip_id: int, person: Who) -> Response:
            """The newest verdict, in the contract's format."""
            self.check_verdict(clip_id, person)
            row = self.row(clip_id)
            with workshop.database.reading() as connection:
                said = connection.scalar(sa.select(verdicts.c.verdict).where(verdicts.c.id == row.verdict_id))
            if said is None:
                raise RequestError(404, "not_found", "there is no verdict on this clip yet")
            return download(json.dumps(said, ensure_ascii=False), "application/json", f"{Path(row.name).stem}.json")

        @api.get("/clips/{clip_id}/heat")
        def heat(clip_id: int, person: Who) -> dict[str, Any]:
            """Where traces may lie: rows of bytes over time, 255 for certain."""
            self.check_verdict(clip_id, person)
            path = workshop.folder(clip_id) / "heat.npz"
            if not path.is_file():
                raise RequestError(404, "not_found", "there is no heat map of this clip")
            with np.load(path, allow_pickle=False) as found:
                values, at = found["heat"], found["times_s"]
                shape = {"rows": values.shape[1], "columns": values.shape[2]}
                return {"times_s": at.round(4).tolist(), **shape, "heat": values.reshape(len(values), -1).tolist()}


def _shown_to(connection: Any, person: Person) -> dict[str, Any]:
    """The columns of a list as somebody may see them, by name: on tasks that begin blank, nothing of a detector's.

    Lists are filtered and sorted by these, too: an order would say as much as a number.
    """
    shown: dict[str, Any] = {name: clips.c[name] for name in _LISTED}
    if may_see_verdict(connection, person):
        return shown | {"hidden": sa.false()}
    hidden = begins_blank(person)
    blank = {name: sa.case((hidden, sa.null()), else_=shown[name]) for name in _SAID}
    return shown | blank | {"kinds": sa.case((hidden, ""), else_=clips.c.kinds), "hidden": hidden}


def _where(wanted: Filter, says: Any, listed: dict[str, Any]) -> list[Any]:
    where: list[Any] = [clips.c.origin != DATA]
    if wanted.q:
        escaped = wanted.q.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        where.append(clips.c.name.ilike(f"%{escaped}%", escape="\\"))
    for column, value in ((listed["decision"], wanted.decision), (says, wanted.says)):
        if value:
            where.append(column.is_(None) if value == "none" else column == value)
    if wanted.kind:
        where.append(listed["kinds"].contains(f" {wanted.kind} ", autoescape=True))
    return where


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


def download(text: str, mime: str, name: str) -> Response:
    """A text that the browser keeps as a file."""
    safe = "".join(char if char.isascii() and (char.isalnum() or char in "._- ") else "_" for char in name)
    return Response(text, media_type=mime, headers={"Content-Disposition": f'attachment; filename="{safe}"'})


def _refused(result: ClipResult) -> RequestError:
    status = {Reason.NOT_FOUND: 404, Reason.TOO_LARGE: 413, Reason.NOT_ALLOWED: 403}.get(
        result.reason or Reason.UNREADABLE, 422
    )
    code = {404: "not_found", 413: "too_large"}.get(status, "unprocessable")
    return RequestError(status, code, f"{result.video}: {result.error}")
