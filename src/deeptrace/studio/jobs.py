"""Background jobs in the database: a job is leased, and one whose server died is leased again when its time is over."""

from __future__ import annotations

import logging
import os
import socket
import threading
import uuid
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from deeptrace.studio.database import Database, clips, jobs, now

__all__ = ["LEASE_S", "MOST_ATTEMPTS", "Job", "Queue", "Runner"]

log = logging.getLogger(__name__)

LEASE_S = 20.0
MOST_ATTEMPTS = 3
"""Leases of one job; a clip that ends the whole server each time must not do so for ever."""
_LOOK_S = 0.5


@dataclass(frozen=True)
class Job:
    """One job that is leased.

    Attributes:
        id: its number.
        clip_id: of the clip it is about.
        task: what to do.
    """

    id: int
    clip_id: int
    task: str


class Queue:
    """Jobs of one studio.

    Args:
        database: where they are.
        lease_s: how long a job belongs to the server that took it, unless that says again that it is at work.
    """

    def __init__(self, database: Database, *, lease_s: float = LEASE_S) -> None:
        self._database, self._lease_s = database, lease_s
        self._owner = f"{socket.gethostname()[:20]}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self.changed = threading.Event()

    def add(self, clip_ids: Iterable[int], task: str, *, priority: int = 0, connection: Any = None) -> None:
        """Add one job a clip, unless the same waits already; that one then takes the higher priority."""
        if connection is None:
            with self._database.writing() as connection:
                self.add(clip_ids, task, priority=priority, connection=connection)
            self.changed.set()
            return
        wanted = list(dict.fromkeys(clip_ids))
        for first in range(0, len(wanted), 500):
            part = wanted[first : first + 500]
            same = (jobs.c.clip_id.in_(part)) & (jobs.c.task == task) & (jobs.c.state.in_(("queued", "running")))
            waiting = set(connection.scalars(sa.select(jobs.c.clip_id).where(same)))
            lower = same & (jobs.c.priority < priority)
            connection.execute(sa.update(jobs).where(lower).values(priority=priority))
            fresh = [clip_id for clip_id in part if clip_id not in waiting]
            if fresh:
                row = {"task": task, "priority": priority, "made_at": now()}
                connection.execute(sa.insert(jobs), [{"clip_id": clip_id, **row} for clip_id in fresh])

    def lease(self, tasks: Collection[str]) -> Job | None:
        """The next job of one of `tasks`, now this server's; None when there is none."""
        with self._database.writing() as connection:
            expired = (jobs.c.state == "running") & (jobs.c.leased_until < now())
            query = (
                sa.select(jobs.c.id, jobs.c.clip_id, jobs.c.task, jobs.c.attempts)
                .where(jobs.c.task.in_(tasks), (jobs.c.state == "queued") | expired)
                .order_by(jobs.c.priority.desc(), jobs.c.id)
                .limit(1)
                .with_for_update(skip_locked=True)
            )
            while (row := connection.execute(query).first()) is not None:
                this = sa.update(jobs).where(jobs.c.id == row.id)
                if row.attempts < MOST_ATTEMPTS:
                    until = now() + self._lease_s
                    changes = {"state": "running", "owner": self._owner, "leased_until": until}
                    connection.execute(this.values(attempts=row.attempts + 1, **changes))
                    return Job(row.id, row.clip_id, row.task)
                why = f"the studio ended {row.attempts} times while it was at work on this clip"
                connection.execute(this.values(state="failed", error=why, ended_at=now()))
                if row.task == "prepare":
                    connection.execute(
                        sa.update(clips).where(clips.c.id == row.clip_id).values(state="failed", error=why)
                    )
        return None

    def hold(self, job: Job) -> None:
        """Say that this server is still at work on the job."""
        self._set(job, leased_until=now() + self._lease_s)

    def give_back(self, job: Job) -> None:
        """Let another take the job, as if this server had never begun it."""
        self._set(job, state="queued", leased_until=None, attempts=jobs.c.attempts - 1)

    def end(self, job: Job, error: str | None) -> None:
        """The job is done, or has failed."""
        self._set(job, state="failed" if error else "done", error=error, ended_at=now())

    def _set(self, job: Job, **values: Any) -> None:
        with self._database.writing() as connection:
            own = (jobs.c.id == job.id) & (jobs.c.owner == self._owner) & (jobs.c.state == "running")
            connection.execute(sa.update(jobs).where(own).values(**values))

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state."""
        with self._database.reading() as connection:
            rows = connection.execute(sa.select(jobs.c.state, sa.func.count()).group_by(jobs.c.state))
            return {str(row[0]): int(row[1]) for row in rows}


class Runner:
    """A thread that works through the jobs of some tasks, one after another.

    Args:
        queue: the jobs.
        tasks: which of them.
        begin: starts the work on a job and returns what comes of it.
        finish: keeps what came of it; returns why it failed, or None.
    """

    def __init__(
        self,
        queue: Queue,
        tasks: Collection[str],
        begin: Callable[[Job], Future[Any]],
        finish: Callable[[Job, Any], str | None],
    ) -> None:
        self._queue, self._tasks, self._begin, self._finish = queue, tasks, begin, finish
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"studio-{'-'.join(tasks)}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop; a job in work is given back."""
        self._stop.set()
        self._queue.changed.set()
        self._thread.join(10)

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                job = self._queue.lease(self._tasks)
                if job is None:
                    self._queue.changed.wait(_LOOK_S)
                    self._queue.changed.clear()
                else:
                    self._do(job)
            except Exception:  # the database is away for a moment; the job's lease runs out and it is taken again
                log.exception("a job could not be worked on")
                self._stop.wait(1.0)

    def _do(self, job: Job) -> None:
        try:
            future = self._begin(job)
            while not wait([future], timeout=min(LEASE_S / 4, _LOOK_S)).done:
                if self._stop.is_set():
                    future.cancel()
                    self._queue.give_back(job)
                    return
                self._queue.hold(job)
            error = self._finish(job, future.result())
        except Exception as failed:  # whatever it is, the next job is not to suffer
            log.exception("job %s (%s) failed", job.id, job.task)
            error = f"{type(failed).__name__}: {failed}"
        self._queue.end(job, error)
