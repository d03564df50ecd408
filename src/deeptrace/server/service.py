"""What every shape of request goes through: clips made ready, scored, and the request's files gone afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

from fastapi import Request

from deeptrace.inference.executors.supervisor import ClosedError, FullError
from deeptrace.server.inputs import Inputs
from deeptrace.server.responses import RequestError, unless_gone
from deeptrace.server.schemas import ClipRef, ClipResult, Work
from deeptrace.server.scorer import Scorer
from deeptrace.server.scratch import Scratch
from deeptrace.server.settings import ServeSettings

__all__ = ["Service"]

Clips = list[Work | ClipResult]
MakeReady = Callable[[Path], Awaitable[Clips]]


class Service:
    """One server's way from clips to results.

    Args:
        settings: of the server.
        scorer: queue and workers that score clips.
        scratch: folder of clips while they are in work.
    """

    def __init__(self, settings: ServeSettings, scorer: Scorer, scratch: Scratch) -> None:
        self.settings, self.scorer, self._scratch = settings, scorer, scratch
        self.inputs = Inputs(settings)

    async def score_refs(
        self, request: Request, refs: Sequence[ClipRef], requested_s: float | None = None
    ) -> list[ClipResult]:
        """The result of each clip, in order; see `score`."""
        return await self.score(request, len(refs), lambda folder: self.inputs.ready(refs, folder), requested_s)

    async def score(
        self, request: Request, count: int, make_ready: MakeReady, requested_s: float | None = None
    ) -> list[ClipResult]:
        """The result of each of `count` clips that `make_ready` puts into the request's folder, in order.

        Raises:
            RequestError: too many clips, or no room for them, or the caller is gone.
        """
        self._check_count(count)
        with self._scratch.folder() as folder:
            return await unless_gone(request, self._scored(folder, make_ready, requested_s))

    async def score_body(self, request: Request, name: str, requested_s: float | None) -> ClipResult:
        """The result of the video file that is the request's body.

        Raises:
            RequestError: as `score`.
        """
        with self._scratch.folder() as folder:
            file = folder / "body"
            size = await self.inputs.receive(request.stream(), file)

            async def ready(_: Path) -> Clips:
                return [self.inputs.from_body(file, size, name)]

            (result,) = await self.score(request, 1, ready, requested_s)
            return result

    async def map(
        self, request: Request, make_ready: MakeReady, work_fields: dict[str, object], requested_s: float | None
    ) -> tuple[ClipResult, bytes | None]:
        """The result of one clip, and its dense map as an .npz, None when the clip could not be scored."""
        with self._scratch.folder() as folder:
            map_to = folder / "map.npz"

            async def mapped(at: Path) -> Clips:
                return [
                    replace(clip, map_to=str(map_to), **work_fields) if isinstance(clip, Work) else clip  # type: ignore[arg-type]
                    for clip in await make_ready(at)
                ]

            (result,) = await unless_gone(request, self._scored(folder, mapped, requested_s))
            if result.parts is None:
                return result, None
            return result, await asyncio.to_thread(map_to.read_bytes)

    async def _scored(self, folder: Path, make_ready: MakeReady, requested_s: float | None) -> list[ClipResult]:
        loop = asyncio.get_running_loop()
        until = loop.time() + self.scorer.deadline_s(requested_s)
        try:
            async with asyncio.timeout_at(until):
                clips = await make_ready(folder)
        except TimeoutError:
            raise RequestError(504, "timed_out", "the clips could not be fetched within the deadline") from None
        try:
            return await self.scorer.score(clips, until)
        except FullError:
            after_s = self.scorer.retry_after_s
            raise RequestError(429, "busy", "the queue has no room for these clips", retry_after_s=after_s) from None
        except ClosedError:
            raise RequestError(503, "draining", "the server is stopping", retry_after_s=5) from None

    def _check_count(self, count: int) -> None:
        # More clips than the queue holds would be asked to try again for ever.
        most = min(self.settings.limits.clips, self.settings.max_queue)
        if count > most:
            raise RequestError(413, "too_large", f"{count} clips are more than the limit of {most} a request")
