"""Run the server until it is asked to stop, then let it finish what it has begun.

Raises MissingExtraError on import when fastapi, uvicorn or one of their companions is not installed.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from types import FrameType

from deeptrace.errors import MissingExtraError, SettingsError
from deeptrace.server.settings import ServeSettings, is_loopback

try:
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol

    from deeptrace.server.app import ScoreApi
except ImportError as error:
    raise MissingExtraError("deeptrace serve", "serve") from error

__all__ = ["listen", "serve"]

_CONNECTIONS = 2048


def serve(
    settings: ServeSettings,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    open_to_all: bool = False,
    on_ready: Callable[[str, ScoreApi], None] = lambda _url, _api: None,
) -> None:
    """Serve until SIGTERM or SIGINT. Blocks.

    On the first signal new work is declined with 503 and what is in flight is finished, for at most
    `settings.drain_s`; a second signal ends it at once.

    Args:
        settings: of the server.
        host: address to listen at.
        port: to listen at; 0 for a free one.
        open_to_all: listen beyond this machine without keys.
        on_ready: called with the server's URL and the application once a worker is ready.

    Raises:
        SettingsError: the address cannot be listened at, or would be open to all.
        DeeptraceError: the detector cannot be loaded.
    """
    if not settings.keys and not is_loopback(host) and not open_to_all:
        raise SettingsError(
            f"host {host}", "others can reach it, and there are no keys", "Give --api-keys FILE, or --open-to-all."
        )
    api = ScoreApi(settings)
    listener = listen(host, port)
    try:
        api.start()
    except BaseException:
        listener.close()
        raise
    bound = listener.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    config = uvicorn.Config(
        api.asgi,
        http=_PatientProtocol,
        log_config=None,
        access_log=False,
        lifespan="on",
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=2,
    )
    server = DrainingServer(config, api, lambda: on_ready(f"http://{shown}:{bound}", api))
    try:
        server.run(sockets=[listener])
    finally:
        listener.close()
        api.close()


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        SettingsError: the address cannot be listened at.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_CONNECTIONS)
        listener.set_inheritable(False)
    except (OSError, OverflowError) as error:
        raise SettingsError(f"{host}:{port}", f"cannot be listened at ({error})") from None
    return listener


HEAD_S = 30.0
"""How long a caller may take to send the head of a request."""


class _PatientProtocol(H11Protocol):
    """HTTP/1.1 that hangs up on callers who do not finish the head of a request; uvicorn waits for ever."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._unwatch()
        elif self._timer is None:
            self._timer = self.loop.call_later(HEAD_S, self._late)

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


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
        self._api.middleware.draining = True
        self._drain_until = time.monotonic() + self._api.settings.drain_s

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second; True ends the server."""
        if self._drain_until is not None and (
            self._api.middleware.in_flight == 0 or time.monotonic() > self._drain_until
        ):
            await asyncio.sleep(0.1)  # answers that were just finished are still being sent
            self.should_exit = True
        return await super().on_tick(counter)
