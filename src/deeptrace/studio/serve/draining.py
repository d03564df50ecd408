"""A uvicorn server that goes on answering, with 503, while what is in flight is finished."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from types import FrameType

import uvicorn

from deeptrace.studio.serve.app import ScoreApi

__all__ = ["DrainingServer"]


class DrainingServer(uvicorn.Server):
    """Uvicorn closes its socket on the first signal; callers then see refused connections instead of 503.

    Args:
        config: of uvicorn.
        api: whose work in flight is waited for.
        on_ready: called when it accepts connections.
    """

    def __init__(self, config: uvicorn.Config, api: ScoreApi, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._api, self._on_ready = api, on_ready
        self._drain_until: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """The first signal starts the drain, the second one ends it."""
        if self._drain_until is not None:
            self.should_exit = True
            return
        self._api.gate.draining = True
        self._drain_until = time.monotonic() + self._api.settings.drain_s

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second; True ends the server."""
        if self._drain_until is not None and (self._api.gate.in_flight == 0 or time.monotonic() > self._drain_until):
            await asyncio.sleep(0.1)  # answers that were just finished are still being sent
            self.should_exit = True
        return await super().on_tick(counter)
