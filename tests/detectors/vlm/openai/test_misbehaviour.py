"""One batch, one server that goes wrong in every way we know: nothing is lost, each clip ends as what it is."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.detectors.vlm.openai.model_server import (
    FAKE,
    ModelServer,
    completion,
    cut,
    drip,
    error,
    first,
    hang,
    says,
    status,
    tokens,
)
from typer.testing import CliRunner

from deeptrace.cli.main import app
from deeptrace.schema import Outcome, Verdict

SECRET = "sk-test-0123456789abcdef"
PAGE = "<html><head><title>Sign in</title></head><body>Welcome to the hotel network</body></html>"
S, M, R, P = Outcome.SCORED, Outcome.MODEL_FAILED, Outcome.REFUSED, Outcome.PARSE_FAILED

# name: (what the server does, the outcome, words of the error or, of a scored clip, of a warning)
WAYS = {
    "well": (says(FAKE), S, ""),
    "429 once": (first(status(429, "{}", Retry_After="0.2")), S, ""),
    "429 for an hour": (status(429, "{}", Retry_After="3600"), M, "asks to wait 3600 s"),
    "500 for ever": (status(500, "oops"), M, "HTTP 500 oops (after 2 tries)"),
    "hangs": (hang, M, "no answer within"),
    "drips header bytes": (drip, M, "no answer within"),
    "cut once": (first(cut), S, ""),
    "cut for ever": (cut, M, "RemoteProtocolError"),
    "malformed JSON": (status(200, completion(FAKE)[:-9]), M, "not a chat completion (application/json)"),
    "no object": (status(200, "[]"), M, "not a chat completion"),
    "deep JSON": (status(200, "[" * 100_000), M, "not a chat completion"),
    "empty choices": (status(200, '{"choices": []}'), M, "no choices"),
    "no message": (status(200, '{"choices": [{}]}'), M, "without a message"),
    "error as success": (status(200, '{"error": {"message": "upstream died", "code": 503}}'), M, "upstream died"),
    "refusal field": (says(None, refusal="I can't help with that."), R, "I can't help"),
    "refusal in words": (says("I'm sorry, but I can't assist with that."), R, "declined"),
    "filtered answer": (says("FA", finish="content_filter"), R, "content filter"),
    "filtered question": (error(400, "The response was filtered", code="content_filter"), R, "filtered"),
    "wrong logprobs": (says(FAKE, logprobs=tokens(("FAKE", 3.5))), S, "logprobs are unusable"),
    "odd logprobs": (says(FAKE, logprobs={"content": "many"}), S, "logprobs are unusable"),
    "null content": (says(None), P, "the answer is empty"),
    "all thoughts": (says("", finish="length"), P, "max_tokens"),
    "cut thoughts": (says("<think>The cat", finish="length"), P, "--set max_tokens"),
    "cut answer": (says(FAKE[:-10], finish="length"), S, "cut off at max_tokens"),
    "echo": (says("REAL or FAKE"), P, "both REAL and FAKE"),
    "HTML page": (status(200, PAGE, Content_Type="text/html"), M, "text/html"),
    "HTML error": (status(502, PAGE, Content_Type="text/html"), M, "HTTP 502"),
    "401": (error(401, f"Incorrect API key provided: {SECRET}"), M, "HTTP 401"),
    "404 model": (error(404, "The model `m` does not exist"), M, "does not exist"),
    "wrong content type": (status(200, completion(FAKE), Content_Type="image/png"), S, ""),
    "9 MiB": (status(200, " " * (9 << 20)), M, "larger than"),
    "half a character": (says(FAKE + " \ud800"), S, ""),
    "an error with half a character": (error(404, "no \udfff model"), M, "no ? model"),
    "parts": (says([{"type": "text", "text": FAKE}]), S, ""),
}
QUICK = ("attempts=2", "backoff_s=0.01", "attempt_s=1.5", "deadline_s=6", "give_up_after=1000", "concurrency=16")


@pytest.fixture
def batch(server: ModelServer, clip, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Run `deeptrace detect` over one clip for each way; clips differ in length, by which the server tells them."""
    monkeypatch.setenv("DEEPTRACE_API_KEY", SECRET)
    for at, (name, (mood, _, _)) in enumerate(WAYS.items()):
        frames = 4 + at
        clip(f"{name}.mp4", frames=frames, fps=32.0, size=(32, 32))
        server.moods[f"{frames / 32:.3f}"] = mood

    def run(*more: str):
        args = ["detect", str(tmp_path), "--json", "--detector", f"openai:m@{server.url}", *more]
        for setting in QUICK:
            args += ["--set", setting]
        return CliRunner().invoke(app, args)

    return run


