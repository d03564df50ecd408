"""`deeptrace serve` on loopback under load, beside `deeptrace.Reward` in this process on the same clips.

    python benchmarks/serve_load.py [--workers 2] [--requests 64] [--hostile 1000]

Clips: one of two seconds at 640x360 (x264), made into 16 that differ in brightness, so that an answer to another
request would show as a wrong number: every answer is compared with the one of `Reward` in this process, to 1e-6.

1. Requests a second, median and 99th percentile, at several numbers of callers; the peer is called by as many threads.
   Both rows of a number are measured one after the other.
2. Saturation: 64 callers at a server whose queue holds 8 clips. Answers lost, answers mixed up, requests declined.
3. A worker killed (SIGKILL) in the middle of a request: until that request is answered, until all workers are back.
4. Hostile inputs (see `hostile_clips.py`): outcomes, workers lost, files left, whether a playlist was followed.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import numpy as np

import deeptrace
from deeptrace.reward import RewardClient
from deeptrace.video import open_video, write_video
from hostile_clips import base_files, hostile_inputs

CALLERS = (1, 2, 8, 32)
NEAR = 1e-6
EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "coffee_trace.mp4"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2, help="of the server, and threads of the peer")
    parser.add_argument("--requests", type=int, default=64, help="at each number of callers")
    parser.add_argument("--hostile", type=int, default=1000, help="hostile inputs")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = make_clips(folder)
        with deeptrace.Reward(workers=asked.workers) as reward:
            truth = dict(zip(clips, reward(clips), strict=True))
            assert np.diff(sorted(truth.values())).min() > 10 * NEAR, "clips must be told apart by their reward"
            throughput(clips, truth, reward, asked.workers, asked.requests, folder)
        saturation(clips, truth, asked.workers, folder)
        recovery(clips, truth, folder)
        hostile(clips, truth, asked.workers, asked.hostile, folder)
    return 0


def make_clips(folder: Path) -> list[Path]:
    """16 clips that look alike and are not."""
    with open_video(EXAMPLE) as video:
        frames = [frame.image for frame in video.frames(end_s=2.0)]
    found = []
    for index in range(16):
        gain = 0.6 + 0.025 * index
        found.append(folder / f"clip-{index:02}.mp4")
        write_video(found[-1], ((image * gain).astype(np.uint8) for image in frames), fps=24.0)
    return found


# -- servers and callers ----------------------------------------------------------------------------------------------


class Served:
    """A server in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process, self.url = process, url
        self.http = httpx.Client(base_url=url, timeout=120, trust_env=False, limits=httpx.Limits(max_connections=64))

    def score(self, path: Path) -> float | None:
        """One clip's reward; None when the server declines."""
        with path.open("rb") as file:
            reply = self.http.post("/v1/score/upload", files={"files": (path.name, file)})
        if reply.status_code == 429:
            return None
        reply.raise_for_status()
        return reply.json()["results"][0]["reward"]

    def metrics(self) -> dict[str, float]:
        """What `/metrics` says."""
        lines = self.http.get("/metrics").text.splitlines()
        return {key: float(value) for key, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}

    def children(self) -> list[int]:
        """The workers: children that hold a pipe to the server and not Python's own resource tracker."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        pids = [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
        return [pid for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def memory_mb(self) -> int:
        """Resident memory of the server's own process."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20


@contextmanager
def serving(folder: Path, workers: int, *options: str) -> Iterator[Served]:
    """A server with all its workers ready."""
    words = [sys.executable, "-m", "deeptrace.cli.main", "serve", "--port", "0", "--workers", str(workers)]
    words += ["--scratch", str(folder), *options]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    url = next(found[1] for line in process.stderr if (found := re.search(r" at (http\S+)", line)))
    threading.Thread(target=lambda: list(process.stderr or ()), daemon=True).start()
    served = Served(process, url)
    try:
        wait(lambda: served.metrics()["deeptrace_serve_workers_ready"] == workers)
        yield served
    finally:
        served.http.close()
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def wait(is_so: Callable[[], bool], within_s: float = 120.0) -> float:
    """Seconds until it is so."""
    began = time.perf_counter()
    while not is_so():
        if time.perf_counter() - began > within_s:
            raise TimeoutError("it did not become so")
        time.sleep(0.01)
    return time.perf_counter() - began


def measure(ask: Callable[[Path], float | None], jobs: Sequence[Path], callers: int) -> tuple[float, list[float], list]:
    """Jobs a second, the time each took, and the answers."""
    times: list[float] = []

    def timed(job: Path) -> float | None:
        began = time.perf_counter()
        answer = ask(job)
        times.append(time.perf_counter() - began)
        return answer

    with ThreadPoolExecutor(callers) as threads:
        began = time.perf_counter()
        answers = list(threads.map(timed, jobs))
        took = time.perf_counter() - began
    return len(jobs) / took, sorted(times), answers


def differs(answer: float | None, truth: float) -> bool:
    """Whether it is another clip's reward, or none. Sums in another order move the tenth digit of the right one."""
    return answer is None or not abs(answer - truth) < NEAR


def percentile(times: Sequence[float], share: float) -> float:
    return times[min(int(len(times) * share), len(times) - 1)] * 1000


# -- the four parts ---------------------------------------------------------------------------------------------------


