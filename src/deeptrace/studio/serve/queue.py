"""The bounded queue between requests and workers, from which workers take clips in batches."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from deeptrace.studio.serve.schemas import ClipResult, Work

__all__ = ["ClipQueue", "QueueClosedError", "QueueFullError", "Ticket"]


class QueueFullError(Exception):
    """There is no room for the clips of this request."""


class QueueClosedError(Exception):
    """The server is stopping."""


@dataclass(eq=False)
class Ticket:
    """One clip on its way.

    Attributes:
        work: the clip.
        future: its result; cancelled when nobody waits for it any more.
        queued: when it came, by `time.monotonic`.
        crashes: workers that died over it.
        abandoned: whether nobody waits for the result of a clip that is being judged.
    """

    work: Work
    future: Future[ClipResult] = field(default_factory=Future)
    queued: float = field(default_factory=time.monotonic)
    crashes: int = 0
    abandoned: bool = False

    def answer(self, result: ClipResult) -> None:
        """Hand over the result; only the first one counts."""
        if not self.future.done():
            self.future.set_result(result)


class ClipQueue:
    """First in, first out, with an end. Used from any thread.

    Args:
        size: clips that may wait.
        max_batch: clips that one worker is given at once, at most.
        batch_wait_s: how long a worker waits for that many after the first one came.
    """

    def __init__(self, size: int, *, max_batch: int, batch_wait_s: float) -> None:
        self._size, self._max_batch, self._batch_wait_s = size, max_batch, batch_wait_s
        self._waiting: deque[Ticket] = deque()
        self._changed = threading.Condition()
        self._takers = 0
        self._closed = False

    @property
    def depth(self) -> int:
        """Clips that wait."""
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether not one more clip may come."""
        return self.depth >= self._size

    @property
    def size(self) -> int:
        """Clips that may wait."""
        return self._size

    def put(self, works: Sequence[Work]) -> list[Ticket]:
        """A ticket for each clip: all of a request's, or none.

        Raises:
            QueueFullError, QueueClosedError: as named.
        """
        with self._changed:
            if self._closed:
                raise QueueClosedError
            if self.depth + len(works) > self._size:
                raise QueueFullError
            tickets = [Ticket(work) for work in works]
            self._waiting.extend(tickets)
            self._changed.notify_all()
            return tickets

    def put_back(self, tickets: Sequence[Ticket]) -> None:
        """Tickets whose worker was lost go to the front, whatever the size; also while closing."""
        with self._changed:
            self._waiting.extendleft(reversed([ticket for ticket in tickets if not ticket.future.done()]))
            self._changed.notify_all()

    def cancel(self, ticket: Ticket) -> None:
        """Nobody waits for this one any more."""
        with self._changed:
            ticket.abandoned = True
            ticket.future.cancel()  # without effect on one that is being judged
            if ticket in self._waiting:
                self._waiting.remove(ticket)

    def take(self) -> list[Ticket] | None:
        """The next batch, when there is one; None when the queue is closed and empty.

        A batch is this worker's share of what waits: clips are spread over the free workers before they are stacked.
        """
        with self._changed:
            self._takers += 1
            try:
                while not self._waiting:
                    if self._closed:
                        return None
                    self._changed.wait()
                full_by = self._waiting[0].queued + self._batch_wait_s
                while len(self._waiting) < self._max_batch and (left := full_by - time.monotonic()) > 0:
                    if self._closed:
                        break
                    self._changed.wait(left)
                share = -(-len(self._waiting) // self._takers)
                count = min(share, self._max_batch)
                batch = [self._waiting.popleft() for _ in range(count)]
            finally:
                self._takers -= 1
        # One that came back after a crash is running already.
        return [ticket for ticket in batch if ticket.future.running() or ticket.future.set_running_or_notify_cancel()]

    def clear(self) -> list[Ticket]:
        """Take everything out."""
        with self._changed:
            left = list(self._waiting)
            self._waiting.clear()
            return left

    def close(self) -> None:
        """No more clips; those that wait are still given out."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
