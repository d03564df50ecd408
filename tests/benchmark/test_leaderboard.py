"""The leaderboard: entries come from runs, and a pull request that does not add up is refused."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from tests.benchmark.eval_sets import make_set
from typer.testing import CliRunner

from deeptrace.benchmark.folder import read_run
from deeptrace.benchmark.leaderboard import add_entry, entry_of_run, read_entries, render_csv, render_markdown
from deeptrace.benchmark.run import evaluate
from deeptrace.cli.main import app
from deeptrace.errors import DataError, SettingsError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("board")
    evaluate(make_set(folder / "set"), detector="baseline:d3", out=folder / "run", bootstrap=20)
    return folder / "run"


def test_from_a_run_to_the_table(run: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    board = tmp_path / "board"
    args = ["leaderboard", "add", str(run), "--name", "D3 | idea", "--by", "me", "--dir", str(board)]
    assert runner.invoke(app, [*args, "--url", "https://example.org/d3"]).exit_code == 0
    assert runner.invoke(app, ["leaderboard", "build", "--check", "--dir", str(board)]).exit_code == 1
    assert runner.invoke(app, ["leaderboard", "build", "--dir", str(board)]).exit_code == 0
    assert runner.invoke(app, ["leaderboard", "build", "--check", "--dir", str(board)]).exit_code == 0
    text = (board / "README.md").read_text()
    assert r"[D3 \| idea](https://example.org/d3)" in text
    (row,) = csv.DictReader(StringIO((board / "leaderboard.csv").read_text()))
    saved = read_run(run).evaluation.as_json()
    assert float(row["paper.overall"]) == pytest.approx(saved["paper"]["overall"], abs=1e-5)
    assert row["per_video.auroc"] == ""  # not measured is empty, not 0
    (entry,) = read_entries(board)
    with pytest.raises(SettingsError, match="already"):
        add_entry(entry, board)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda e: e["scores"]["paper"].update(accuracy=99.0), "its parts give"),
        (lambda e: e["scores"]["paper"].update(overall=99.0), "its parts give"),
        (lambda e: e["scores"]["paper"].update(explanation=None), "one of its four parts is null"),
        (lambda e: e["scores"]["grounded"].update(overall=101.0), "outside 0 to 100"),
        (lambda e: e["scores"]["per_video"].pop("auroc"), "auroc is missing"),
        (lambda e: e["outcomes"].update(scored=7), "add up to 8"),
        (lambda e: e["outcomes"].update(guessed=0), "add up"),
        (lambda e: e["data"].update(sha256="abc"), "sha256"),
        (lambda e: e.update(extra=1), "extra"),
        (lambda e: e.update(name=""), "name"),
        (lambda e: e.update(url="javascript:alert(1)"), "url"),
        (lambda e: e.update(made="yesterday"), "made"),
    ],
)
def test_what_does_not_add_up_is_refused(
    run: Path, tmp_path: Path, spoil: Callable[[dict], object], message: str
) -> None:
    entry = entry_of_run(read_run(run), name="x", submitted_by="me")
    file = add_entry(entry, tmp_path)
    fields = json.loads(file.read_text())
    spoil(fields)
    file.write_text(json.dumps(fields))
    with pytest.raises(DataError, match=message) as caught:
        read_entries(tmp_path)
    assert file.name in str(caught.value)


def test_entries_of_one_data_set_have_one_truth(run: Path, tmp_path: Path) -> None:
    entry = entry_of_run(read_run(run), name="x", submitted_by="me")
    add_entry(entry, tmp_path)
    add_entry(entry.model_copy(update={"name": "y"}), tmp_path)
    with pytest.raises(DataError, match="the same run as"):
        read_entries(tmp_path)
    (tmp_path / f"set-test-y-{entry.run[:8]}.json").unlink()
    other = entry.data.model_copy(update={"sha256": "0" * 64})
    add_entry(entry.model_copy(update={"name": "z", "run": "f" * 16, "data": other}), tmp_path)
    with pytest.raises(DataError, match="other ground truth"):
        read_entries(tmp_path)
    for file in tmp_path.glob("*-z-*.json"):
        file.unlink()
    renamed = entry.data.model_copy(update={"name": "set2"})
    add_entry(entry.model_copy(update={"name": "w", "run": "e" * 16, "data": renamed}), tmp_path)
    with pytest.raises(DataError, match="--data-name 'set'"):
        read_entries(tmp_path)
    with pytest.raises(DataError, match="no entries"):
        read_entries(tmp_path / "nothing")


def test_the_one_in_this_repository_is_up_to_date() -> None:
    board = ROOT / "docs" / "leaderboard"
    entries = read_entries(board)
    assert (board / "README.md").read_text() == render_markdown(entries)
    assert (board / "leaderboard.csv").read_text() == render_csv(entries)
