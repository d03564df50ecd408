from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deeptrace.errors import ModelError, UnknownDetectorError
from deeptrace.evaluate import Job
from deeptrace.evaluate.detect_pool import WorkerPool
from deeptrace.evaluate.wording import headline
from deeptrace.trace import Outcome, Verdict


@pytest.fixture
def copies(clip: Path, tmp_path: Path):
    def make(*names: str) -> list[str]:
        for name in names:
            shutil.copy(clip, tmp_path / name)
        return [str(tmp_path / name) for name in names]

    return make


def pool(detector: str, *, workers: int = 2, timeout_s: float | None = None, **settings: object) -> WorkerPool:
    return WorkerPool(detector, dict(settings), workers=workers, job=Job(), timeout_s=timeout_s)


def test_crashes_and_hangs_cost_one_verdict_each(hostile: str, copies, capfd: pytest.CaptureFixture[str]) -> None:
    paths = copies("a.mp4", "segv.mp4", "b.mp4", "killed.mp4", "exit.mp4", "hang.mp4", "c.mp4", "KeyError.mp4", "d.mp4")
    with pool(hostile, timeout_s=3.0) as workers:
        found = {Path(path).name: judged.verdict for path, judged in workers.run(paths)}
    assert sorted(found) == sorted(Path(path).name for path in paths)
    errors = {name: verdict.error for name, verdict in found.items() if verdict.outcome is Outcome.DECODE_FAILED}
    assert errors == {
        "segv.mp4": "the worker process was killed by SIGSEGV while working on this video",
        "killed.mp4": "the worker process was killed by SIGKILL while working on this video",
        "exit.mp4": "the worker process ended with exit code 3 while working on this video",
        "hang.mp4": "took longer than the time limit of 3 s",
    }
    assert {headline(found[name]) for name in ("segv.mp4", "killed.mp4", "exit.mp4")} == {"crashed"}
    assert headline(found["hang.mp4"]) == "ran out of time"
    assert headline(Verdict.failed("a.mp4", Outcome.DECODE_FAILED, "has no frames")) == "cannot be read"
    assert found["KeyError.mp4"].outcome is Outcome.MODEL_FAILED
    assert all(found[name].p_fake == 0.75 for name in ("a.mp4", "b.mp4", "c.mp4", "d.mp4"))
    assert all(verdict.detector == workers.info for verdict in found.values())
    assert "prints to stdout" not in capfd.readouterr().out


def test_a_pool_can_be_used_again_and_draws_paths_as_it_goes(hostile: str, copies) -> None:
    paths = copies(*(f"{number}.mp4" for number in range(6)))
    drawn: list[str] = []

    def feed() -> Iterator[str]:
        for path in paths:
            drawn.append(path)
            yield path

    with pool(hostile) as workers:
        results = workers.run(feed())
        next(results)
        assert len(drawn) <= 3
        assert len(list(results)) == 5
        assert len(list(workers.run(paths[:2]))) == 2


def test_closing_stops_busy_workers_at_once(hostile: str, copies) -> None:
    paths = copies("hang.mp4", "a.mp4")
    workers = pool(hostile)
    next(workers.run(paths))
    processes = [worker.process for worker in workers._workers]
    started = time.monotonic()
    workers.close()
    assert time.monotonic() - started < 5
    assert processes
    assert not any(process.is_alive() for process in processes)


def test_loading_errors_come_back_as_they_are(hostile: str) -> None:
    with pytest.raises(ModelError, match="will not load"):
        pool(hostile, mood="unloadable")
    with pytest.raises(ModelError, match="SIGKILL while loading"):
        pool(hostile, mood="deadly")
    with pytest.raises(UnknownDetectorError, match="baseline:d3"):
        pool("baseline:dd3")