def throughput(
    clips: list[Path], truth: dict[Path, float], reward: deeptrace.Reward, workers: int, requests: int, folder: Path
) -> None:
    """Part 1."""
    jobs = [clips[index % len(clips)] for index in range(requests)]
    print(f"{workers} workers, {requests} requests a row, clips of 2 s at 640x360\n")
    print(f"{'':36}{'req/s':>8}{'ratio':>8}{'p50 ms':>9}{'p99 ms':>9}{'wrong':>7}")
    with serving(folder, workers) as server:
        ways = {
            "Reward without a server (the peer)": lambda path: reward([path])[0],
            "deeptrace serve": server.score,
        }
        for callers in CALLERS:
            print(f"{callers} callers")
            peer = 0.0
            for name, ask in ways.items():
                for clip in clips[:callers]:
                    ask(clip)
                rate, times, answers = measure(ask, jobs, callers)
                peer = peer or rate
                wrong = sum(differs(answer, truth[job]) for answer, job in zip(answers, jobs, strict=True))
                p50, p99 = percentile(times, 0.5), percentile(times, 0.99)
                print(f"  {name:34}{rate:8.1f}{rate / peer:8.2f}{p50:9.0f}{p99:9.0f}{wrong:7}")


def saturation(clips: list[Path], truth: dict[Path, float], workers: int, folder: Path) -> None:
    """Part 2."""
    jobs = [clips[index % len(clips)] for index in range(256)]
    with serving(folder, workers, "--max-queue", "8") as server:
        with RewardClient(server.url, in_flight=64) as client:
            began = time.perf_counter()
            answers = client(jobs)
            took = time.perf_counter() - began
        found = server.metrics()
    lost = int(np.isnan(answers).sum())
    mixed = sum(differs(answer, truth[job]) for answer, job in zip(answers, jobs, strict=True)) - lost
    declined = sum(value for key, value in found.items() if "requests_total" in key and 'status="429"' in key)
    print(f"\nsaturation: 64 callers, a queue of 8, {len(jobs)} clips through RewardClient in {took:.1f} s")
    print(f"  declined with 429 and asked again {declined:.0f}   lost {lost}   mixed up {mixed}")


def recovery(clips: list[Path], truth: dict[Path, float], folder: Path) -> None:
    """Part 3, with one worker, so that nobody else can answer."""
    answered, back, wrong = [], [], 0
    with serving(folder, 1) as server:
        for _ in range(5):
            with ThreadPoolExecutor(4) as threads:
                asked = [threads.submit(server.score, clip) for clip in clips[:4]]
                wait(lambda: server.metrics()["deeptrace_serve_workers_busy"] == 1)
                time.sleep(0.05)
                killed = time.perf_counter()
                for pid in server.children():
                    os.kill(pid, signal.SIGKILL)
                wrong += differs(asked[0].result(), truth[clips[0]])
                answered.append(time.perf_counter() - killed)
                wrong += sum(differs(one.result(), truth[clip]) for one, clip in zip(asked, clips, strict=False))
            wait(lambda: server.metrics()["deeptrace_serve_workers_ready"] == 1)
            back.append(time.perf_counter() - killed)
        lost = server.metrics()['deeptrace_serve_worker_restarts_total{cause="crashed"}']
    print(f"\na worker killed mid-request, five times ({lost:.0f} counted), one worker, four requests waiting")
    print(f"  until the request was answered: median {statistics.median(answered):.2f} s, worst {max(answered):.2f} s")
    print(f"  wrong or lost answers {wrong}")


def hostile(clips: list[Path], truth: dict[Path, float], workers: int, count: int, folder: Path) -> None:
    """Part 4."""
    asked_for: list[str] = []

    class Canary(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked_for.append(self.path)
            self.send_error(404)

    site = ThreadingHTTPServer(("127.0.0.1", 0), Canary)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    bases = base_files(folder)
    inputs = hostile_inputs(count, bases, clips[0], f"http://127.0.0.1:{site.server_address[1]}/canary.mp4")
    scratch = folder / "scratch"
    scratch.mkdir()
    limits = ("--clip-timeout", "10", "--clip-memory-mb", "1024", "--fps", "8")
    with serving(scratch, workers, *limits) as server:
        before, pid = server.memory_mb(), server.process.pid
        sent = [{"files": (one.name, one.data)} for one in inputs]
        with ThreadPoolExecutor(16) as threads:
            began = time.perf_counter()
            replies = list(threads.map(lambda files: server.http.post("/v1/score/upload", files=files), sent))
            took = time.perf_counter() - began
        results = [reply.json()["results"][0] for reply in replies if reply.status_code == 200]
        right = sum(not differs(server.score(clip), truth[clip]) for clip in clips)
        found, after = server.metrics(), server.memory_mb()
        up = server.process.poll() is None and server.process.pid == pid
        left = sum(entry.name != ".lock" for entry in next(scratch.iterdir()).iterdir())
    site.shutdown()
    followed = sum(one.kind == "names other files" and result["outcome"] == "scored"
                   for one, result in zip(inputs, results, strict=False))  # fmt: skip
    print(f"\n{count} hostile inputs, 16 callers: {took:.0f} s")
    print(
        f"  server still up {up}   answers {len(results)}   good clips scored right afterwards {right} of {len(clips)}"
    )
    for (outcome, reason), number in Counter((r["outcome"], r["reason"] or "") for r in results).most_common():
        print(f"  {outcome:14}{reason:14}{number:6}")
    causes = {key.split('"')[1]: value for key, value in found.items() if "worker_restarts_total" in key}
    print("  workers lost: " + ", ".join(f"{cause} {value:.0f}" for cause, value in causes.items()))
    print(f"  other files opened {followed}   addresses asked {len(asked_for)}   files left in the folder {left}")
    print(f"  memory of the server's process {before} MB before, {after} MB after")


if __name__ == "__main__":
    sys.exit(main())
