"""A run that is killed or stopped in the middle goes on where it was: nothing lost, nothing done twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from deeptrace.inference import read_verdicts
from deeptrace.video import write_video

CLIPS = 10

# Takes a moment for each clip and leaves a line for it, so that a test can see what was really judged.
SLOW = """
    import os, time
    from deeptrace.schema import DetectorInfo, Label, Outcome, Verdict

    class Slow:
        info = DetectorInfo(name="slow:", version="1")

        def detect(self, video):
            time.sleep(0.25)
            with open(os.environ["SLOW_LOG"], "a") as file:
                file.write(os.path.basename(video.path) + "\\n")
            return Verdict(video=video.path, outcome=Outcome.SCORED, label=Label.REAL, p_fake=0.2,
                           media=video.media, detector=self.info)

    def load(rest):
        return Slow()
"""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for number in range(CLIPS):
        write_video(folder / f"{number:02}.mp4", iter(np.full((4, 48, 64, 3), 20 * number, np.uint8)), fps=8.0)
    return folder


@pytest.fixture
def start(command: str, clips: Path, tmp_path: Path) -> Iterator[object]:
    """Start `deeptrace detect` on the clips with the slow detector, in its own process group."""
    site = tmp_path / "site"
    info = site / "slow_detector-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "slow_detector.py").write_text(textwrap.dedent(SLOW))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: slow_detector\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[deeptrace.detectors]\nslow = slow_detector:load\n")
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(site), *sys.path]),
        "SLOW_LOG": str(tmp_path / "judged.txt"),
    }
    env["OMP_NUM_THREADS"] = "1"
    running: list[subprocess.Popen[str]] = []

    def begin(*args: str) -> subprocess.Popen[str]:
        line = [command, "detect", str(clips), "--detector", "slow:", "--out", "out", "--json", *args]
        process = subprocess.Popen(
            line,
            cwd=tmp_path,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=hear_interrupts,
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def judged(folder: Path) -> list[str]:
    log = folder / "judged.txt"
    return log.read_text().split() if log.exists() else []


def kept(folder: Path) -> int:
    """Whole lines of the journal: results that may never be lost again."""
    path = folder / "out/journal.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


def hear_interrupts() -> None:
    """In the child: a test run started in the background ignores Ctrl-C, and its children would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def gone(process: subprocess.Popen[str]) -> bool:
    """Whether nothing of the process's group is left."""
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return True
    return False


def wait_for(condition, limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_kill_9_and_resume(start, tmp_path: Path, workers: str) -> None:
    process = start("--workers", workers)
    wait_for(lambda: kept(tmp_path) >= 3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = kept(tmp_path)
    assert 3 <= before < CLIPS
    wait_for(lambda: gone(process), limit_s=60)  # workers finish what they have in hand, which nobody keeps, and end
    first = judged(tmp_path)
    out, err = start("--workers", workers, "--resume").communicate(timeout=120)
    assert "Traceback" not in err
    names = [os.path.basename(json.loads(line)["video"]) for line in out.splitlines()]
    assert names == [f"{number:02}.mp4" for number in range(CLIPS)]
    assert [os.path.basename(verdict.video) for verdict in read_verdicts(tmp_path / "out/verdicts.jsonl")] == names
    again = judged(tmp_path)[len(first) :]
    assert len(again) == CLIPS - before
    assert len(again) == len(set(again))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_keeps_what_is_done(start, tmp_path: Path, workers: str) -> None:
    process = start("--workers", workers)
    wait_for(lambda: kept(tmp_path) >= 3)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the whole group
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    done = kept(tmp_path)
    assert f"stopped: {done} of {CLIPS} done" in err
    assert 3 <= done < CLIPS
    assert len(read_verdicts(tmp_path / "out/verdicts.jsonl")) == done
    assert len(out.splitlines()) <= done
    for line in out.splitlines():
        assert json.loads(line)["outcome"] == "scored"
    finished = start("--workers", workers, "--resume")
    out, err = finished.communicate(timeout=120)
    assert finished.returncode == 0
    assert f"{done} of {CLIPS} were analysed before" in err
    assert len(out.splitlines()) == CLIPS


def test_workers_end_with_their_parent(start, tmp_path: Path) -> None:
    process = start("--workers", "2")
    wait_for(lambda: kept(tmp_path) >= 1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for(lambda: gone(process), limit_s=60)
