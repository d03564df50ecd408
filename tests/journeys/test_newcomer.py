"""What a newcomer does, start to end, with the installed command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from deeptrace.schema import Verdict
from deeptrace.video import write_video


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "my clips"
    for number in range(3):
        levels = np.random.default_rng(number).integers(0, 255, (12, 1, 1, 3), np.uint8)
        write_video(folder / f"clip {number}.mp4", iter(levels.repeat(96, 1).repeat(128, 2)), fps=8.0)
    return folder


def test_look_around_before_anything_else(deeptrace) -> None:
    help_text = deeptrace("--help")
    assert help_text.returncode == 0
    for command in ("detect", "detectors", "doctor"):
        assert command in help_text.stdout
        page = deeptrace(command, "--help")
        assert page.returncode == 0
    assert "baseline:d3" in deeptrace("detectors").stdout
    assert any(check["name"] == "video" for check in json.loads(deeptrace("doctor", "--json").stdout))


def test_from_a_folder_to_a_table_and_a_report(deeptrace, clips: Path, tmp_path: Path) -> None:
    shown = deeptrace("detect", clips, "--detector", "baseline:center-box", "--report", "--out", "out")
    assert shown.returncode == 0, shown.stderr
    assert "AI-generated" in shown.stdout
    assert "clip 2.mp4" in shown.stdout
    page = (tmp_path / "out/report.html").read_text()
    assert page.count('class="clip"') == 3
    assert page.count('"mp4":"AAAA') == 3
    assert len((tmp_path / "out/verdicts.jsonl").read_text().splitlines()) == 3


def test_a_program_reads_the_lines(deeptrace, clips: Path) -> None:
    result = deeptrace("detect", clips / "*.mp4", "--detector", "baseline:all-fake", "--json")
    assert result.returncode == 0
    assert [Path(Verdict.model_validate_json(line).video).name for line in result.stdout.splitlines()] == [
        f"clip {number}.mp4" for number in range(3)
    ]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("detect", "x.mp4", "--detector", "tracenett"), "Did you mean: tracenet"),
        (("detect", "x.mp4", "--detector", "baseline:d3", "--set", "threshold"), "KEY=VALUE"),
        (("detect", "x.mp4", "--detector", "baseline:d3", "--resume"), "--out"),
        (("detect",), "PATH"),
        (("detekt",), "detekt"),
    ],
)
def test_mistakes_are_one_clear_message_and_exit_code_2(deeptrace, args: tuple[str, ...], words: str) -> None:
    result = deeptrace(*args)
    assert result.returncode == 2
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_a_missing_file_is_a_line_in_the_table_and_exit_code_1(deeptrace) -> None:
    result = deeptrace("detect", "holiday.mp4", "--detector", "baseline:d3")
    assert result.returncode == 1
    assert "no such file" in result.stdout
    assert "1 clip: 0 AI-generated, 0 unclear, 0 look real, 0 cannot tell, 1 failed; " in result.stdout
