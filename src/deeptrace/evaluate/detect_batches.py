"""Many videos through a model that judges several at once: threads decode ahead, this thread runs the model.

The same interface as `WorkerPool`, without its protection from files that crash a decoder: the model is loaded once, in
this process. Videos wait decoded until the model is free; then those of like length around the one that waited longest
go into one batch, so that little of a batch is padding and no video waits for ever.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from deeptrace.detectors import BatchDetector, load_detector
from deeptrace.errors import DeeptraceError, ModelError, SettingsError
from deeptrace.evaluate.detect import VERDICT_ONLY, Job, Judged, failed_verdict, failure, finished, opened
from deeptrace.trace import Outcome
from deeptrace.video import Video

__all__ = ["BatchPool", "next_batch"]

DECODING_THREADS = 2
BATCHES_AHEAD = 4
"""How many batches' worth of videos are decoded, or being decoded, at most: what bucketing chooses from."""


@dataclass(eq=False)
class _Ready:
    """A video that waits for the model, and how long its preparation took."""

    path: str
    video: Video
    prepared: Any
    seconds: float


class BatchPool:
    """One model in this process, and threads that decode for it.

    Args:
        detector: its name, or a loaded one.
        settings: of the detector, when it is given by name.
        workers: threads that decode; None for two.
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
        detector: str | BatchDetector,
        settings: dict[str, Any],
        *,
        workers: int | None = None,
        job: Job = VERDICT_ONLY,
        timeout_s: float | None = None,
    ) -> None:
        if timeout_s is not None:
            raise SettingsError("timeout", "does not apply to a model in this process", "Use --set max_new_tokens=N.")
        loaded = load_detector(detector, **settings) if isinstance(detector, str) else detector
        if not isinstance(loaded, BatchDetector):
            raise ModelError(str(detector), "cannot judge several videos at once")
        self._detector, self._job = loaded, job
        self._threads = [
            threading.Thread(target=self._serve, name="deeptrace-decode", daemon=True)
            for _ in range(workers or DECODING_THREADS)
        ]
        self._todo: SimpleQueue[str | None] = SimpleQueue()
        self._done: SimpleQueue[_Ready | tuple[str, Judged]] = SimpleQueue()
        self._waiting: list[_Ready] = []
        self.info = loaded.info

    def __enter__(self) -> BatchPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, paths: Iterable[str]) -> Iterator[tuple[str, Judged]]:
        """Judge `paths`; path and result come as they are done, not in order. Paths are drawn as decoders get free."""
        source, size = iter(paths), self._detector.batch_size
        room, decoding, more = max(size * BATCHES_AHEAD, len(self._threads)), 0, True
        for thread in self._threads:
            if thread.ident is None:
                thread.start()
        while True:
            while more and decoding + len(self._waiting) < room:
                path = next(source, None)
                more = path is not None
                if path is not None:
                    self._todo.put(path)
                    decoding += 1
            if decoding and (len(self._waiting) < size or not self._done.empty()):
                came = self._done.get()
                decoding -= 1
                if isinstance(came, _Ready):
                    self._waiting.append(came)
                else:
                    yield came
            elif self._waiting:
                yield from self._judge(next_batch(self._waiting, size))
            else:
                return

    def close(self) -> None:
        """Let the threads end after what they are at, and close what waits."""
        for _ in self._threads:
            self._todo.put(None)
        for ready in self._waiting:
            ready.video.close()
        self._waiting.clear()

    def _judge(self, batch: Sequence[_Ready]) -> Iterator[tuple[str, Judged]]:
        """The results of one batch; a model that fails on a batch is asked about each video of it alone."""
        started = time.perf_counter()
        try:
            verdicts = self._detector.detect_batch([ready.prepared for ready in batch])
        except Exception as error:  # noqa: BLE001  somebody's model at work: what goes wrong there is an outcome
            if len(batch) > 1:
                for ready in batch:
                    yield from self._judge([ready])
                return
            with batch[0].video:
                seconds = batch[0].seconds + time.perf_counter() - started
                yield batch[0].path, failure(batch[0].path, error, info=self.info, elapsed_s=seconds)
            return
        share = (time.perf_counter() - started) / len(batch)
        for ready, verdict in zip(batch, verdicts, strict=True):
            with ready.video:
                yield ready.path, finished(ready.video, Judged(verdict), self._job, ready.seconds + share)

    def _serve(self) -> None:
        while (path := self._todo.get()) is not None:
            self._done.put(self._prepared(path))

    def _prepared(self, path: str) -> _Ready | tuple[str, Judged]:
        started = time.perf_counter()
        try:
            video = opened(path)
        except (DeeptraceError, OSError, MemoryError) as error:
            seconds = time.perf_counter() - started
            return path, Judged(failed_verdict(path, Outcome.DECODE_FAILED, error, info=self.info, elapsed_s=seconds))
        try:
            return _Ready(path, video, self._detector.prepare(video), time.perf_counter() - started)
        except Exception as error:  # noqa: BLE001  as above
            video.close()
            return path, failure(path, error, info=self.info, elapsed_s=time.perf_counter() - started)


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
