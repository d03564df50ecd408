"""The client alone: pace, patience, an early end, and a key that stays where it belongs."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from tests.detectors.vlm.openai.model_server import FAKE, ModelServer, error, first, hang, pause, says, status

from deeptrace.errors import ServiceError, SettingsError
from deeptrace.net.background import run_blocking
from deeptrace.net.chat_client import ChatClient, Completion, HttpStatusError, Manners
from deeptrace.net.endpoint import GEMINI_URL, OPENAI_URL, Endpoint, open_endpoint, split_name

SECRET = "sk-test-0123456789abcdef"
QUICK = Manners(deadline_s=10.0, attempt_s=5.0, backoff_s=0.01, attempts=3)


def ask(server: ModelServer, *texts: str, manners: Manners = QUICK, key: str | None = None) -> list[Any]:
    """Answers and errors, in the order of the questions."""

    async def all_of_them() -> list[Any]:
        async with ChatClient(Endpoint(server.url, key), manners) as client:
            bodies = [{"model": "m", "messages": [{"role": "user", "content": text}]} for text in texts or ("x",)]
            return await asyncio.gather(*(client.complete(body) for body in bodies), return_exceptions=True)

    return asyncio.run(all_of_them())


@pytest.mark.parametrize("wanted", ["0.4", "date"])
def test_it_waits_as_long_as_the_server_wants(server: ModelServer, wanted: str) -> None:
    # A date has whole seconds: two of them ahead are at least one second away.
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    server.mood = first(status(429, "{}", Retry_After=date if wanted == "date" else wanted))
    started = time.perf_counter()
    (found,) = ask(server)
    assert found.requests == 2
    assert time.perf_counter() - started >= (0.4 if wanted == "0.4" else 0.9)


@pytest.mark.parametrize("odd", ["soon", "-5", "nan", "inf", ""])
def test_an_odd_retry_after_is_no_reason_to_fail(server: ModelServer, odd: str) -> None:
    server.mood = first(status(429, "{}", Retry_After=odd))
    started = time.perf_counter()
    assert ask(server)[0].requests == 2
    assert time.perf_counter() - started < 5


def test_no_more_questions_in_flight_than_allowed_and_no_fewer(server: ModelServer) -> None:
    server.mood = pause(0.15, says(FAKE))
    found = ask(server, *map(str, range(12)), manners=replace(QUICK, concurrency=4))
    assert all(isinstance(answer, Completion) for answer in found)
    assert server.most_at_once == 4


def test_questions_keep_the_pace(server: ModelServer) -> None:
    started = time.perf_counter()
    ask(server, *map(str, range(5)), manners=replace(QUICK, per_minute=600.0))
    assert time.perf_counter() - started >= 0.4  # five starts, a tenth of a second apart
    server.mood = status(500)
    started = time.perf_counter()
    ask(server, "a", "b", manners=replace(QUICK, per_minute=600.0, attempts=3))
    assert time.perf_counter() - started >= 0.5  # tries count as well


def test_one_try_that_hangs_leaves_time_for_another(server: ModelServer) -> None:
    server.mood = first(hang)
    (found,) = ask(server, manners=replace(QUICK, attempt_s=0.5))
    assert found.requests == 2


def test_the_deadline_covers_all_tries_and_says_what_went_before(server: ModelServer) -> None:
    server.mood = first(status(503, "busy"), hang)
    started = time.perf_counter()
    (found,) = ask(server, manners=replace(QUICK, deadline_s=1.0, attempt_s=None))
    assert time.perf_counter() - started < 5
    assert str(found) == "no answer within 1 s (before: HTTP 503 busy)"


def test_a_dead_server_is_given_up_and_the_rest_not_asked(server: ModelServer) -> None:
    server.mood = status(500, "dead")
    found = ask(server, *map(str, range(9)), manners=replace(QUICK, attempts=1, concurrency=1, give_up_after=3))
    assert len(server.asked) == 3
    assert all(isinstance(answer, ServiceError) for answer in found)
    assert str(found[-1]) == "not asked: the server failed 3 times in a row (HTTP 500 dead (after 1 tries))"


@pytest.mark.parametrize("code", [400, 403, 413, 422])
def test_requests_at_fault_are_no_failure_of_the_server(server: ModelServer, code: int) -> None:
    server.mood = error(code, "too many images")
    found = ask(server, *map(str, range(6)), manners=replace(QUICK, concurrency=1, give_up_after=2))
    assert [type(answer) for answer in found] == [HttpStatusError] * 6
    assert len(server.asked) == 6


def test_nobody_listening_is_said_in_one_line() -> None:
    (found,) = ask(ModelServer(url="http://127.0.0.1:9/v1"), manners=replace(QUICK, attempts=2))
    assert str(found).startswith("no server answers at http://127.0.0.1:9/v1: ")
    assert "(after 2 tries)" in str(found)


def test_threads_share_a_client_on_the_background_loop(server: ModelServer) -> None:
    client = ChatClient(Endpoint(server.url), QUICK)
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    assert run_blocking(client.complete(body)).requests == 1
    assert run_blocking(client.complete(body)).choice["message"]["content"] == FAKE
    server.mood = status(500)
    with pytest.raises(ServiceError):
        run_blocking(client.complete(body))


# -- keys -------------------------------------------------------------------------------------------------------------


def test_the_key_is_sent_and_is_in_no_error_repr_or_log(
    server: ModelServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    server.mood = status(401, f'{{"error": {{"message": "wrong key {SECRET}"}}}}')
    (found,) = ask(server, key=SECRET)
    assert server.asked[0].headers["authorization"] == f"Bearer {SECRET}"
    assert "wrong key ***" in str(found)
    said = [str(found), repr(found), repr(found.error), repr(Endpoint(server.url, SECRET)), caplog.text]
    assert SECRET not in "".join(said) + "".join(capfd.readouterr())


def test_a_redirect_does_not_take_the_key_elsewhere(server: ModelServer) -> None:
    server.mood = status(307, "", Location="http://127.0.0.1:9/elsewhere")
    (found,) = ask(server, key=SECRET)
    assert "HTTP 307" in str(found)
    assert len(server.asked) == 1


def test_each_address_gets_its_own_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "openai-key-1")
    monkeypatch.setenv("GEMINI_API_KEY", "gemini-key-1")
    assert open_endpoint(OPENAI_URL).key == "openai-key-1"
    assert open_endpoint(GEMINI_URL).key == "gemini-key-1"
    assert open_endpoint("http://localhost:8000/v1").key is None
    assert open_endpoint("https://api.openai.com.evil.example/v1").key is None
    monkeypatch.setenv("MY_GATEWAY", "gateway-key")
    assert open_endpoint("https://gateway.example/v1", key_env="MY_GATEWAY").key == "gateway-key"
    monkeypatch.setenv("OPENAI_BASE_URL", "https://proxy.example/v1/")
    assert open_endpoint("https://proxy.example/v1").key == "openai-key-1"


def test_a_missing_or_impossible_key_is_named_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="OPENAI_API_KEY"):
        open_endpoint(OPENAI_URL)
    with pytest.raises(SettingsError, match="GEMINI_API_KEY"):
        open_endpoint(GEMINI_URL)
    with pytest.raises(SettingsError, match="NOT_THERE"):
        open_endpoint("https://gateway.example/v1", key_env="NOT_THERE")
    monkeypatch.setenv("OPENAI_API_KEY", f"{SECRET}\nX-Other: 1")
    with pytest.raises(SettingsError, match="OPENAI_API_KEY") as caught:
        open_endpoint(OPENAI_URL)
    assert SECRET not in str(caught.value)


def test_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert split_name("gpt-4.1") == ("gpt-4.1", OPENAI_URL)
    assert split_name("gemini-2.5-pro") == ("gemini-2.5-pro", GEMINI_URL)
    assert split_name("org/model@v2@http://localhost:8000/v1/") == ("org/model@v2", "http://localhost:8000/v1")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1234/v1")
    assert split_name("m") == ("m", "http://localhost:1234/v1")


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "@http://localhost/v1",
        "m@http://",
        "m@http://u:secret@localhost/v1",
        "m@https://host/v1?key=secret",
        "m@http://host:99999/v1",
        "m@http://[::1/v1",
    ],
)
def test_unusable_names_are_refused_without_repeating_secrets(rest: str) -> None:
    with pytest.raises(SettingsError) as caught:
        split_name(rest)
    assert "secret" not in str(caught.value)
