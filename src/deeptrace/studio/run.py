"""Run a studio until it is asked to stop.

Raises MissingExtraError on import when fastapi, uvicorn, sqlalchemy or one of their companions is not installed.
"""

from __future__ import annotations

from collections.abc import Callable

from deeptrace.errors import MissingExtraError, SettingsError
from deeptrace.server.settings import is_loopback
from deeptrace.studio.settings import StudioSettings

try:
    import uvicorn

    from deeptrace.server.run import listen
    from deeptrace.studio.app import StudioApi
    from deeptrace.studio.workshop import Workshop
except ImportError as error:
    raise MissingExtraError("deeptrace studio", "studio") from error

__all__ = ["run_studio"]


def run_studio(
    settings: StudioSettings,
    *,
    host: str = "127.0.0.1",
    port: int = 7870,
    on_ready: Callable[[str], None] = lambda _url: None,
) -> None:
    """Serve until SIGTERM or SIGINT. Blocks.

    Args:
        settings: of the studio.
        host: address to listen at; one that only this machine can reach.
        port: to listen at; 0 for a free one.
        on_ready: called with the studio's URL once it answers.

    Raises:
        SettingsError: the address cannot be listened at, or others can reach it; the store cannot be used.
    """
    if not is_loopback(host):
        mend = "Listen at 127.0.0.1 and reach it through a tunnel: ssh -L 7870:127.0.0.1:7870 MACHINE."
        raise SettingsError(f"host {host}", "others can reach it, and a studio has no accounts yet", mend)
    listener = listen(host, port)
    try:
        api = StudioApi(Workshop(settings))
        config = uvicorn.Config(api.asgi, log_config=None, access_log=False, lifespan="on", timeout_graceful_shutdown=2)
        shown = f"[{host}]" if ":" in host else host
        _Server(config, lambda: on_ready(f"http://{shown}:{listener.getsockname()[1]}")).run(sockets=[listener])
    finally:
        listener.close()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        await super().startup(sockets)  # type: ignore[arg-type]
        if self.started:
            self._on_ready()
