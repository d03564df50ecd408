"""Which way many videos go through a detector: one at a time here, worker processes, threads that wait, or batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from deeptrace.detectors import BatchDetector, Detector, load_detector
from deeptrace.detectors.registry import family_of
from deeptrace.errors import SettingsError
from deeptrace.evaluate.detect import Job, Judged, judge
from deeptrace.evaluate.detect_batches import BatchPool
from deeptrace.evaluate.detect_pool import WorkerPool
from deeptrace.evaluate.detect_threads import ThreadPool
from deeptrace.trace import DetectorInfo

__all__ = ["Pool", "open_pool", "wants_processes"]


class Pool(Protocol):
    """Something that judges many videos."""

    info: DetectorInfo

    def run(self, paths: Iterable[str]) -> Iterator[tuple[str, Judged]]:
        """Judge `paths`, read lazily; path and result come as they are done."""
        ...

    def close(self) -> None:
        """Stop; what is not done is lost."""
        ...


def wants_processes(name: str) -> bool:
    """Whether worker processes are the way to keep several cores busy with the detector called `name`."""
    family = family_of(name)
    return family is None or not (family.waits or family.batches)


def open_pool(
    detector: str | Detector,
    settings: dict[str, Any],
    *,
    workers: int | None,
    timeout_s: float | None,
    job: Job,
) -> Pool:
    """The pool that suits the detector.

    Args:
        detector: its name, or a loaded one, which is used in this process.
        settings: of the detector, when it is given by name.
        workers: processes, threads in which a served model is asked, or threads that decode for a model in batches;
            None for what suits the detector.
        timeout_s: longest time for one video; None for no limit.
        job: what to do with each video.

    Raises:
        UnknownDetectorError, SettingsError, MissingExtraError, ModelError: the detector cannot be loaded.
        SettingsError: several workers or a time limit, where the detector cannot have them.
    """
    if isinstance(detector, str):
        family = family_of(detector)
        if family is not None and family.waits:
            return ThreadPool(detector, settings, workers=workers, job=job, timeout_s=timeout_s)
        if family is not None and family.batches:
            return BatchPool(detector, settings, workers=workers, job=job, timeout_s=timeout_s)
        if workers not in (None, 1) or timeout_s is not None:
            return WorkerPool(detector, settings, workers=workers or 1, job=job, timeout_s=timeout_s)
        return OneByOne(load_detector(detector, **settings), job)
    if isinstance(detector, BatchDetector):
        return BatchPool(detector, settings, workers=workers, job=job, timeout_s=timeout_s)
    if workers not in (None, 1) or timeout_s is not None:
        raise SettingsError("workers, timeout", "need a detector by name, which worker processes can load")
    return OneByOne(detector, job)


class OneByOne:
    """Each video in turn, in this process and thread."""

    def __init__(self, detector: Detector, job: Job) -> None:
        self._detector, self._job = detector, job
        self.info = detector.info

    def run(self, paths: Iterable[str]) -> Iterator[tuple[str, Judged]]:
        """See `Pool.run`."""
        for path in paths:
            yield path, judge(self._detector, path, self._job)

    def close(self) -> None:
        """Nothing to stop."""
