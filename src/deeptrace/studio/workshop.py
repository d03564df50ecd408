"""The work behind the pages: clips brought in, prepared and analysed by worker processes, everything kept in the store.

HOME/studio.sqlite     clips, verdicts, answers, annotations, jobs
HOME/clips/ID/         source (of an upload or a URL), proxy.mp4, poster.jpg, strip.jpg, heat.npz, overlay.mp4, ...
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from deeptrace.detectors import Analysis
from deeptrace.errors import DeeptraceError
from deeptrace.inference import expand_inputs, read_verdicts
from deeptrace.inference.executors.supervisor import ClosedError, Supervisor, Ticket
from deeptrace.inference.executors.wire import analysis_of
from deeptrace.inference.executors.worker import WorkerSpec
from deeptrace.inference.one_clip import failed_verdict
from deeptrace.inference.results import VERDICTS
from deeptrace.io.atomic import atomic_path
from deeptrace.io.journal import read_lines
from deeptrace.io.run_store import JOURNAL
from deeptrace.schema import Outcome, Verdict
from deeptrace.server.inputs import shown
from deeptrace.server.schemas import Work
from deeptrace.studio.database import Database, clips, now, verdicts
from deeptrace.studio.jobs import Job, Queue, Runner
from deeptrace.studio.settings import StudioSettings
from deeptrace.studio.worker import plain_analysis

__all__ = ["DATA", "Workshop", "decision_of"]

_OPENS_ONLY = "baseline:all-real"
"""A detector that loads nothing: the process that prepares clips needs one to open them."""
_PREPARES = ("prepare", "proxy", "overlay", "report")
DATA = "data"
"""Origin of clips that were only looked at in a dataset."""
_FIRST = 10
"""Priority of what somebody waits for."""


class Workshop:
    """One studio's clips and the work on them.

    Args:
        settings: of the studio.
        lease_s: see `Queue`.

    Raises:
        SettingsError: the database cannot be used.
    """

    def __init__(self, settings: StudioSettings, *, lease_s: float = 20.0) -> None:
        self.settings, self.home = settings, settings.home
        self.home.mkdir(parents=True, exist_ok=True)
        self.database = Database(settings.database_url)
        self.queue = Queue(self.database, lease_s=lease_s)
        self._runners: list[Runner] = []
        self._detecting: Supervisor[Analysis] | None = None
        self._loading, self._starting = threading.Lock(), threading.Lock()
        self._preparing = self._opening()
        self._following: Supervisor[dict[str, Any]] | None = None
        self._closed = False

    def _opening(self) -> Supervisor[dict[str, Any]]:
        """A process that opens clips, and loads no detector."""
        limits = self.settings.limits
        return Supervisor(
            WorkerSpec(_OPENS_ONLY, {}, handler="deeptrace.studio.worker:PrepareHandler", options=limits),
            workers=1,
            timeout_s=limits.clip_s,
            read=lambda _ticket, message, _blobs: dict(message),
            lost=lambda _ticket, _outcome, why: {"error": why},
        )

    def start(self) -> None:
        """Bring in what `settings.place` holds, and begin to work."""
        self.open_place()
        self._preparing.start()
        self._runners = [
            Runner(self.queue, _PREPARES, self._begin_preparing, self._keep_prepared),
            *(
                Runner(self.queue, ("detect",), self._begin_detecting, self._keep_verdict)
                for _ in range(self.settings.workers)
            ),
        ]

    def close(self) -> None:
        """Stop the work; what is not done is done after the next start."""
        for runner in self._runners:
            runner.close()
        self._runners = []
        self._preparing.close()
        with self._loading, self._starting:
            self._closed = True
            for lane in (self._detecting, self._following):
                if lane is not None:
                    lane.close()
        self.database.close()

    def folder(self, clip_id: int) -> Path:
        """Where a clip's own files are."""
        return self.home / "clips" / str(int(clip_id))

    # -- clips come in -------------------------------------------------------------------------------------------------

    def open_place(self) -> None:
        """Bring in the videos of a folder, or the clips and verdicts of a run; those that are there already stay."""
        place = self.settings.place
        if place is None or self.settings.is_evaluation:
            return
        if self.settings.is_run:
            self._open_run(place)
            return
        paths = [os.path.abspath(item.path) for item in expand_inputs([place]) if item.error is None]
        self.add([(os.path.relpath(path, place), path) for path in paths], "folder")

    def add(self, found: Sequence[tuple[str, str]], origin: str, *, first: bool = False) -> list[int]:
        """Bring in clips by name and path, and have them prepared and analysed; returns the numbers of all of them.

        Args:
            found: (name for people, absolute path) of each.
            origin: "folder", "run", "upload", "url", "path", or "data" for those of an explored dataset, which are
                neither analysed nor listed.
            first: whether somebody waits for them.
        """
        with self.database.writing() as connection:
            ids = _insert(connection, found, origin)
            priority = _FIRST if first else 0
            todo = connection.execute(
                sa.select(clips.c.id, clips.c.state, clips.c.verdict_id).where(clips.c.id.in_(ids))
            )
            rows = todo.all() if len(ids) < 500 else _all_of(connection, ids)
            unprepared = [row.id for row in rows if row.state == "queued"]
            undetected = [row.id for row in rows if row.verdict_id is None and row.state != "failed"]
            self.queue.add(unprepared, "prepare", priority=priority + 1, connection=connection)
            if origin not in ("run", DATA):
                self.queue.add(undetected, "detect", priority=priority, connection=connection)
        self.queue.changed.set()
        return ids

    def add_file(self, name: str, file: Path, origin: str) -> int:
        """Bring in a clip that this studio keeps itself: `file` is moved into the store."""
        with self.database.writing() as connection:
            (clip_id,) = _insert(connection, [(shown(name), f"pending:{file}")], origin)
            folder = self.folder(clip_id)
            folder.mkdir(parents=True, exist_ok=True)
            target = folder / "source"
            shutil.move(file, target)
            path = str(target.absolute())
            connection.execute(sa.update(clips).where(clips.c.id == clip_id).values(path=path))
            self.queue.add([clip_id], "prepare", priority=_FIRST + 1, connection=connection)
            self.queue.add([clip_id], "detect", priority=_FIRST, connection=connection)
        self.queue.changed.set()
        return clip_id

    def _open_run(self, run: Path) -> None:
        curves = {}
        for line in read_lines(run / JOURNAL):
            record = line.get("record")
            if isinstance(record, dict) and line.get("name"):
                curves[line["name"]] = record.get("curves") or {}
        found = read_verdicts(run / VERDICTS)
        ids = self.add([(verdict.video, _located(verdict.video, run)) for verdict in found], "run")
        with self.database.writing() as connection:
            for clip_id, verdict in zip(ids, found, strict=True):
                keep_verdict(connection, clip_id, Analysis(verdict, curves.get(verdict.video, {})), has_heat=False)

    # -- preparing -----------------------------------------------------------------------------------------------------

    def _begin_preparing(self, job: Job) -> Future[Any]:
        row = self._clip(job.clip_id)
        message = {"task": job.task, "folder": str(self.folder(job.clip_id))}
        if job.task in ("overlay", "report"):
            with self.database.reading() as connection:
                said = connection.execute(sa.select(verdicts).where(verdicts.c.id == row.verdict_id)).one()
            message["analysis"] = plain_analysis(said.verdict, said.curves)  # type: ignore[assignment]
        ticket: Ticket[dict[str, Any]] = Ticket(row.name, {"work": Work(row.name, row.path).as_json(), **message})
        self._preparing.submit([ticket])
        return ticket.future

    def track(self, clip_id: int, box: Sequence[float], since_s: float, until_s: float) -> dict[str, Any]:
        """Where a box goes in a clip; see `worker._track`.

        A process of its own does it, started when it is first needed, so that a long clip keeps nobody's new clips,
        copies and overlays waiting.
        """
        row = self._clip(clip_id)
        asked = {"box": list(box), "since_s": since_s, "until_s": until_s}
        message = {"task": "track", "folder": str(self.folder(clip_id)), **asked}
        ticket: Ticket[dict[str, Any]] = Ticket(row.name, {"work": Work(row.name, row.path).as_json(), **message})
        with self._starting:
            if self._closed:
                return {"error": "the studio is closing"}
            if self._following is None:
                made = self._opening()
                try:
                    made.start()
                except DeeptraceError as error:  # the next request tries again
                    return {"error": f"boxes cannot be followed just now: {error}"}
                self._following = made
            following = self._following
        try:
            following.submit([ticket])
            return ticket.future.result(self.settings.limits.clip_s + 60)
        except ClosedError:
            return {"error": "the studio is closing"}
        except TimeoutError:
            following.cancel(ticket)
            return {"error": "others' boxes took too long: try again in a moment"}

    def _keep_prepared(self, job: Job, found: dict[str, Any]) -> str | None:
        error: str | None = found.get("error")
        this = sa.update(clips).where(clips.c.id == job.clip_id)
        with self.database.writing() as connection:
            if job.task == "prepare":
                names = ("media", "times_s", "sha256", "mime", "play", "play_note")
                values = {name: found.get(name) for name in names}
                state = "failed" if error else "ready"
                connection.execute(this.values(state=state, error=error, **values))
                if found.get("play") == "proxy":
                    self.queue.add([job.clip_id], "proxy", priority=_FIRST, connection=connection)
            elif job.task == "proxy":
                changes = {"play": "none", "play_note": error} if error else {"play": "ready", "mime": "video/mp4"}
                connection.execute(this.values(**changes))
        return error

    # -- detecting -----------------------------------------------------------------------------------------------------

    def detector(self) -> Supervisor[Analysis]:
        """The processes that detect, started when they are first needed.

        Raises:
            DeeptraceError: the detector cannot be loaded.
        """
        with self._loading:
            if self._detecting is None:
                settings = self.settings
                made: Supervisor[Analysis] = Supervisor(
                    WorkerSpec(
                        settings.detector,
                        dict(settings.detector_settings),
                        handler="deeptrace.studio.worker:DetectHandler",
                        options=settings.limits,
                    ),
                    workers=settings.workers,
                    timeout_s=settings.limits.clip_s,
                    read=lambda _ticket, message, blobs: analysis_of(message, blobs),
                    lost=lambda ticket, outcome, why: Analysis(failed_verdict(ticket.name, outcome, why)),
                )
                made.start()
                self._detecting = made
            return self._detecting

    def _begin_detecting(self, job: Job) -> Future[Any]:
        row = self._clip(job.clip_id)
        ticket: Ticket[Analysis] = Ticket(row.name, {"work": Work(row.name, row.path).as_json()})
        try:
            self.detector().submit([ticket])
        except DeeptraceError as error:
            ticket.answer(Analysis(failed_verdict(row.name, Outcome.MODEL_FAILED, error)))
        return ticket.future

    def _keep_verdict(self, job: Job, found: Analysis) -> str | None:
        if found.heat:
            folder = self.folder(job.clip_id)
            folder.mkdir(parents=True, exist_ok=True)
            with atomic_path(folder / "heat.npz") as scratch, open(scratch, "wb") as file:
                np.savez_compressed(
                    file,
                    times_s=np.concatenate([one.times_s for one in found.heat]),
                    heat=np.concatenate([np.round(one.heat * 255).astype(np.uint8) for one in found.heat]),
                )
        with self.database.writing() as connection:
            keep_verdict(connection, job.clip_id, found, has_heat=bool(found.heat))
        return None

    def _clip(self, clip_id: int) -> Any:
        with self.database.reading() as connection:
            return connection.execute(sa.select(clips).where(clips.c.id == clip_id)).one()


