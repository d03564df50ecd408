"""One client for every OpenAI-compatible server: deadlines, retries, pacing, an early end, and nothing about meaning.

`ChatClient.complete(body)` is one question: it gives the chat completion, or raises with one line that says why not.
`run_blocking` lets synchronous threads share one client, on one event loop in the background: a deadline that also
ends a server that drips header bytes for ever can be kept by an event loop, and not by blocking sockets.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from deeptrace.errors import MissingExtraError, ServiceError
from deeptrace.net.endpoint import Endpoint
from deeptrace.net.retry import RETRIED, Retries, TransientError, retry_after_s
from deeptrace.plural import plural

if TYPE_CHECKING:
    import httpx
    from tenacity import RetryCallState

__all__ = ["ChatClient", "Completion", "HttpStatusError", "LeftOut", "Manners", "storable"]

T = TypeVar("T")
Lacks = Callable[[dict[str, Any]], str | None]

MAX_BODY = 8 << 20
ABOUT_ONE = frozenset({400, 403, 413, 422, 451})
"""Statuses that speak of one request, and say nothing about the next one."""

# Fields that some servers or models do not take, each with what goes along with it; the answer can be had without.
_OPTIONAL = {
    "top_logprobs": ("logprobs",),
    "logprobs": ("top_logprobs",),
    "response_format": (),
    "media_io_kwargs": (),
    "temperature": (),
    "seed": (),
}


@dataclass(frozen=True, slots=True)
class Manners:
    """How a server is treated; nothing here changes an answer.

    Attributes:
        deadline_s: longest time for one question, all tries included, waiting for its turn excluded.
        attempt_s: longest time for one try; None for the deadline alone.
        attempts: at most so many tries a question.
        backoff_s: pause before the second try; it doubles from try to try, up to 8 s, and each
            is varied by a quarter, unless the server says when.
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
class LeftOut:
    """Fields of the requests to one server that it has said it does not take; they are left out for good.

    `max_tokens` goes out under its new name, `max_completion_tokens`.
    """

    _gone: dict[str, None] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The fields, in the order in which the server complained."""
        return tuple(self._gone)

    def applied(self, body: dict[str, Any]) -> dict[str, Any]:
        """The body without them."""
        gone = {part for name in self._gone for part in (name, *_OPTIONAL.get(name, ()))}
        sent = {name: value for name, value in body.items() if name not in gone}
        if "max_tokens" in gone and "max_tokens" in body:
            sent["max_completion_tokens"] = body["max_tokens"]
        return sent

    def learn(self, error: HttpStatusError, sent: dict[str, Any]) -> bool:
        """Whether the server rejected an optional field of what was sent; if so, it is left out from now on."""
        name = _rejected_field(error, sent)
        if name is not None:
            self._gone[name] = None
        return name is not None


def _rejected_field(error: HttpStatusError, sent: dict[str, Any]) -> str | None:
    """The optional field of the request that the server says it does not take; None when it says something else."""
    if error.status not in (400, 403, 422):
        return None
    said = f"{error.error.get('param') or ''} {error.problem}"
    # Not "max_tokens or max_completion_tokens is too large", which is about the number.
    if "max_tokens" in sent and "max_completion_tokens" in said and re.search(r"instead|not supported", said):
        return "max_tokens"
    return next((name for name in _OPTIONAL if name in sent and re.search(rf"\b{name}\b", said)), None)


class ChatClient:
    """The client of one server, to be used on one event loop; an async context manager.

    Args:
        endpoint: where, and with which key.
        manners: deadlines, attempts and limits of its requests.
        feature: what needs it, for the error when an extra is missing.

    Attributes:
        requests: sent so far, retries included.
        left_out: what the server does not take, as far as `complete_without` has found out.

    Raises:
        MissingExtraError: httpx is not installed.
    """

    def __init__(self, endpoint: Endpoint, manners: Manners, *, feature: str = "served models") -> None:
        try:
            import httpx
        except ImportError as error:
            raise MissingExtraError(feature, "api") from error
        self._endpoint, self._manners = endpoint, manners
        self._turns = asyncio.Semaphore(manners.concurrency)
        self._next_s = 0.0
        self._failed_in_a_row = 0
        self._closed: str | None = None
        self.requests = 0
        self.left_out = LeftOut()
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

    async def complete_without(
        self,
        body: dict[str, Any],
        *,
        lacks: Lacks = lambda _choice: None,
        final: Callable[[HttpStatusError], bool] = lambda _error: False,
    ) -> Completion:
        """As `complete`; optional fields that the server says it does not take are left out, now and later.

        Args:
            body, lacks: see `complete`.
            final: whether a server that declined a request means the request itself, whatever fields it names.

        Raises:
            HttpStatusError, ServiceError: see `complete`.
        """
        while True:
            sent = self.left_out.applied(body)
            try:
                return await self.complete(sent, lacks=lacks)
            except HttpStatusError as error:
                if final(error) or not self.left_out.learn(error, sent):
                    raise

    def _failed(self, why: str, *, at_once: bool = False) -> ServiceError:
        """Count a failure of the server, and the error for it."""
        why = self._endpoint.cleaned(why)
        self._failed_in_a_row += 1
        if at_once or self._failed_in_a_row >= self._manners.give_up_after:
            self._closed = f"the server failed {plural(self._failed_in_a_row, 'time')} in a row ({why})"
        return ServiceError("", why)

    async def _pace(self) -> None:
        """Wait for this question's place in the pace, or until the server that said when may be asked again."""
        now = asyncio.get_running_loop().time()
        at = max(now, self._next_s)
        if self._manners.per_minute is not None:
            self._next_s = at + 60.0 / self._manners.per_minute
        await asyncio.sleep(at - now)

    async def _with_retries(self, body: dict[str, Any], trouble: list[str], lacks: Lacks) -> Completion:
        content = json.dumps(body).encode()  # once: a question with frames is megabytes
        retries = Retries(attempts=self._manners.attempts, first_s=self._manners.backoff_s)
        try:
            async for attempt in retries.attempting(self._slow_down):
                with attempt:
                    number = attempt.retry_state.attempt_number
                    if number > 1:
                        await self._pace()
                    return Completion(await self._once(content, trouble, lacks), number)
        except TransientError as error:
            raise ServiceError("", f"{error} (after {len(trouble)} tries)") from None
        raise AssertionError("tenacity ended without an answer or an error")

    def _slow_down(self, state: RetryCallState) -> None:
        """Let whoever comes next wait as well where the server said when: the limit is the server's."""
        error = state.outcome.exception() if state.outcome is not None else None
        if isinstance(error, TransientError) and error.after_s is not None:
            self._next_s = max(self._next_s, asyncio.get_running_loop().time() + error.after_s)

    async def _once(self, content: bytes, trouble: list[str], lacks: Lacks) -> dict[str, Any]:
        try:
            found = await self._exchange(content)
            if (missing := lacks(found["choices"][0])) is not None:
                raise TransientError(missing)
            return found
        except TransientError as error:
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
            raise TransientError(f"no answer within {self._manners.attempt_s:g} s") from None
        except httpx.ConnectError as error:
            raise TransientError(f"no server answers at {self._endpoint.base_url}: {error}") from error
        except httpx.HTTPError as error:
            raise TransientError(f"{type(error).__name__} {error}".rstrip()) from error
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
    """The chat completion in a response; anything else may be a proxy's hiccup and is worth another try."""
    try:
        body = storable(json.loads(text))
    except (ValueError, RecursionError):
        body = None
    error = body.get("error") if isinstance(body, dict) else None
    fields = error if isinstance(error, dict) else {}
    status, detail = response.status_code, " ".join(str(fields.get("message") or text).split())[:200]
    if status == 200 and error:  # gateways send the error of the server behind them as a success
        code = fields.get("code")
        status = code if isinstance(code, int) and 400 <= code < 600 else 502
    if status in RETRIED:
        raise TransientError(f"HTTP {status} {detail}".rstrip(), retry_after_s(response.headers.get("retry-after")))
    if status != 200:
        raise HttpStatusError(status, fields, detail)
    choices = body.get("choices") if isinstance(body, dict) else None
    if not isinstance(choices, list):
        kind = response.headers.get("content-type", "no content type")
        raise TransientError(f"the answer is not a chat completion ({kind.partition(';')[0]})")
    if not choices:
        raise TransientError("the answer has no choices")
    if not isinstance(choices[0], dict) or not isinstance(choices[0].get("message"), dict):
        raise TransientError("the answer has a choice without a message")
    assert isinstance(body, dict)
    return body


def storable(value: Any) -> Any:
    """A JSON value whose texts can be written as UTF-8: half of a surrogate pair, which JSON can escape, cannot."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [storable(part) for part in value]
    if isinstance(value, dict):
        return {storable(name): storable(part) for name, part in value.items()}
    return value
