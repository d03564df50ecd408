"""Many videos at a time in threads of this process, for a detector that mostly waits for a server.

The same interface as `WorkerPool`, without its protection from files that crash a decoder: a process for each of dozens
of questions in flight would cost more than it saves. Time limits are the detector's own (`deadline_s`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from queue import SimpleQueue

from deeptrace.detectors import Detector, load_detector
from deeptrace.errors import SettingsError
from deeptrace.evaluate.detect import Job, Judged, judge

__all__ = ["ThreadPool"]

DECODE_AHEAD = 2
"""More threads than questions in flight, so that the next clips are ready when an answer comes."""


class ThreadPool:
    """A fixed number of threads that share one detector.

    Args:
        detector: its name.
        settings: of the detector.
        workers: threads; None for as many as the detector has questions in flight, and two that decode ahead.
        job: what to do with each video.
        timeout_s: must be None.

    Attributes:
        info: the detector's own description.

    Raises:
        UnknownDetectorError, SettingsError, MissingExtraError, ModelError: the detector cannot be loaded.
        SettingsError: a time limit, which a thread cannot keep.
    """

    def __init__(
        self,
        detector: str,
        settings: dict[str, object],
        *,
        workers: int | None,
        job: Job,
        timeout_s: float | None = None,
    ) -> None:
        if timeout_s is not None:
            raise SettingsError("timeout", "does not apply to a served model", "Use --set deadline_s=SECONDS.")
        self._detector: Detector = load_detector(detector, **settings)
        self._job = job
        self._size = workers or int(getattr(self._detector, "concurrency", 1)) + DECODE_AHEAD
        self._todo: SimpleQueue[str | None] = SimpleQueue()
        self._done: SimpleQueue[tuple[str, Judged]] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self.info = self._detector.info

    def __enter__(self) -> ThreadPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, paths: Iterable[str]) -> Iterator[tuple[str, Judged]]:
        """Judge `paths`; path and result come as they are done, not in order. Paths are drawn when a thread is free."""
        busy = 0
        for path in paths:
            self._give(path, busy)
            busy += 1
            if busy == self._size:
                yield self._done.get()
                busy -= 1
        for _ in range(busy):
            yield self._done.get()

    def close(self) -> None:
        """Let the threads end after what they are at; nobody waits for them."""
        for _ in self._threads:
            self._todo.put(None)
        self._threads.clear()

    def _give(self, path: str, busy: int) -> None:
        if busy >= len(self._threads):
            # A daemon: Ctrl-C must not wait for an answer that may be minutes away.
            thread = threading.Thread(target=self._serve, name="deeptrace-detect", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._todo.put(path)

    def _serve(self) -> None:
        while (path := self._todo.get()) is not None:
            self._done.put((path, judge(self._detector, path, self._job)))
