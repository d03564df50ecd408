"""What stands before every request to a studio without accounts: only this machine's own pages may ask.

A page of another site can send requests to 127.0.0.1 with its reader's browser, or have its own name point there. So
the `Host` has to be a name of this machine, and what changes something has to carry a header that only our own script
sends (another site's would need a permission that is never given), and must not come from another origin.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from deeptrace.server.responses import RequestError, error_reply
from deeptrace.server.settings import Limits, is_loopback

__all__ = ["HEADER", "POLICY", "Guard"]

HEADER = "x-deeptrace-studio"
JSON_BYTES = 16 << 20
UPLOADS = "/api/uploads"
_BODY_S = 600.0

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Guard:
    """ASGI middleware; see the module.

    Args:
        app: the application behind it.
        limits: `request_bytes` bounds uploads; other bodies are bounded by `JSON_BYTES`.
    """

    def __init__(self, app: Any, limits: Limits) -> None:
        self._app, self._limits = app, limits

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {name.lower() for name, _ in message["headers"]}
                more = [(name.encode(), text.encode()) for name, text in _HEADERS.items() if name.encode() not in there]
                message["headers"] = [*message["headers"], *more]
            await send(message)

        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        most = self._limits.request_bytes if scope["path"] == UPLOADS else JSON_BYTES
        declined = _declined(scope["method"], headers, most)
        if declined is not None:
            await error_reply(*declined, close=True)(scope, receive, secured)
            return
        body = _Body(receive, most)
        await self._app(scope, body, secured)


def _declined(method: str, headers: dict[str, str], most: int) -> tuple[int, str, str] | None:
    host = _split(f"//{headers.get('host', '')}").hostname or ""
    if not is_loopback(host):
        return 403, "bad_request", f"this studio answers only as 127.0.0.1 or localhost, not as {host[:100]!r}"
    if method in ("GET", "HEAD"):
        return None
    origin = headers.get("origin")
    if headers.get(HEADER) != "1" or (origin is not None and _split(origin).netloc != headers.get("host")):
        return 403, "bad_request", "this request does not come from the studio's own page"
    length = headers.get("content-length", "0")
    if length.isdigit() and int(length) > most:
        return 413, "too_large", f"the request is larger than the limit of {most} bytes"
    return None


def _split(address: str) -> SplitResult:
    """The parts of an address; of one that makes no sense ("[") there are none."""
    try:
        return urlsplit(address)
    except ValueError:
        return SplitResult("", "", "", "", "")


class _Body:
    """A request's body on its way in, counted."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive, self._most, self._came, self._complete = receive, most, 0, False

    async def __call__(self) -> Message:
        if self._complete:
            return await self._receive()
        try:
            async with asyncio.timeout(_BODY_S):
                message = await self._receive()
        except TimeoutError:
            raise RequestError(408, "timed_out", "the request's body did not come") from None
        self._complete = message["type"] != "http.request" or not message.get("more_body", False)
        self._came += len(message.get("body", b""))
        if self._came > self._most:
            raise RequestError(413, "too_large", f"the request is larger than the limit of {self._most} bytes")
        return message
