"""The one way a detector meets clips: `run`, and the executor behind it for those who stay longer.

A detector that is given by name is loaded in worker processes, where a clip that crashes or hangs it costs one outcome;
a detector that is loaded already works in this process. How it works through several clips (one at a time, threads,
batches) it says itself: see `deeptrace.detectors.Execution`.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar, Self, overload

from deeptrace.detectors import DEFAULT_DETECTOR, Analysis, Detector, Execution, load_detector
from deeptrace.errors import SettingsError
from deeptrace.inference.executors.engines import Task, execution_of, open_engine
from deeptrace.inference.executors.supervisor import Supervisor, Ticket
from deeptrace.inference.executors.wire import analysis_of, task_message
from deeptrace.inference.executors.worker import WorkerSpec
from deeptrace.inference.one_clip import VERDICT_ONLY, Clip, Job, analyse, clip_name, failed_verdict
from deeptrace.io.fingerprint import Read
from deeptrace.schema import DetectorInfo, Outcome, Verdict

__all__ = [
    "DEFAULT_TIMEOUT_S",
    "EngineExecutor",
    "Executor",
    "Result",
    "Runner",
    "SequentialExecutor",
    "WorkerExecutor",
    "cores",
    "detect",
    "open_executor",
    "run",
]

DEFAULT_TIMEOUT_S = 600.0
"""Longest time for one clip where nothing else was said, for detectors that take one clip at a time."""


@dataclass(frozen=True)
class Result:
    """What came of one clip.

    Attributes:
        index: its place among the clips given, from 0.
        name: what results call it: its path or URL as given, or the name of a video in memory.
        analysis: the verdict, and what was asked for beside it.
        read: what stands for the content that it was made of; None where the runner does not look (see
            `Runner.reads_content`).
    """

    index: int
    name: str
    analysis: Analysis
    read: Read | None = None

    @property
    def verdict(self) -> Verdict:
        """The verdict."""
        return self.analysis.verdict


class Runner:
    """A detector ready for many clips, here or on other machines; a context manager.

    Attributes:
        info: the detector's description.
        execution: how it is run.
        reads_content: whether its results say what content they were made of. Where they do, it was read beside the
            detector, and nobody has to read the clips for it.
    """

    info: DetectorInfo
    execution: Execution
    reads_content: ClassVar[bool] = False

    def run(self, clips: Iterable[Clip], job: Job = VERDICT_ONLY) -> Iterator[Result]:
        """Work on clips; results come as they are done, not in order."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop; what is not done is lost. Safe to call twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        self.close()


class Executor(Runner):
    """A runner in this process and its workers, which takes single clips, too. Used from any thread."""

    @property
    def room(self) -> int:
        """Clips that keep it busy."""
        raise NotImplementedError

    def submit(self, clip: Clip, job: Job = VERDICT_ONLY) -> Future[Analysis]:
        """Work on one clip."""
        raise NotImplementedError

    def run(self, clips: Iterable[Clip], job: Job = VERDICT_ONLY) -> Iterator[Result]:
        """Work on clips; results come as they are done, not in order. Clips are drawn as there is room for them."""
        source, more = enumerate(clips), True
        pending: dict[Future[Analysis], tuple[int, str]] = {}
        try:
            while more or pending:
                while more and len(pending) < self.room:
                    drawn = next(source, None)
                    if drawn is None:
                        more = False
                        break
                    index, clip = drawn
                    future = self.submit(clip, job)
                    pending[future] = (index, clip_name(clip))
                    if future.done():
                        break
                if pending:
                    done, _ = wait(pending, return_when=FIRST_COMPLETED)
                    for future in sorted(done, key=lambda one: pending[one][0]):
                        yield Result(*pending.pop(future), future.result())
        finally:
            for future in pending:
                self.abandon(future)

    def abandon(self, future: Future[Analysis]) -> None:
        """Nobody waits for this result any more."""
        future.cancel()


class SequentialExecutor(Executor):
    """A loaded detector, one clip at a time in the thread that calls: a clip that crashes it takes the process along.

    Several threads take turns, and no clip is ever stopped.

    Args:
        detector: loaded.
    """

    def __init__(self, detector: Detector) -> None:
        self._detector, self._turn = detector, threading.Lock()
        self.info, self.execution = detector.info, execution_of(detector)

    @property
    def room(self) -> int:
        """See `Executor.room`."""
        return 1

    def submit(self, clip: Clip, job: Job = VERDICT_ONLY) -> Future[Analysis]:
        """See `Executor.submit`; returns when the clip is done."""
        future: Future[Analysis] = Future()
        with self._turn:
            future.set_result(analyse(self._detector, clip, job))
        return future

    def run(self, clips: Iterable[Clip], job: Job = VERDICT_ONLY) -> Iterator[Result]:
        """See `Executor.run`; each clip is drawn when the one before it is done."""
        for index, clip in enumerate(clips):
            with self._turn:
                found = analyse(self._detector, clip, job)
            yield Result(index, clip_name(clip), found)


