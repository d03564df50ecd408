"""Worker processes that survive hostile files: a crash or a hang costs one verdict, not the batch.

Each worker is a spawned process that loads the detector once and is fed one path at a time over its own pipe. When it
dies over a file (a segmentation fault in a decoder, the kernel's out-of-memory killer) or exceeds the time limit, that
file is recorded as failed and another worker takes its place. `concurrent.futures` would break the whole pool instead.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import connection, get_context, resource_tracker
from multiprocessing.context import SpawnProcess
from typing import Any

from deeptrace.detectors import load_detector
from deeptrace.errors import DeeptraceError, ModelError
from deeptrace.evaluate.detect import Job, Judged, failed_verdict, judge
from deeptrace.evaluate.wording import DIED, over_time
from deeptrace.trace import DetectorInfo, Outcome

__all__ = ["WorkerPool", "how_it_died", "start_worker"]

log = logging.getLogger(__name__)

STOP_S = 2.0
"""How long a worker that was told to stop may take before it is killed."""


@dataclass
class _Worker:
    process: SpawnProcess
    pipe: connection.Connection
    ready: bool = False
    path: str | None = None
    started: float = 0.0

    @property
    def idle(self) -> bool:
        return self.ready and self.path is None


class WorkerPool:
    """A fixed number of worker processes with one detector each.

    Args:
        detector: its name.
        settings: of the detector.
        workers: how many processes.
        job: what to do with each video.
        timeout_s: longest time for one video; None for no limit.

    Attributes:
        info: the detector's own description, as the first worker reported it.

    Raises:
        UnknownDetectorError, SettingsError, MissingExtraError, ModelError: the detector cannot be loaded.
    """

    def __init__(
        self, detector: str, settings: dict[str, Any], *, workers: int, job: Job, timeout_s: float | None
    ) -> None:
        self._args = (detector, settings, job)
        self._size, self._timeout_s = workers, timeout_s
        self._workers: list[_Worker] = []
        first = self._start()
        self.info = self._handshake(first)

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, paths: Iterable[str]) -> Iterator[tuple[str, Judged]]:
        """Judge `paths`; path and result come as they are done, not in order. Paths are drawn when a worker is free."""
        waiting = iter(paths)
        more = True
        while True:
            while more and (worker := self._free_worker()) is not None:
                path = next(waiting, None)
                if path is None:
                    more = False
                else:
                    self._give(worker, path)
            if not more and all(worker.path is None for worker in self._workers):
                return
            yield from self._collect()

    def close(self) -> None:
        """Stop all workers; those busy are killed."""
        for worker in self._workers:
            if worker.path is not None:
                worker.process.kill()
            worker.pipe.close()
        for worker in self._workers:
            worker.process.join(STOP_S)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        self._workers.clear()

    # -- one worker -----------------------------------------------------------------------------------------------

    def _start(self) -> _Worker:
        worker = _Worker(*start_worker(_serve, *self._args))
        self._workers.append(worker)
        return worker

    def _handshake(self, worker: _Worker) -> DetectorInfo:
        """Wait until `worker` has loaded the detector."""
        try:
            answer = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join(STOP_S)
            answer = ModelError(self._args[0], f"{how_it_died(worker.process)} while loading the detector")
        if isinstance(answer, DeeptraceError):
            self.close()
            raise answer
        worker.ready = True
        info: DetectorInfo = answer
        return info

    def _free_worker(self) -> _Worker | None:
        """An idle worker; a new one is started when all are busy and there may be more."""
        idle = next((worker for worker in self._workers if worker.idle), None)
        if idle is not None:
            return idle
        if len(self._workers) < self._size:
            self._start()
        return None

    def _give(self, worker: _Worker, path: str) -> None:
        worker.path, worker.started = path, time.monotonic()
        try:
            worker.pipe.send(path)
        except OSError:  # it died while idle; _collect sees the end of its pipe and would blame the file
            self._drop(worker)
            fresh = self._start()
            self._handshake(fresh)
            self._give(fresh, path)

    def _drop(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.process.kill()
        worker.process.join()
        worker.pipe.close()

    # -- results --------------------------------------------------------------------------------------------------

    def _collect(self) -> Iterator[tuple[str, Judged]]:
        """Wait for something to happen, then yield what has been judged, failed or timed out."""
        by_pipe = {worker.pipe: worker for worker in self._workers}
        for pipe in connection.wait(list(by_pipe), timeout=self._patience_s()):
            worker = by_pipe[pipe]  # type: ignore[index]
            if not worker.ready:
                self._handshake(worker)
                continue
            try:
                judged: Judged = worker.pipe.recv()
            except (EOFError, OSError):
                worker.process.join(STOP_S)
                how = how_it_died(worker.process)
                path = worker.path
                self._drop(worker)
                if path is not None:
                    yield self._lost(path, f"{how} while working on this video")
            else:
                path, worker.path = worker.path or "", None
                yield path, judged
        yield from self._stop_overdue()

    def _patience_s(self) -> float | None:
        """Seconds until the next time limit; None when there is none."""
        if self._timeout_s is None:
            return None
        starts = [worker.started for worker in self._workers if worker.path is not None]
        return max(min(starts) + self._timeout_s - time.monotonic(), 0.0) if starts else None

    def _stop_overdue(self) -> Iterator[tuple[str, Judged]]:
        if self._timeout_s is None:
            return
        for worker in list(self._workers):
            overdue = worker.path is not None and time.monotonic() - worker.started >= self._timeout_s
            if overdue and not worker.pipe.poll():
                path = worker.path or ""
                self._drop(worker)
                yield self._lost(path, over_time(self._timeout_s))

    def _lost(self, path: str, why: str) -> tuple[str, Judged]:
        return path, Judged(failed_verdict(path, Outcome.DECODE_FAILED, why, info=self.info))


def start_worker(life: Callable[..., None], *args: Any) -> tuple[SpawnProcess, connection.Connection]:
    """A spawned process that lives `life(pipe, *args)`, and our end of its pipe. Ctrl-C does not reach it."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=life, args=(theirs, *args), daemon=True)
    # Ctrl-C reaches the whole group; the parent decides what it means. Blocked here, it stays so in the child from
    # its first instruction, and what comes meanwhile is delivered to the parent afterwards.
    # The resource tracker unblocks the signal when it is started, so it is started before.
    resource_tracker.ensure_running()
    earlier = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, earlier)
    theirs.close()
    return process, ours


def how_it_died(process: SpawnProcess) -> str:
    """What became of a process that has ended, for people."""
    code = process.exitcode
    if code is not None and code < 0:
        return f"{DIED} was killed by {signal.Signals(-code).name}"
    return f"{DIED} ended with exit code {code}"


def _serve(pipe: connection.Connection, detector: str, settings: dict[str, Any], job: Job) -> None:
    """A worker's life: load the detector, then judge each path that comes in, until the pipe closes."""
    os.dup2(2, 1)  # what a detector prints must not mix with the parent's JSON lines
    try:
        loaded = load_detector(detector, **settings)
    except DeeptraceError as error:
        pipe.send(error)
        return
    if "cv2" in sys.modules:  # the processes are what runs in parallel; threads in each would only get in their way
        sys.modules["cv2"].setNumThreads(1)
    try:
        pipe.send(loaded.info)
        while True:
            pipe.send(judge(loaded, pipe.recv(), job))
    except (EOFError, OSError):
        log.debug("the parent process is gone, or has no more work")
