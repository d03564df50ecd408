"""The same clips through every door: detect, score, eval, the reward, the server. The same outcomes; all survive."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.needs import needs
from tests.plug_ins import plug_in

import deeptrace
from deeptrace.data import write_reward_data
from deeptrace.inference import DetectRun, expand_inputs, open_executor
from deeptrace.reward import Reward
from deeptrace.schema import Label, Sample
from deeptrace.video import write_video

HOSTILE = """
    import os, signal, time
    from deeptrace import errors
    from deeptrace.schema import DetectorInfo, Label, Outcome, Verdict

    class Hostile:
        def __init__(self):
            self.info = DetectorInfo(name="door:", version="1", settings={"threshold": 0.5})

        def detect(self, video):
            name = os.path.basename(video.path)
            if "segv" in name: os.kill(os.getpid(), signal.SIGSEGV)
            if "hang" in name: time.sleep(600)
            if "raise" in name: raise KeyError("as asked")
            if "refuse" in name: raise errors.RefusalError(video.path, "would rather not")
            if "few" in name: raise errors.UndecidableError.of_frames(video.path, 1, 4)
            return Verdict(video=video.path, outcome=Outcome.SCORED, label=Label.FAKE, p_fake=0.75,
                           media=video.media, detector=self.info)

    def load(rest): return Hostile()
"""

BATCHING = """
    import os, signal
    from dataclasses import dataclass
    from deeptrace.schema import DetectorInfo, Label, Outcome, Verdict

    @dataclass
    class Ready:
        name: str
        media: object
        length: int = 1

    class Batching:
        batch_size = 4

        def __init__(self, log):
            self.info = DetectorInfo(name="batching:", version="1")
            self._log = log
            with open(log, "a") as file: file.write("loaded\\n")

        def prepare(self, video):
            if "segv" in video.path: signal.raise_signal(signal.SIGSEGV)
            return Ready(os.path.basename(video.path), video.media)

        def detect_batch(self, prepared):
            with open(self._log, "a") as file: file.write(f"batch {len(prepared)}\\n")
            return [Verdict(video=one.name, outcome=Outcome.SCORED, label=Label.REAL, p_fake=0.25, media=one.media,
                            detector=self.info) for one in prepared]

        def detect(self, video): return self.detect_batch([self.prepare(video)])[0]

    def load(rest, *, log): return Batching(log)
"""

WANTED = {
    "a.mp4": "scored",
    "broken.mp4": "decode_failed",
    "few.mp4": "undecidable",
    "gone.mp4": "decode_failed",
    "hang.mp4": "timed_out",
    "raise.mp4": "model_failed",
    "refuse.mp4": "refused",
    "segv.mp4": "crashed",
    "z.mp4": "scored",
}
LIMIT_S = 2.0

Outcomes = dict[str, str]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The clips of `WANTED`, in order; one does not exist."""
    folder = tmp_path_factory.mktemp("clips")
    for number, name in enumerate(WANTED):  # each with content of its own: eval keeps results by content
        if name != "gone.mp4":
            levels = (np.full((32, 32, 3), 20 * k + number, np.uint8) for k in range(8))
            write_video(folder / name, levels, fps=8.0, crf=0)
    (folder / "broken.mp4").write_bytes(b"no video")
    return [str(folder / name) for name in WANTED]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with plug_in(tmp_path_factory.mktemp("site"), "door", HOSTILE) as name:
        yield name


def named(rows: list[tuple[str, str]]) -> Outcomes:
    return {Path(video).name: outcome for video, outcome in rows}


def command(*words: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "deeptrace.cli.main", *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, timeout=300)


def by_detect_command(detector: str, clips: list[str], folder: Path) -> Outcomes:
    done = command("detect", *clips, "--detector", detector, "--timeout", LIMIT_S, "--json")
    assert done.returncode == 1, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return named([(row["video"], row["outcome"]) for row in rows])


def by_score_command(detector: str, clips: list[str], folder: Path) -> Outcomes:
    done = command("score", *clips, "--detector", detector, "--timeout", LIMIT_S, "--json")
    assert done.returncode == 1, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["reward"] is None for row in rows] == [row["outcome"] != "scored" for row in rows]
    return named([(row["video"], row["outcome"]) for row in rows])


