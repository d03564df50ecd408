"""Worker processes that survive hostile files: a crash or a hang costs one clip, not the batch and not the server.

Each worker is a process of its own that loads the detector once and is sent clips over a pipe. When it dies over a clip
(a segmentation fault in a decoder, the kernel's out-of-memory killer) or exceeds the time limit, another takes its
place. A clip during which a worker died is tried once more, alone, and is answered as crashed when it kills a second
one; a clip that takes too long is answered at once; what else the worker had goes back to the queue.
`concurrent.futures` would break the whole pool instead.

One thread looks after all workers. It starts them, so that none outlives it, hands out clips, listens, and kills.
"""

from __future__ import annotations

import logging
import pickle
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from multiprocessing import connection
from typing import Any, Generic, Protocol, TypeVar

from deeptrace.detectors import Execution
from deeptrace.errors import DeeptraceError, ModelError
from deeptrace.inference.executors.launch import launch
from deeptrace.inference.executors.wire import Blob, Message, receive, send
from deeptrace.inference.executors.worker import Loaded, WorkerSpec
from deeptrace.schema import Outcome

__all__ = ["ClosedError", "FullError", "Supervisor", "Ticket", "Watcher"]

log = logging.getLogger(__name__)

T = TypeVar("T")

TRIES = 2
"""Workers that one clip may cost."""
CLIPS_A_LIFE = 1000
"""After so many a worker that takes one clip at a time is replaced: what leaks in decoders must not fill the memory."""
PAUSES_S = (0.0, 0.5, 2.0, 5.0)
"""Before a worker is started again, by the number of starts in a row that failed."""


class FullError(Exception):
    """There is no room for these clips."""


class ClosedError(Exception):
    """No more clips are taken."""


class Watcher(Protocol):
    """Watcher of the work; called from the supervisor's thread."""

    def waited(self, seconds: float) -> None:
        """A clip was handed to a worker after so long in the queue."""

    def restarted(self, cause: str) -> None:
        """A worker was lost: "crashed", "timed_out" or "abandoned"."""


class _Nobody:
    def waited(self, seconds: float) -> None:
        pass

    def restarted(self, cause: str) -> None:
        pass


@dataclass(eq=False)
class Ticket(Generic[T]):
    """One clip on its way.

    Attributes:
        name: of the clip, for messages.
        message, blobs: what the worker is sent.
        future: what comes of it; cancelled when nobody waits for it any more.
        queued: when it came, by `time.monotonic`.
        crashes: workers that died over it.
        abandoned: nobody waits for the result of a clip that is being worked on.
    """

    name: str
    message: Message
    blobs: Sequence[Blob] = ()
    future: Future[T] = field(default_factory=Future)
    queued: float = field(default_factory=time.monotonic)
    crashes: int = 0
    abandoned: bool = False

    def answer(self, result: T) -> None:
        """Hand over the result; only the first one counts."""
        if not self.future.done():
            self.future.set_result(result)


class _Worker(Generic[T]):
    """One process, as its supervisor sees it."""

    def __init__(self, payload: bytes) -> None:
        self.launched = launch()
        self.process, self.pipe = self.launched.process, self.launched.pipe
        self.start_s = 1.0
        self.loaded: Loaded | None = None
        self.open: dict[int, Ticket[T]] = {}
        self.clocks: dict[int, float] = {}
        self.suspect = False
        self.heard = self.launched.began
        self.served = 0
        try:
            self.pipe.send_bytes(payload)
        except OSError:
            self.launched.end()
            raise

    @property
    def room(self) -> int:
        """How many more clips it can be given."""
        if self.loaded is None or self.suspect:
            return 0
        if self.loaded.capacity == 1 and self.served >= CLIPS_A_LIFE:
            return 0
        return self.loaded.capacity - len(self.open)

    @property
    def worn(self) -> bool:
        """Whether it has done its share and may go."""
        return self.loaded is not None and not self.open and self.room == 0