class EngineExecutor(Executor):
    """A loaded detector that takes several clips at a time, in threads of this process (see `engines`).

    Args:
        detector: loaded.
        threads: see `open_engine`.
    """

    def __init__(self, detector: Detector, *, threads: int | None = None) -> None:
        self._engine = open_engine(detector, self, threads=threads)
        self._open: dict[int, Future[Analysis]] = {}
        self._lock = threading.Lock()
        self._numbers = 0
        self.info, self.execution = detector.info, execution_of(detector)

    @property
    def room(self) -> int:
        """See `Executor.room`."""
        return self._engine.capacity

    def submit(self, clip: Clip, job: Job = VERDICT_ONLY) -> Future[Analysis]:
        """See `Executor.submit`."""
        future: Future[Analysis] = Future()
        future.set_running_or_notify_cancel()
        with self._lock:
            self._numbers += 1
            number = self._numbers
            self._open[number] = future
        self._engine.put(number, Task(clip, job))
        return future

    def close(self) -> None:
        """See `Executor.close`."""
        self._engine.close()

    def started(self, number: int) -> None:
        """See `Listener.started`."""

    def waiting(self, number: int) -> None:
        """See `Listener.waiting`."""

    def done(self, number: int, found: Analysis) -> None:
        """See `Listener.done`."""
        self._open.pop(number).set_result(found)


class WorkerExecutor(Executor):
    """A detector by name, in worker processes that are replaced when a clip crashes or hangs them.

    Args:
        detector: its name.
        settings: of the detector.
        workers: see `open_executor`.
        timeout_s: see `open_executor`.

    Raises:
        UnknownDetectorError, SettingsError, MissingExtraError, ModelError: the detector cannot be loaded.
    """

    def __init__(
        self,
        detector: str,
        settings: Mapping[str, Any],
        *,
        workers: int | None = None,
        timeout_s: float | None = None,
    ) -> None:
        known: dict[str, DetectorInfo] = {}  # the supervisor must not hold this executor: see the finalizer
        self._supervisor: Supervisor[Analysis] = Supervisor(
            WorkerSpec(detector, dict(settings), threads=workers),
            workers=workers or cores(),
            timeout_s=timeout_s or None,
            read=lambda _ticket, message, blobs: analysis_of(message, blobs),
            lost=lambda ticket, outcome, why: _lost(ticket, outcome, why, known.get("info")),
        )
        # An executor that is dropped without being closed must not leave its processes behind.
        self._finalizer = weakref.finalize(self, self._supervisor.shut)
        loaded = self._supervisor.start()
        known["info"] = loaded.info
        self.info, self.execution = loaded.info, loaded.execution
        if timeout_s is None and loaded.execution is Execution.PROCESSES:
            self._supervisor.limit(DEFAULT_TIMEOUT_S)
        self._tickets: dict[Future[Analysis], Ticket[Analysis]] = {}

    @property
    def room(self) -> int:
        """See `Executor.room`; one more than the workers hold, so that none waits for its next clip."""
        return self._supervisor.capacity + 1

    @property
    def supervisor(self) -> Supervisor[Analysis]:
        """What looks after the processes."""
        return self._supervisor

    def submit(self, clip: Clip, job: Job = VERDICT_ONLY) -> Future[Analysis]:
        """See `Executor.submit`."""
        ticket: Ticket[Analysis] = Ticket(clip_name(clip), *task_message(clip, job))
        tickets = self._tickets
        tickets[ticket.future] = ticket
        ticket.future.add_done_callback(lambda future: tickets.pop(future, None))
        self._supervisor.submit([ticket])
        return ticket.future

    def abandon(self, future: Future[Analysis]) -> None:
        """See `Executor.abandon`."""
        if (ticket := self._tickets.get(future)) is not None:
            self._supervisor.cancel(ticket)

    def close(self) -> None:
        """See `Executor.close`; workers that are busy are killed."""
        self._supervisor.close()


def _lost(ticket: Ticket[Analysis], outcome: Outcome, why: str, info: DetectorInfo | None) -> Analysis:
    return Analysis(failed_verdict(ticket.name, outcome, why, info=info))


