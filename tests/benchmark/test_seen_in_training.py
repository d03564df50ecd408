"""Figures on clips that the weights have learned from are called what they are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from typer.testing import CliRunner

from deeptrace.benchmark.run import evaluate
from deeptrace.cli.main import app

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def data_of(folder: Path, clips: list[tuple[Path, bool]]) -> Path:
    """A RewardData folder with copies of these clips, generated or not, under other names."""
    (folder / "videos").mkdir(parents=True)
    rows = []
    for number, (clip, fake) in enumerate(clips):
        shutil.copyfile(clip, folder / "videos" / f"{number}.mp4")
        kind = "fake_video" if fake else "real_video"
        path = f"videos/{number}.mp4"
        rows.append({"video_id": str(number), "video_type": kind, "video_path": path, "split": "test"})
    (folder / "all_data.json").write_text(json.dumps(rows))
    return folder


def test_clips_that_nothing_was_learned_from(tmp_path: Path) -> None:
    data = data_of(tmp_path / "data", [(EXAMPLES / "coffee.mp4", False), (EXAMPLES / "coffee_trace.mp4", True)])
    result = evaluate(data, detector="tracenet", bootstrap=0).result
    assert result.seen_in_training == 0
    assert evaluate(data, detector="baseline:d3", bootstrap=0).result.seen_in_training is None


def test_a_clip_of_the_training_is_known_again_by_its_bytes(tmp_path: Path, corpus_dir: Path) -> None:
    known = min((corpus_dir / "real").glob("*.mp4"), key=lambda path: path.stat().st_size)
    data = data_of(tmp_path / "data", [(known, False), (EXAMPLES / "coffee_trace.mp4", True)])
    shown = CliRunner().invoke(app, ["eval", "--data", str(data), "--bootstrap", "0", "--out", str(tmp_path / "run")])
    assert shown.exit_code == 0
    note = "The detector has learned from 1 of 2 videos here."
    assert note in " ".join(shown.stdout.split())
    assert note in (tmp_path / "run" / "report.md").read_text()
    assert json.loads((tmp_path / "run" / "evaluation.json").read_text())["seen_in_training"] == 1
