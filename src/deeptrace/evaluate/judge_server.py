"""A language model on any OpenAI-compatible server: pinned, with a deadline, retries and an early end.

The key comes from the environment alone and is in no message, manifest or cache: DEEPTRACE_JUDGE_API_KEY for any
address, OPENAI_API_KEY for OpenAI's own or the one in OPENAI_BASE_URL. It is never sent to another address.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from deeptrace.errors import JudgeError, MissingExtraError, ServiceError, SettingsError

if TYPE_CHECKING:
    import httpx

__all__ = ["JudgeModel", "Reply", "parse_judge"]

PREFIX = "openai:"
PUBLIC_URL = "https://api.openai.com/v1"
MAX_BODY = 1 << 20
RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
HOPELESS = frozenset({401, 403, 404})
"""Statuses that every later question would get as well."""


@dataclass(frozen=True, slots=True)
class JudgeModel:
    """Which model judges, where, and everything that changes its answer.

    Attributes:
        model: as the server calls it; name a dated snapshot to pin it.
        base_url: of the server, up to and without `/chat/completions`; carries no credentials.
        max_tokens: of an answer; a score needs few.
        deadline_s: longest time for one question, all retries included.
        attempts: at most so many a question.
        concurrency: questions in flight.
        give_up_after: questions in a row that fail at the server before the rest is not asked any more.
    """

    model: str
    base_url: str
    max_tokens: int = 16
    deadline_s: float = 60.0
    attempts: int = 5
    concurrency: int = 8
    give_up_after: int = 8

    @property
    def name(self) -> str:
        """As it stands in manifests and tables."""
        return f"{PREFIX}{self.model}@{self.base_url}"

    def request(self, prompt: str) -> dict[str, Any]:
        """The body of the request; temperature 0 and a seed, so that as much as the server allows is repeatable."""
        message = {"role": "user", "content": prompt}
        return {
            "model": self.model,
            "messages": [message],
            "temperature": 0,
            "seed": 0,
            "max_tokens": self.max_tokens,
        }

    def key(self, prompt: str) -> str:
        """A hash of everything that was asked, and of whom: what a cached answer stands under."""
        asked = json.dumps([self.base_url, self.request(prompt)], sort_keys=True)
        return hashlib.sha256(asked.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server said: the text, the model that it says answered, and tokens."""

    text: str
    served: str
    prompt_tokens: int = 0
    completion_tokens: int = 0


