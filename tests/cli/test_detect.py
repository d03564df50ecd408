from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from tests.needs import needs
from tests.signing import EXAMPLE, make_authority, sign
from typer.testing import CliRunner

from deeptrace.cli.console import parse_settings, printable
from deeptrace.cli.main import app
from deeptrace.errors import DataError, DeeptraceError, SettingsError, UnknownDetectorError
from deeptrace.schema import Verdict


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    runner = CliRunner()

    def call(*args: object):
        return runner.invoke(app, ["detect", *map(str, args)])

    return call


def test_the_table_says_what_was_found(run, clip: Path) -> None:
    result = run(clip, "--detector", "baseline:center-box")
    assert result.exit_code == 0
    for words in ("AI-generated", "0.0–1.0 s", "centre (25 % of the frame)", "evidence, not proof"):
        assert words in result.stdout
    assert "proof that" not in result.stdout


def test_json_is_one_verdict_a_line_and_nothing_else(run, clip: Path, tmp_path: Path) -> None:
    shutil.copy(clip, tmp_path / "b.mp4")
    result = run(clip, "b.mp4", "--detector", "baseline:all-real", "--json", "--workers", 1)
    assert result.exit_code == 0
    verdicts = [Verdict.model_validate_json(line) for line in result.stdout.splitlines()]
    assert [verdict.video for verdict in verdicts] == [str(clip), "b.mp4"]
    contract = (
        "video outcome label p_fake traces reward media detector elapsed_s warnings error raw usage flaws "
        "unfamiliar content_credentials segment_scores decision"
    )
    assert list(json.loads(result.stdout.splitlines()[0])) == contract.split()


def test_content_credentials_are_told_in_one_wording(run, tmp_path: Path) -> None:
    signed = sign(EXAMPLE, tmp_path / "signed.mp4", make_authority())
    result = run(EXAMPLE, signed, "--detector", "baseline:all-real", "--json", "--workers", 1)
    said = [json.loads(line)["content_credentials"]["summary"] for line in result.stdout.splitlines()]
    assert said[0] == "Content Credentials: none"
    assert said[1].startswith("Content Credentials: intact, signer not trusted; declared AI-generated; signed by")
    few = " ".join(run(EXAMPLE, signed, "--detector", "baseline:all-real").stdout.split())
    assert few.count("Content Credentials:") == 2
    assert all(line in few for line in said)
    for number in range(4):
        shutil.copy(EXAMPLE, tmp_path / f"{number}.mp4")
    many = " ".join(run(".", EXAMPLE, "--detector", "baseline:all-real").stdout.split())
    assert many.count("Content Credentials:") == 2
    assert said[1] in many
    assert "Content Credentials: none in 5 of 6 clips, which says nothing of them." in many


def test_a_failure_is_recorded_and_told_by_the_exit_code(run, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"\x00" * 64)
    result = run(clip, "broken.mp4", "gone.mp4", "*.avi", "--detector", "baseline:d3", "--json", "--workers", 1)
    assert result.exit_code == 1
    outcomes = [json.loads(line)["outcome"] for line in result.stdout.splitlines()]
    assert outcomes == ["scored", "decode_failed", "decode_failed", "decode_failed"]
    assert "4 clips: " in result.stderr
    assert ", 3 failed; " in result.stderr
    table = run("broken.mp4", "--detector", "baseline:d3")
    assert table.exit_code == 1
    assert "cannot be read" in table.stdout


@pytest.mark.parametrize(
    ("args", "kind"),
    [
        (["--detector", "tracenett"], UnknownDetectorError),
        (["--detector", "baseline:d3", "--set", "speed=1"], SettingsError),
        (["--detector", "baseline:d3", "--set", "threshold"], SettingsError),
        (["--detector", "baseline:d3", "--resume"], SettingsError),
        (["--detector", "baseline:d3", "--csv", "."], SettingsError),
    ],
)
def test_what_makes_no_sense_stops_before_any_work(run, clip: Path, args: list[str], kind: type[Exception]) -> None:
    result = run(clip, *args)
    assert isinstance(result.exception, kind)
    assert result.stdout == ""


def test_a_clip_is_not_taken_for_the_name_of_the_table(run, clip: Path, tmp_path: Path) -> None:
    shutil.copy(clip, tmp_path / "a.mp4")
    result = run("--csv", "a.mp4", clip, "--detector", "baseline:d3")  # what a shell makes of `--csv *.mp4`
    assert isinstance(result.exception, SettingsError)
    assert "is the name of a video" in str(result.exception)
    assert (tmp_path / "a.mp4").read_bytes() == clip.read_bytes()


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="a device of Linux")
def test_answers_are_shown_even_where_the_table_has_no_room(run, clip: Path) -> None:
    result = run(clip, "--detector", "baseline:center-box", "--brief", "--csv", "/dev/full")
    assert isinstance(result.exception, DataError)
    assert "No space left" in str(result.exception)
    assert result.stdout.startswith("AI-generated")
    assert Path("/dev/full").is_char_device()


