"""Run the server until it is told to stop, then let it finish what it has begun."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from deeptrace.errors import MissingExtraError, SettingsError
from deeptrace.studio.serve.settings import ServeSettings, is_loopback

if TYPE_CHECKING:
    from deeptrace.studio.serve.app import ScoreApi

__all__ = ["serve"]

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
        MissingExtraError: fastapi, uvicorn or one of their companions is not installed.
        SettingsError: the address cannot be listened at, or would be open to all.
        DeeptraceError: the detector cannot be loaded.
    """
    try:
        import uvicorn

        from deeptrace.studio.serve.app import ScoreApi
        from deeptrace.studio.serve.draining import DrainingServer
    except ImportError as error:
        raise MissingExtraError("deeptrace serve", "serve") from error
    if not settings.keys and not is_loopback(host) and not open_to_all:
        raise SettingsError(
            f"host {host}", "others can reach it, and there are no keys", "Give --api-keys FILE, or --open-to-all."
        )
    api = ScoreApi(settings)
    listener = _listen(host, port)
    try:
        api.start()
    except BaseException:
        listener.close()
        raise
    bound = listener.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    config = uvicorn.Config(
        api.asgi,
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


def _listen(host: str, port: int) -> socket.socket:
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
