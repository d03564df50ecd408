"""Clips behind URLs, without becoming anybody's way into the local network.

Only hosts on the list, only http and https, only addresses that were checked: the connection goes to the address that
was looked up and found acceptable, so that a name cannot point elsewhere a moment later. Redirects are followed by
hand, each hop checked like the first. No proxy of the environment is used. The size is counted while it streams.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deeptrace.errors import DeeptraceError, MissingExtraError
from deeptrace.net.retry import RETRIED, Retries, TransientError, retry_after_s
from deeptrace.server.schemas import Reason

if TYPE_CHECKING:
    import httpx

__all__ = ["FetchError", "Fetcher"]

_HOPS = 4
_RETRIES = Retries(attempts=3, most_asked_s=5.0)
_PORTS = {"http": 80, "https": 443}
# Translations of IPv4 addresses: the IPv6 address does not show what is behind it.
_TUNNELS = [ipaddress.ip_network(net) for net in ("64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16")]


class FetchError(DeeptraceError):
    """A clip could not be fetched; `reason` says which kind of why."""

    def __init__(self, url: str, problem: str, reason: Reason) -> None:
        super().__init__(url, problem)
        self.reason = reason


@dataclass(frozen=True)
class _Target:
    url: httpx.URL
    address: str


class Fetcher:
    """Fetches from listed hosts; an async context manager.

    Args:
        hosts: `HOST` (default ports), `HOST:PORT` or `*.DOMAIN` (any name below it).
        private_addresses: whether addresses of the local network are acceptable for them.
        most_bytes: of one clip.

    Raises:
        MissingExtraError: httpx is not installed.
    """

    def __init__(self, hosts: Sequence[str], *, private_addresses: bool, most_bytes: int) -> None:
        try:
            import httpx
        except ImportError as error:
            raise MissingExtraError("deeptrace serve", "serve") from error
        self._hosts = tuple(host.lower() for host in hosts)
        self._private, self._most_bytes = private_addresses, most_bytes
        self._http = httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=httpx.Timeout(20.0))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def fetch(self, url: str, to: Path) -> None:
        """Write what is at `url` to `to`.

        Raises:
            FetchError: it may not be fetched, is not there, is too large or does not come.
        """
        try:
            async for attempt in _RETRIES.attempting():
                with attempt:
                    await self._fetch(url, to)
        except TransientError as error:
            raise FetchError(url, error.why, Reason.NOT_FOUND) from None

    async def _fetch(self, url: str, to: Path) -> None:
        """One try of `fetch`."""
        import httpx

        at = url
        try:
            for _ in range(_HOPS):
                target = await self._checked(url, at)
                onward = await self._get(url, target, to)
                if onward is None:
                    return
                at = onward
        except httpx.HTTPError as error:
            what = f"{type(error).__name__} {error}".rstrip()[:200]
            raise TransientError(f"could not be fetched ({what})") from None
        raise FetchError(url, f"redirects more than {_HOPS - 1} times", Reason.NOT_FOUND)

    async def _checked(self, url: str, at: str) -> _Target:
        """`at`, with an address that may be connected to."""
        import httpx

        try:
            parsed = httpx.URL(at)
        except (httpx.InvalidURL, ValueError):
            raise FetchError(url, "is not a URL", Reason.NOT_ALLOWED) from None
        host, port = parsed.host.lower(), parsed.port or _PORTS.get(parsed.scheme, 0)
        if parsed.scheme not in _PORTS or not host:
            raise FetchError(url, "expected an http or https URL", Reason.NOT_ALLOWED)
        if not self._is_listed(host, port, _PORTS[parsed.scheme]):
            raise FetchError(url, f"{host}:{port} is not a host that this server fetches from", Reason.NOT_ALLOWED)
        if parsed.userinfo:
            raise FetchError(url, "has a user name in it", Reason.NOT_ALLOWED)
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise FetchError(url, f"{host} has no address", Reason.NOT_FOUND) from None
        addresses = [str(entry[4][0]) for entry in found]
        if bad := [address for address in addresses if not _acceptable(address, private=self._private)]:
            raise FetchError(url, f"{host} has the address {bad[0]}, which is not public", Reason.NOT_ALLOWED)
        return _Target(parsed, addresses[0])

    def _is_listed(self, host: str, port: int, usual: int) -> bool:
        for entry in self._hosts:
            name, stated = _split(entry)
            if port != (int(stated) if stated else usual):
                continue
            if host == name or (name.startswith("*.") and host.endswith(name[1:])):
                return True
        return False

    async def _get(self, url: str, target: _Target, to: Path) -> str | None:
        """Write the body, or say where it is redirected to."""
        request = self._http.build_request(
            "GET",
            target.url.copy_with(host=target.address),
            # Not compressed: what is counted is what is written.
            headers={"Host": target.url.netloc.decode("ascii"), "Accept-Encoding": "identity"},
            extensions={"sni_hostname": target.url.host, "timeout": self._http.timeout.as_dict()},
        )
        response = await self._http.send(request, stream=True)
        try:
            if response.is_redirect:
                return str(target.url.join(response.headers["location"]))
            status = response.status_code
            if status in RETRIED:
                wait_s = retry_after_s(response.headers.get("retry-after"))
                raise TransientError(f"its server says HTTP {status}", wait_s)
            if status != 200:
                raise FetchError(url, f"its server says HTTP {status}", Reason.NOT_FOUND)
            await self._write(url, response, to)
            return None
        finally:
            await response.aclose()

    async def _write(self, url: str, response: httpx.Response, to: Path) -> None:
        count = 0
        with to.open("wb") as file:
            async for chunk in response.aiter_raw():
                count += len(chunk)
                if count > self._most_bytes:
                    what = f"is larger than the limit of {self._most_bytes} bytes"
                    raise FetchError(url, what, Reason.TOO_LARGE)
                file.write(chunk)


def _split(entry: str) -> tuple[str, str]:
    """Name and port of a listed host; the port empty when none is given. IPv6 addresses stand in brackets."""
    name, colon, port = entry.rpartition(":")
    if not colon or not port.isdigit():
        name, port = entry, ""
    return name.removeprefix("[").removesuffix("]"), port


def _acceptable(address: str, *, private: bool) -> bool:
    """Whether a connection may go there: public addresses, and those of the local network where that is wanted.

    Link-local ones, where clouds keep their credentials, are never acceptable.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif any(ip in net for net in _TUNNELS):
            return False
    if ip.is_link_local or ip.is_multicast or ip.is_unspecified or (ip.is_reserved and not ip.is_loopback):
        return False
    return ip.is_global or (private and (ip.is_private or ip.is_loopback))