class Supervisor(Generic[T]):
    """A fixed number of worker processes, and the queue before them. Used from any thread.

    Args:
        spec: what each worker is.
        workers: how many, for a detector that takes one clip at a time; others get one.
        timeout_s: longest time for one clip, waiting excluded; None for no limit.
        queue_size: clips that may wait; None for no end.
        eager: start all workers at once and keep them, instead of as they are needed.
        read: makes a result of a worker's message; ValueError, KeyError or TypeError where it is invalid.
        lost: makes a result for a clip that no worker answered.
        watcher: object that hears of the work.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        *,
        workers: int = 1,
        timeout_s: float | None = None,
        queue_size: int | None = None,
        eager: bool = False,
        read: Callable[[Ticket[T], Message, Sequence[bytes]], T],
        lost: Callable[[Ticket[T], Outcome, str], T],
        watcher: Watcher | None = None,
    ) -> None:
        self._payload = pickle.dumps((sys.path, spec))
        self._spec, self._size, self._timeout_s, self._eager = spec, workers, timeout_s, eager
        self._queue_size, self._read, self._lost_result = queue_size, read, lost
        self._watcher: Watcher = watcher or _Nobody()
        self._waiting: deque[Ticket[T]] = deque()
        self._workers: list[_Worker[T]] = []
        self._lock = threading.Lock()
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._closing = self._draining = False
        self._failed_starts = 0
        self._next_start = 0.0
        self._numbers = 0
        self._loaded: Future[Loaded] = Future()
        self._thread = threading.Thread(target=self._live, name="deeptrace-supervisor", daemon=True)

    # -- for its users, from any thread -----------------------------------------------------------------------------

    def start(self) -> Loaded:
        """Start the first worker; returns when it has loaded the detector.

        Raises:
            DeeptraceError: the detector cannot be loaded.
        """
        self._thread.start()
        try:
            return self._loaded.result()
        except BaseException:
            self.close()
            raise

    def submit(self, tickets: Sequence[Ticket[T]]) -> None:
        """Queue clips: all of them, or none.

        Raises:
            FullError, ClosedError: as named.
        """
        with self._lock:
            if self._closing or self._draining:
                raise ClosedError
            if self._queue_size is not None and len(self._waiting) + len(tickets) > self._queue_size:
                raise FullError
            self._waiting.extend(tickets)
        self._wake()

    def cancel(self, ticket: Ticket[T]) -> None:
        """Nobody waits for this one any more."""
        with self._lock:
            ticket.abandoned = True
            if ticket in self._waiting:
                self._waiting.remove(ticket)
            ticket.future.cancel()
        self._wake()

    def limit(self, timeout_s: float | None) -> None:
        """Set the longest time for one clip."""
        self._timeout_s = timeout_s

    def stop_taking(self) -> None:
        """Decline new clips; those that wait are still worked on."""
        self._draining = True

    def shut(self) -> None:
        """As `close`, without waiting."""
        self._closing = True
        self._wake()

    def close(self) -> None:
        """Kill every worker, busy or not; clips without an answer get one."""
        self.shut()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join()

    @property
    def capacity(self) -> int:
        """Clips that all workers together make use of at a time, once the detector is loaded."""
        return self._loaded.result().capacity * self._wanted()

    @property
    def depth(self) -> int:
        """Clips that wait."""
        return len(self._waiting)

    @property
    def ready(self) -> int:
        """Workers that have loaded their detector and are running."""
        return sum(worker.loaded is not None and worker.process.poll() is None for worker in list(self._workers))

    @property
    def busy(self) -> int:
        """Workers with a clip."""
        return sum(bool(worker.open) for worker in list(self._workers))

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that are ready."""
        return [worker.process.pid for worker in list(self._workers) if worker.loaded is not None]

    # -- its thread -------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        try:
            self._wake_in.send(b"!")
        except (BlockingIOError, OSError):  # it is awake, or gone
            return

    def _live(self) -> None:
        try:
            while not self._closing:
                self._start_missing()
                self._hand_out()
                pipes = {worker.pipe: worker for worker in self._workers}
                came = connection.wait([*pipes, self._wake_out], timeout=self._patience_s())
                for pipe in came:
                    if pipe is self._wake_out:
                        self._drain_wakes()
                    else:
                        self._hear(pipes[pipe])  # type: ignore[index]
                self._look_after()
        except BaseException as error:
            log.exception("the supervisor of the worker processes failed")
            if not self._loaded.done():
                self._loaded.set_exception(error)
        finally:
            self._end()

    def _drain_wakes(self) -> None:
        try:
            while self._wake_out.recv(4096):
                pass
        except BlockingIOError:
            return

    def _wanted(self) -> int:
        """How many workers there may be."""
        one = self._loaded.done() and self._loaded.result().execution is not Execution.PROCESSES
        return 1 if one or not self._loaded.done() else self._size

    def _start_missing(self) -> None:
        """Start workers where some are missing, and their time has come."""
        while len(self._workers) < self._wanted() and time.monotonic() >= self._next_start and self._needs_one():
            try:
                self._workers.append(_Worker(self._payload))
            except OSError as error:
                self._start_failed(ModelError(self._spec.detector, f"no worker process could be started: {error}"))

    def _needs_one(self) -> bool:
        if self._eager or not self._loaded.done():
            return True
        coming = sum(worker.loaded is None or worker.room > 0 for worker in self._workers)
        return len(self._waiting) > coming

    def _start_failed(self, error: DeeptraceError) -> None:
        self._failed_starts += 1
        self._next_start = time.monotonic() + PAUSES_S[min(self._failed_starts, len(PAUSES_S) - 1)]
        if not self._loaded.done():
            self._loaded.set_exception(error)  # whoever asked for the detector is told, once
            self._closing = True
            return
        log.error("a worker could not be started: %s", error)
        if self._failed_starts >= len(PAUSES_S) and not any(worker.loaded for worker in self._workers):
            with self._lock:
                left = list(self._waiting)
                self._waiting.clear()
            for ticket in left:  # nobody may come for them
                ticket.answer(self._lost_result(ticket, Outcome.MODEL_FAILED, str(error)))

    def _hand_out(self) -> None:
        """Give what waits to the workers, spread over those that are free before it is stacked."""
        while True:
            free = [worker for worker in self._workers if worker.room > 0]
            worker = min(free, key=lambda one: len(one.open), default=None)
            if worker is None:
                return
            with self._lock:
                ticket = self._next_for(worker)
                if ticket is None:
                    return
            self._give(worker, ticket)

    def _next_for(self, worker: _Worker[T]) -> Ticket[T] | None:
        """The next clip; one that a worker died over goes to a worker that has nothing else."""
        for ticket in self._waiting:
            if not ticket.crashes or not worker.open:
                self._waiting.remove(ticket)
                if ticket.future.running() or ticket.future.set_running_or_notify_cancel():
                    return ticket
                return self._next_for(worker)
        return None

    def _give(self, worker: _Worker[T], ticket: Ticket[T]) -> None:
        self._numbers += 1
        worker.open[self._numbers] = ticket
        worker.suspect = ticket.crashes > 0
        worker.served += 1
        if not ticket.crashes:
            self._watcher.waited(time.monotonic() - ticket.queued)
        if len(worker.open) == 1:
            worker.heard = time.monotonic()
        try:
            send(worker.pipe, {**ticket.message, "clip": self._numbers}, ticket.blobs)
        except OSError:  # it died while idle: its pipe says so next, and what was not begun goes back unblamed
            log.debug("a worker died while idle")

    def _hear(self, worker: _Worker[T]) -> None:
        try:
            if worker.loaded is None:
                self._greet(worker, worker.pipe.recv())  # a pickle: no stranger's file has been read yet
                return
            message, blobs = receive(worker.pipe)
            worker.heard = time.monotonic()
            if "started" in message:
                worker.clocks[message["started"]] = worker.heard
            elif "waiting" in message:
                worker.clocks.pop(message["waiting"], None)
            else:
                self._done(worker, message, blobs)
        except (EOFError, OSError, ValueError, KeyError, TypeError) as error:
            how = (
                worker.launched.how_it_died()
                if isinstance(error, (EOFError, OSError))
                else "the worker process spoke nonsense"
            )
            self._died(worker, how)

    def _greet(self, worker: _Worker[T], said: Any) -> None:
        if not isinstance(said, Loaded):
            self._drop(worker)
            self._start_failed(said if isinstance(said, DeeptraceError) else ModelError(self._spec.detector, str(said)))
            return
        worker.loaded, worker.start_s = said, time.monotonic() - worker.launched.began
        self._failed_starts = 0
        if not self._loaded.done():
            self._loaded.set_result(said)

    def _done(self, worker: _Worker[T], message: Message, blobs: Sequence[bytes]) -> None:
        ticket = worker.open.pop(message["done"])
        worker.clocks.pop(message["done"], None)
        worker.suspect = worker.suspect and bool(worker.open)
        try:
            result = self._read(ticket, message["result"], blobs)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            why = f"the detector's answer makes no sense: {error}"
            result = self._lost_result(ticket, Outcome.MODEL_FAILED, why)
        ticket.answer(result)

    def _died(self, worker: _Worker[T], how: str) -> None:
        self._drop(worker)
        if worker.loaded is None:
            self._start_failed(ModelError(self._spec.detector, f"{how} while loading the detector"))
            return
        if not worker.open:
            log.warning("%s while it had nothing to do", how)
            return
        self._watcher.restarted("crashed")
        log.warning("%s while working on a clip", how)
        begun = {number for number in worker.open if number in worker.clocks}
        for number in begun or set(worker.open):
            ticket = worker.open[number]
            ticket.crashes += 1
            if ticket.crashes >= TRIES:
                del worker.open[number]
                ticket.answer(self._lost_result(ticket, Outcome.CRASHED, f"{how} while working on this video"))
        self._put_back(worker)

    def _put_back(self, worker: _Worker[T]) -> None:
        """What a lost worker had goes to the front, whatever the size."""
        with self._lock:
            self._waiting.extendleft(reversed([one for one in worker.open.values() if not one.future.done()]))
        worker.open.clear()

    def _drop(self, worker: _Worker[T]) -> None:
        self._workers.remove(worker)
        worker.launched.end()

    def _patience_s(self) -> float | None:
        """Seconds until something has to be looked at again; None for when something comes."""
        now = time.monotonic()
        at = [self._next_start] if self._next_start > now else []
        for worker in self._workers:
            if self._timeout_s is not None:
                at += [clock + self._timeout_s for clock in worker.clocks.values()]
                at += [worker.heard + self._timeout_s] if worker.open and not worker.clocks else []
            if any(ticket.abandoned for ticket in worker.open.values()):
                at.append(now + 0.2)
        return max(min(at) - now, 0.0) if at else None

    def _look_after(self) -> None:
        """Kill workers at their time limit, and those whose work nobody waits for; let go of those that are worn."""
        now = time.monotonic()
        for worker in list(self._workers):
            if worker.worn:
                self._drop(worker)
                continue
            late = [number for number, clock in worker.clocks.items() if self._over(clock, now)]
            if late and not worker.pipe.poll():
                for number in late:
                    ticket = worker.open.pop(number)
                    why = f"took longer than the time limit of {self._timeout_s:g} s"
                    ticket.answer(self._lost_result(ticket, Outcome.TIMED_OUT, why))
                self._kill(worker, "timed_out")
            elif worker.open and not worker.clocks and self._over(worker.heard, now) and self._begins_nothing(worker):
                self._died(worker, "the worker process did not begin what it was given and was killed")
            elif self._given_up(worker, now):
                for number in list(worker.clocks):
                    del worker.open[number]
                self._kill(worker, "abandoned")

    def _over(self, since: float, now: float) -> bool:
        return self._timeout_s is not None and now - since >= self._timeout_s

    def _begins_nothing(self, worker: _Worker[T]) -> bool:
        """Whether a worker that takes one clip at a time is silent about it; others may have clips that wait."""
        return worker.loaded is not None and worker.loaded.capacity == 1 and not worker.pipe.poll()

    def _given_up(self, worker: _Worker[T], now: float) -> bool:
        # A worker that is restarted costs as long as it takes to start; until then it may as well finish.
        patience_s = max(worker.start_s, 1.0)
        begun = worker.clocks.items()
        return bool(begun) and all(worker.open[n].abandoned and now - since >= patience_s for n, since in begun)

    def _kill(self, worker: _Worker[T], cause: str) -> None:
        self._drop(worker)
        self._watcher.restarted(cause)
        self._put_back(worker)

    def _end(self) -> None:
        with self._lock:
            self._closing = True
            left = list(self._waiting)
            self._waiting.clear()
        for worker in self._workers:
            left += worker.open.values()
            worker.launched.end()
        self._workers.clear()
        for ticket in left:
            if ticket.future.running() or ticket.future.set_running_or_notify_cancel():
                ticket.answer(self._lost_result(ticket, Outcome.MODEL_FAILED, "the work was stopped"))
        self._wake_in.close()
        self._wake_out.close()
