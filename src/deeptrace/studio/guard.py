"""What stands before every request to a studio: only its own pages may ask; and where there are accounts only people
who are logged in, for what their role may do.

A page of another site can send requests to 127.0.0.1 with its reader's browser, or have its own name point there. So
the `Host` has to be a name of this machine, and what changes something (logging in is such a thing) has to carry a
header that only our own script sends (another site's would need a permission that is never given), and must not come
from another origin. The cookie of a session is not sent along by other sites either, and no script can read it.

All of this is decided before anything of a body is read.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from fastapi.responses import JSONResponse
from starlette.requests import cookie_parser

from deeptrace.server.metrics import RequestMetrics
from deeptrace.server.responses import RequestError, error_reply
from deeptrace.server.settings import Limits, is_loopback
from deeptrace.studio.accounts import Accounts, Person, Role, neighbourhood
from deeptrace.studio.permissions import METRICS, ROUTES, Rule, route_of
from deeptrace.studio.rates import Rates

__all__ = [
    "HEADER",
    "LOG_IN_COOKIE",
    "POLICY",
    "SESSION_COOKIE",
    "Guard",
    "address_of",
    "cookie_name",
    "cookie_of",
    "refusal",
    "token_of",
]

HEADER = "x-deeptrace-studio"
SESSION_COOKIE, LOG_IN_COOKIE = "deeptrace-studio", "deeptrace-studio-log-in"
JSON_BYTES = 16 << 20
LOG_IN, LOG_IN_BYTES = "/api/session", 64 << 10
UPLOADS = "/api/uploads"
_BODY_S = 600.0
_FILES = ("/media", ".jpg", ".mp4")
"""What pictures and pieces of videos end in, of which a page asks for many at once."""

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
    """ASGI middleware; see the module. Routes find who asks as `request.state.person`.

    Args:
        app: the application behind it.
        limits: `request_bytes` bounds uploads; other bodies are bounded by `JSON_BYTES`.
        accounts: who may ask; None for everybody who can reach it, under the name `author`.
        author: name that answers and annotations carry without accounts.
        names: host names that people reach it by, beyond those of this machine.
        metrics: which count what is answered.
        open_metrics: whether programs of this machine may read them without a log-in.
        rates: how often somebody may ask; None for as often as they like.
    """

    def __init__(
        self,
        app: Any,
        limits: Limits,
        *,
        accounts: Accounts | None,
        author: str,
        metrics: RequestMetrics,
        names: Collection[str] = (),
        open_metrics: bool = False,
        rates: Rates | None = None,
    ) -> None:
        self._app, self._limits, self._accounts = app, limits, accounts
        self._metrics, self._open_metrics, self._rates = metrics, open_metrics, rates
        self._everybody = Person(author, Role.ADMIN)
        self._names = frozenset(name.lower() for name in names)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        route = route_of(scope["method"], scope["path"])
        with self._metrics.counting(route or "other", send) as heard:
            await self._guarded(scope, receive, heard, route)

    async def _guarded(self, scope: MutableMapping[str, Any], receive: Receive, send: Send, route: str | None) -> None:
        """Answer, or decline to."""
        status = 0

        async def secured(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                there = {name.lower() for name, _ in message["headers"]}
                wanted = _HEADERS | ({"cache-control": "no-store"} if scope["path"].startswith("/api/") else {})
                more = [(name.encode(), text.encode()) for name, text in wanted.items() if name.encode() not in there]
                message["headers"] = [*message["headers"], *more]
            await send(message)

        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        most = {UPLOADS: self._limits.request_bytes, LOG_IN: LOG_IN_BYTES}.get(scope["path"], JSON_BYTES)
        declined = self._declined(scope["method"], headers, most)
        if declined is not None:
            await error_reply(*declined, close=True)(scope, receive, secured)
            return
        body = _Body(receive, most)
        state = scope.setdefault("state", {})
        if self._accounts is None:
            state["person"] = self._everybody
            await self._app(scope, body, secured)
            return
        rule = None if route is None else ROUTES[route]
        refused = await self._refused(self._accounts, rule, scope)
        if refused is not None:
            await refused(scope, receive, secured)
            return
        try:
            await self._app(scope, body, secured)
        finally:
            if rule is not None and rule.did and status < 400:
                did = f"{rule.did}: {state['detail']}" if state.get("detail") else rule.did
                await asyncio.to_thread(self._accounts.note, state["person"].name, did, address_of(scope))

    async def _refused(self, accounts: Accounts, rule: Rule | None, scope: MutableMapping[str, Any]) -> Any:
        """The answer to somebody who may not ask this; None for everybody else, whom it finds."""
        person = await self._person(accounts, rule, scope)
        # Those who are refused count, too: each refusal of somebody's role is written down.
        if (too_often := await self._too_often(scope)) is not None:
            return too_often
        if rule is None:
            return refusal(404, "not_found", f"{scope['method']} {scope['path']}: Not Found")
        if (least := self._least(rule, scope)) is None:
            return None
        if person is None:
            return refusal(401, "log_in", "log in first: there is no session, or it has ended")
        if person.role.includes(least):
            return None
        did = f"was not let to {scope['method']} {scope['path'][:200]}"
        await asyncio.to_thread(accounts.note, person.name, did, address_of(scope))
        return refusal(403, "forbidden", f"this is for {least.value}s; {person.name} is {person.role.value}")

    def _least(self, rule: Rule, scope: MutableMapping[str, Any]) -> Role | None:
        """The role that a request needs; None where nobody has to log in for it."""
        open_ = scope["path"] == METRICS and self._open_metrics and _is_of_this_machine(scope)
        return None if open_ else rule.least

    async def _person(self, accounts: Accounts, rule: Rule | None, scope: MutableMapping[str, Any]) -> Person | None:
        """Who is logged in, where a route is for such people; its state knows them from now on."""
        token = None if rule is None or self._least(rule, scope) is None else token_of(scope)
        person = await asyncio.to_thread(accounts.person_of, token) if token else None
        if person is not None:
            scope["state"]["person"] = person
        return person

    async def _too_often(self, scope: MutableMapping[str, Any]) -> Any:
        """The answer to somebody who asks too often; None for everybody else. Without accounts nobody does."""
        if self._rates is None:
            return None
        person = scope["state"].get("person")
        whose = f"address {neighbourhood(address_of(scope))}" if person is None else f"account {person.id}"
        file = scope["method"] in ("GET", "HEAD") and (
            not scope["path"].startswith("/api/") or scope["path"].endswith(_FILES)
        )
        wait_s = await asyncio.to_thread(self._rates.wait_s, whose, file=file)
        if not wait_s:
            return None
        line = f"too many requests within a minute: try again in {wait_s} s"
        return refusal(429, "busy", line, wait_s=wait_s)

    def _declined(self, method: str, headers: dict[str, str], most: int) -> tuple[int, str, str] | None:
        host = _split(f"//{headers.get('host', '')}").hostname or ""
        if not (is_loopback(host) or (self._accounts is not None and self._is_ours(host))):
            names = ", ".join(("127.0.0.1 or localhost", *sorted(self._names)))
            return 403, "bad_request", f"this studio answers only as {names}, not as {host[:100]!r}"
        if method in ("GET", "HEAD"):
            return None
        origin = headers.get("origin")
        if headers.get(HEADER) != "1" or (origin is not None and _split(origin).netloc != headers.get("host")):
            return 403, "bad_request", "this request does not come from the studio's own page"
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > most:
            return 413, "too_large", f"the request is larger than the limit of {most} bytes"
        return None

    def _is_ours(self, host: str) -> bool:
        """Whether a name may be this studio's. No other site's name can be a number, whatever it points to."""
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return host in self._names
        return True


def cookie_name(scope: MutableMapping[str, Any], name: str = SESSION_COOKIE) -> str:
    """Of a session, or another. Under the prefix no other name of the same domain can set it."""
    return f"__Host-{name}" if scope["scheme"] == "https" else name


def cookie_of(scope: MutableMapping[str, Any], name: str) -> str | None:
    """What a request's cookie of ours says; None for none."""
    for header, value in scope["headers"]:
        if header == b"cookie" and (found := cookie_parser(value.decode("latin-1")).get(cookie_name(scope, name))):
            return found
    return None


def token_of(scope: MutableMapping[str, Any]) -> str | None:
    """The session that a request comes with."""
    return cookie_of(scope, SESSION_COOKIE)


def address_of(scope: MutableMapping[str, Any]) -> str:
    """Of the caller."""
    return scope["client"][0] if scope.get("client") else ""


def _is_of_this_machine(scope: MutableMapping[str, Any]) -> bool:
    """Whether a program here asks, and not somebody else's through a proxy that stands here."""
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    proxied = {"forwarded", "via", "x-forwarded-for", "x-forwarded-proto", "x-real-ip"} & headers.keys()
    here = is_loopback(address_of(scope)) and is_loopback(_split(f"//{headers.get('host', '')}").hostname or "")
    return here and not proxied


def refusal(status: int, code: str, line: str, *, wait_s: int = 0) -> JSONResponse:
    """An answer that lets nobody in; without the header that would have the browser ask for a password itself."""
    return JSONResponse({"detail": line, "code": code}, status, {"Retry-After": str(wait_s)} if wait_s else {})


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
