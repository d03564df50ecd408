"""The client against a real server, and against a stand-in that fails on purpose."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from tests.reward.conftest import corner_clip, expected
from tests.server.conftest import Running, clip_bytes, near, running, served_detector

from deeptrace.errors import ModelError, ServiceError, SettingsError
from deeptrace.reward import AsyncRewardClient, RewardClient
from deeptrace.reward.tensors import Unusable
from deeptrace.schema import Outcome

__all__ = ["clip_bytes", "served_detector"]  # fixtures

Make = Callable[[int], bytes]
KEY = "key-of-the-client-test"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    tmp = tmp_path_factory.mktemp("server")
    with running(tmp, workers=2, max_queue=4, keys=(KEY,), roots=(str(tmp),)) as found:
        yield found


def test_it_is_called_like_reward_and_keeps_the_order(server: Running, clip_bytes: Make, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(clip_bytes(60))
    (tmp_path / "bad.mp4").write_bytes(b"x")
    clips = [tmp_path / "a.mp4", corner_clip(10), clip_bytes(200), str(tmp_path / "bad.mp4"), tmp_path / "none.mp4"]
    clips += [Unusable("clip 5", "has NaN pixels"), *(corner_clip(level) for level in range(20, 240, 10))]
    with RewardClient(server.url, api_key=KEY, in_flight=16) as client:
        rewards = client(clips, fps=8)
        results = client.score(clips[:6], fps=8)
        assert client.health()["status"] == "ok"
    assert rewards[:3] == [near(60), expected(10), near(200)]
    assert all(map(math.isnan, rewards[3:6]))
    assert rewards[6:] == [expected(level) for level in range(20, 240, 10)]
    assert results[0].parts is not None
    assert results[0].reward == results[0].parts.reward
    assert results[0].verdict.video == str(tmp_path / "a.mp4")
    assert [r.verdict.outcome for r in results[3:]] == [Outcome.DECODE_FAILED] * 3
    assert results[4].error == "no such file"


def test_the_server_may_read_the_files_itself(server: Running, clip_bytes: Make) -> None:
    path = server.scratch.parent / "shared.mp4"
    path.write_bytes(clip_bytes(60))
    with RewardClient(server.url, api_key=KEY, send="path") as client:
        assert client([path, "/etc/passwd"]) == [near(60), pytest.approx(math.nan, nan_ok=True)]


def test_files_and_bytes_are_sent_as_they_are(moody: str, tmp_path: Path, clip_bytes: Make) -> None:
    (tmp_path / "a.mp4").write_bytes(clip_bytes(60))
    with RewardClient(moody) as client:
        assert client([tmp_path / "a.mp4"]) == client([clip_bytes(60)]) == [0.75]
    assert _Moody.bodies == [clip_bytes(60)] * 2, "no form around them"


def test_a_name_in_any_letters_comes_back(server: Running, clip_bytes: Make, tmp_path: Path) -> None:
    path = tmp_path / "ü 犬 & 100%?#.mp4"
    path.write_bytes(clip_bytes(60))
    with RewardClient(server.url, api_key=KEY) as client:
        (result,) = client.score([path])
        (folder,) = client.score([tmp_path])
    assert (result.reward, result.verdict.video) == (near(60), str(path))
    assert "cannot be read" in (folder.error or "")


def test_on_an_event_loop(server: Running, clip_bytes: Make) -> None:
    async def ask() -> list[list[float]]:
        async with AsyncRewardClient(server.url, api_key=KEY) as client:
            return await asyncio.gather(*(client([clip_bytes(level)]) for level in (60, 200)))

    assert asyncio.run(ask()) == [[near(60)], [near(200)]]


def test_from_many_threads(server: Running) -> None:
    found: dict[int, list[float]] = {}
    with RewardClient(server.url, api_key=KEY) as client:

        def ask(level: int) -> None:
            found[level] = client([corner_clip(level)] * 2, fps=8)

        threads = [threading.Thread(target=ask, args=(level,)) for level in range(10, 90, 10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == {level: [expected(level)] * 2 for level in range(10, 90, 10)}


def test_what_is_wrong_with_the_call_is_raised(server: Running) -> None:
    with RewardClient(server.url, api_key="wrong-key-wrong-key") as client:
        with pytest.raises(ServiceError, match="401"):
            client([corner_clip(10)], fps=8)
        for clips, fps in (
            ([corner_clip(10)], None),
            ([corner_clip(10)], [8, 8]),
            ([np.zeros((4, 8, 8))], 8),
            ([3], None),
        ):
            with pytest.raises(SettingsError):
                client(clips, fps=fps)
    with RewardClient(server.url, api_key=KEY, failures="raise") as client:
        with pytest.raises(ModelError, match="clip 0: "):
            client([b"x"])
        with pytest.raises(ModelError, match="makes no map"):
            client.dense(corner_clip(10), fps=8)
    for options in ({"in_flight": 0}, {"patience_s": 0}, {"failures": "zero"}, {"send": "pigeon"}):
        with pytest.raises(SettingsError):
            RewardClient(server.url, **options)
    with pytest.raises(SettingsError, match="http://HOST:PORT"):
        RewardClient("localhost:8000")


RESULT = b"""{"results": [{"video": "x", "outcome": "scored", "label": "REAL", "p_fake": 0.25, "reward": 0.75,
"parts": {"reward": 0.75, "authenticity": 0.75, "trace_factor": 1, "trace_cost": 0, "cost_by_category": {}},
"reason": null}]}"""


class _Moody(BaseHTTPRequestHandler):
    """Answers with what `plan` says, then well."""

    plan: list[int] = []  # noqa: RUF012 - shared on purpose
    bodies: list[bytes] = []  # noqa: RUF012

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["content-length"])))
        status = self.plan.pop(0) if self.plan else 200
        if status == 0:
            self.close_connection = True
            return
        self.send_response(status)
        body = RESULT if status == 200 else b'{"detail": "not now", "code": "busy"}'
        if status == 429:
            self.send_header("Retry-After", "0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def moody() -> Iterator[str]:
    site = ThreadingHTTPServer(("127.0.0.1", 0), _Moody)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    _Moody.plan, _Moody.bodies = [], []
    yield f"http://127.0.0.1:{site.server_address[1]}"
    site.shutdown()
    site.server_close()


@pytest.mark.parametrize("plan", [[429, 429, 429], [503], [0], [500, 0, 502]])
def test_it_asks_again_and_sends_everything_again(moody: str, tmp_path: Path, plan: list[int]) -> None:
    (tmp_path / "a.mp4").write_bytes(b"all of it" * 1000)
    _Moody.plan = list(plan)
    with RewardClient(moody) as client:
        assert client([tmp_path / "a.mp4"]) == [0.75]
    assert len(_Moody.bodies) == len(plan) + 1
    assert all(body.count(b"all of it") == 1000 for body in _Moody.bodies)


def test_it_does_not_ask_for_ever(moody: str) -> None:
    _Moody.plan = [503] * 1000
    with RewardClient(moody, patience_s=0.6) as client:
        (result,) = client.score([b"x"])
    assert math.isnan(result.reward)
    assert result.verdict.outcome is Outcome.MODEL_FAILED
    assert "HTTP 503 not now" in (result.error or "")
    with RewardClient("http://127.0.0.1:9", patience_s=0.3) as client:
        assert math.isnan(client([b"x"])[0])
        with pytest.raises(ServiceError, match="does not answer"):
            client.health()
    strict = RewardClient("http://127.0.0.1:9", patience_s=0.3, failures="raise")
    with strict, pytest.raises(ModelError, match="gave no answer"):
        strict([b"x"])


def test_what_the_server_declines_for_good_is_not_asked_again(moody: str) -> None:
    _Moody.plan = [404, 200]
    with RewardClient(moody) as client, pytest.raises(ServiceError, match="HTTP 404 not now"):
        client([b"x"])
    assert len(_Moody.bodies) == 1


def test_it_works_in_a_forked_process(server: Running) -> None:
    import os

    with RewardClient(server.url, api_key=KEY) as client:
        assert client([corner_clip(10)], fps=8) == [expected(10)]
        pid = os.fork()
        if pid == 0:
            ok = client([corner_clip(40)], fps=8) == [expected(40)]
            os._exit(0 if ok else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert client([corner_clip(70)], fps=8) == [expected(70)]
