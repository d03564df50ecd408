"""How one loaded detector works through the clips it is given, inside one process.

An engine is given clips by number and tells a `Listener` when it begins one, when one waits, and what came of it:

- `SequentialEngine`: one clip at a time, in the calling thread;
- `ThreadEngine`: several at a time, for a detector that mostly waits for a server;
- `BatchEngine`: threads decode ahead, and one thread asks the model about several clips at once.

Worker processes run one each for a detector that is given by name (`executors.worker`); for a detector that is loaded
already, `EngineExecutor` runs the latter two in its caller's process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, Protocol

from deeptrace.detectors import Analysis, BatchDetector, Detector, Execution
from deeptrace.errors import DeeptraceError
from deeptrace.inference.one_clip import Clip, Job, analyse, clip_name, failure, finished, open_clip
from deeptrace.plural import plural
from deeptrace.video import Video

__all__ = ["BatchEngine", "Engine", "Listener", "Task", "execution_of", "next_batch", "open_engine"]

DECODING_THREADS = 2
DECODE_AHEAD = 2
"""More threads than questions in flight, so that the next clips are ready when an answer comes."""
BATCHES_AHEAD = 4
"""How many batches' worth of clips are decoded, or being decoded, at most: what a batch is chosen from."""


@dataclass(frozen=True)
class Task:
    """One clip to work on.

    Attributes:
        clip: which.
        job: what to do beside the verdict.
        opener: opens the clip in another way than `open_clip`.
    """

    clip: Clip
    job: Job = field(default_factory=Job)
    opener: Callable[[], Video] | None = None

    def open(self) -> Video:
        """The clip as an open video; see `open_clip`."""
        return open_clip(self.clip) if self.opener is None else self.opener()


class Listener(Protocol):
    """Listener to the outcomes of clips; called from several threads."""

    def started(self, number: int) -> None:
        """Work on a clip begins, or goes on after a wait."""

    def waiting(self, number: int) -> None:
        """A clip is ready and waits for its turn: what it takes from here on is not its own fault."""

    def done(self, number: int, found: Analysis) -> None:
        """What the detector says of it."""


class Engine(Protocol):
    """Works through clips with one detector.

    Attributes:
        capacity: clips that it makes use of at a time.
    """

    capacity: int

    def put(self, number: int, task: Task) -> None:
        """Work on a clip; returns at once, or when it is done."""

    def close(self) -> None:
        """No more clips; what is being worked on is finished, and nobody waits for it."""


def execution_of(detector: Detector) -> Execution:
    """How a loaded detector wants to be run."""
    stated = getattr(detector, "execution", None)
    if stated is not None:
        return Execution(stated)
    return Execution.BATCHES if isinstance(detector, BatchDetector) else Execution.PROCESSES


def open_engine(detector: Detector, listener: Listener, *, threads: int | None = None) -> Engine:
    """The engine that suits a loaded detector.

    Args:
        detector: which.
        listener: object that hears of outcomes.
        threads: for a detector that waits for a server, as many clips at a time; for one that works in batches, threads
            that decode. None for what suits it.
    """
    execution = execution_of(detector)
    if execution is Execution.BATCHES and isinstance(detector, BatchDetector):
        return BatchEngine(detector, listener, threads=threads or DECODING_THREADS)
    if execution is Execution.THREADS:
        return ThreadEngine(
            detector, listener, threads=threads or int(getattr(detector, "concurrency", 1)) + DECODE_AHEAD
        )
    return SequentialEngine(detector, listener)


class SequentialEngine:
    """One clip at a time, in the thread that calls; several threads take turns."""

    capacity = 1

    def __init__(self, detector: Detector, listener: Listener) -> None:
        self._detector, self._listener = detector, listener
        self._turn = threading.Lock()

    def put(self, number: int, task: Task) -> None:
        """Work on the clip; returns when it is done."""
        with self._turn:
            self._listener.started(number)
            self._listener.done(number, analyse(self._detector, task.clip, task.job, opener=task.opener))

    def close(self) -> None:
        """Nothing to stop."""


class ThreadEngine:
    """Several clips at a time, each in a thread; the detector may be called from all of them."""

    def __init__(self, detector: Detector, listener: Listener, *, threads: int) -> None:
        self._detector, self._listener = detector, listener
        self.capacity = threads
        self._todo: SimpleQueue[tuple[int, Task] | None] = SimpleQueue()
        self._started = 0
        self._lock = threading.Lock()

    def put(self, number: int, task: Task) -> None:
        """See `Engine.put`."""
        self._todo.put((number, task))
        with self._lock:
            if self._started < self.capacity:
                self._started += 1
                # A daemon: Ctrl-C must not wait for an answer that may be minutes away.
                threading.Thread(target=self._serve, name="deeptrace-detect", daemon=True).start()

    def close(self) -> None:
        """See `Engine.close`."""
        for _ in range(self._started):
            self._todo.put(None)

    def _serve(self) -> None:
        while (item := self._todo.get()) is not None:
            number, task = item
            self._listener.started(number)
            self._listener.done(number, analyse(self._detector, task.clip, task.job, opener=task.opener))


