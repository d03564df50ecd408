"""Callers who send much, slowly, wrongly or not at all: each is answered in a line, and nobody else waits for them."""

from __future__ import annotations

import base64
import os
import resource
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.server.conftest import Running, near, running, soon

from deeptrace.errors import SettingsError
from deeptrace.server import Limits
from deeptrace.server.auth import GuessLimit

Make = Callable[[int], bytes]
KEY = "a-key-of-sixteen-characters"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("pressed")) as server:
        yield server


@pytest.mark.parametrize(
    ("path", "before", "item", "after"),
    [
        ("/v1/score", '{"clips":[', "{}", "]}"),
        ("/v1/score", '{"clips":[', '{"path":"a"}', "]}"),
        ("/v1/score", '{"clips":[{"fps":8,"frames":[', "1", "]}]}"),
        ("/score", '{"requests":[', "{}", "]}"),
        ("/compute", '{"prompt":["a"],"video":[[', '""', "]]}"),
    ],
)
@pytest.mark.parametrize("mib", [3, 10])
def test_a_body_of_a_million_items_is_refused_at_the_first_error(
    server: Running, path: str, before: str, item: str, after: str, mib: int
) -> None:
    body = before + ",".join([item] * ((mib << 20) // (len(item) + 1))) + after
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    reply = server.http.post(path, content=body, headers={"Content-Type": "application/json"}, timeout=60)
    assert reply.status_code in (413, 422), reply.text[:300]
    assert len(reply.content) < 1000
    assert time.monotonic() - began < 20
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held  # KiB; 2.4 GB before, for 3 MiB
    assert grown < 600 * 1024
    assert server.http.get("/health/live").status_code == 200


def test_two_callers_who_state_much_and_send_nothing_shut_nobody_out(tmp_path: Path, clip_bytes: Make) -> None:
    with running(tmp_path) as server:
        host, port = server.url.removeprefix("http://").split(":")
        silent = [socket.create_connection((host, int(port)), timeout=10) for _ in range(2)]
        for one in silent:
            one.sendall(b"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: 536870912\r\n\r\n{")
        time.sleep(0.3)
        assert server.upload(("b.mp4", clip_bytes(200))).json()["results"][0]["reward"] == near(200)
        for one in silent:
            one.close()
        assert soon(lambda: server.api.middleware.in_flight == 0)
        assert server.api.middleware._body_bytes == 0


def test_a_head_that_is_not_finished_is_hung_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import deeptrace.server.run as run

    monkeypatch.setattr(run, "HEAD_S", 0.5)
    with running(tmp_path, http=run._PatientProtocol) as server:
        host, port = server.url.removeprefix("http://").split(":")
        for sent in (b"", b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-Slow: "):
            with socket.create_connection((host, int(port)), timeout=10) as half:
                half.sendall(sent)
                began = time.monotonic()
                assert half.recv(4096) == b""
                assert time.monotonic() - began < 5
        with socket.create_connection((host, int(port)), timeout=10) as two:
            two.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\nGET /health/live HTT")
            answer = b"".join(iter(lambda: two.recv(4096), b""))
        assert answer.startswith(b"HTTP/1.1 200 ")


def test_keys_cannot_be_guessed_by_the_thousand(tmp_path: Path) -> None:
    with running(tmp_path, keys=(KEY,)) as server:
        binary = base64.b64encode(bytes([255, 58, 254])).decode()
        for header in ("Basic \u00e9", "Basic !!!", f"Basic {binary}", "Bearer x"):
            reply = server.http.get("/metrics", headers={"Authorization": header.encode()})
            assert (reply.status_code, reply.json()["code"]) == (401, "no_key")
        codes = [server.http.get("/metrics", headers={"X-API-Key": f"guess-{n}"}).status_code for n in range(12)]
        assert codes[:6] == [401] * 6
        assert codes[-1] == 429
        blocked = server.http.get("/metrics", headers={"X-API-Key": KEY})
        assert blocked.status_code == 429
        assert int(blocked.headers["retry-after"]) >= 1
        assert server.http.get("/health").status_code == 200


def test_guesses_are_counted_by_address_and_forgotten_in_time() -> None:
    now = [0.0]
    limit = GuessLimit(tries=2, period_s=10.0, clock=lambda: now[0])
    for _ in range(2):
        assert limit.wait_s("a") == 0
        limit.wrong("a")
    assert limit.wait_s("a") == 10
    assert limit.wait_s("b") == 0
    now[0] = 10.5
    assert limit.wait_s("a") == 0


def test_health_tells_no_settings(server: Running) -> None:
    assert set(server.http.get("/health").json()["detector"]) == {"name", "version"}


def test_a_caller_who_hangs_up_in_mid_body_is_no_error_of_the_server(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as gone:
        gone.sendall(b"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
    assert soon(lambda: server.api.middleware.in_flight == 0)
    assert not [record for record in caplog.records if record.exc_info]


def test_files_of_the_system_are_no_clips(tmp_path: Path) -> None:
    with running(tmp_path, roots=("/",)) as server:
        for path in ("/proc/self/mem", "/proc/self/environ", "/dev/zero", "/sys/kernel/uevent_seqnum"):
            (found,) = server.score({"path": path})
            assert (found["outcome"], found["reason"]) == ("decode_failed", "not_found")


def test_a_full_disk_is_said_with_when_to_come_again(
    server: Running, clip_bytes: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("deeptrace.server.inputs.shutil.copyfileobj", full)
    reply = server.upload(("a.mp4", clip_bytes(60)))
    assert (reply.status_code, reply.json()["code"]) == (503, "busy")
    assert int(reply.headers["retry-after"]) >= 1
    monkeypatch.undo()
    assert server.upload(("a.mp4", clip_bytes(60))).status_code == 200


def test_a_worker_that_dies_idle_is_seen_and_no_healthy_clip_pays(tmp_path: Path, clip_bytes: Make) -> None:
    with running(tmp_path, workers=1) as server:
        supervisor = server.api.scorer.supervisor
        assert soon(lambda: supervisor.ready == 1)
        (pid,) = supervisor.pids
        os.kill(pid, signal.SIGKILL)
        assert soon(lambda: supervisor.pids not in ([], [pid]))
        assert server.upload(("b.mp4", clip_bytes(200))).json()["results"][0]["reward"] == near(200)


def test_workers_come_back_after_the_machine_ran_out_of_file_handles(tmp_path: Path, clip_bytes: Make) -> None:
    from deeptrace.inference.executors import supervisor as module

    with running(tmp_path, workers=1) as server:
        supervisor = server.api.scorer.supervisor
        assert soon(lambda: supervisor.ready == 1)
        launch = module.launch
        with pytest.MonkeyPatch.context() as patch:

            def refuse() -> None:
                raise OSError(24, "Too many open files")

            patch.setattr(module, "launch", refuse)
            os.kill(supervisor.pids[0], signal.SIGKILL)
            assert soon(lambda: supervisor._failed_starts > 0)
            assert server.http.get("/health/ready").status_code == 503
        assert module.launch is launch
        assert soon(lambda: supervisor.ready == 1, 20.0)
        assert server.upload(("b.mp4", clip_bytes(200))).json()["results"][0]["reward"] == near(200)


def test_limits_beyond_what_a_body_may_list_are_refused() -> None:
    with pytest.raises(SettingsError, match="at most 4096"):
        Limits(clips=5000)
