"""Worker processes that are fed from the queue and killed when they must be; no clip is lost with them.

Each of the `Crew`'s threads keeps one worker process: starts it, hands it batches, listens, and starts another when it
dies. A clip during which a worker dies is tried once more; when it kills a second one it is answered as failed. A clip
that takes too long is answered as failed at once. Clips of the same batch that were not begun go back to the queue.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from typing import Any, Protocol

from pydantic import ValidationError

from deeptrace.errors import ModelError
from deeptrace.evaluate.detect_pool import STOP_S, how_it_died, start_worker
from deeptrace.evaluate.wording import over_time
from deeptrace.studio.serve.child import live
from deeptrace.studio.serve.queue import ClipQueue, Ticket
from deeptrace.studio.serve.schemas import ClipResult, Reason
from deeptrace.studio.serve.settings import Limits, ServeSettings
from deeptrace.trace import DetectorInfo, Outcome

__all__ = ["Crew", "CrewMetrics"]

log = logging.getLogger(__name__)

TRIES = 2
"""Workers that one clip may cost."""
MAX_MESSAGE = 64 << 20
GLANCE_S = 0.2
"""How often a worker at work is looked after."""
CLIPS_A_LIFE = 1000
"""After so many a worker is replaced: what leaks in decoders, drop by drop, must not reach its memory limit."""
PAUSES_S = (0.0, 0.5, 2.0, 5.0)
"""Before a worker is started again, by the number of starts in a row that failed."""


class CrewMetrics(Protocol):
    """What the crew tells of its work."""

    def batch(self, size: int) -> None:
        """A batch was handed to a worker."""

    def waited(self, seconds: float) -> None:
        """A clip's time in the queue."""

    def restarted(self, cause: str) -> None:
        """A worker was lost: "crashed", "timed_out" or "abandoned"."""


@dataclass
class _Worker:
    process: SpawnProcess
    pipe: connection.Connection
    start_s: float


class Crew:
    """All workers.

    Args:
        settings: detector, its settings, number of workers and limits.
        queue: where clips come from.
        metrics: told of the work.
    """

    def __init__(self, settings: ServeSettings, queue: ClipQueue, metrics: CrewMetrics) -> None:
        self._queue = queue
        self._keepers = [_Keeper(index, settings, queue, metrics) for index in range(settings.workers)]

    def start(self) -> DetectorInfo:
        """Start every worker; returns when the first one is ready.

        Raises:
            DeeptraceError: the detector cannot be loaded.
        """
        first, *others = self._keepers
        first.start()
        try:
            info = first.loaded.result()
        except BaseException:
            self._queue.close()
            first.join()
            raise
        for keeper in others:
            keeper.start()
        return info

    @property
    def ready(self) -> int:
        """Workers that have loaded their detector."""
        return sum(keeper.pid is not None for keeper in self._keepers)

    @property
    def busy(self) -> int:
        """Workers with a clip."""
        return sum(keeper.busy for keeper in self._keepers)

    @property
    def pids(self) -> list[int]:
        """Process ids of those that are ready."""
        return [keeper.pid for keeper in self._keepers if keeper.pid is not None]

    def close(self) -> None:
        """Kill every worker, busy or not, and wait for the threads."""
        self._queue.close()
        for keeper in self._keepers:
            keeper.stop()
        for keeper in self._keepers:
            if keeper.is_alive():
                keeper.join()
        for ticket in self._queue.clear():
            ticket.answer(stopped(ticket))


class _Keeper(threading.Thread):
    """Keeps one worker process at work."""

    def __init__(self, index: int, settings: ServeSettings, queue: ClipQueue, metrics: CrewMetrics) -> None:
        super().__init__(name=f"deeptrace-worker-{index}", daemon=True)
        self._detector, self._settings = settings.detector, dict(settings.detector_settings)
        self._limits: Limits = settings.limits
        self._queue, self._metrics = queue, metrics
        self._worker: _Worker | None = None
        self._stopping = threading.Event()
        self.loaded: Future[DetectorInfo] = Future()
        self.pid: int | None = None
        self.busy = False
        self._clips = 0

    def run(self) -> None:
        failed = 0
        while not self._stopping.is_set():
            if self._worker is None:
                self._stopping.wait(PAUSES_S[min(failed, len(PAUSES_S) - 1)])
                failed = 0 if self._begin() else failed + 1
                if failed and self.loaded.exception(0) is not None:
                    return  # not even the first one could be started: the server will not be, either
                continue
            batch = self._queue.take()
            if batch is None:
                break
            if batch:
                self.busy = True
                self._clips += len(batch)
                _Round(self._worker, batch, self._queue, self._limits, self._metrics, self._stopping).play()
                self.busy = False
                self._look_after()
        self._end()

    def stop(self) -> None:
        """Kill the worker; the thread ends soon after."""
        self._stopping.set()
        if self._worker is not None:
            self._worker.process.kill()

    def _begin(self) -> bool:
        """Start a worker and wait until it has loaded the detector; False when it did not."""
        began = time.monotonic()
        arguments: tuple[Any, ...] = (self._detector, self._settings, self._limits, os.getpid())
        process, pipe = start_worker(live, *arguments)
        self._worker = _Worker(process, pipe, 0.0)
        try:
            answer = pipe.recv()  # a pickle: no stranger's file has been read yet
        except (EOFError, OSError):
            process.join(STOP_S)
            answer = ModelError(self._detector, f"{how_it_died(process)} while loading the detector")
        if isinstance(answer, DetectorInfo):
            self._worker.start_s = time.monotonic() - began
            self._clips, self.pid = 0, process.pid
            if not self.loaded.done():
                self.loaded.set_result(answer)
            return True
        self._end()
        if not self.loaded.done():
            self.loaded.set_exception(answer)
        log.error("a worker could not be started: %s", answer)
        return False

    def _look_after(self) -> None:
        """Let go of a worker that is dead, or has done its share."""
        if self._worker is not None and (self._clips >= CLIPS_A_LIFE or not self._worker.process.is_alive()):
            self._end()

    def _end(self) -> None:
        """Let go of the worker, killed if it still lives."""
        self.pid = None
        if self._worker is not None:
            self._worker.process.kill()
            self._worker.process.join()
            self._worker.pipe.close()
            self._worker = None