def by_eval_command(detector: str, clips: list[str], folder: Path) -> Outcomes:
    samples = [
        Sample(video_id=name, path=name, label=Label.REAL if index % 2 else Label.FAKE, split="test")
        for index, name in enumerate(WANTED)
    ]
    data = Path(clips[0]).parent / "all_data.json"
    write_reward_data(samples, data)
    words = ("eval", "--data", data, "--detector", detector, "--timeout", LIMIT_S, "--bootstrap", 0)
    done = command(*words, "--out", folder / "run", "--json")
    assert done.returncode == 0, done.stderr
    lines = (folder / "run" / "predictions.jsonl").read_text().splitlines()
    outcomes = named([(row["video"], row["outcome"]) for row in map(json.loads, lines)])
    again = command(*words, "--out", folder / "run", "--json", "--resume")
    assert again.returncode == 0, again.stderr
    counts = json.loads(again.stdout)["outcomes"]
    assert {name: count for name, count in counts.items() if count} == {
        outcome: list(WANTED.values()).count(outcome) for outcome in set(WANTED.values())
    }
    return outcomes


def by_detect(detector: str, clips: list[str], folder: Path) -> Outcomes:
    found = deeptrace.detect(clips, detector, timeout_s=LIMIT_S)
    return named([(verdict.video, verdict.outcome.value) for verdict in found])


def by_run(detector: str, clips: list[str], folder: Path) -> Outcomes:
    with DetectRun(expand_inputs(clips), detector=detector, timeout_s=LIMIT_S, out=folder / "run", workers=2) as run:
        return named([(found.verdict.video, found.verdict.outcome.value) for found in run.results()])


def by_reward(detector: str, clips: list[str], folder: Path) -> Outcomes:
    with Reward(detector, timeout_s=LIMIT_S) as reward:
        found = reward.score(clips)
    assert [math.isnan(one.reward) for one in found] == [one.verdict.outcome != "scored" for one in found]
    return named([(one.verdict.video, one.verdict.outcome.value) for one in found])


def by_server(detector: str, clips: list[str], folder: Path) -> Outcomes:
    needs("fastapi")
    from starlette.testclient import TestClient

    from deeptrace.server import Limits, ServeSettings
    from deeptrace.server.app import ScoreApi

    root = str(Path(clips[0]).parent)
    api = ScoreApi(ServeSettings(detector=detector, roots=(root,), limits=Limits(clip_s=LIMIT_S)))
    with TestClient(api.asgi) as http:
        reply = http.post("/v1/score", json={"clips": [{"path": clip} for clip in clips]})
    assert reply.status_code == 200, reply.text
    return named([(row["video"], row["outcome"]) for row in reply.json()["results"]])


DOORS: list[Callable[[str, list[str], Path], Outcomes]] = [
    by_detect_command, by_score_command, by_eval_command, by_detect, by_run, by_reward, by_server
]  # fmt: skip


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_hostile_clips_have_the_same_outcomes_through_every_door(
    door: Callable[[str, list[str], Path], Outcomes], hostile: str, clips: list[str], tmp_path: Path
) -> None:
    assert door(hostile, clips, tmp_path) == WANTED


BATCH_DOORS: dict[str, Callable[[str, list[str], dict[str, Any]], object]] = {
    "detect command": lambda name, clips, how: command(
        "detect", *clips, "--detector", name, "--set", f"log={how['log']}", "--json"
    ),
    "score command": lambda name, clips, how: command(
        "score", *clips, "--detector", name, "--set", f"log={how['log']}", "--json"
    ),
    "detect": lambda name, clips, how: deeptrace.detect(clips, name, **how),
    "reward": lambda name, clips, how: Reward(name, workers=8, **how).score(clips),
}


@pytest.mark.parametrize("door", BATCH_DOORS)
def test_a_plug_in_that_batches_is_loaded_once_and_batches_through_every_door(
    door: str, clips: list[str], tmp_path: Path
) -> None:
    many = []
    for number in range(12):
        shutil.copy(clips[0], tmp_path / f"{number}.mp4")
        many.append(str(tmp_path / f"{number}.mp4"))
    log = tmp_path / "log"
    (tmp_path / "site").mkdir()
    with plug_in(tmp_path / "site", "batching", BATCHING) as name:
        BATCH_DOORS[door](name, many, {"log": str(log)})
    lines = log.read_text().splitlines()
    assert lines.count("loaded") == 1
    sizes = [int(line.split()[1]) for line in lines if line.startswith("batch")]
    assert sum(sizes) == 12
    assert max(sizes) > 1


def test_a_clip_that_kills_a_batching_detector_costs_the_others_nothing(clips: list[str], tmp_path: Path) -> None:
    asked = [clip for clip in clips if Path(clip).name in ("a.mp4", "segv.mp4", "z.mp4", "raise.mp4")]
    (tmp_path / "site").mkdir()
    with (
        plug_in(tmp_path / "site", "batching", BATCHING) as name,
        open_executor(name, {"log": str(tmp_path / "log")}) as executor,
    ):
        found = named([(result.name, result.verdict.outcome.value) for result in executor.run(asked)])
    assert found == {"a.mp4": "scored", "raise.mp4": "scored", "segv.mp4": "crashed", "z.mp4": "scored"}
