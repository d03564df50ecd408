"""`train sft --tiny` and `train grpo --tiny`: what a newcomer types first, in a clone of nothing but what git has."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from tests.needs import needs

needs("torch", "transformers", "accelerate")

from deeptrace.io.journal import read_lines  # noqa: E402

ROOT = Path(__file__).parents[2]
MOST_S, SILENT_S, TRIES = 120.0, 5.0, 3


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a clone would have of code and examples."""
    folder = tmp_path_factory.mktemp("clone")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "src", "examples"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode or not listed.stdout:
        pytest.skip("needs a git checkout: git clone, then make test")
    for name in listed.stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
    return folder


def run(clone: Path, home: Path, *arguments: str) -> tuple[float, list[float], list[str]]:
    """The command in the clone, without a hub and with an empty home: its seconds, and when each line on stderr came.

    The seconds are the processor's, of one thread: a machine that others use makes everything late. The first time is
    that of the start, so that the wait for the first line is measured too.
    """
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(clone / "src"), "HOME": str(home)}
    environment |= {"HF_ENDPOINT": "http://127.0.0.1:9", "TERM": "dumb"}  # no hub: whoever asks one is refused
    began = time.monotonic()
    command = [sys.executable, "-m", "deeptrace.cli.main", "train", *arguments]
    process = subprocess.Popen(command, cwd=home, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    came = [(time.monotonic() - began, line.rstrip("\n")) for line in process.stderr]
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, "\n".join(line for _, line in came)
    return used.ru_utime + used.ru_stime, [0.0, *(at for at, _ in came)], [line for _, line in came]


def longest_silence(times: Sequence[float], lines: Sequence[str]) -> tuple[float, str]:
    """Seconds between two lines, and the line that came so late."""
    return max(zip((later - earlier for earlier, later in pairwise(times)), lines, strict=True))


def run_steadily(clone: Path, home: Path, *arguments: str) -> tuple[Path, list[str]]:
    """The command, in two minutes and never silent for five seconds; its folder and its lines.

    It is tried again where the machine itself stood still, as one does that pages torch in while others compile.
    """
    found: list[tuple[float, str]] = []
    for number in range(TRIES):
        out = home / f"try{number}"
        seconds, times, lines = run(clone, home, *arguments, "--out", str(out))
        assert seconds < MOST_S
        found.append(longest_silence(times, lines))
        if found[-1] < (SILENT_S, ""):
            return out, lines
    raise AssertionError(f"silent for more than {SILENT_S} s each time: {found}")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_fine_tuning_is_tried_in_a_minute_and_never_silent(clone: Path, tmp_path: Path) -> None:
    out, lines = run_steadily(clone, tmp_path, "sft", "--tiny")
    assert lines[0] == "[0:00] checking config and data"
    assert any(re.fullmatch(r"\[\d:\d\d\] loading torch and transformers", line) for line in lines)
    assert all(len(line) <= 80 for line in lines if line.startswith("["))
    assert not [line for line in lines if "%" in line]  # no bars of others between the lines
    losses = [row["loss"] for row in read_lines(out / "log.jsonl")]
    assert len(losses) == 120
    assert losses[-1] < losses[0] / 10
    assert (out / "model" / "model.safetensors").is_file()
    assert json.loads((out / "model" / "deeptrace_training.json").read_text())["validation"]["counts"]["videos"] == 2


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_reinforcement_is_tried_in_two_minutes_and_has_something_to_learn_from(clone: Path, tmp_path: Path) -> None:
    out, lines = run_steadily(clone, tmp_path, "grpo", "--tiny")
    assert any(re.search(r"step \d+/\d+, .*reward", line) for line in lines)
    rows = list(read_lines(out / "log.jsonl"))
    assert sum(row["reward_spread"] > 0.1 for row in rows) > len(rows) / 2  # in an untaught model's groups it is 0
    assert sum(row["unreadable"] for row in rows) / len(rows) < 0.5
    assert (out / "model" / "model.safetensors").is_file()
    assert "check" in rows[-1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("sft",), "CONFIG: is missing. Name a JSON file as examples/sft_*.json, or try it with --tiny."),
        (("grpo", "--tiny", "--dry-run"), "--tiny: has a config of its own"),
        (("grpo", "x.json", "--tiny"), "--tiny: has a config of its own"),
    ],
)
def test_tiny_or_a_config(arguments: tuple[str, ...], said: str) -> None:
    command = [sys.executable, "-m", "deeptrace.cli.main", "train", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT / "src")})
    assert done.returncode == 2
    assert " ".join(done.stderr.split()).startswith(f"error: {said}")
    assert done.stderr.count("error: ") == 1
