"""What every shape of request goes through: clips made ready, scored, and the request's files gone afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

from fastapi import Request

from deeptrace.studio.serve.inputs import Inputs
from deeptrace.studio.serve.queue import QueueClosedError, QueueFullError
from deeptrace.studio.serve.replies import RequestError, unless_gone
from deeptrace.studio.serve.schemas import ClipRef, ClipResult, Work
from deeptrace.studio.serve.scorer import Scorer
from deeptrace.studio.serve.settings import ServeSettings
from deeptrace.studio.serve.spool import Spool

__all__ = ["Desk"]

Clips = list[Work | ClipResult]
MakeReady = Callable[[Path], Awaitable[Clips]]


class Desk:
    """One server's way from clips to results.

    Args:
        settings: of the server.
        scorer: who scores.
        spool: where clips lie meanwhile.
    """

    def __init__(self, settings: ServeSettings, scorer: Scorer, spool: Spool) -> None:
        self.settings, self.scorer, self._spool = settings, scorer, spool
        self.inputs = Inputs(settings)

    async def score_refs(
        self, request: Request, refs: Sequence[ClipRef], wished_s: float | None = None
    ) -> list[ClipResult]:
        """The result of each clip, in order; see `score`."""
        return await self.score(request, len(refs), lambda folder: self.inputs.ready(refs, folder), wished_s)

    async def score(
        self, request: Request, count: int, make_ready: MakeReady, wished_s: float | None = None
    ) -> list[ClipResult]:
        """The result of each of `count` clips that `make_ready` puts into the request's folder, in order.

        Raises:
            RequestError: too many clips, or no room for them, or the caller is gone.
        """
        self._check_count(count)
        with self._spool.folder() as folder:
            return await unless_gone(request, self._scored(folder, make_ready, wished_s))

    async def map(
        self, request: Request, make_ready: MakeReady, work_fields: dict[str, object], wished_s: float | None
    ) -> tuple[ClipResult, bytes | None]:
        """The result of one clip, and its dense map as an .npz, None when the clip could not be scored."""
        with self._spool.folder() as folder:
            map_to = folder / "map.npz"

            async def mapped(at: Path) -> Clips:
                return [
                    replace(clip, map_to=str(map_to), **work_fields) if isinstance(clip, Work) else clip  # type: ignore[arg-type]
                    for clip in await make_ready(at)
                ]

            (result,) = await unless_gone(request, self._scored(folder, mapped, wished_s))
            if result.parts is None:
                return result, None
            return result, await asyncio.to_thread(map_to.read_bytes)

    async def _scored(self, folder: Path, make_ready: MakeReady, wished_s: float | None) -> list[ClipResult]:
        loop = asyncio.get_running_loop()
        until = loop.time() + self.scorer.deadline_s(wished_s)
        try:
            async with asyncio.timeout_at(until):
                clips = await make_ready(folder)
        except TimeoutError:
            raise RequestError(504, "timed_out", "the clips could not be fetched within the deadline") from None
        try:
            return await self.scorer.score(clips, until)
        except QueueFullError:
            after_s = self.scorer.retry_after_s
            raise RequestError(429, "busy", "the queue has no room for these clips", retry_after_s=after_s) from None
        except QueueClosedError:
            raise RequestError(503, "draining", "the server is stopping", retry_after_s=5) from None

    def _check_count(self, count: int) -> None:
        # More than the queue holds would be told to come again for ever.
        most = min(self.settings.limits.clips, self.settings.max_queue)
        if count > most:
            raise RequestError(413, "too_large", f"{count} clips are more than the limit of {most} a request")