def test_nothing_is_lost_and_each_is_counted_as_what_it_is(batch, server: ModelServer, tmp_path: Path) -> None:
    result = batch("--out", str(tmp_path / "out"))
    assert result.exit_code == 1, result.stderr
    verdicts = {Path(v.video).stem: v for v in map(Verdict.model_validate_json, result.stdout.splitlines())}
    assert set(verdicts) == set(WAYS)
    assert list(verdicts) == sorted(WAYS)  # the order of the inputs, whatever came first
    assert {name: v.outcome for name, v in verdicts.items()} == {name: way[1] for name, way in WAYS.items()}
    for name, (_, outcome, words) in WAYS.items():
        verdict = verdicts[name]
        said = verdict.error if verdict.error is not None else "; ".join(verdict.warnings)
        assert words in said, name
        if outcome is S:
            assert verdict.label == "FAKE"
            assert verdict.traces[0].explanation.startswith("It")
    assert verdicts["429 once"].usage.requests == verdicts["cut once"].usage.requests == 2
    assert verdicts["wrong logprobs"].p_fake is None
    assert "***" in (verdicts["401"].error or "")  # the server repeated the key; we do not
    kept = "".join(path.read_text() for path in (tmp_path / "out").rglob("*") if path.suffix in (".jsonl", ".json"))
    assert len(kept) > 1000
    assert SECRET not in result.stdout + result.stderr + kept
    assert all(asked.headers["authorization"] == f"Bearer {SECRET}" for asked in server.asked)
    counts = Counter(json.loads(line)["outcome"] for line in (tmp_path / "out" / "verdicts.jsonl").open())
    assert counts == Counter(way[1].value for way in WAYS.values())


def test_resuming_asks_again_where_there_was_no_answer(batch, server: ModelServer, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    server.moods = {key: mood for key, mood in server.moods.items() if mood not in (hang, drip)}
    batch("--out", out)
    before = len(server.asked)
    unanswered = {
        f"{(4 + at) / 32:.3f}" for at, way in enumerate(WAYS.values()) if way[1] is M and way[0] not in (hang, drip)
    }
    server.moods = {}
    result = batch("--out", out, "--resume")
    assert {asked.duration for asked in server.asked[before:]} == unanswered
    outcomes = Counter(json.loads(line)["outcome"] for line in result.stdout.splitlines())
    # An answer that was refused or could not be read is an answer: asking again would be paid for twice.
    answered = Counter(way[1].value for way in WAYS.values() if way[1] in (R, P))
    assert outcomes == answered | {"scored": len(WAYS) - answered.total()}
    assert result.exit_code == 1


def test_the_cost_is_told_at_the_end(batch, server: ModelServer) -> None:
    server.moods = {}
    result = batch("--set", "price_in=1000", "--set", "price_out=0")
    assert f"{len(WAYS)} answers: {1200 * len(WAYS)} tokens in, {30 * len(WAYS)} out, cost" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_does_not_wait_for_an_answer(server: ModelServer, clip, tmp_path: Path) -> None:
    server.mood = hang
    clip()
    script = Path(sys.executable).with_name("deeptrace")
    args = [script, "detect", tmp_path, "--detector", f"openai:m@{server.url}", "--set", "deadline_s=60"]
    running = subprocess.Popen(
        [str(part) for part in args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a test run started in the background ignores Ctrl-C, and its children would inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    waited = time.monotonic() + 60
    while not server.asked and time.monotonic() < waited:
        time.sleep(0.05)
    assert server.asked
    stopped = time.monotonic()
    running.send_signal(signal.SIGINT)
    said = running.communicate(timeout=20)[1]
    assert running.returncode == 130, said
    assert "0 of 1 done" in said
    assert time.monotonic() - stopped < 15
