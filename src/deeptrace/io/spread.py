"""One job done to many items: in turn, on threads or in processes here, or elsewhere (`deeptrace.scale.RayMap`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol, TypeVar

from deeptrace.errors import SettingsError
from deeptrace.io.processes import worker_pool

__all__ = ["Processes", "Spread", "Threads"]

T = TypeVar("T")
R = TypeVar("R")


class Spread(Protocol):
    """Where work is done, and how much of it at a time."""

    def over(self, work: Callable[[T], R], items: Sequence[T]) -> Iterator[tuple[int, R]]:
        """The place of each item and what `work` makes of it, as they come.

        Raises:
            Exception: what `work` ended with; the rest is left undone.
        """
        ...


class Threads:
    """Threads of this process, for work that lets go of Python's lock, as decoding does.

    Args:
        workers: how many.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def over(self, work: Callable[[T], R], items: Sequence[T]) -> Iterator[tuple[int, R]]:
        """See `Spread.over`."""
        with ThreadPoolExecutor(max(self.workers, 1)) as pool:
            yield from _as_they_come(pool, work, items)


class Processes:
    """Processes that end with this one; in turn and in this process where there is only one.

    Args:
        workers: how many.
        begin: called first in each of them.
    """

    def __init__(self, workers: int, begin: Callable[[], None] | None = None) -> None:
        self.workers, self._begin = workers, begin

    def over(self, work: Callable[[T], R], items: Sequence[T]) -> Iterator[tuple[int, R]]:
        """See `Spread.over`; work, items and results are pickled.

        Raises:
            SettingsError: a process died.
        """
        workers = min(self.workers, len(items))
        if workers <= 1:
            yield from ((index, work(item)) for index, item in enumerate(items))
            return
        try:
            with worker_pool(workers, self._begin) as pool:
                yield from _as_they_come(pool, work, items)
        except BrokenProcessPool:
            problem = f"one of {workers} processes died, as they do where memory runs out"
            raise SettingsError("workers", problem, "Use fewer.") from None


def _as_they_come(pool: Executor, work: Callable[[T], R], items: Sequence[T]) -> Iterator[tuple[int, R]]:
    jobs: dict[Future[R], int] = {pool.submit(work, item): index for index, item in enumerate(items)}
    try:
        for job in as_completed(jobs):
            yield jobs[job], job.result()
    finally:
        for job in jobs:
            job.cancel()
