"""Full queues, dying workers, limits and callers that leave: nothing is lost, nothing is mixed up, nothing hangs."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from tests.reward.conftest import expected
from tests.server.conftest import Running, near, pngs, running, soon

from deeptrace.server import Limits

Make = Callable[[int], bytes]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Two workers, a queue of eight clips."""
    tmp = tmp_path_factory.mktemp("server")
    limits = Limits(clip_s=2.0, memory_bytes=512 << 20)
    with running(tmp, workers=2, max_queue=8, folder=str(tmp), limits=limits) as server:
        assert soon(lambda: server.api.scorer.supervisor.ready == 2)
        yield server


def restarts(server: Running, cause: str) -> float:
    lines = server.http.get("/metrics").text.splitlines()
    name = f'deeptrace_serve_worker_restarts_total{{cause="{cause}"}}'
    return next(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def test_saturated_it_declines_and_what_it_takes_is_right(server: Running, clip_bytes: Make) -> None:
    levels = [20 * (index % 12) + 10 for index in range(40)]
    declined = []

    def ask(level: int) -> float:
        name = f"slow-{level}.mp4" if level % 3 == 0 else f"{level}.mp4"
        while True:
            reply = server.upload((name, clip_bytes(level)))
            if reply.status_code == 200:
                return reply.json()["results"][0]["reward"]
            assert reply.status_code == 429
            assert reply.json()["code"] == "busy"
            assert 1 <= int(reply.headers["retry-after"]) <= 60
            declined.append(level)
            time.sleep(0.05)

    for level in set(levels):
        clip_bytes(level)
    with ThreadPoolExecutor(24) as threads:
        rewards = list(threads.map(ask, levels))
    assert rewards == [near(level) for level in levels]
    assert declined


def test_a_request_is_taken_whole_or_not_at_all(server: Running) -> None:
    nine = [{"frames": pngs(30), "fps": 8}] * 9
    reply = server.http.post("/v1/score", json={"clips": nine})
    assert reply.status_code == 413, "more than ever fit would be told to come again for ever"


def test_a_crash_is_tried_once_more(server: Running, clip_bytes: Make) -> None:
    before = restarts(server, "crashed")
    found = server.upload(("once.mp4", clip_bytes(60)), ("b.mp4", clip_bytes(200))).json()["results"]
    assert [clip["reward"] for clip in found] == [near(60), near(200)]
    assert restarts(server, "crashed") == before + 1


def test_a_clip_that_kills_twice_is_answered_and_costs_the_others_nothing(server: Running, clip_bytes: Make) -> None:
    names = ["a.mp4", "segv.mp4", "b.mp4", "c.mp4", "d.mp4"]
    found = server.upload(*((name, clip_bytes(60)) for name in names)).json()["results"]
    assert [clip["reward"] for clip in found] == [near(60), None, near(60), near(60), near(60)]
    assert (found[1]["outcome"], found[1]["reason"]) == ("crashed", "crashed")
    assert found[1]["error"] == "the worker process was killed by SIGSEGV while working on this video"


def test_a_worker_killed_from_outside_loses_nothing(server: Running, clip_bytes: Make) -> None:
    assert soon(lambda: server.api.scorer.supervisor.ready == 2)
    clips = [(f"slow-{index}.mp4", clip_bytes(40 + 20 * index)) for index in range(4)]
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(server.upload, *clips)
        assert soon(lambda: server.api.scorer.supervisor.busy == 2)
        for pid in server.api.scorer.supervisor.pids:
            os.kill(pid, signal.SIGKILL)
        found = answer.result(timeout=30).json()["results"]
    assert [clip["reward"] for clip in found] == [near(40 + 20 * index) for index in range(4)]


def test_a_clip_that_takes_too_long_is_ended(server: Running, clip_bytes: Make) -> None:
    before, began = restarts(server, "timed_out"), time.monotonic()
    found = server.upload(("never ends.mp4", clip_bytes(60)), ("b.mp4", clip_bytes(200))).json()["results"]
    assert (found[0]["outcome"], found[0]["reason"]) == ("timed_out", "timed_out")
    assert found[0]["error"] == "took longer than the time limit of 2 s"
    assert found[1]["reward"] == near(200)
    assert soon(lambda: restarts(server, "timed_out") == before + 1)
    assert time.monotonic() - began < 20


def test_a_clip_that_asks_for_too_much_memory_is_refused_it(server: Running, clip_bytes: Make) -> None:
    before = restarts(server, "crashed")
    (clip,) = server.upload(("hungry.mp4", clip_bytes(60))).json()["results"]
    assert (clip["outcome"], clip["reason"]) == ("too_large", "too_large")
    assert clip["error"] == "needs more memory than it may have"
    assert restarts(server, "crashed") == before


def test_a_requests_own_deadline(server: Running, clip_bytes: Make) -> None:
    began = time.monotonic()
    reply = server.upload(("slow.mp4", clip_bytes(60)), ("slow-2.mp4", clip_bytes(60)), deadline_s="0.3")
    assert time.monotonic() - began < 2
    assert [clip["reason"] for clip in reply.json()["results"]] == ["timed_out"] * 2
    assert server.upload(("b.mp4", clip_bytes(200))).json()["results"][0]["reward"] == near(200)


def test_a_caller_who_leaves_takes_the_work_along(server: Running, clip_bytes: Make) -> None:
    async def leave() -> None:
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
            files = [("files", (f"never ends-{index}.mp4", clip_bytes(60))) for index in range(6)]
            with pytest.raises(httpx.ReadTimeout):
                await http.post("/v1/score/upload", files=files, timeout=0.5)

    assert soon(lambda: server.api.scorer.supervisor.ready == 2)
    before = restarts(server, "abandoned")
    asyncio.run(leave())
    assert soon(lambda: server.api.scorer.supervisor.depth == 0, 3.0)
    assert server.upload(("b.mp4", clip_bytes(200))).json()["results"][0]["reward"] == near(200)
    assert soon(lambda: server.api.middleware.in_flight == 0)
    assert restarts(server, "abandoned") + restarts(server, "timed_out") > before


def test_a_caller_who_sends_a_body_drop_by_drop_does_not_stay(tmp_path, clip_bytes: Make) -> None:
    with running(tmp_path, limits=Limits(deadline_s=0.5)) as server:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as drip:
            drip.sendall(b"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
            answer = b"".join(iter(lambda: drip.recv(4096), b""))
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"timed_out" in answer


def test_many_connections_of_one_batch_go_to_all_workers(server: Running) -> None:
    assert soon(lambda: server.api.scorer.supervisor.ready == 2)
    busiest = 0

    def watch() -> None:
        nonlocal busiest
        while not done.is_set():
            busiest = max(busiest, server.api.scorer.supervisor.busy)
            time.sleep(0.005)

    done = threading.Event()
    watcher = threading.Thread(target=watch)
    watcher.start()
    found = server.score(*({"frames": pngs(level), "fps": 8, "name": f"slow-{level}"} for level in (10, 20, 30, 40)))
    done.set()
    watcher.join()
    assert [clip["reward"] for clip in found] == [expected(level) for level in (10, 20, 30, 40)]
    assert busiest == 2