def test_clips_may_come_from_a_table(run, clip: Path, tmp_path: Path) -> None:
    """Of Parquet and of CSV, from the table's own folder; a clip that is named twice counts once."""
    pa, pq = needs("pyarrow"), needs("pyarrow.parquet")
    (tmp_path / "tables").mkdir()
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(clip, tmp_path / "tables" / name)
    pq.write_table(pa.table({"size": [1, 2], "path": ["b.mp4", "a.mp4"]}), tmp_path / "tables" / "clips.parquet")
    (tmp_path / "tables" / "clips.csv").write_text("video,size\nb.mp4,1\na.mp4,2\n")
    for table in ("tables/clips.parquet", "tables/clips.csv"):
        result = run("--clips", table, "tables/a.mp4", clip, "--detector", "baseline:all-real", "--json")
        assert result.exit_code == 0
        names = [json.loads(line)["video"] for line in result.stdout.splitlines()]
        assert names == ["tables/b.mp4", "tables/a.mp4", str(clip)]
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no table PAR1")
    with pytest.raises(DataError, match=r"broken\.parquet: cannot be read"):
        raise run("--clips", "broken.parquet").exception


def test_the_kin_of_ray_needs_it(run, clip: Path) -> None:
    with pytest.raises(SettingsError, match="Say which one: --ray"):
        raise run(clip, "--ray-actors", 2).exception


def test_out_keeps_verdicts_and_resume_goes_on(run, clip: Path, tmp_path: Path) -> None:
    args = (clip, "--detector", "baseline:all-fake", "--out", "runs/one")
    assert run(*args).exit_code == 0
    again = run(*args)
    assert isinstance(again.exception, SettingsError)
    resumed = run(*args, "--resume")
    assert resumed.exit_code == 0
    assert "1 of 1 were analysed before" in resumed.stderr
    assert len((tmp_path / "runs/one/verdicts.jsonl").read_text().splitlines()) == 1


def test_report_and_overlay_without_out_go_to_the_default_folder(run, clip: Path, tmp_path: Path) -> None:
    result = run(clip, "--detector", "baseline:d3", "--report", "--overlay")
    assert result.exit_code == 0
    assert len(list((tmp_path / "deeptrace-out/overlays").glob("clip.*.mp4"))) == 1
    assert "frame-to-frame" in (tmp_path / "deeptrace-out/report.html").read_text()
    assert "report: deeptrace-out/report.html" in result.stderr


def test_terminal_escapes_in_names_are_made_visible(run, clip: Path, tmp_path: Path) -> None:
    name = "evil\x1b[31m[bold]\n.mp4"
    shutil.copy(clip, tmp_path / name)
    result = run(name, "--detector", "baseline:all-real")
    assert "\x1b[31m" not in result.stdout
    assert "[bold]" in result.stdout
    assert "\\x1b" in result.stdout


def test_the_table_shortens_names_to_their_common_folder(run, clip: Path, tmp_path: Path) -> None:
    for name in ("deep/er/a.mp4", "deep/er/b/c.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, tmp_path / name)
    result = run("deep", "--detector", "baseline:all-real", "--workers", 1)
    assert f"in deep{os.sep}er{os.sep}" in result.stdout
    assert "b/c.mp4" in result.stdout


def test_settings_are_read_as_json_where_they_are() -> None:
    assert parse_settings(["a=0.5", "b=true", "c=[1, 2]", "d=text=more", "e="]) == {
        "a": 0.5, "b": True, "c": [1, 2], "d": "text=more", "e": "",
    }  # fmt: skip
    for bad in ("a", "=1", "a b=1"):
        with pytest.raises(SettingsError):
            parse_settings([bad])


def test_printable_leaves_letters_of_all_languages_alone() -> None:
    assert printable("Übung 動画.mp4") == "Übung 動画.mp4"
    assert printable("a\x07\u202eb\x1b") == "a\\x07\\u202eb\\x1b"


def test_a_dry_run_says_what_a_served_model_would_take_and_asks_nobody(run, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"\x00" * 64)
    model = ["--detector", "openai:Qwen/Qwen2.5-VL-7B-Instruct", "--dry-run"]
    result = run(clip, "broken.mp4", *model, "--set", "fps=4", "--json")
    assert result.exit_code == 1
    first, second = (json.loads(line) for line in result.stdout.splitlines())
    assert first["estimate"]["frames"] == 4
    assert first["estimate"]["size"] == [56, 56]
    assert first["estimate"]["visual_tokens"] == 4 * 4
    assert second["estimate"] is None
    assert second["error"]
    table = run(clip, *model)
    assert table.exit_code == 0
    assert "1 of 1 clip" in table.stdout
    assert "Nothing was loaded or sent" in table.stdout
    assert not (tmp_path / "deeptrace-out").exists()
    refused = run(clip, "--detector", "tracenet", "--dry-run")
    assert isinstance(refused.exception, SettingsError)


@pytest.mark.parametrize("detector", ["tracenet:nowhere", "baseline:probe"])
def test_a_detector_that_cannot_be_loaded_is_one_message(
    run, clip: Path, detector: str, caplog: pytest.LogCaptureFixture
) -> None:
    result = run(clip, "--detector", detector)
    assert isinstance(result.exception, DeeptraceError)  # which `main` prints
    assert not caplog.records