@dataclass(eq=False)
class _Ready:
    """A clip that waits for the model, and how long its preparation took."""

    number: int
    task: Task
    video: Video
    prepared: Any
    seconds: float

    def close(self) -> None:
        if self.video is not self.task.clip:
            self.video.close()


class BatchEngine:
    """One model, threads that decode for it, and a thread that asks it about several clips at once.

    Clips wait decoded until the model is free; then those of like length around the one that waited longest go into one
    batch, so that little of a batch is padding and no clip waits for ever. A model that fails on a batch is asked about
    each clip of it alone.
    """

    def __init__(self, detector: BatchDetector, listener: Listener, *, threads: int) -> None:
        self._detector, self._listener = detector, listener
        self._size = max(detector.batch_size, 1)
        self.capacity = max(self._size * BATCHES_AHEAD, threads)
        self._todo: SimpleQueue[tuple[int, Task] | None] = SimpleQueue()
        self._waiting: list[_Ready] = []
        self._decoding = 0
        self._closed = False
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._decode, name="deeptrace-decode", daemon=True) for _ in range(threads)
        ]
        self._threads.append(threading.Thread(target=self._ask, name="deeptrace-model", daemon=True))

    def put(self, number: int, task: Task) -> None:
        """See `Engine.put`."""
        with self._changed:
            self._decoding += 1
        self._todo.put((number, task))
        for thread in self._threads:
            if thread.ident is None:
                thread.start()

    def close(self) -> None:
        """See `Engine.close`; clips that wait for the model are let go."""
        for _ in self._threads[:-1]:
            self._todo.put(None)
        with self._changed:
            self._closed = True
            for ready in self._waiting:
                ready.close()
            self._waiting.clear()
            self._changed.notify_all()

    def _decode(self) -> None:
        while (item := self._todo.get()) is not None:
            number, task = item
            self._listener.started(number)
            came = self._prepared(number, task)
            if isinstance(came, _Ready):
                self._listener.waiting(number)
            else:
                self._listener.done(number, came)
            with self._changed:
                self._decoding -= 1
                if isinstance(came, _Ready):
                    self._waiting.append(came)
                self._changed.notify_all()

    def _prepared(self, number: int, task: Task) -> _Ready | Analysis:
        started = time.perf_counter()
        name, info = clip_name(task.clip), self._detector.info
        try:
            video = task.open()
        except (DeeptraceError, OSError, MemoryError) as error:
            return failure(name, error, info=info, elapsed_s=time.perf_counter() - started)
        try:
            prepared = self._detector.prepare(video)
            video.content_credentials()  # read in this thread, so that the model's need not wait for it
            return _Ready(number, task, video, prepared, time.perf_counter() - started)
        except Exception as error:  # noqa: BLE001  somebody's model at work: what goes wrong there is an outcome
            found = failure(name, error, info=info, video=video, elapsed_s=time.perf_counter() - started)
            if video is not task.clip:
                video.close()
            return found

    def _ask(self) -> None:
        while True:
            with self._changed:
                while not self._closed and (not self._waiting or (self._decoding and len(self._waiting) < self._size)):
                    self._changed.wait()
                if self._closed:
                    return
                batch = next_batch(self._waiting, self._size)
            self._answer(batch)

    def _answer(self, batch: Sequence[_Ready]) -> None:
        for ready in batch:
            self._listener.started(ready.number)
        started = time.perf_counter()
        try:
            verdicts = self._detector.detect_batch([ready.prepared for ready in batch])
            if len(verdicts) != len(batch):
                raise ValueError(f"{plural(len(verdicts), 'verdict')} for {plural(len(batch), 'clip')}")
        except Exception as error:  # noqa: BLE001  as above
            if len(batch) > 1:
                for ready in batch:
                    self._listener.waiting(ready.number)
                for ready in batch:
                    self._answer([ready])
                return
            (ready,) = batch
            seconds = ready.seconds + time.perf_counter() - started
            name, info = clip_name(ready.task.clip), self._detector.info
            found = failure(name, error, info=info, video=ready.video, elapsed_s=seconds)
            ready.close()
            self._listener.done(ready.number, found)
            return
        share = (time.perf_counter() - started) / len(batch)
        for ready, verdict in zip(batch, verdicts, strict=True):
            seconds = ready.seconds + share
            found = finished(ready.video, Analysis(verdict), ready.task.job, seconds, info=self._detector.info)
            ready.close()
            self._listener.done(ready.number, found)


def next_batch(waiting: list[_Ready], size: int) -> list[_Ready]:
    """Take the next batch out of `waiting`: the one that came first, and up to `size` - 1 nearest to it in length."""
    ranked = sorted(waiting, key=lambda ready: ready.prepared.length)
    at, count = ranked.index(waiting[0]), min(size, len(waiting))

    def spread(low: int) -> int:
        return int(ranked[low + count - 1].prepared.length - ranked[low].prepared.length)

    low = min(range(max(at - count + 1, 0), min(at, len(ranked) - count) + 1), key=spread)
    batch = ranked[low : low + count]
    for ready in batch:
        waiting.remove(ready)
    return batch
