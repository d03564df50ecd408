"""One client for every OpenAI-compatible server: deadlines, retries, pacing, an early end, and nothing about meaning.

`ChatClient.complete(body)` is one question: it gives the chat completion, or raises with one line that says why not.
`run_blocking` lets synchronous threads share one client, on one event loop in the background: a deadline that also
ends a server that drips header bytes for ever can be kept by an event loop, and not by blocking sockets.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar

from deeptrace.detectors.openai.endpoint import Endpoint
from deeptrace.errors import MissingExtraError, ServiceError

if TYPE_CHECKING:
    import httpx

__all__ = ["ChatClient", "Completion", "HttpStatusError", "Manners", "retry_after_s", "run_blocking"]

T = TypeVar("T")
Lacks = Callable[[dict[str, Any]], str | None]

MAX_BODY = 8 << 20
RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
ABOUT_ONE = frozenset({400, 403, 413, 422, 451})
"""Statuses that speak of one request, and say nothing about the next one."""


@dataclass(frozen=True, slots=True)
class Manners:
    """How a server is treated; nothing here changes an answer.

    Attributes:
        deadline_s: longest time for one question, all tries included, waiting for its turn excluded.
        attempt_s: longest time for one try; None for the deadline alone.
        attempts: at most so many tries a question.
        backoff_s: pause before the second try; it doubles from try to try, up to 8 s, unless the server says when.
        concurrency: questions in flight.
        per_minute: questions a minute, evenly spaced; None for no limit.
        give_up_after: questions in a row that fail at the server before the rest is not asked any more.
        hopeless: statuses that end the asking at once.
    """

    deadline_s: float = 300.0
    attempt_s: float | None = 120.0
    attempts: int = 5
    backoff_s: float = 0.25
    concurrency: int = 8
    per_minute: float | None = None
    give_up_after: int = 8
    hopeless: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Completion:
    """A chat completion with at least one choice that has a message, and after how many tries it came."""

    body: dict[str, Any]
    requests: int

    @property
    def choice(self) -> dict[str, Any]:
        """The first choice."""
        found: dict[str, Any] = self.body["choices"][0]
        return found


class HttpStatusError(ServiceError):
    """The server said no, for good.

    Attributes:
        status: the HTTP status, or the code in the body of an error sent as a success.
        error: the `error` object of its JSON, empty when there is none.
    """

    def __init__(self, status: int, error: dict[str, Any], detail: str) -> None:
        self.status, self.error = status, error
        super().__init__("", f"HTTP {status} {detail}".rstrip())


@dataclass
class _TransientError(Exception):
    """Worth another try: `why`, and after how many seconds the server wants it."""

    why: str
    after_s: float | None = field(default=None)

    def __str__(self) -> str:
        return self.why


class ChatClient:
    """The client of one server, to be used on one event loop; an async context manager.

    Args:
        endpoint: where, and with which key.
        manners: how.
        feature: what needs it, for the error when an extra is missing.

    Attributes:
        requests: sent so far, retries included.

    Raises:
        MissingExtraError: httpx or tenacity is not installed.
    """

    def __init__(self, endpoint: Endpoint, manners: Manners, *, feature: str = "served models") -> None:
        try:
            import httpx
            import tenacity  # noqa: F401
        except ImportError as error:
            raise MissingExtraError(feature, "api") from error
        self._endpoint, self._manners = endpoint, manners
        self._turns = asyncio.Semaphore(manners.concurrency)
        self._next_s = 0.0
        self._failed_in_a_row = 0
        self._closed: str | None = None
        self.requests = 0
        self._http = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {},
            limits=httpx.Limits(max_connections=manners.concurrency),
            timeout=manners.attempt_s or manners.deadline_s,
            trust_env=not endpoint.is_local,
        )

    async def __aenter__(self) -> ChatClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def complete(self, body: dict[str, Any], *, lacks: Lacks = lambda _choice: None) -> Completion:
        """The server's answer to one question, within the deadline.

        Args:
            body: of the request.
            lacks: says of a choice what it lacks when it is worth another try, None when it will do.

        Raises:
            HttpStatusError: the server declined the request itself.
            ServiceError: anything else; one line says what, without the key.
        """
        async with self._turns:
            if self._closed is not None:
                raise ServiceError("", f"not asked: {self._closed}")
            await self._pace()
            trouble: list[str] = []
            try:
                async with asyncio.timeout(self._manners.deadline_s):
                    found = await self._with_retries(body, trouble, lacks)
            except TimeoutError:
                last = f" (before: {trouble[-1]})" if trouble else ""
                raise self._failed(f"no answer within {self._manners.deadline_s:g} s{last}") from None
            except HttpStatusError as error:
                at_once = error.status in self._manners.hopeless
                if at_once or error.status not in ABOUT_ONE:
                    self._failed(error.problem, at_once=at_once)
                raise
            except ServiceError as error:
                raise self._failed(error.problem) from None
            self._failed_in_a_row = 0
            return found

    def _failed(self, why: str, *, at_once: bool = False) -> ServiceError:
        """Count a failure of the server, and the error for it."""
        why = self._endpoint.cleaned(why)
        self._failed_in_a_row += 1
        if at_once or self._failed_in_a_row >= self._manners.give_up_after:
            self._closed = f"the server failed {self._failed_in_a_row} times in a row ({why})"
        return ServiceError("", why)

    async def _pace(self) -> None:
        """Wait for this question's place in the pace, or until the server that said when may be asked again."""
        now = asyncio.get_running_loop().time()
        at = max(now, self._next_s)
        if self._manners.per_minute is not None:
            self._next_s = at + 60.0 / self._manners.per_minute
        await asyncio.sleep(at - now)

    async def _with_retries(self, body: dict[str, Any], trouble: list[str], lacks: Lacks) -> Completion:
        from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt

        content = json.dumps(body).encode()  # once: a question with frames is megabytes
        tries = AsyncRetrying(
            retry=retry_if_exception_type(_TransientError),
            stop=stop_after_attempt(self._manners.attempts),
            wait=self._pause_s,
            reraise=True,
        )
        try:
            async for attempt in tries:
                with attempt:
                    number = attempt.retry_state.attempt_number
                    if number > 1:
                        await self._pace()
                    return Completion(await self._once(content, trouble, lacks), number)
        except _TransientError as error:
            raise ServiceError("", f"{error} (after {len(trouble)} tries)") from None
        raise AssertionError("tenacity ended without an answer or an error")

    def _pause_s(self, state: Any) -> float:
        """Seconds before the next try: what the server asked for, else doubling from `backoff_s`."""
        error = state.outcome.exception()
        asked = error.after_s if isinstance(error, _TransientError) else None
        if asked is None:
            return float(min(self._manners.backoff_s * 2 ** (state.attempt_number - 1), 8.0))
        # Whoever comes next waits as well: the limit is the server's, not this question's.
        self._next_s = max(self._next_s, asyncio.get_running_loop().time() + asked)
        return float(asked)

    async def _once(self, content: bytes, trouble: list[str], lacks: Lacks) -> dict[str, Any]:
        try:
            found = await self._exchange(content)
            if (missing := lacks(found["choices"][0])) is not None:
                raise _TransientError(missing)
            return found
        except _TransientError as error:
            error.why = self._endpoint.cleaned(error.why)
            trouble.append(error.why)
            if error.after_s is not None and error.after_s > self._manners.deadline_s:
                raise ServiceError("", f"{error}, and asks to wait {error.after_s:g} s") from None
            raise

    async def _exchange(self, content: bytes) -> dict[str, Any]:
        import httpx

        self.requests += 1
        url, headers = f"{self._endpoint.base_url}/chat/completions", {"Content-Type": "application/json"}
        try:
            async with asyncio.timeout(self._manners.attempt_s):
                async with self._http.stream("POST", url, content=content, headers=headers) as response:
                    body = await _body(response)
        except TimeoutError:
            raise _TransientError(f"no answer within {self._manners.attempt_s:g} s") from None
        except httpx.ConnectError as error:
            raise _TransientError(f"no server answers at {self._endpoint.base_url}: {error}") from error
        except httpx.HTTPError as error:
            raise _TransientError(f"{type(error).__name__} {error}".rstrip()) from error
        text = self._endpoint.cleaned(body.decode("utf-8", "replace"))
        return _completion(response, text)


