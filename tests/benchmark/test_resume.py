"""A run killed in the middle: what was done is kept, nothing of it is done again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from tests.benchmark.eval_sets import make_set

from deeptrace.io.journal import Journal

SLOW = """
    import os, time
    from deeptrace.schema import DetectorInfo, Label, Outcome, Verdict

    class Slow:
        info = DetectorInfo(name="slow:", version="1")

        def detect(self, video):
            with open(os.environ["SLOW_LOG"], "a") as log:
                log.write(os.path.basename(video.path) + "\\n")
            time.sleep(float(os.environ.get("SLOW_S", "0.25")))
            return Verdict(video=video.path, outcome=Outcome.SCORED, label=Label.FAKE, p_fake=0.7, media=video.media,
                           detector=self.info)

    def load(rest):
        return Slow()
"""


@pytest.fixture
def slow(tmp_path: Path) -> dict[str, str]:
    """An environment with a slow detector that logs every video it looks at."""
    site = tmp_path / "site"
    info = site / "slow_detector-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "slow_detector.py").write_text(textwrap.dedent(SLOW))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: slow_detector\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[deeptrace.detectors]\nslow = slow_detector:load\n")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *sys.path]), "SLOW_LOG": str(tmp_path / "log.txt")}


def command(data: Path, out: Path, *more: str) -> list[str]:
    args = ["eval", "--data", str(data), "--split", "all", "--detector", "slow:", "--out", str(out), "--no-report"]
    return [sys.executable, "-m", "deeptrace.cli.main", *args, "--bootstrap", "10", *more]


def kept(out: Path) -> int:
    file = out / "journal.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_kill_9_and_resume(tmp_path: Path, slow: dict[str, str], workers: str) -> None:
    data, out, log = make_set(tmp_path / "set", each=3), tmp_path / "run", tmp_path / "log.txt"
    process = subprocess.Popen(command(data, out, "--workers", workers), env=slow, start_new_session=True)
    deadline = time.monotonic() + 120
    while kept(out) < 4:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = kept(out)
    looked_at = log.read_text().split()
    assert 4 <= done < 12
    with (out / "journal.jsonl").open("ab") as file:  # as if the kill had come in the middle of a line
        file.write(b'{"key": "cut o')
    result = subprocess.run(
        command(data, out, "--workers", workers, "--resume", "--json"),
        env=slow | {"SLOW_S": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(result.stdout)
    assert found["outcomes"]["scored"] == 12
    assert f"{done} results were kept from before" in result.stderr
    again = log.read_text().split()[len(looked_at) :]
    assert len(again) == 12 - done  # nothing that was kept is done again
    assert len(set(looked_at + again)) == 12  # nothing is lost
    before = log.read_text()
    third = subprocess.run(
        command(data, out, "--workers", workers, "--resume", "--json"), env=slow, capture_output=True, text=True
    )
    assert log.read_text() == before
    same = json.loads(third.stdout)
    assert {k: same[k] for k in ("paper", "per_video", "intervals")} == {
        k: found[k] for k in ("paper", "per_video", "intervals")
    }


def test_results_follow_the_content(tmp_path: Path, slow: dict[str, str]) -> None:
    data, out, log = make_set(tmp_path / "set", each=1), tmp_path / "run", tmp_path / "log.txt"
    env = slow | {"SLOW_S": "0"}
    subprocess.run(command(data, out), env=env, check=True, capture_output=True)
    assert len(log.read_text().split()) == 4
    moved = tmp_path / "elsewhere"
    shutil.move(data, moved)  # another folder, other times of modification: the same films
    for file in moved.rglob("*.mp4"):
        os.utime(file)
    subprocess.run(command(moved, out, "--resume"), env=env, check=True, capture_output=True)
    assert len(log.read_text().split()) == 4
    (moved / "fake" / "test_fake_0.mp4").write_bytes((moved / "real" / "train_real_0.mp4").read_bytes() + b"\0" * 8)
    subprocess.run(command(moved, out, "--resume"), env=env, check=True, capture_output=True)
    assert log.read_text().split()[4:] == ["test_fake_0.mp4"]


def test_the_last_record_of_a_key_counts(tmp_path: Path) -> None:
    with Journal(tmp_path / "deep" / "j.jsonl") as journal:
        journal.add("a", {"value": 1})
        journal.add("a", {"value": 2})
    with (tmp_path / "deep" / "j.jsonl").open("a") as file:
        file.write('[1, 2]\n{"no key": 1}\nnonsense')
    with Journal(tmp_path / "deep" / "j.jsonl") as journal:
        assert {key: record["value"] for key, record in journal.items()} == {"a": 2}
        journal.add("b", {"value": 3})
    with Journal(tmp_path / "deep" / "j.jsonl") as journal:
        assert {key: record["value"] for key, record in journal.items()} == {"a": 2, "b": 3}
