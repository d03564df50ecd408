"""Between HTTP and the workers: clips in, results out, in order, within the deadline, counted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from deeptrace.inference.executors.supervisor import Supervisor, Ticket
from deeptrace.inference.executors.worker import WorkerSpec
from deeptrace.schema import DetectorInfo, Outcome
from deeptrace.server.metrics import Metrics
from deeptrace.server.schemas import ClipResult, Work, reason_of
from deeptrace.server.settings import ServeSettings

__all__ = ["Scorer"]


class Scorer:
    """Workers and metrics of one server.

    Args:
        settings: of the server.

    Attributes:
        metrics: of the server.
        supervisor: the workers, and the queue before them.

    Raises:
        DeeptraceError: from `start`, when the detector cannot be loaded.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self._settings = settings
        self.metrics = Metrics()
        self.supervisor: Supervisor[ClipResult] = Supervisor(
            WorkerSpec(
                settings.detector,
                dict(settings.detector_settings),
                handler="deeptrace.server.worker:WorkHandler",
                options=settings.limits,
            ),
            workers=settings.workers,
            timeout_s=settings.limits.clip_s,
            queue_size=settings.max_queue,
            eager=True,
            read=lambda _ticket, message, _blobs: ClipResult.model_validate(message),
            lost=_lost,
            watcher=self.metrics,
        )
        self.info: DetectorInfo | None = None
        self._mean_s = 1.0
        self.metrics.watch("queue_depth", "Clips that wait.", lambda: self.supervisor.depth)
        self.metrics.watch("workers_ready", "Workers ready for a clip.", lambda: self.supervisor.ready)
        self.metrics.watch("workers_busy", "Workers busy with a clip.", lambda: self.supervisor.busy)

    def start(self) -> None:
        """Load the detector; returns when one worker is ready."""
        self.info = self.supervisor.start().info

    def close(self) -> None:
        """End the workers."""
        self.supervisor.close()

    @property
    def is_full(self) -> bool:
        """Whether not one more clip may come."""
        return self.supervisor.depth >= self._settings.max_queue

    @property
    def retry_after_s(self) -> int:
        """When a request that found the queue full had better come again: when half of it is done."""
        seconds = self._mean_s * (self.supervisor.depth / 2 + 1) / max(self._settings.workers, 1)
        return min(max(round(seconds), 1), 60)

    def deadline_s(self, requested_s: float | None) -> float:
        """What a request may take."""
        return min(requested_s or self._settings.limits.deadline_s, self._settings.limits.deadline_s)

    async def score(self, clips: Sequence[Work | ClipResult], until: float) -> list[ClipResult]:
        """The result of each clip, in order. One that is a result already stays it.

        Clips that are not done by `until` (the event loop's time) are answered as failed. When this is cancelled, so
        are the clips.

        Raises:
            FullError, ClosedError: none of the clips was taken.
        """
        tickets: list[Ticket[ClipResult]] = [
            Ticket(clip.name, {"work": clip.as_json()}) for clip in clips if isinstance(clip, Work)
        ]
        self.supervisor.submit(tickets)
        try:
            await self._wait(tickets, until)
        finally:
            for ticket in tickets:
                if not ticket.future.done():
                    self.supervisor.cancel(ticket)
        answers = iter(tickets)
        return [self._counted(_answer(next(answers)) if isinstance(clip, Work) else clip) for clip in clips]

    async def _wait(self, tickets: Sequence[Ticket[ClipResult]], until: float) -> None:
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


def _answer(ticket: Ticket[ClipResult]) -> ClipResult:
    if ticket.future.done() and not ticket.future.cancelled():
        return ticket.future.result()
    return _lost(ticket, Outcome.TIMED_OUT, "was not finished within the request's deadline")


def _lost(ticket: Ticket[ClipResult], outcome: Outcome, why: str) -> ClipResult:
    """The result of a clip that no worker answered."""
    return ClipResult.without_reward(ticket.name, outcome, reason_of(outcome), why)