def decision_of(verdict: Verdict) -> str | None:
    """What people are told: "generated", "unclear" or "real"; None without a verdict."""
    return None if verdict.decision is None else verdict.decision.value


def keep_verdict(connection: Any, clip_id: int, found: Analysis, *, has_heat: bool) -> None:
    """Keep a verdict, and what lists show of it; one that is there already is not kept twice."""
    verdict = found.verdict
    plain = verdict.model_dump(mode="json")
    last = connection.execute(
        sa.select(verdicts.c.id, verdicts.c.verdict)
        .where(verdicts.c.clip_id == clip_id)
        .order_by(verdicts.c.id.desc())
        .limit(1)
    ).first()
    if last is not None and last.verdict == plain:
        return
    row = {
        "clip_id": clip_id,
        "made_at": now(),
        "detector": verdict.detector.name if verdict.detector else "",
        "verdict": plain,
        "curves": found.curves,
        "has_heat": has_heat,
    }
    (verdict_id,) = connection.execute(sa.insert(verdicts).values(**row)).inserted_primary_key
    kinds = dict.fromkeys(kind.value for trace in verdict.traces for kind in trace.categories)
    connection.execute(
        sa.update(clips)
        .where(clips.c.id == clip_id)
        .values(
            verdict_id=verdict_id,
            outcome=verdict.outcome.value,
            decision=decision_of(verdict),
            p_fake=verdict.p_fake,
            kinds=f" {' '.join(kinds)} " if kinds else "",
        )
    )