async def _body(response: httpx.Response) -> bytes:
    found = bytearray()
    async for chunk in response.aiter_bytes():
        found += chunk
        if len(found) > MAX_BODY:
            raise ServiceError("", f"the answer is larger than {MAX_BODY >> 20} MiB")
    return bytes(found)


def _completion(response: httpx.Response, text: str) -> dict[str, Any]:
    """The chat completion in a response; one that is none may be a proxy's hiccup and is worth another try."""
    try:
        body = _storable(json.loads(text))
    except (ValueError, RecursionError):
        body = None
    error = body.get("error") if isinstance(body, dict) else None
    fields = error if isinstance(error, dict) else {}
    status, detail = response.status_code, " ".join(str(fields.get("message") or text).split())[:200]
    if status == 200 and error:  # gateways send the error of the server behind them as a success
        code = fields.get("code")
        status = code if isinstance(code, int) and 400 <= code < 600 else 502
    if status in RETRIED:
        raise _TransientError(f"HTTP {status} {detail}".rstrip(), retry_after_s(response))
    if status != 200:
        raise HttpStatusError(status, fields, detail)
    choices = body.get("choices") if isinstance(body, dict) else None
    if not isinstance(choices, list):
        kind = response.headers.get("content-type", "no content type")
        raise _TransientError(f"the answer is no chat completion ({kind.partition(';')[0]})")
    if not choices:
        raise _TransientError("the answer has no choices")
    if not isinstance(choices[0], dict) or not isinstance(choices[0].get("message"), dict):
        raise _TransientError("the answer has a choice without a message")
    assert isinstance(body, dict)
    return body


def _storable(value: Any) -> Any:
    """A JSON value whose texts can be written as UTF-8: half of a surrogate pair, which JSON can escape, cannot."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_storable(part) for part in value]
    if isinstance(value, dict):
        return {_storable(name): _storable(part) for name, part in value.items()}
    return value


def retry_after_s(response: httpx.Response) -> float | None:
    """Seconds of a Retry-After header, which holds seconds or a date; None when there is none."""
    text = response.headers.get("retry-after", "")
    try:
        seconds = float(text)
    except ValueError:
        try:
            at = parsedate_to_datetime(text)
        except ValueError:
            return None
        seconds = ((at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()
    return max(seconds, 0.0) if math.isfinite(seconds) else None


_background: list[asyncio.AbstractEventLoop] = []
_starting = threading.Lock()
if hasattr(os, "register_at_fork"):  # the loop's thread does not come along into a forked process
    os.register_at_fork(after_in_child=_background.clear)


def run_blocking(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` on the background loop of this process and wait for it, from any thread without a loop of its own.

    Ctrl-C cancels it.
    """
    with _starting:
        if not _background:
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="deeptrace-http", daemon=True).start()
            _background.append(loop)
    future = asyncio.run_coroutine_threadsafe(work, _background[0])
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise
