from __future__ import annotations

import csv
import hashlib
import io
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from tests.signing import make_authority, sign
from typer.testing import CliRunner

from deeptrace.cli.main import app
from deeptrace.cli.names import shortened
from deeptrace.cli.verdicts import CSV_COLUMNS
from deeptrace.errors import DataError, SettingsError
from deeptrace.schema import Verdict

EXAMPLES = Path(__file__).parents[2] / "examples"
LONG = "a name that says when and where and what it was about and then some more.mp4"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`deeptrace detect` in an empty folder, 80 columns wide."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def call(*args: object):
        return CliRunner().invoke(app, ["detect", *map(str, args), "--workers", "1"])

    return call


@pytest.fixture
def many(clip: Path, tmp_path: Path) -> list[str]:
    """31 clips, some deep down and with long names in several scripts; one of them is none."""
    folder = tmp_path / "renders" / "of the week before the last one" / "second attempt"
    folder.mkdir(parents=True)
    names = [
        f"{number:02} {name}" for number, name in enumerate([LONG, "動画の長い名前" * 4 + ".mp4", *["take.mp4"] * 28])
    ]
    for name in names:
        shutil.copy(clip, folder / name)
    (tmp_path / "broken.mp4").write_bytes(b"\x00" * 64)
    return [str(folder.relative_to(tmp_path) / name) for name in names] + ["broken.mp4"]


def rows(result) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(result.stdout)))


def test_a_table_of_many_clips_is_short_and_narrow(run, many: list[str]) -> None:
    result = run(*many, "--detector", "baseline:center-box")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert len(lines) < 75
    assert max(map(cell_len, lines)) <= 80
    assert lines[-1] == "A score is evidence, not proof."
    counts = "31 clips: 30 AI-generated, 0 unclear, 0 look real, 0 cannot tell, 1 failed"
    assert any(line.startswith(counts) for line in lines)
    answers = [line for line in lines if line.startswith(("AI-generated", "cannot be read"))]
    assert len(answers) == 31
    for path in many:
        name = path.rpartition("/")[2]
        # Whole, on the line of its answer or below it; from its end where no line could hold it.
        assert any(line.endswith(name) or re.search(rf"^    ….*{re.escape(name[-50:])}$", line) for line in lines), name


def test_a_name_too_long_for_its_line_is_whole_on_the_next_one(run, clip: Path, tmp_path: Path) -> None:
    name = "x" * 60 + ".mp4"
    shutil.copy(clip, tmp_path / name)
    lines = run(name, "--detector", "baseline:all-real").stdout.splitlines()
    assert lines[1].strip() == "looks real"
    assert lines[2] == f"    {name}"


def test_few_clips_have_every_trace_with_its_reason(run) -> None:
    result = run(EXAMPLES / "coffee_trace.mp4")
    assert result.exit_code == 0
    assert "Sudden blurring, score 0." in result.stdout
    assert "loses sharpness" in result.stdout
    limits = re.search(r"AI-generated from (\d\.\d\d), looks real below (\d\.\d\d), unclear between", result.stdout)
    assert limits is not None
    assert float(limits[1]) > float(limits[2])


def test_brief_is_one_line_a_clip_and_the_sum_goes_to_stderr(run, many: list[str]) -> None:
    result = run(*many, "--detector", "baseline:center-box", "--brief")
    lines = result.stdout.splitlines()
    assert len(lines) == 31
    assert max(map(cell_len, lines)) <= 80
    assert lines[3].startswith("AI-generated ")
    assert "0.0–1.0 s" in lines[3]
    assert lines[3].endswith("…/second attempt/03 take.mp4")
    assert "31 clips: 30 AI-generated" in result.stderr


def test_csv_has_what_json_says_and_the_hash_of_the_bytes(run, clip: Path, tmp_path: Path) -> None:
    shutil.copy(clip, tmp_path / "=1+1.mp4")
    args = ["=1+1.mp4", EXAMPLES / "coffee_trace.mp4", "gone.mp4"]
    result = run(*args, "--csv", "-")
    assert result.exit_code == 1
    said = [Verdict.model_validate_json(line) for line in run(*args, "--json").stdout.splitlines()]
    found = rows(result)
    assert [row["video"] for row in found] == ["'=1+1.mp4", str(EXAMPLES / "coffee_trace.mp4"), "gone.mp4"]
    assert found[1]["sha256"] == hashlib.sha256((EXAMPLES / "coffee_trace.mp4").read_bytes()).hexdigest()
    assert found[2] == dict.fromkeys(CSV_COLUMNS, "") | {
        "video": "gone.mp4", "outcome": "decode_failed", "traces": "0", "detector": "tracenet",
        "error": "no such file. Check the path.",
    }  # fmt: skip
    best = said[1].traces[0]
    assert best.box is not None
    assert found[1]["kind"] == best.categories[0].value
    numbers = [float(found[1][name]) for name in ("p_fake", "onset_s", "offset_s", "x0", "y0", "x1", "y1")]
    assert numbers == pytest.approx([said[1].p_fake, best.onset_s, best.offset_s, *best.box.as_tuple()], abs=1e-3)
    assert (found[1]["decision"], found[1]["label"]) == (said[1].decision, said[1].label)