class _Round:
    """One batch at one worker: hand it over, listen, and see to it that every ticket gets an answer or goes back."""

    def __init__(
        self,
        worker: _Worker,
        batch: list[Ticket],
        queue: ClipQueue,
        limits: Limits,
        metrics: CrewMetrics,
        stopping: threading.Event,
    ) -> None:
        self._worker, self._queue, self._limits, self._metrics = worker, queue, limits, metrics
        self._stopping = stopping
        self._open = dict(enumerate(batch))
        self._begun: dict[int, float] = {}
        self._heard = time.monotonic()

    def play(self) -> None:
        """Return when all are answered, or the worker is dead and what was left went back to the queue."""
        now = time.monotonic()
        self._metrics.batch(len(self._open))
        for ticket in self._open.values():
            self._metrics.waited(now - ticket.queued)
        try:
            clips = [ticket.work.as_json() for ticket in self._open.values()]
            self._worker.pipe.send_bytes(json.dumps({"clips": clips}).encode())
            while self._open:
                if self._worker.pipe.poll(GLANCE_S):
                    self._hear(self._worker.pipe.recv_bytes(MAX_MESSAGE))
                elif not self._may_go_on():
                    return
        except (EOFError, OSError, ValueError, KeyError, TypeError):  # its end, or what only a broken worker says
            self._worker.process.join(STOP_S)  # by itself, so that it can be told how it died
            self._worker.process.kill()
            self._worker.process.join()
            self._lost()

    def _hear(self, data: bytes) -> None:
        self._heard = time.monotonic()
        message: Mapping[str, Any] = json.loads(data)
        if "started" in message:
            self._begun[message["started"]] = time.monotonic()
            return
        ticket = self._open.get(message["done"])
        if ticket is None:
            raise ValueError("an answer nobody asked for")
        try:
            result = ClipResult.model_validate(message["result"])
        except ValidationError as error:
            result = failed(ticket, Reason.NOT_SCORED, f"the detector's answer makes no sense: {error}")
        del self._open[message["done"]]
        self._begun.pop(message["done"], None)
        ticket.answer(result)

    def _may_go_on(self) -> bool:
        """False when the worker had to be killed: over a clip that takes too long, or that nobody waits for."""
        now = time.monotonic()
        for index, since in list(self._begun.items()):
            ticket = self._open[index]
            if now - since >= self._limits.clip_s:
                del self._open[index]
                ticket.answer(failed(ticket, Reason.TIMED_OUT, over_time(self._limits.clip_s)))
                return self._kill("timed_out")
        if not self._begun and now - self._heard >= self._limits.clip_s:
            raise EOFError("a worker that begins nothing")
        # A worker that starts anew costs as long as it takes to start; until then it may as well finish.
        patience_s = max(self._worker.start_s, 1.0)
        given_up = [now - since >= patience_s and self._open[index].abandoned for index, since in self._begun.items()]
        if given_up and all(given_up):
            for index in self._begun:
                del self._open[index]
            return self._kill("abandoned")
        return True

    def _kill(self, cause: str) -> bool:
        self._worker.process.kill()
        self._worker.process.join()
        self._metrics.restarted(cause)
        self._queue.put_back(list(self._open.values()))
        return False

    def _lost(self) -> None:
        """The worker is dead: what it was at is tried once more, what it had not begun goes back as it was."""
        if self._stopping.is_set():
            for ticket in self._open.values():
                ticket.answer(stopped(ticket))
            return
        self._metrics.restarted("crashed")
        how = f"{how_it_died(self._worker.process)} while working on this video"
        log.warning("%s", how)
        suspects = set(self._begun) or set(self._open)
        for index in suspects:
            ticket = self._open[index]
            ticket.crashes += 1
            if ticket.crashes >= TRIES:
                del self._open[index]
                ticket.answer(failed(ticket, Reason.CRASHED, how))
        self._queue.put_back(list(self._open.values()))


def failed(ticket: Ticket, reason: Reason, why: str) -> ClipResult:
    """The result of a clip that its worker could not answer. Outcomes are those that `deeptrace detect` gives."""
    outcome = Outcome.MODEL_FAILED if reason is Reason.NOT_SCORED else Outcome.DECODE_FAILED
    return ClipResult.without_reward(ticket.work.name, outcome, reason, why)


def stopped(ticket: Ticket) -> ClipResult:
    """The result of a clip that was left when the server stopped."""
    return failed(ticket, Reason.NOT_SCORED, "the server was stopped")
