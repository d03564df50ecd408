"""The judge against a real server that misbehaves: it fails closed, in time, once, and tells nobody its key."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.needs import needs

needs("httpx")

from tests.benchmark.judge_double import Judge, completion, serve  # noqa: E402

from deeptrace.benchmark.judge import default_cache, judge_explanations  # noqa: E402
from deeptrace.benchmark.judge_client import JudgeModel, parse_judge  # noqa: E402
from deeptrace.benchmark.run import evaluate  # noqa: E402
from deeptrace.errors import SettingsError  # noqa: E402
from deeptrace.metrics import JudgeRow  # noqa: E402

SECRET = "sk-very-secret-0123456789"


@pytest.fixture
def judge() -> Iterator[Judge]:
    found = Judge()
    server = serve(found)
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "judge.jsonl"


def rows(*predicted: str) -> list[JudgeRow]:
    return [JudgeRow((f"v{at}", 0), text, "The cup melts.") for at, text in enumerate(predicted)]


def model(judge: Judge, **changes: object) -> JudgeModel:
    return replace(JudgeModel(model="gpt-4.1", base_url=judge.url, deadline_s=5.0), **changes)


def test_scores_are_the_judges_own(judge: Judge, cache: Path) -> None:
    judge.moods = {"right": ["1"], "half": ["Score: 0.5"], "wrong": ["0"]}
    found = judge_explanations(rows("right one", "half one", "wrong one"), model(judge), cache=cache)
    assert found.scores == {("v0", 0): 1.0, ("v1", 0): 0.5, ("v2", 0): 0.0}
    assert found.failed_videos == set()
    assert found.as_json()["served_models"] == ["judge-2025-04-14"]
    assert (found.prompt_tokens, found.completion_tokens, found.calls) == (300, 6, 3)
    body = judge.asked[0]
    assert (body["temperature"], body["seed"], body["model"]) == (0, 0, "gpt-4.1")


@pytest.mark.parametrize(
    "first",
    [(429, "{}"), (500, "oops"), (503, ""), "CUT", (200, "not json"), (200, "[]"), (200, completion(None))],
    ids=["429", "500", "503", "cut off", "not json", "no object", "no text"],
)
def test_a_hiccup_is_tried_again(judge: Judge, cache: Path, first: object) -> None:
    judge.moods = {"cup": [first, "1"]}
    found = judge_explanations(rows("the cup"), model(judge), cache=cache)
    assert found.scores == {("v0", 0): 1.0}
    assert found.calls == 2


@pytest.mark.parametrize("answer", ["2", "0.75", "-1", "1 or 0.5", "excellent", "", "NaN", "10", "1e9"])
def test_a_score_out_of_range_is_a_failure_and_no_number(judge: Judge, cache: Path, answer: str) -> None:
    judge.default = answer
    found = judge_explanations(rows("the cup"), model(judge), cache=cache)
    assert found.scores == {("v0", 0): None}
    assert found.failed_videos == {"v0"}
    assert found.rows[0].answer == answer
    assert cache.read_text() == ""  # a failure is not kept: the next run asks again


def test_retries_end(judge: Judge, cache: Path) -> None:
    judge.default = (500, "always")
    found = judge_explanations(rows("the cup"), model(judge, attempts=3), cache=cache)
    assert found.scores == {("v0", 0): None}
    assert found.calls == 3
    assert "HTTP 500" in (found.rows[0].error or "")


@pytest.mark.parametrize("mood", ["HANG", "DRIP"])
def test_the_deadline_holds(judge: Judge, cache: Path, mood: str) -> None:
    judge.moods = {"slow": [mood]}
    started = time.perf_counter()
    found = judge_explanations(rows("slow", "quick"), model(judge, deadline_s=0.6), cache=cache)
    assert time.perf_counter() - started < 4
    assert found.scores == {("v0", 0): None, ("v1", 0): 1.0}
    assert "0.6 s" in (found.rows[0].error or "")


def test_a_refused_key_ends_the_asking(judge: Judge, cache: Path) -> None:
    judge.default = (401, "no such key")
    found = judge_explanations(rows(*(f"text {n}" for n in range(40))), model(judge, concurrency=2), cache=cache)
    assert set(found.scores.values()) == {None}
    assert found.calls <= 4


def test_a_dead_server_is_given_up(judge: Judge, cache: Path) -> None:
    gone = replace(model(judge), base_url="http://127.0.0.1:9", attempts=1, concurrency=1, give_up_after=3)
    found = judge_explanations(rows(*(f"text {n}" for n in range(20))), gone, cache=cache)
    assert set(found.scores.values()) == {None}
    assert found.calls == 3
    assert "not asked" in (found.rows[-1].error or "")


def test_answers_are_kept_and_asked_once(judge: Judge, cache: Path) -> None:
    first = judge_explanations(rows("the cup", "the cup", "the hat"), model(judge), cache=cache)
    assert first.calls == 2  # equal texts are one question
    again = judge_explanations(rows("the cup", "the hat", "the shoe"), model(judge), cache=cache)
    assert again.calls == 1
    assert [row.cached for row in again.rows] == [True, True, False]
    other = judge_explanations(rows("the cup"), model(judge, model="gpt-5"), cache=cache)
    assert other.calls == 1  # another model is another judge


def test_what_was_cut_off_by_a_kill_costs_one_answer(judge: Judge, cache: Path) -> None:
    judge_explanations(rows("the cup", "the hat"), model(judge, concurrency=1), cache=cache)
    whole = cache.read_bytes()
    cache.write_bytes(whole[:-20])
    found = judge_explanations(rows("the cup", "the hat"), model(judge), cache=cache)
    assert found.calls == 1
    assert set(found.scores.values()) == {1.0}
    assert judge_explanations(rows("the cup", "the hat"), model(judge), cache=cache).calls == 0


def test_several_questions_at_a_time(judge: Judge, cache: Path) -> None:
    judge_explanations(rows(*(f"text {n}" for n in range(24))), model(judge, concurrency=6), cache=cache)
    assert 2 <= judge.most_at_once <= 6


def test_the_key_goes_to_its_server_and_nowhere_else(
    judge: Judge, cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEEPTRACE_JUDGE_API_KEY", SECRET)
    judge.moods = {"echo": [(400, f"bad request with key {SECRET}")]}
    found = judge_explanations(rows("the cup", "echo"), model(judge), cache=cache)
    assert judge.keys[0] == f"Bearer {SECRET}"
    shown = json.dumps(found.as_json()) + cache.read_text() + str(found.rows) + "".join(capfd.readouterr())
    assert SECRET not in shown
    assert "HTTP 400" in shown


def test_the_usual_key_is_not_sent_to_a_stranger(judge: Judge, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEEPTRACE_JUDGE_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    judge_explanations(rows("the cup"), model(judge), cache=cache)
    assert judge.keys == [None]
    monkeypatch.setenv("OPENAI_BASE_URL", judge.url)
    judge_explanations(rows("the hat"), model(judge), cache=cache)
    assert judge.keys == [None, f"Bearer {SECRET}"]


def test_it_works_inside_a_running_loop(judge: Judge, cache: Path) -> None:
    async def notebook() -> dict:
        return judge_explanations(rows("the cup"), model(judge), cache=cache).scores

    assert asyncio.run(notebook()) == {("v0", 0): 1.0}


def test_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert parse_judge("openai:gpt-4.1").name == "openai:gpt-4.1@https://api.openai.com/v1"
    local = parse_judge("openai:org/model@v2@http://localhost:8000/v1/")
    assert (local.model, local.base_url) == ("org/model@v2", "http://localhost:8000/v1")
    for wrong in ("gpt-4.1", "openai:", "openai:@http://x/v1", "openai:m@http://", "openai:m@http://u:p@host/v1"):
        with pytest.raises(SettingsError) as caught:
            parse_judge(wrong)
        assert "u:p" not in str(caught.value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "deeptrace" / "judge.jsonl"


def test_a_missing_key_is_said_before_anything_is_done(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DEEPTRACE_JUDGE_API_KEY", "DEEPTRACE_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SettingsError, match="needs a key"):
        evaluate(tmp_path / "not even there", detector="baseline:d3", judge="openai:gpt-4.1")


def thinks(body: dict) -> tuple[int, str]:
    """As a model that thinks for some hundred tokens before each answer."""
    allowed = body.get("max_completion_tokens", body.get("max_tokens"))
    return 200, completion(None, "length") if allowed < 500 else completion("<think>0? No.</think>\n\n0.5")


def test_a_judge_that_thinks_is_given_room(judge: Judge, cache: Path) -> None:
    judge.default = thinks
    found = judge_explanations(rows("one", "two", "three"), model(judge, concurrency=1), cache=cache)
    assert set(found.scores.values()) == {0.5}
    assert found.calls <= 6  # those on their way when the first was cut off are asked twice as well
    again = judge_explanations(rows("one", "two", "three"), model(judge), cache=cache)
    assert (again.calls, set(again.scores.values())) == (0, {0.5})


def test_a_judge_that_never_stops_thinking_is_a_failure(judge: Judge, cache: Path) -> None:
    judge.default = (200, completion("", "length"))
    found = judge_explanations(rows("one"), model(judge), cache=cache)
    assert found.scores == {("v0", 0): None}
    assert "max_tokens=8192" in (found.rows[0].error or "")
    judge.default = (200, completion("<think>It is 1, or", "length"))
    found = judge_explanations(rows("one"), model(judge), cache=cache)
    assert "thoughts" in (found.rows[0].error or "")


def test_a_judge_that_refuses_fields_is_asked_without(judge: Judge, cache: Path) -> None:
    def refuses(body: dict) -> tuple[int, str]:
        if "max_tokens" in body:
            said = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
            return 400, json.dumps({"error": {"message": said, "param": "max_tokens"}})
        for name in ("temperature", "seed"):
            if name in body:
                return 400, json.dumps(
                    {"error": {"message": f"'{name}' is not supported with this model.", "param": name}}
                )
        return thinks(body)

    judge.default = refuses
    found = judge_explanations(rows("one", "two"), model(judge, concurrency=1), cache=cache)
    assert set(found.scores.values()) == {0.5}
    assert not {"max_tokens", "temperature", "seed"} & judge.asked[-1].keys()
