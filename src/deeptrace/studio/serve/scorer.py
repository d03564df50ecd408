"""Between HTTP and the workers: clips in, results out, in order, within the deadline, counted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from deeptrace.studio.serve.metrics import Metrics
from deeptrace.studio.serve.queue import ClipQueue, Ticket
from deeptrace.studio.serve.schemas import ClipResult, Reason, Work
from deeptrace.studio.serve.settings import ServeSettings
from deeptrace.studio.serve.workers import Crew, failed
from deeptrace.trace import DetectorInfo

__all__ = ["Scorer"]


class Scorer:
    """Queue, workers and metrics of one server.

    Args:
        settings: of the server.

    Attributes:
        metrics: of the server.
        queue: where clips wait.
        crew: who judges them.

    Raises:
        DeeptraceError: from `start`, when the detector cannot be loaded.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self._settings = settings
        self.metrics = Metrics()
        self.queue = ClipQueue(settings.max_queue, max_batch=settings.max_batch, batch_wait_s=settings.batch_wait_s)
        self.crew = Crew(settings, self.queue, self.metrics)
        self.info: DetectorInfo | None = None
        self._mean_s = 1.0
        self.metrics.watch("queue_depth", "Clips that wait.", lambda: self.queue.depth)
        self.metrics.watch("workers_ready", "Workers that could judge a clip.", lambda: self.crew.ready)
        self.metrics.watch("workers_busy", "Workers that judge one.", lambda: self.crew.busy)

    def start(self) -> None:
        """Load the detector; returns when one worker is ready."""
        self.info = self.crew.start()

    def close(self) -> None:
        """End the workers."""
        self.crew.close()

    @property
    def retry_after_s(self) -> int:
        """When a request that found the queue full had better come again: when half of it is done."""
        seconds = self._mean_s * (self.queue.depth / 2 + 1) / max(self._settings.workers, 1)
        return min(max(round(seconds), 1), 60)

    def deadline_s(self, wished: float | None) -> float:
        """What a request may take."""
        return min(wished or self._settings.limits.deadline_s, self._settings.limits.deadline_s)

    async def score(self, clips: Sequence[Work | ClipResult], until: float) -> list[ClipResult]:
        """The result of each clip, in order. One that is a result already stays it.

        Clips that are not done by `until` (the event loop's time) are answered as failed. When this is cancelled, so
        are the clips.

        Raises:
            QueueFullError, QueueClosedError: none of the clips was taken.
        """
        tickets = self.queue.put([clip for clip in clips if isinstance(clip, Work)])
        try:
            await self._wait(tickets, until)
        finally:
            for ticket in tickets:
                if not ticket.future.done():
                    self.queue.cancel(ticket)
        answers = iter(tickets)
        return [self._counted(_answer(next(answers)) if isinstance(clip, Work) else clip) for clip in clips]

    async def _wait(self, tickets: Sequence[Ticket], until: float) -> None:
        # Watched through futures of the loop's own: cancelling those would look like cancelling work that goes on.
        loop = asyncio.get_running_loop()
        done = asyncio.Event()
        left = len(tickets)

        def one_done() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                done.set()

        for ticket in tickets:
            ticket.future.add_done_callback(lambda _: _tell(loop, one_done))
        if not tickets:
            return
        try:
            async with asyncio.timeout_at(until):
                await done.wait()
        except TimeoutError:
            return

    def _counted(self, result: ClipResult) -> ClipResult:
        self.metrics.clip(result.outcome.value, result.reason or "", result.elapsed_s)
        if result.elapsed_s is not None:
            self._mean_s += 0.1 * (result.elapsed_s - self._mean_s)
        return result


def _tell(loop: asyncio.AbstractEventLoop, what: object) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(what)  # type: ignore[arg-type]


def _answer(ticket: Ticket) -> ClipResult:
    if ticket.future.done() and not ticket.future.cancelled():
        return ticket.future.result()
    return failed(ticket, Reason.TIMED_OUT, "was not done within the request's deadline")