def open_executor(
    detector: str | Detector = DEFAULT_DETECTOR,
    settings: Mapping[str, Any] | None = None,
    *,
    inline: bool | None = None,
    workers: int | None = None,
    timeout_s: float | None = None,
) -> Executor:
    """The executor that suits a detector.

    Args:
        detector: its name, or a loaded one, which works in this process.
        settings: of the detector, when it is given by name.
        inline: load a detector by name in this process too; it then starts at once, and a clip that crashes it crashes
            the caller.
        workers: processes for a detector that takes one clip at a time, None for one a core; threads in which a served
            model is asked, None for as many as it takes; threads that decode for a model in batches, None for two.
        timeout_s: longest time for one clip; None for 10 minutes where the detector takes one clip at a time and no
            limit elsewhere; 0 for no limit.

    Raises:
        UnknownDetectorError, SettingsError, MissingExtraError, ModelError: the detector cannot be loaded.
        SettingsError: `workers` or `timeout_s` is invalid, or not possible in this process.
    """
    if (workers is not None and workers < 1) or (timeout_s is not None and timeout_s < 0):
        raise SettingsError("workers, timeout", f"expected positive numbers but got {workers} and {timeout_s}")
    if isinstance(detector, str) and not inline:
        return WorkerExecutor(detector, settings or {}, workers=workers, timeout_s=timeout_s)
    if not isinstance(detector, str) and settings:
        raise SettingsError("detector", "settings are for a detector given by name, but got a loaded one")
    loaded = load_detector(detector, **(settings or {})) if isinstance(detector, str) else detector
    alone = execution_of(loaded) is Execution.PROCESSES
    if timeout_s or (alone and workers not in (None, 1)):
        raise SettingsError(
            "workers, timeout", "cannot be had in this process", "Give the detector's name: worker processes load it."
        )
    return SequentialExecutor(loaded) if alone else EngineExecutor(loaded, threads=workers)


def run(
    clips: Iterable[Clip],
    detector: str | Detector = DEFAULT_DETECTOR,
    settings: Mapping[str, Any] | None = None,
    *,
    job: Job = VERDICT_ONLY,
    inline: bool | None = None,
    workers: int | None = None,
    timeout_s: float | None = None,
) -> Iterator[Result]:
    """A detector over clips; one result each, as they are done. Every failure is an outcome; see `open_executor`.

    Args:
        clips: paths, URLs and open videos, drawn as there is room for them.
        detector, settings, inline, workers, timeout_s: see `open_executor`.
        job: what to do beside the verdict.

    Raises:
        UnknownDetectorError, SettingsError, MissingExtraError, ModelError: the detector cannot be loaded, or an
            argument is invalid.
    """
    with open_executor(detector, settings, inline=inline, workers=workers, timeout_s=timeout_s) as executor:
        yield from executor.run(clips, job)


PathLike = str | os.PathLike[str]


@overload
def detect(
    path_or_paths: PathLike,
    detector: str | Detector = ...,
    *,
    workers: int | None = ...,
    timeout_s: float | None = ...,
    inline: bool | None = ...,
    **settings: Any,
) -> Verdict: ...
@overload
def detect(
    path_or_paths: Sequence[PathLike],
    detector: str | Detector = ...,
    *,
    workers: int | None = ...,
    timeout_s: float | None = ...,
    inline: bool | None = ...,
    **settings: Any,
) -> list[Verdict]: ...
def detect(
    path_or_paths: PathLike | Sequence[PathLike],
    detector: str | Detector = DEFAULT_DETECTOR,
    *,
    workers: int | None = None,
    timeout_s: float | None = None,
    inline: bool | None = None,
    **settings: Any,
) -> Verdict | list[Verdict]:
    """The verdict on one video, or on several in their order.

    A video without a verdict gives one whose `outcome` and `error` say why; it does not raise. A single video is worked
    on in this process, where it takes no time to start; several, and one with `workers` or `timeout_s`, in worker
    processes, which a hostile file can crash or hang without harm. A loaded detector always works in this process. For
    folders, patterns and resuming see `deeptrace.inference.DetectRun`.

    Args:
        path_or_paths: a path or URL, or a sequence of them.
        detector: a name (see `deeptrace detectors`), or a loaded detector, which saves loading it in every call.
        workers: worker processes; None for one a core.
        timeout_s: longest time for one video, 0 for no limit; None for 10 minutes in worker processes.
        inline: True to load a detector by name in this process, False never to.
        settings: of the detector, when it is given by name.

    Raises:
        UnknownDetectorError, SettingsError, MissingExtraError, ModelError: the detector cannot be loaded.
    """
    single = isinstance(path_or_paths, (str, os.PathLike))
    paths = [path_or_paths] if isinstance(path_or_paths, (str, os.PathLike)) else list(path_or_paths)
    names = [os.fspath(path) for path in paths]
    if inline is None:
        inline = single and workers is None and timeout_s is None
    if not names:
        return []
    with open_executor(detector, settings, inline=inline, workers=workers, timeout_s=timeout_s) as executor:
        found = {result.name: result.verdict for result in executor.run(dict.fromkeys(names))}
    return found[names[0]] if single else [found[name] for name in names]


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
