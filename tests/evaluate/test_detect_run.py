from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from deeptrace.errors import DataError, SettingsError
from deeptrace.evaluate import DetectRun, Job, expand_inputs, read_verdicts
from deeptrace.trace import Outcome, Verdict


@pytest.fixture
def folder(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a-slow.mp4", "b.mp4", "c.mp4", "d.mp4"):
        (tmp_path / "clips").mkdir(exist_ok=True)
        shutil.copy(clip, tmp_path / "clips" / name)
    (tmp_path / "clips" / "e-broken.mp4").write_bytes(b"not a video at all")
    return tmp_path


def run(*paths: str, limit: int | None = None, **options: object) -> tuple[list[Verdict], int]:
    """Verdicts in the order they came, and how many were kept from before; leaves after `limit`."""
    options = {"detector": "baseline:center-box", "out": "out", **options}
    with DetectRun(expand_inputs(paths or ("clips",)), **options) as going:  # type: ignore[arg-type]
        found = []
        for judged in going.results():
            found.append(judged.verdict)
            if len(found) == limit:
                break
        return found, going.kept


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order_and_are_kept(folder: Path, hostile: str, workers: int) -> None:
    found, kept = run("clips", "nowhere/*.mp4", detector=hostile, workers=workers)
    names = [Path(verdict.video).name for verdict in found]
    assert names == ["a-slow.mp4", "b.mp4", "c.mp4", "d.mp4", "e-broken.mp4", "*.mp4"]
    assert [verdict.outcome for verdict in found[:4]] == [Outcome.SCORED] * 4
    assert [verdict.outcome for verdict in found[4:]] == [Outcome.DECODE_FAILED] * 2
    assert kept == 0
    assert read_verdicts(folder / "out/verdicts.jsonl") == found


def test_two_runs_do_not_write_into_one_folder(folder: Path) -> None:
    with DetectRun(expand_inputs(["clips"]), detector="baseline:all-real", out="out") as going:
        next(going.results())
        for resume in (False, True):
            with pytest.raises(SettingsError, match="another run is writing into this folder"):
                run(resume=resume)
    found, kept = run(resume=True, detector="baseline:all-real")
    assert (len(found), kept) == (5, 1)


def test_a_verdict_is_on_disk_before_it_is_handed_out(folder: Path) -> None:
    with DetectRun(expand_inputs(["clips"]), detector="baseline:all-real", out="out") as going:
        for count, _ in enumerate(going.results(), start=1):
            assert len(read_verdicts(folder / "out/verdicts.jsonl")) == count


def test_resume_skips_the_scored_and_retries_the_failed(folder: Path, clip: Path) -> None:
    first, _ = run(limit=3)
    assert len(first) == 3
    second, kept = run(resume=True)
    assert (len(second), kept) == (5, 3)
    assert second[:3] == first, "kept verdicts are the very same, time included"
    shutil.copy(clip, folder / "clips/e-broken.mp4")
    third, kept = run(resume=True)
    assert kept == 4
    assert all(verdict.outcome is Outcome.SCORED for verdict in third)
    assert read_verdicts(folder / "out/verdicts.jsonl") == third


def test_resume_judges_again_what_has_changed(folder: Path) -> None:
    run()
    os.utime(folder / "clips/b.mp4", ns=(5, 5))
    assert run(resume=True)[1] == 3
    assert run(resume=True, settings={"size": 0.3})[1] == 0
    assert run(resume=True, settings={"size": 0.3})[1] == 4
    assert run(resume=True, detector="baseline:all-fake")[1] == 0


def test_resume_asks_for_evidence_that_was_not_kept(folder: Path, hostile: str) -> None:
    run(detector=hostile)
    assert run(detector=hostile, resume=True)[1] == 4
    assert run(detector=hostile, resume=True, job=Job(evidence=True))[1] == 0
    with DetectRun(expand_inputs(["clips"]), detector=hostile, out="out", resume=True, job=Job(evidence=True)) as going:
        assert going.kept == 4
        assert next(going.results()).curves == {"steps": [(0.0, 1.0), (1.0, 2.0)]}


def cut_off(path: Path, lines: int, cut: int) -> None:
    """Leave `lines` lines, the last without its last `cut` bytes."""
    kept = path.read_bytes().splitlines(keepends=True)[:lines]
    data = b"".join(kept)
    path.write_bytes(data[: len(data) - cut])


def test_resume_makes_overlays_that_are_missing(folder: Path) -> None:
    job = Job(overlay_dir="out/overlays")
    run(job=job)
    overlays = sorted(Path("out/overlays").glob("*.mp4"))
    assert len(overlays) == 4
    assert run(job=job, resume=True)[1] == 4
    overlays[1].unlink()
    assert run(job=job, resume=True)[1] == 3
    assert sorted(Path("out/overlays").glob("*.mp4")) == overlays


# What a kill leaves: (lines and missing bytes of the journal, then of the verdicts), and how many results are whole.
@pytest.mark.parametrize(
    ("journal", "verdicts", "whole"),
    [
        ((4, 40), (3, 0), 3),
        ((4, 1), (3, 0), 4),
        ((4, 0), (3, 0), 4),
        ((4, 0), (4, 40), 4),
        ((1, 40), (0, 0), 0),
    ],
)
def test_a_kill_at_any_moment_loses_and_repeats_nothing(
    folder: Path, journal: tuple[int, int], verdicts: tuple[int, int], whole: int
) -> None:
    first, _ = run()
    cut_off(folder / "out/journal.jsonl", *journal)
    cut_off(folder / "out/verdicts.jsonl", *verdicts)
    found, kept = run(resume=True)
    assert kept == whole
    assert found[:whole] == first[:whole], "kept verdicts are the very same, time included"
    assert len(found) == 5
    assert read_verdicts(folder / "out/verdicts.jsonl") == found
    for line in (folder / "out/journal.jsonl").read_text().splitlines():
        json.loads(line)


def test_verdicts_without_a_journal_are_kept_but_not_trusted(folder: Path) -> None:
    first, _ = run("clips/b.mp4", "clips/c.mp4")
    (folder / "out/journal.jsonl").unlink()
    found, kept = run("clips/c.mp4", resume=True)
    assert kept == 0
    assert read_verdicts(folder / "out/verdicts.jsonl") == [first[0], *found]


@pytest.mark.parametrize("name", ["verdicts.jsonl", "journal.jsonl"])
def test_damage_in_the_middle_is_named_not_skipped(folder: Path, name: str) -> None:
    run()
    path = folder / "out" / name
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1][:30], *lines[2:]]) + "\n")
    with pytest.raises(DataError, match="line 2"):
        run(resume=True)


def test_an_earlier_run_is_never_overwritten_by_accident(folder: Path) -> None:
    first, _ = run()
    with pytest.raises(SettingsError, match="--resume"):
        run()
    assert read_verdicts(folder / "out/verdicts.jsonl") == first


def test_verdicts_on_other_files_stay(folder: Path) -> None:
    run("clips/b.mp4")
    run("clips/c.mp4", resume=True)
    assert [Path(verdict.video).name for verdict in read_verdicts("out/verdicts.jsonl")] == ["b.mp4", "c.mp4"]


def test_senseless_options_are_refused(folder: Path) -> None:
    for options in ({"workers": 0}, {"timeout_s": 0.0}, {"resume": True, "out": None}, {"out": "clips/b.mp4"}):
        with pytest.raises(SettingsError):
            run(**options)


def test_a_broken_folder_leaves_no_worker_behind(folder: Path, hostile: str) -> None:
    import multiprocessing

    with pytest.raises(SettingsError):
        run(detector=hostile, workers=2, out="clips/b.mp4")
    assert not [child for child in multiprocessing.active_children() if child.is_alive()]