def test_csv_says_what_is_signed_into_the_file(run, tmp_path: Path) -> None:
    signed = sign(EXAMPLES / "coffee.mp4", tmp_path / "signed.mp4", make_authority())
    found = rows(run(EXAMPLES / "coffee.mp4", signed, "gone.mp4", "--detector", "baseline:all-real", "--csv", "-"))
    said = [row["content_credentials"] for row in found]
    assert (said[0], said[2]) == ("none", "")
    assert said[1].startswith("intact, signer not trusted; declared AI-generated; signed by ")


def test_csv_into_a_file_stands_beside_the_table(run, clip: Path, tmp_path: Path) -> None:
    result = run(clip, "--detector", "baseline:all-real", "--csv", "sheets/table.csv")
    assert "looks real" in result.stdout
    assert "table: sheets/table.csv" in result.stderr
    assert (tmp_path / "sheets/table.csv").read_text().startswith(",".join(CSV_COLUMNS) + "\n")
    (tmp_path / "file").write_text("")
    assert isinstance(run(clip, "--detector", "baseline:all-real", "--csv", "file/table.csv").exception, DataError)


@pytest.mark.parametrize(("sort", "first"), [("input", "b.mp4"), ("name", "a.mp4"), ("p", "coffee_trace.mp4")])
def test_the_order_is_the_one_asked_for(run, clip: Path, tmp_path: Path, sort: str, first: str) -> None:
    for name in ("b.mp4", "a.mp4"):
        shutil.copy(clip, tmp_path / name)
    shutil.copy(EXAMPLES / "coffee_trace.mp4", tmp_path)
    found = rows(run("b.mp4", "gone.mp4", "a.mp4", "coffee_trace.mp4", "--csv", "-", "--sort", sort))
    assert found[0]["video"] == first
    if sort == "p":
        assert found[-1]["video"] == "gone.mp4"
        stated = [float(row["p_fake"]) for row in found[:-1]]
        assert stated == sorted(stated, reverse=True)


@pytest.mark.parametrize(("threshold", "label"), [("0.99", "REAL"), ("0.01", "FAKE"), ("balanced", None)])
def test_the_threshold_is_a_number_or_a_name_of_the_detector(run, threshold: str, label: str | None) -> None:
    clip = EXAMPLES / "coffee.mp4"
    found = Verdict.model_validate_json(run(clip, "--threshold", threshold, "--json").stdout)
    assert found.detector is not None
    settings = found.detector.settings
    if label is None:
        assert settings["threshold_name"] == threshold
    else:
        assert (found.label, settings["threshold"]) == (label, float(threshold))


@pytest.mark.parametrize(
    "args",
    [
        ("--json", "--csv", "-"),
        ("--json", "--brief"),
        ("--csv", "-", "--brief"),
        ("--json", "--sort", "p"),
        ("--threshold", "0.5", "--set", "threshold=0.5"),
        ("--threshold", "strict"),
        ("--threshold", "1.5"),
    ],
)
def test_what_cannot_be_had_together_stops_before_any_work(run, clip: Path, args: tuple[str, ...]) -> None:
    result = run(clip, *args)
    assert isinstance(result.exception, SettingsError)
    assert result.stdout == ""


@given(st.lists(st.text("ab動é. ", min_size=1, max_size=12), min_size=1, max_size=6), st.integers(2, 40))
def test_a_shortened_path_fits_and_ends_as_the_path_does(parts: list[str], width: int) -> None:
    path = "/".join(parts)
    shown = shortened(path, width)
    assert cell_len(shown) <= width
    assert path.endswith(shown.lstrip("…"))
    if cell_len(parts[-1]) <= width:
        assert shown.endswith(parts[-1])
