"""One policy for asking a server again: what is worth another try, when, and how often."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import tenacity

__all__ = ["RETRIED", "Retries", "TransientError", "retry_after_s"]

T = TypeVar("T")

RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
"""HTTP statuses that say "not now" rather than "no"."""


class TransientError(Exception):
    """Worth another try.

    Attributes:
        why: one line on what went wrong.
        after_s: seconds after which the server wants to be asked again; None where it does not say.
    """

    def __init__(self, why: str, after_s: float | None = None) -> None:
        self.why, self.after_s = why, after_s
        super().__init__(why)

    def __str__(self) -> str:
        return self.why


@dataclass(frozen=True, slots=True)
class Retries:
    """When a request that ended in a `TransientError` is made again; the last error is raised as it is.

    Attributes:
        attempts: most tries of one request; None for no limit.
        patience_s: seconds after which no further try is made; None for no limit.
        first_s: pause before the second try; it doubles from try to try, and each is varied by a quarter, so that
            not all come back at once.
        longest_s: longest such pause.
        most_asked_s: longest pause that a server's own wish is granted.
    """

    attempts: int | None = None
    patience_s: float | None = None
    first_s: float = 0.25
    longest_s: float = 8.0
    most_asked_s: float = 300.0

    def pause_s(self, state: tenacity.RetryCallState) -> float:
        """Seconds before the next try."""
        error = state.outcome.exception() if state.outcome is not None else None
        if isinstance(error, TransientError) and error.after_s is not None:
            return min(error.after_s, self.most_asked_s)
        doubled = min(self.first_s * 2.0 ** (state.attempt_number - 1), self.longest_s)
        return doubled * random.uniform(0.75, 1.25)

    def attempting(
        self, before_sleep: Callable[[tenacity.RetryCallState], None] | None = None
    ) -> tenacity.AsyncRetrying:
        """The tries, to be gone through with `async for`; `before_sleep` is called before each pause."""
        return tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(TransientError),
            stop=self._stop(),
            wait=self.pause_s,
            before_sleep=before_sleep,
            reraise=True,
        )

    def call(self, work: Callable[[], T], *, sleep: Callable[[float], None] = time.sleep) -> T:
        """What `work` gives, from a thread without an event loop."""
        tries = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(TransientError),
            stop=self._stop(),
            wait=self.pause_s,
            sleep=sleep,
            reraise=True,
        )
        return tries(work)

    def _stop(self) -> Callable[[tenacity.RetryCallState], bool]:
        limits: list[tenacity.stop.stop_base] = []
        if self.attempts is not None:
            limits.append(tenacity.stop_after_attempt(self.attempts))
        if self.patience_s is not None:
            limits.append(tenacity.stop_after_delay(self.patience_s))
        return tenacity.stop_any(*limits)


def retry_after_s(text: str | None) -> float | None:
    """Seconds of a Retry-After header, which holds seconds or a date; None where it is missing or holds neither."""
    try:
        seconds = float(text or "")
    except ValueError:
        try:
            at = parsedate_to_datetime(text or "")
        except ValueError:
            return None
        seconds = ((at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()
    return max(seconds, 0.0) if math.isfinite(seconds) else None
