from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from deeptrace.errors import ModelError, UnknownDetectorError
from deeptrace.inference import Job, open_executor
from deeptrace.inference.executor import WorkerExecutor
from deeptrace.reports.wording import headline
from deeptrace.schema import Outcome, Verdict
from deeptrace.video import video_from_array


@pytest.fixture
def copies(clip: Path, tmp_path: Path):
    def make(*names: str) -> list[str]:
        for name in names:
            shutil.copy(clip, tmp_path / name)
        return [str(tmp_path / name) for name in names]

    return make


def executor(detector: str, *, workers: int = 2, timeout_s: float | None = None, **settings: object) -> WorkerExecutor:
    return WorkerExecutor(detector, settings, workers=workers, timeout_s=timeout_s)


def test_crashes_and_hangs_cost_one_verdict_each(hostile: str, copies, capfd: pytest.CaptureFixture[str]) -> None:
    paths = copies("a.mp4", "segv.mp4", "b.mp4", "killed.mp4", "exit.mp4", "hang.mp4", "c.mp4", "KeyError.mp4", "d.mp4")
    with executor(hostile, timeout_s=3.0) as workers:
        found = {Path(result.name).name: result.verdict for result in workers.run(paths)}
    assert sorted(found) == sorted(Path(path).name for path in paths)
    lost = {
        name: (v.outcome, v.error) for name, v in found.items() if v.outcome in (Outcome.CRASHED, Outcome.TIMED_OUT)
    }
    working = "while working on this video"
    assert lost == {
        "segv.mp4": (Outcome.CRASHED, f"the worker process was killed by SIGSEGV {working}"),
        "killed.mp4": (Outcome.CRASHED, f"the worker process was killed by SIGKILL {working}"),
        "exit.mp4": (Outcome.CRASHED, f"the worker process ended with exit code 3 {working}"),
        "hang.mp4": (Outcome.TIMED_OUT, "took longer than the time limit of 3 s"),
    }
    assert {headline(found[name]) for name in ("segv.mp4", "killed.mp4", "exit.mp4")} == {"crashed"}
    assert headline(found["hang.mp4"]) == "ran out of time"
    assert headline(Verdict.failed("a.mp4", Outcome.DECODE_FAILED, "has no frames")) == "cannot be read"
    assert found["KeyError.mp4"].outcome is Outcome.MODEL_FAILED
    assert all(found[name].p_fake == 0.75 for name in ("a.mp4", "b.mp4", "c.mp4", "d.mp4"))
    assert all(verdict.detector == workers.info for verdict in found.values())
    assert "prints to stdout" not in capfd.readouterr().out


def test_it_can_be_used_again_and_draws_clips_as_it_goes(hostile: str, copies) -> None:
    paths = copies(*(f"{number}.mp4" for number in range(6)))
    drawn: list[str] = []

    def feed() -> Iterator[str]:
        for path in paths:
            drawn.append(path)
            yield path

    with executor(hostile) as workers:
        results = workers.run(feed())
        next(results)
        assert len(drawn) <= 3
        assert len(list(results)) == 5
        assert len(list(workers.run(paths[:2]))) == 2


def test_closing_stops_busy_workers_at_once(hostile: str, copies) -> None:
    paths = copies("hang.mp4", "a.mp4")
    workers = executor(hostile)
    results = workers.run(paths)
    next(results)
    pids = workers.supervisor.pids
    started = time.monotonic()
    workers.close()
    assert time.monotonic() - started < 5
    assert pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_worker_that_dies_while_idle_is_replaced_and_no_clip_blamed(hostile: str, copies) -> None:
    (path,) = copies("a.mp4")
    with executor(hostile, workers=1) as workers:
        assert workers.submit(path).result(30).verdict.p_fake == 0.75
        (pid,) = workers.supervisor.pids
        os.kill(pid, signal.SIGKILL)
        assert workers.submit(path).result(30).verdict.outcome is Outcome.SCORED
        assert workers.supervisor.pids != [pid]


