"""A language model on any OpenAI-compatible server as the judge: pinned, with a deadline, retries and an early end.

The key comes from the environment alone and is in no message, manifest or cache: DEEPTRACE_JUDGE_API_KEY, else what the
`openai:` detectors would send to that address (`deeptrace.net.endpoint`), which for a stranger is none.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from deeptrace.errors import JudgeError, ServiceError, SettingsError
from deeptrace.net.chat_client import ChatClient, Completion, Manners
from deeptrace.net.endpoint import Endpoint, key_from, open_endpoint, split_name

__all__ = ["JudgeModel", "Reply", "Server", "judge_endpoint", "parse_judge"]

PREFIX = "openai:"
KEY_VARIABLE = "DEEPTRACE_JUDGE_API_KEY"
HOPELESS = frozenset({401, 403, 404})
"""Statuses that every later question would get as well."""


@dataclass(frozen=True, slots=True)
class JudgeModel:
    """Which model judges, where, and everything that changes its answer.

    Attributes:
        model: as the server calls it; name a dated snapshot to pin it.
        base_url: of the server, up to and without `/chat/completions`; carries no credentials.
        max_tokens: of an answer; a score needs few.
        thinking_tokens: of an answer that did not end within `max_tokens`, as those of models that think do not.
        deadline_s: longest time for one question, all retries included.
        attempts: at most so many a question.
        concurrency: questions in flight.
        give_up_after: questions in a row that fail at the server before the rest is not asked any more.
    """

    model: str
    base_url: str
    max_tokens: int = 16
    thinking_tokens: int = 8192
    deadline_s: float = 60.0
    attempts: int = 5
    concurrency: int = 8
    give_up_after: int = 8

    @property
    def name(self) -> str:
        """As it stands in manifests and tables."""
        return f"{PREFIX}{self.model}@{self.base_url}"

    def request(self, prompt: str) -> dict[str, Any]:
        """The body of the request; temperature 0 and a seed, so that as much as the server allows is repeatable.

        A server that does not take one of them, or knows `max_tokens` by its new name alone, is asked without.
        """
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
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
        SettingsError: it names none, or no usable address.
    """
    if not text.startswith(PREFIX):
        raise SettingsError(f"--judge {text.partition('@')[0]}", "no such judge", "Use openai:MODEL[@BASE_URL].")
    model, base_url = split_name(text.removeprefix(PREFIX))
    return JudgeModel(model=model, base_url=base_url)


def judge_endpoint(judge: JudgeModel) -> Endpoint:
    """The judge's address with its key.

    Raises:
        SettingsError: the address needs a key, and the environment has none.
    """
    key = key_from(KEY_VARIABLE)
    return Endpoint(judge.base_url, key) if key else open_endpoint(judge.base_url)


class Server:
    """The server of one judge, open for questions on one event loop; an async context manager.

    Raises:
        MissingExtraError: httpx is not installed.
        SettingsError: the address needs a key, and the environment has none.
    """

    def __init__(self, judge: JudgeModel) -> None:
        self._judge = judge
        self._most = judge.max_tokens
        manners = Manners(
            deadline_s=judge.deadline_s,
            attempt_s=None,
            attempts=judge.attempts,
            concurrency=judge.concurrency,
            give_up_after=judge.give_up_after,
            hopeless=HOPELESS,
        )
        self._client = ChatClient(judge_endpoint(judge), manners, feature="the judge of explanations")

    @property
    def calls(self) -> int:
        """Requests sent so far, retries included."""
        return self._client.requests

    async def __aenter__(self) -> Server:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._client.__aexit__(*error)

    async def ask(self, prompt: str) -> Reply:
        """The model's answer, within the deadline.

        Once an answer was cut off, this one and all later ones may be as long as those of models that think.

        Raises:
            JudgeError: there is none; one line says why, without the key.
        """
        most = self._most
        found = await self._asked(prompt, most)
        if _cut(found.choice) and most < self._judge.thinking_tokens:
            most = self._most = self._judge.thinking_tokens
            found = await self._asked(prompt, most)
        if _cut(found.choice) and not found.choice["message"].get("content"):
            raise JudgeError("", f"all of max_tokens={most} went into the judge's thoughts")
        usage = found.body.get("usage")
        tokens = usage if isinstance(usage, dict) else {}
        return Reply(
            text=found.choice["message"].get("content") or "",
            served=str(found.body.get("model") or ""),
            prompt_tokens=_count(tokens.get("prompt_tokens")),
            completion_tokens=_count(tokens.get("completion_tokens")),
        )

    async def _asked(self, prompt: str, most: int) -> Completion:
        body = self._judge.request(prompt) | {"max_tokens": most}
        try:
            return await self._client.complete_without(body, lacks=_no_text)
        except ServiceError as error:
            raise JudgeError("", error.problem) from None


def _no_text(choice: dict[str, Any]) -> str | None:
    has_text = isinstance(choice["message"].get("content"), str)
    return None if has_text or _cut(choice) else "the answer has no text"


def _cut(choice: dict[str, Any]) -> bool:
    return choice.get("finish_reason") == "length"


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0
