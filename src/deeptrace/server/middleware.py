"""What stands before every request: the key, the drain, the limits of bodies; and the count of what is in flight.

Plain ASGI, because nothing of a body may be read before it is known that it may come.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from deeptrace.server.auth import GuessLimit, KeyRing
from deeptrace.server.responses import RequestError, error_reply
from deeptrace.server.scorer import Scorer
from deeptrace.server.settings import ServeSettings

__all__ = ["OPEN_PATHS", "Middleware"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

OPEN_PATHS = frozenset({"/health", "/health/live", "/health/ready"})
"""What is answered without a key and while draining."""

_ROUTES = frozenset(
    {
        "/v1/score",
        "/v1/score/video",
        "/v1/score/upload",
        "/v1/dense",
        "/v1/dense/upload",
        "/score",
        "/compute",
    }
)
_DISCARD_BYTES, _DISCARD_S = 8 << 20, 2.0


class Middleware:
    """ASGI middleware.

    Args:
        app: the application behind it.
        settings: keys and limits.
        scorer: whose queue decides whether there is room.

    Attributes:
        draining: set to decline every further request for work.
        in_flight: requests for work that are being answered.
    """

    def __init__(self, app: App, settings: ServeSettings, scorer: Scorer) -> None:
        self._app, self._limits, self._scorer = app, settings.limits, scorer
        self._keys, self._guesses = KeyRing(settings.keys), GuessLimit()
        self._body_bytes = 0
        self.draining = False
        self.in_flight = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        route = scope["path"] if scope["path"] in _ROUTES else "other"
        with self._scorer.metrics.counting(route, send) as heard:
            if declined := self._declined(scope, headers):
                await _discard(receive, headers)
                await self._reply(declined, scope, receive, heard)
            else:
                await self._pass(scope, receive, heard)

    def _declined(self, scope: MutableMapping[str, Any], headers: dict[str, str]) -> tuple[int, str, str] | None:
        """Why a request is declined before its body is read."""
        address = _address(scope)
        if self._keys and (wait_s := self._guesses.wait_s(address)):
            return 429, "busy", f"too many wrong keys from this address: try again in {wait_s} s"
        if not self._keys.admits(headers.get("authorization", ""), headers.get("x-api-key", "")):
            self._guesses.wrong(address)
            return 401, "no_key", "this server needs an API key. Send it as `Authorization: Bearer KEY`."
        if scope["method"] != "POST":
            return None
        if self.draining:
            return 503, "draining", "the server is stopping"
        length = headers.get("content-length", "0")
        size = int(length) if length.isdigit() else 0
        if size > self._limits.request_bytes:
            return 413, "too_large", f"the request is larger than the limit of {self._limits.request_bytes} bytes"
        if self._scorer.is_full:
            return 429, "busy", "the queue is full"
        if self._body_bytes > self._limits.body_bytes:
            return 429, "busy", "too many bytes are being received"
        return None

    async def _pass(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        is_work = scope["method"] == "POST"
        body = _Body(self, receive)
        self.in_flight += is_work
        try:
            await self._app(scope, body, send)
        finally:
            self.in_flight -= is_work
            body.release()

    async def _reply(
        self, declined: tuple[int, str, str], scope: MutableMapping[str, Any], receive: Receive, send: Send
    ) -> None:
        status, code, line = declined
        after_s = self._scorer.retry_after_s if status in (429, 503) else None
        await error_reply(status, code, line, retry_after_s=after_s, close=True)(scope, receive, send)


class _Body:
    """A request's body on its way in: counted against its own limit and that of all, and not waited for for ever."""

    def __init__(self, middleware: Middleware, receive: Receive) -> None:
        self._middleware, self._receive = middleware, receive
        self._held, self._came = 0, 0
        self._until = time.monotonic() + middleware._limits.deadline_s
        self._complete = False

    async def __call__(self) -> Message:
        if self._complete:
            return await self._receive()
        try:
            async with asyncio.timeout(max(self._until - time.monotonic(), 0.0)):
                message = await self._receive()
        except TimeoutError:
            raise RequestError(408, "timed_out", "the request's body did not come within the deadline") from None
        self._complete = message["type"] != "http.request" or not message.get("more_body", False)
        self._count(len(message.get("body", b"")))
        return message

    def _count(self, size: int) -> None:
        limits = self._middleware._limits
        self._came += size
        if self._came > limits.request_bytes:
            raise RequestError(
                413, "too_large", f"the request is larger than the limit of {limits.request_bytes} bytes"
            )
        # What came counts, not what was stated: two callers that state much and send nothing must shut nobody out.
        self._middleware._body_bytes += size
        self._held = self._came
        if self._middleware._body_bytes > limits.body_bytes:
            after_s = self._middleware._scorer.retry_after_s
            raise RequestError(429, "busy", "too many bytes are being received", retry_after_s=after_s)

    def release(self) -> None:
        """The request is answered: its bytes are no longer held."""
        self._middleware._body_bytes -= self._held
        self._held = 0


def _address(scope: MutableMapping[str, Any]) -> str:
    client = scope.get("client")
    return str(client[0]) if client else "unknown"


async def _discard(receive: Receive, headers: dict[str, str]) -> None:
    """Read a small body that will not be used: closing on unread bytes can take the answer from the caller's hands."""
    length = headers.get("content-length", "0")
    if length.isdigit() and 0 < int(length) <= _DISCARD_BYTES and "expect" not in headers:
        try:
            async with asyncio.timeout(_DISCARD_S):
                while (message := await receive())["type"] == "http.request" and message.get("more_body", False):
                    pass
        except TimeoutError:
            return
