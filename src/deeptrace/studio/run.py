"""Run a studio until it is asked to stop.

Raises MissingExtraError on import when fastapi, uvicorn, sqlalchemy or one of their companions is not installed.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deeptrace.detectors import check_detector
from deeptrace.errors import MissingExtraError, SettingsError, UnknownDetectorError
from deeptrace.server.settings import is_loopback
from deeptrace.studio.settings import StudioSettings

try:
    import uvicorn

    from deeptrace.server.run import listen
    from deeptrace.studio.app import StudioApi
    from deeptrace.studio.workshop import Workshop
except ImportError as error:
    raise MissingExtraError("deeptrace studio", "studio") from error

__all__ = ["Reach", "run_studio"]


@dataclass(frozen=True)
class Reach:
    """How people on other machines reach a studio.

    Attributes:
        certificate: PEM file, to speak TLS.
        key: PEM file of its key, where that is another file.
        proxies: addresses or networks of what stands in front; its X-Forwarded-For and X-Forwarded-Proto are believed.
        plain: whether passwords may cross the network unprotected.
    """

    certificate: Path | None = None
    key: Path | None = None
    proxies: tuple[str, ...] = ()
    plain: bool = False


def run_studio(
    settings: StudioSettings,
    *,
    host: str = "127.0.0.1",
    port: int = 7870,
    reach: Reach = Reach(),
    on_ready: Callable[[str], None] = lambda _url: None,
) -> None:
    """Serve until SIGTERM or SIGINT. Blocks.

    Args:
        settings: of the studio.
        host: address to listen at; beyond this machine people have to log in.
        port: to listen at; 0 for a free one.
        reach: how they reach it from elsewhere.
        on_ready: called with the studio's URL once it answers.

    Raises:
        UnknownDetectorError, MissingExtraError, ModelError: as `check_detector`.
        SettingsError: the detector does not take its settings, the address cannot be listened at, passwords would go
            over the net in plain text, there is no account of an admin though there have to be accounts, or the store
            cannot be used.
    """
    _check_detector("--detector", settings.detector, settings.detector_settings)
    if not is_loopback(host):
        if not (reach.certificate or reach.proxies or reach.plain):
            mend = (
                "Give --tls-cert and --tls-key; or --proxy ADDRESS of what speaks TLS in front of it; or --plain-http "
                "where nobody can listen in. Alone, use a tunnel: ssh -L 7870:127.0.0.1:7870 MACHINE."
            )
            raise SettingsError(f"host {host}", "passwords would go over the network in plain text", mend)
        settings = replace(settings, accounts=True)
    for proxy in reach.proxies:
        try:
            ipaddress.ip_network(proxy)
        except ValueError:
            raise SettingsError(f"proxy {proxy}", "expected an IP address or a network such as 10.0.0.0/8") from None
    for file in filter(None, (reach.certificate, reach.key)):
        if not file.is_file():
            raise SettingsError(str(file), "is not a file")
    listener = listen(host, port)
    try:
        api = StudioApi(Workshop(settings))
        config = uvicorn.Config(
            api.asgi,
            log_config=None,
            access_log=False,
            lifespan="on",
            timeout_graceful_shutdown=2,
            # Pages ask every five seconds; a connection that ended just then would lose what was sent on it.
            timeout_keep_alive=75,
            # What others say of a caller's address and scheme is believed of named proxies only.
            proxy_headers=bool(reach.proxies),
            forwarded_allow_ips=list(reach.proxies),
            ssl_certfile=reach.certificate,
            ssl_keyfile=reach.key,
        )
        shown = f"[{host}]" if ":" in host else host
        scheme = "https" if reach.certificate else "http"
        _Server(config, lambda: on_ready(f"{scheme}://{shown}:{listener.getsockname()[1]}")).run(sockets=[listener])
    except ssl.SSLError as error:
        line = f"cannot be used with its key ({error.reason or 'no PEM file of a certificate'})"
        raise SettingsError(str(reach.certificate), line, "Both are PEM files; --tls-key names the key.") from None
    finally:
        listener.close()


def _check_detector(option: str, name: str, settings: Mapping[str, Any]) -> None:
    """See `check_detector`; a name that nothing has is reported with the option that it was given to."""
    try:
        check_detector(name, settings)
    except UnknownDetectorError as error:
        raise UnknownDetectorError(f"{option} {name}", error.problem, error.mend) from None


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        await super().startup(sockets)  # type: ignore[arg-type]
        if self.started:
            self._on_ready()
