"""From raw clips to a dataset: what is left out and why, what is kept and how, and that a break changes nothing."""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.audit.conftest import encode
from tests.collect.conftest import LOOSE, clip
from tests.needs import needs
from typer.testing import CliRunner

from deeptrace.audit import read_facts
from deeptrace.cli.main import app
from deeptrace.collect import Collected, Recipe, collect, read_candidates
from deeptrace.collect.matching import balance, match
from deeptrace.collect.measures import Measures, measure
from deeptrace.data import join_media, read_reward_data
from deeptrace.errors import DataError, SettingsError
from deeptrace.schema import Label

SMALL = ["--min-side", "64", "--min-sharpness", "0", "--max-blockiness", "9", "--shuffles", "5", "--workers", "2"]


@pytest.fixture(scope="module")
def made(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Collected:
    recipe = Recipe(limits=LOOSE, shuffles=5)
    return collect(given(raw), tmp_path_factory.mktemp("made") / "set", recipe, workers=2)


def given(raw: Path) -> list:
    return read_candidates([raw / "generated"], [raw / "real"])


def contents(folder: Path) -> dict[str, str]:
    """Hashes of all files that a run is for."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    skipped = ("journal.jsonl", "manifest.json")  # in the order of the work; with the time
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.name not in skipped
    }


def test_each_bad_clip_is_left_out_with_its_reason(made: Collected) -> None:
    with (made.folder / "left_out.csv").open(newline="") as file:
        rows = {Path(row["path"]).name: (row["step"], row["reason"]) for row in csv.DictReader(file)}
    assert {name: step for name, (step, _) in rows.items() if not name.startswith(("good", "take", "cut"))} == {
        "broken.mp4": "decode",
        "frozen.mp4": "frozen",
        "black.mp4": "black",
        "short.mp4": "length",
        "twin.mp4": "duplicate",
        "stolen.mp4": "duplicate",
    }
    assert "100%" in rows["black.mp4"][1]
    assert rows["short.mp4"][1] == "0.62 s, below 1"
    assert "Pika/good0.mp4" in rows["twin.mp4"][1]
    assert rows["stolen.mp4"][1] == "looks the same as Kling/good1.mp4, which has the other label"
    assert rows["good1.mp4"][0] == "duplicate"  # which of the two labels is right, nobody knows
    assert len(rows) + len(made.samples) == sum(made.given.values()) == 27


def test_of_a_clip_with_a_cut_the_longest_shot_is_kept(raw: Path, tmp_path: Path, recipe: Recipe) -> None:
    found = measure(raw / "generated/Pika/cut.mp4", max_s=10, scan_s=60)
    assert found.cuts_s == (0.75,)
    assert found.shot is not None
    assert (found.shot.start_s, found.shot.duration_s) == (0.75, 2.0)
    whole = measure(raw / "generated/Pika/cut.mp4", max_s=1.5, scan_s=60, cuts=False)
    assert whole.shot is not None
    assert (whole.cuts_s, whole.shot.duration_s) == ((), 1.5)
    assert replace(LOOSE, max_cuts=0).refusal(found) == ("cuts", "1 cut (at 0.75 s), more than 0")
    # Each picture three times, as when 8 frames a second are written at 24: nothing of that is a cut.
    tripled = np.repeat(
        clip(30, frames=24)[::4] // 2 + np.arange(6, dtype=np.uint8)[:, None, None, None] * 20, 3, axis=0
    )
    assert measure(encode(tmp_path / "tripled.mp4", tripled, fps=24), max_s=10, scan_s=60).cuts_s == ()
    # What is written begins at the cut: its first picture is that of the second shot.
    few = [one for one in given(raw) if Path(one.name).stem in ("cut", "good2", "take0", "take2")]
    result = collect(few, tmp_path / "set", replace(recipe, split="none"))
    (sample,) = (one for one in result.samples if one.extra["collected_from"].endswith("cut.mp4"))
    first = measure(result.folder / sample.path, max_s=10, scan_s=60).shot
    alone = measure(encode(tmp_path / "alone.mp4", clip(21, frames=16), fps=8), max_s=10, scan_s=60).shot
    assert first is not None
    assert alone is not None
    bits = int(first.hashes[0][1] or 0) ^ int(alone.hashes[0][1] or 0)
    assert bits.bit_count() <= 10


def test_the_classes_are_as_many_as_long_and_encoded_alike(made: Collected) -> None:
    samples = read_reward_data(made.folder)
    files = join_media(samples, made.folder)
    assert (files.missing, files.unmatched) == ({}, [])
    lengths: dict[Label | None, list[float]] = {Label.FAKE: [], Label.REAL: []}
    shapes = set()
    for sample in samples:
        facts = read_facts(files.found[sample.video_id])
        assert facts.decoded is not None
        lengths[sample.label].append(facts.decoded.frames)
        shapes.add((facts.width, facts.height, facts.fps, facts.codec, facts.has_audio))
    assert sorted(lengths[Label.FAKE]) == sorted(lengths[Label.REAL])
    assert len(shapes) == 1
    assert {sample.prompt for sample in samples if sample.extra["rows"][0]["collected_from"] == "Pika/good2.mp4"} == {
        "prompt 2"
    }


def test_no_source_is_on_two_sides_and_the_audit_finds_nothing(made: Collected) -> None:
    assert made.before.joint_auc is not None
    assert made.before.joint_auc > 0.9
    assert not made.audit.shortcuts.found
    assert made.audit.errors == 0
    sides = {sample.source: set() for sample in made.samples}
    for sample in made.samples:
        sides[sample.source].add(sample.split)
    assert all(len(splits) == 1 for splits in sides.values())
    assert made.as_json() == json.loads((made.folder / "collect.json").read_text())


def test_killed_and_resumed_equals_uninterrupted(made: Collected, raw: Path, tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    recipe, out = Recipe(limits=LOOSE, shuffles=5), tmp_path / "set"

    def run(at: tuple[str, int] | None, *, resume: bool = True) -> Collected:
        def stop(step: str, done: int, total: int | None) -> None:
            if (step, done) == at:
                raise StopError

        return collect(given(raw), out, recipe, resume=resume, on_step=stop)

    with pytest.raises(StopError):
        run(("measuring", 9), resume=False)
    with pytest.raises(StopError):
        run(("writing", 4))
    with pytest.raises(SettingsError, match=r"Go on with it \(--resume\)"):
        run(None, resume=False)
    result = run(None)
    assert result.kept >= 4
    assert result.written + result.kept == len(made.samples)
    assert contents(out) == contents(made.folder)
    with pytest.raises(SettingsError, match="another ratio"):
        collect(given(raw), out, replace(recipe, ratio=2.0), resume=True)


def test_the_metadata_is_valid_croissant(made: Collected) -> None:
    needs("mlcroissant")
    import mlcroissant

    dataset = mlcroissant.Dataset(made.folder / "croissant.json")
    assert not dataset.metadata.issues.errors
    rows = list(dataset.records("rows"))
    assert len(rows) == len(made.samples)
    assert {row["rows/video_type"].decode() for row in rows} == {"fake_video", "real_video"}


def test_a_pair_is_matched_first_and_stays_on_one_side(tmp_path: Path, recipe: Recipe) -> None:
    for i in range(6):
        encode(tmp_path / f"clips/f{i}.mp4", clip(i), fps=8)
        encode(tmp_path / f"clips/r{i}.mp4", clip(90 + i), fps=8)
    for name, letter in (("generator", "f"), ("source", "r")):
        rows = [f"clips/{letter}{i}.mp4,{letter.upper()}{i % 3},p{i}" for i in range(6)]
        (tmp_path / f"{name}.csv").write_text("\n".join([f"path,{name},pair", *rows]))
    candidates = read_candidates([tmp_path / "generator.csv"], [tmp_path / "source.csv"])
    result = collect(candidates, tmp_path / "set", recipe)
    partner = {}
    for line in (result.folder / "measures.jsonl").read_text().splitlines():
        row = json.loads(line)
        partner[Path(row["path"]).stem] = row["matched_with"]
    assert {name: theirs for name, theirs in partner.items() if name[0] == "f"} == {
        f"f{i}": [f"R{i % 3}_r{i}"] for i in range(6)
    }
    split = {sample.video_id: sample.split for sample in result.samples}
    assert all(split[f"F{i % 3}_f{i}"] == split[f"R{i % 3}_r{i}"] for i in range(6))
    assert len(set(split.values())) > 1


def test_the_assignment_has_the_least_sum_at_any_ratio() -> None:
    # By nearness one by one, row 0 would take column 0 and leave row 1 with 9.
    cost = np.array([[0.1, 0.2, 5.0, 5.0], [0.2, 9.0, 6.0, 7.0]])
    assert match(cost).partner == {0: (1,), 1: (0,)}
    assert match(cost, ratio=2).partner == {0: (1, 3), 1: (0, 2)}
    assert match(cost.T, ratio=0.5).partner == {0: (1,), 1: (0,), 2: (1,), 3: (0,)}
    assert match(cost, ratio=3).partner == {0: (0, 1, 2)}
    assert match(cost, max_distance=0.15 + 0.05).partner == {0: (1,), 1: (0,)}
    with pytest.raises(DataError, match="no two clips are alike enough"):
        match(cost, max_distance=0.01)
    with pytest.raises(DataError, match="no camera clip is left"):
        match(np.zeros((2, 0)))


def test_measures_survive_the_journal_and_balance_sees_a_difference(raw: Path) -> None:
    found = [measure(raw / name, max_s=10, scan_s=60) for name in ("generated/Pika/good0.mp4", "real/park/take0.mp4")]
    again = [Measures.from_json(json.loads(json.dumps(one.as_json()))) for one in found]
    assert again == found
    fake = np.array([True, False, True, False])
    apart = balance([found[0], found[0], found[1], found[1]], fake, np.array([True, False, False, True]))
    assert {before for before, _ in apart.values()} == {0.0}
    assert apart["frames/s (log)"][1] == pytest.approx(-2.0)  # 8 against 24, each one standard deviation from the mean
    assert match(np.eye(2)).partner == {0: (1,), 1: (0,)}


def test_what_tables_and_folders_must_have(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="named as generated and as real"):
        read_candidates([raw / "generated"], [raw / "generated"])
    with pytest.raises(SettingsError, match="does not exist"):
        read_candidates([tmp_path / "gone"], [])
    (tmp_path / "t.jsonl").write_text('{"path": "a.mp4", "source": "x"}\n{"path": "b.mp4"}\n')
    with pytest.raises(DataError, match=r"t.jsonl, row 2: has no source or generator"):
        read_candidates([], [tmp_path / "t.jsonl"])
    (tmp_path / "t.jsonl").write_text('{"path": "x/a.mp4", "source": "x"}\n{"path": "y/a.mp4", "source": "x"}\n')
    first, second = read_candidates([], [tmp_path / "t.jsonl"])
    assert first.video_id != second.video_id
    assert first.video_id.startswith("x_a-")


def test_the_command_says_what_it_kept(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    asked = ["collect", "--generated", str(raw / "generated"), "--real", str(raw / "real"), "--out", str(out), *SMALL]
    said = CliRunner().invoke(app, [*asked, "--json"])
    found = json.loads(said.stdout)
    assert (said.exit_code, found["audit"]["found"]) == (0, False)
    assert found["given"] == {"FAKE": 16, "REAL": 11}
    again = CliRunner().invoke(app, [*asked, "--resume"], env={"COLUMNS": "80"})
    assert again.exit_code == 0
    assert max(map(len, again.stdout.splitlines())) <= 80
    assert "0 clips written" in again.stderr
    (tmp_path / "none").mkdir()
    others = ["--real", str(tmp_path / "none"), "--out", str(tmp_path / "o")]
    gone = CliRunner().invoke(app, [*asked[:3], *others, *SMALL])
    assert gone.exit_code != 0
    assert isinstance(gone.exception, DataError)
    assert "no camera clip is fit" in str(gone.exception)
    assert (tmp_path / "o" / "left_out.csv").read_text().count("\n") == 5
    corrected = CliRunner().invoke(app, [*asked[:5], "--out", str(tmp_path / "o"), *SMALL])
    assert corrected.exit_code == 0, corrected.exception
    inside = CliRunner().invoke(app, [*asked[:5], "--out", str(raw / "real" / "made"), *SMALL])
    assert isinstance(inside.exception, SettingsError)
    assert not (raw / "real" / "made").exists()
