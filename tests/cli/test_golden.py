"""What every command prints, word for word, at 80 columns: one file a case in `golden/`.

A change of the output is seen as a change of these files. To renew them, and then to read the difference:

    pytest tests/cli/test_golden.py -n 0 --renew-golden && git diff tests/cli/golden
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import click
import numpy as np
import pytest
import typer
from rich.cells import cell_len
from tests.benchmark.eval_sets import make_set
from tests.needs import needs

from deeptrace.cli.main import app, main
from deeptrace.video import write_video

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).with_name("golden")
WIDTH = 80

# One group a test, in this order, in one folder: later cases use what earlier ones of their group have written.
CASES = {
    "detect": {
        "version": "--version",
        "detect": "detect clips",
        "detect-many": "detect clips tiny gone.mp4 'no*.mp4' --sort p",
        "detect-brief": "detect clips tiny --brief --sort name --threshold fpr_1",
        "detect-csv": "detect clips gone.mp4 --csv -",
        "detect-files": "detect clips --csv table.csv --report --overlay --out run",
        "detect-resume": "detect clips --out run --resume",
        "detect-dry-run": "detect clips gone.mp4 --detector openai:Qwen/Qwen2.5-VL-7B-Instruct --dry-run",
        "detect-without": "detect",
        "detect-unknown": "detect clips --detector tracenett",
        "detect-setting": "detect clips --set strict=1",
        "detect-two-rows": "detect clips --json --csv -",
        "detect-option": "detect clips --treshold 0.5",
    },
    "measure": {
        "eval": "eval --data set --detector baseline:all-fake --bootstrap 20 --out runs/fake",
        "eval-other": "eval --data set --detector baseline:center-box --bootstrap 20 --out runs/box --no-report",
        "eval-gone": "eval --data nowhere",
        "compare": "compare runs/fake runs/box --bootstrap 20 --permutations 20",
        "compare-gone": "compare runs/none",
        "calibrate": "calibrate runs/fake --to model",
        "leaderboard-without": "leaderboard add runs/fake --name Fake --by me",
        "leaderboard-add": "leaderboard add runs/fake --name Fake --by me --dir board",
        "leaderboard-stale": "leaderboard build --dir board --check",
        "leaderboard-build": "leaderboard build --dir board",
    },
    "choose": {
        "score": "score clips gone.mp4",
        "score-choices": "score --clips clips.jsonl --best-of 1 --top-k 2 --pairs --rank --out chosen",
        "score-without": "score",
        "score-no-prompt": "score clips --best-of 2",
        "serve-root": "serve --root nowhere",
        "serve-open": "serve --host 0.0.0.0",
        "studio-open": "studio clips --host 0.0.0.0",
    },
    "data": {
        "detectors": "detectors",
        "synth": "synth clips/coffee.mp4 --out made --clips 2 --max-seconds 2 --max-side 160 --traces 1",
        "synth-kind": "synth clips/coffee.mp4 --out made2 --categories melting",
        "audit": "audit set --shuffles 5",
        "audit-gone": "audit nowhere",
        "data-split": "data split set --out split.json",
        "data-leaks": "data leaks leaky.json",
        "data-export": "data export set --to coco --out traces.json",
        "data-import": "data import traces.json --from coco --out rows.json",
        "data-export-suffix": "data export set --to json --out rows.txt",
        "train-gone": "train tracenet nowhere.json",
    },
}
ROWS = {"detect-csv"}
"""What programs read, as long as it may be."""
FROM_BIT_RATES = re.compile(
    "^ ?(metadata only|bitrate|all together)|bit/s|of real|shuffled|^ +to 0|metadata alone|On sources"
)
"""Lines with figures that differ from encoder to encoder."""


def commands() -> list[str]:
    """Every command, the groups among them, as typed after `deeptrace`."""

    def below(command: click.Command, name: str) -> Iterator[str]:
        yield name
        for sub, one in getattr(command, "commands", {}).items():
            yield from below(one, f"{name} {sub}".strip())

    return list(below(typer.main.get_command(app), ""))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example clips, tiny ones, and tiny datasets."""
    folder = tmp_path_factory.mktemp("golden")
    (folder / "clips").mkdir()
    for name in ("coffee.mp4", "coffee_trace.mp4"):
        shutil.copy(ROOT / "examples" / name, folder / "clips")
    tiny = folder / "tiny" / "of the week before the last one" / "second attempt"
    tiny.mkdir(parents=True)
    levels = np.linspace(20, 220, 8, dtype=np.uint8)
    for name in ("grey.mp4", "動画.mp4", f"{'a long name ' * 7}.mp4"):
        write_video(tiny / name, (np.full((48, 64, 3), level, np.uint8) for level in levels), fps=8.0)
    write_video(tiny / "two frames.mp4", (np.full((48, 64, 3), level, np.uint8) for level in levels[:2]), fps=8.0)
    (tiny / "broken.mp4").write_bytes(b"\x00" * 64)
    make_set(folder / "set")
    rows = [
        {"video": f"clips/{name}.mp4", "prompt": "a cup of coffee on a table", "generator": name}
        for name in ("coffee", "coffee_trace")
    ]
    (folder / "clips.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = json.loads((folder / "set" / "all_data.json").read_text())
    (folder / "leaky.json").write_text(json.dumps([found[0] | {"split": part} for part in ("train", "test")]))
    return folder


def typed(line: str) -> tuple[str, str, int]:
    """stdout, stderr and exit code of a command, typed in the present folder."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    before, home = (sys.argv, sys.modules["__main__"].__package__), sys.modules["__main__"]
    # As the installed command is started: click asks both for its name.
    sys.argv, home.__package__ = ["deeptrace", *shlex.split(line)], ""
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        sys.argv, home.__package__ = before
    return out.getvalue(), err.getvalue(), code


def normal(text: str, folder: Path) -> str:
    """`text` without colours, progress, the place of the folder, times, and digits that machines disagree about."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text).replace(str(folder), "FOLDER")
    text = re.sub(r"^\[\d+:\d\d\] .*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"\b\d+(\.\d)? (s|min|h)$", "TIME", text, flags=re.MULTILINE)
    text = re.sub(r"\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}", text)
    lines = (re.sub(r"\d", "0", line) if FROM_BIT_RATES.search(line) else line for line in text.split("\n"))
    return "\n".join(line.rstrip() for line in lines)


def check(name: str, text: str, *, renew: bool) -> None:
    """Compare with the file, or write it."""
    path = GOLDEN / f"{name}.txt"
    if renew:
        path.write_text(text, encoding="utf-8")
    assert path.exists(), f"no {path.name}: see the head of this file"
    assert text == path.read_text(encoding="utf-8")


def wide(text: str) -> list[str]:
    """The lines that are wider than the terminal."""
    return [line for line in text.split("\n") if cell_len(line) > WIDTH]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """80 columns, no colours, and no detector that another test of this process has installed."""
    made = str(tmp_path_factory.getbasetemp())
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if not entry.startswith(made)])
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    monkeypatch.setenv("NO_COLOR", "1")
    for name in ("FORCE_COLOR", "PY_COLORS", "DEEPTRACE_SERVE_KEYS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("group", CASES)
def test_every_command_prints_what_it_printed(
    group: str, workspace: Path, terminal: None, monkeypatch: pytest.MonkeyPatch, renew_golden: bool
) -> None:
    needs("httpx", "sklearn", "fastapi", "sqlalchemy", "torch", "transformers", "peft", "accelerate", "onnxscript")
    monkeypatch.chdir(workspace)
    wrong = []
    for name, line in CASES[group].items():
        works = line.startswith(("detect ", "score ", "eval "))
        out, err, code = typed(f"{line} --workers 1" if works else line)
        shown = normal(f"$ deeptrace {line}\n{out}--- stderr\n{err}--- exit code {code}\n", workspace)
        if too_wide := [*(wide(out) if name not in ROWS else ()), *wide(err)]:
            wrong.append(f"{name}: wider than {WIDTH} columns: {too_wide}")
        try:
            check(name, shown, renew=renew_golden)
        except AssertionError as error:
            wrong.append(f"{name}: {error}")
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.parametrize("command", commands())
def test_every_help_page_says_what_it_said(command: str, terminal: None, renew_golden: bool) -> None:
    constraints = (ROOT / "constraints.txt").read_text()
    for package in ("typer", "click", "rich"):
        if f"\n{package}=={metadata.version(package)}\n" not in constraints:
            pytest.skip(f"help is laid out by {package}, here another version than in constraints.txt: make test")
    out, err, code = typed(f"{command} --help")
    assert (err, code) == ("", 0)
    assert not wide(out)
    check("-".join(["help", *command.split()]), normal(out, ROOT), renew=renew_golden)


def test_what_the_doctor_says_fits(terminal: None) -> None:
    """Its words are those of the machine."""
    out, _, _ = typed("doctor")
    assert "onnxruntime" in out
    assert not wide(out)
    assert "…" not in out  # Python's path, for one, is told whole


def test_no_golden_file_is_left_over() -> None:
    names = {"-".join(["help", *command.split()]) for command in commands()} | {
        name for cases in CASES.values() for name in cases
    }
    assert {path.stem for path in GOLDEN.iterdir()} == names