def parse_judge(text: str) -> JudgeModel:
    """The judge that `openai:MODEL` or `openai:MODEL@BASE_URL` names.

    Raises:
        SettingsError: it names none, or the address is no http(s) address.
    """
    model, at, url = text.removeprefix(PREFIX).partition("@http")
    url = f"http{url}" if at else os.environ.get("OPENAI_BASE_URL") or PUBLIC_URL
    if not text.startswith(PREFIX) or not model:
        raise SettingsError(f"--judge {text.partition('@')[0]}", "no such judge", "Use openai:MODEL[@BASE_URL].")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError("--judge", "the address is no http(s) address", "Use openai:MODEL@https://host/v1.")
    if parts.username or parts.password or parts.query:
        raise SettingsError(
            "--judge", "the address carries credentials", "Put the key into DEEPTRACE_JUDGE_API_KEY instead."
        )
    return JudgeModel(model=model, base_url=urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", "")))


class Server:
    """The server of one judge, open for questions; an async context manager.

    Raises:
        MissingExtraError: httpx or tenacity is not installed.
    """

    def __init__(self, judge: JudgeModel) -> None:
        try:
            import httpx
            import tenacity  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("the judge of explanations", "api") from error
        self._judge = judge
        self._key = _api_key(judge.base_url)
        self._turns = asyncio.Semaphore(judge.concurrency)
        self._failed_in_a_row = 0
        self._closed: str | None = None
        self.calls = 0
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        limits = httpx.Limits(max_connections=judge.concurrency)
        self._client = httpx.AsyncClient(headers=headers, limits=limits, timeout=judge.deadline_s)

    async def __aenter__(self) -> Server:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def ask(self, prompt: str) -> Reply:
        """The model's answer, within the deadline.

        Raises:
            JudgeError: there is none; one line says why, without the key.
        """
        async with self._turns:
            if self._closed is not None:
                raise JudgeError("", f"not asked: {self._closed}")
            try:
                async with asyncio.timeout(self._judge.deadline_s):
                    reply = await self._with_retries(prompt)
            except TimeoutError:
                self._note_failure(f"no answer within {self._judge.deadline_s:g} s")
                raise JudgeError("", f"no answer within {self._judge.deadline_s:g} s") from None
            except ServiceError as error:
                self._note_failure(error.problem, hopeless=error.subject in map(str, HOPELESS))
                raise JudgeError("", self._clean(error.problem)) from None
            self._failed_in_a_row = 0
            return reply

    def _note_failure(self, why: str, *, hopeless: bool = False) -> None:
        self._failed_in_a_row += 1
        if hopeless or self._failed_in_a_row >= self._judge.give_up_after:
            self._closed = self._clean(f"the server failed before ({why})")

    async def _with_retries(self, prompt: str) -> Reply:
        from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt

        attempts = AsyncRetrying(
            retry=retry_if_exception_type(_TransientError),
            stop=stop_after_attempt(self._judge.attempts),
            wait=_pause,
            reraise=True,
        )
        try:
            async for attempt in attempts:
                with attempt:
                    return await self._once(prompt)
        except _TransientError as error:
            raise ServiceError("", str(error)) from None
        raise AssertionError("tenacity ended without an answer or an error")

    async def _once(self, prompt: str) -> Reply:
        import httpx

        self.calls += 1
        try:
            async with self._client.stream(
                "POST", f"{self._judge.base_url}/chat/completions", json=self._judge.request(prompt)
            ) as response:
                body = await _body(response)
        except httpx.HTTPError as error:
            raise _TransientError(f"{type(error).__name__}: {error}") from error
        if response.status_code in RETRIED:
            raise _TransientError(f"HTTP {response.status_code}", _retry_after(response))
        if response.status_code != 200:
            detail = " ".join(body[:200].decode("utf-8", "replace").split())
            raise ServiceError(str(response.status_code), f"HTTP {response.status_code} {detail}")
        return _reply(body)

    def _clean(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


@dataclass
class _TransientError(Exception):
    """Worth another try: `why`, and after how many seconds the server wants it."""

    why: str
    after_s: float | None = field(default=None)

    def __str__(self) -> str:
        return self.why


def _pause(state: Any) -> float:
    """Seconds before the next try: what the server asked for, else 0.25, 0.5, 1, ... at most 8."""
    error = state.outcome.exception()
    asked = error.after_s if isinstance(error, _TransientError) else None
    return float(asked) if asked is not None else min(0.25 * 2 ** (state.attempt_number - 1), 8.0)


async def _body(response: httpx.Response) -> bytes:
    found = b""
    async for chunk in response.aiter_bytes():
        found += chunk
        if len(found) > MAX_BODY:
            raise ServiceError("", f"the answer is larger than {MAX_BODY >> 20} MiB")
    return found


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds of a Retry-After header; None when there is none, or a date (then the usual pause serves)."""
    try:
        return max(float(response.headers.get("retry-after", "")), 0.0)
    except ValueError:
        return None


def _reply(body: bytes) -> Reply:
    """The reply in an OpenAI chat completion; a body that is none may be a proxy's hiccup and is worth another try."""
    try:
        answer = json.loads(body)
        text = answer["choices"][0]["message"]["content"]
        usage = answer.get("usage") or {}
        if not isinstance(text, str):
            raise TypeError("no text")
        return Reply(
            text=text,
            served=str(answer.get("model") or ""),
            prompt_tokens=int(usage.get("prompt_tokens") or 0),
            completion_tokens=int(usage.get("completion_tokens") or 0),
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise _TransientError(f"the answer is no chat completion ({type(error).__name__})") from error


def _api_key(base_url: str) -> str | None:
    key = os.environ.get("DEEPTRACE_JUDGE_API_KEY")
    usual = (os.environ.get("OPENAI_BASE_URL") or PUBLIC_URL).rstrip("/")
    return key or (os.environ.get("OPENAI_API_KEY") if base_url == usual else None)