def _insert(connection: Any, found: Sequence[tuple[str, str]], origin: str) -> list[int]:
    """The number of each clip, in order; those whose path is not known yet are added."""
    known: dict[str, int] = {}
    looked_at = []
    paths = [path for _, path in found]
    for first in range(0, len(paths), 500):
        part = paths[first : first + 500]
        for row in connection.execute(
            sa.select(clips.c.path, clips.c.id, clips.c.origin).where(clips.c.path.in_(part))
        ):
            known[row.path] = row.id
            looked_at += [row.id] if row.origin == DATA else []
    if origin != DATA:
        for clip_id in looked_at:  # from now on it is listed
            connection.execute(sa.update(clips).where(clips.c.id == clip_id).values(origin=origin))
    ids = []
    for name, path in found:
        if path not in known:
            values = {"name": shown(name), "path": path, "origin": origin, "added_at": now(), "state": "queued"}
            (known[path],) = connection.execute(sa.insert(clips).values(**values)).inserted_primary_key
        ids.append(known[path])
    return ids


def _all_of(connection: Any, ids: Iterable[int]) -> list[Any]:
    wanted = set(ids)
    rows = connection.execute(sa.select(clips.c.id, clips.c.state, clips.c.verdict_id))
    return [row for row in rows if row.id in wanted]


def _located(video: str, run: Path) -> str:
    """Where a run's clip is: its name may be relative to the folder that the run was started in."""
    if "://" in video or os.path.isabs(video):
        return video
    places = [Path.cwd(), run.absolute().parent, run.absolute()]
    return str(next((place / video for place in places if (place / video).is_file()), places[0] / video))