def test_one_killed_from_outside_loses_nothing(hostile: str, copies) -> None:
    (path,) = copies("slow.mp4")
    with executor(hostile, workers=1) as workers:
        future = workers.submit(path)
        time.sleep(0.2)
        os.kill(workers.supervisor.pids[0], signal.SIGKILL)
        assert future.result(30).verdict.outcome is Outcome.SCORED


def test_a_parent_that_is_killed_takes_its_workers_along(hostile: str, copies) -> None:
    (path,) = copies("hang.mp4")
    script = (
        "import sys; from deeptrace.inference import open_executor\n"
        "executor = open_executor(sys.argv[1], workers=1); executor.submit(sys.argv[2])\n"
        "import time; time.sleep(0.3); print(*executor.supervisor.pids, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, hostile, path], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _alive(worker):
        time.sleep(0.05)
    assert not _alive(worker)


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_relative_path_is_the_callers_wherever_the_worker_was_started(
    hostile: str, copies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies("a.mp4")
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(tmp_path / "a.mp4", tmp_path / "elsewhere" / "b.mp4")
    monkeypatch.chdir(tmp_path)
    with executor(hostile, workers=1) as workers:
        assert workers.submit("a.mp4").result(30).verdict.outcome is Outcome.SCORED
        monkeypatch.chdir(tmp_path / "elsewhere")
        found = workers.submit("b.mp4").result(30).verdict
    assert (found.outcome, found.video) == (Outcome.SCORED, "b.mp4")


def test_an_executor_that_nobody_holds_takes_its_workers_along(hostile: str, copies) -> None:
    (path,) = copies("a.mp4")
    workers = executor(hostile, workers=1)
    assert workers.submit(path).result(30).verdict.outcome is Outcome.SCORED
    (pid,) = workers.supervisor.pids
    del workers
    gc.collect()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _alive(pid):
        time.sleep(0.05)
    assert not _alive(pid)


def test_loading_errors_come_back_as_they_are(hostile: str) -> None:
    with pytest.raises(ModelError, match="will not load"):
        executor(hostile, mood="unloadable")
    with pytest.raises(ModelError, match="SIGKILL while loading"):
        executor(hostile, mood="deadly")
    with pytest.raises(UnknownDetectorError, match="baseline:d3"):
        executor("baseline:dd3")


def test_a_script_without_a_main_guard_is_not_run_again(hostile: str, copies, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import deeptrace, sys\nprint('once')\n"
        "print([v.outcome.value for v in deeptrace.detect(sys.argv[2:], sys.argv[1])])\n"
    )
    command = [sys.executable, str(script), hostile, *copies("a.mp4", "segv.mp4")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "once\n['scored', 'crashed']\n"


def test_frames_in_memory_and_curves_and_heat_come_through_as_in_this_process() -> None:
    frames = np.random.default_rng(3).integers(0, 255, (20, 96, 128, 3)).astype(np.uint8)
    video = video_from_array(frames, times_s=[0.0, *np.linspace(0.2, 2.4, 19)], name="noise")
    job = Job(evidence=True, heat=True)
    with open_executor("tracenet", inline=True) as here, open_executor("tracenet", workers=1) as there:
        mine, theirs = here.submit(video, job).result(), there.submit(video, job).result()
    assert theirs.verdict.video == "noise"
    assert theirs.verdict.media == mine.verdict.media
    assert theirs.verdict.p_fake == pytest.approx(mine.verdict.p_fake, abs=1e-6)
    assert list(theirs.curves) == list(mine.curves) != []
    assert len(theirs.heat) == len(mine.heat) == 1
    assert np.array_equal(theirs.heat[0].times_s, mine.heat[0].times_s)
    assert np.allclose(theirs.heat[0].heat, mine.heat[0].heat, atol=1e-4)
