"""A language model on any OpenAI-compatible server: pinned, with a deadline, retries and an early end.

The key comes from the environment alone and is in no message, manifest or cache: DEEPTRACE_JUDGE_API_KEY for any
address, OPENAI_API_KEY for OpenAI's own or the one in OPENAI_BASE_URL. It is never sent to another address.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from deeptrace.detectors.openai.client import ChatClient, Manners
from deeptrace.detectors.openai.endpoint import OPENAI_URL, Endpoint, key_from
from deeptrace.errors import JudgeError, ServiceError, SettingsError

__all__ = ["JudgeModel", "Reply", "parse_judge"]

PREFIX = "openai:"
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
    url = f"http{url}" if at else os.environ.get("OPENAI_BASE_URL") or OPENAI_URL
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
        SettingsError: the key in the environment is none.
    """

    def __init__(self, judge: JudgeModel) -> None:
        self._judge = judge
        manners = Manners(
            deadline_s=judge.deadline_s,
            attempt_s=None,
            attempts=judge.attempts,
            concurrency=judge.concurrency,
            give_up_after=judge.give_up_after,
            hopeless=HOPELESS,
        )
        endpoint = Endpoint(judge.base_url, _api_key(judge.base_url))
        self._client = ChatClient(endpoint, manners, feature="the judge of explanations")

    @property
    def calls(self) -> int:
        """Requests sent, retries included."""
        return self._client.requests

    async def __aenter__(self) -> Server:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._client.__aexit__(*raised)

    async def ask(self, prompt: str) -> Reply:
        """The model's answer, within the deadline.

        Raises:
            JudgeError: there is none; one line says why, without the key.
        """
        try:
            completion = await self._client.complete(self._judge.request(prompt), lacks=_lacks_text)
        except ServiceError as error:
            raise JudgeError("", error.problem) from None
        usage = completion.body.get("usage")
        counts = usage if isinstance(usage, dict) else {}
        return Reply(
            text=completion.choice["message"]["content"],
            served=str(completion.body.get("model") or ""),
            prompt_tokens=_count(counts.get("prompt_tokens")),
            completion_tokens=_count(counts.get("completion_tokens")),
        )


def _lacks_text(choice: dict[str, Any]) -> str | None:
    return None if isinstance(choice["message"].get("content"), str) else "the answer has no text"


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _api_key(base_url: str) -> str | None:
    key = key_from("DEEPTRACE_JUDGE_API_KEY")
    usual = (os.environ.get("OPENAI_BASE_URL") or OPENAI_URL).rstrip("/")
    return key or (key_from("OPENAI_API_KEY") if base_url == usual else None)
