"""When a server is asked again: what it says counts, its silence doubles the pause, and everything ends."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptrace.net.retry import Retries, TransientError, retry_after_s


def busy(failures: int, after_s: float | None = None):
    """Work that fails so often before it succeeds, and the count of its calls."""
    calls: list[int] = []

    def work() -> str:
        calls.append(1)
        if len(calls) <= failures:
            raise TransientError("busy", after_s)
        return "done"

    return work, calls


@given(failures=st.integers(0, 6), first_s=st.floats(0.01, 4), longest_s=st.floats(4, 60))
def test_pauses_double_within_a_quarter_up_to_the_longest(failures: int, first_s: float, longest_s: float) -> None:
    work, calls = busy(failures)
    pauses: list[float] = []
    assert Retries(7, first_s=first_s, longest_s=longest_s).call(work, sleep=pauses.append) == "done"
    assert len(calls) == failures + 1
    for number, pause in enumerate(pauses):
        doubled = min(first_s * 2**number, longest_s)
        assert 0.75 * doubled <= pause <= 1.25 * doubled


def test_a_server_that_says_when_is_obeyed_up_to_a_limit() -> None:
    for asked, granted in ((3.0, 3.0), (0.0, 0.0), (900.0, 20.0)):
        work, _ = busy(1, asked)
        pauses: list[float] = []
        Retries(2, most_asked_s=20.0).call(work, sleep=pauses.append)
        assert pauses == [granted]


def test_the_last_error_comes_out_and_other_errors_at_once() -> None:
    work, calls = busy(9)
    with pytest.raises(TransientError, match="busy"):
        Retries(3).call(work, sleep=lambda _: None)
    assert len(calls) == 3

    def broken() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Retries(3).call(broken, sleep=lambda _: None)


def test_patience_ends_the_tries_of_a_coroutine() -> None:
    tries: list[int] = []

    async def ask() -> None:
        async for attempt in Retries(patience_s=0.2, first_s=0.02).attempting():
            with attempt:
                tries.append(1)
                raise TransientError("busy")

    with pytest.raises(TransientError):
        asyncio.run(ask())
    assert 2 <= len(tries) <= 12


def test_retry_after_is_read_as_seconds_or_as_a_date() -> None:
    assert retry_after_s("2.5") == 2.5
    assert retry_after_s("-3") == 0.0
    assert retry_after_s(None) is retry_after_s("") is retry_after_s("soon") is retry_after_s("inf") is None
    ahead = retry_after_s(format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True))
    assert ahead is not None
    assert 80 < ahead <= 90
