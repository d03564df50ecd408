from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path

import pytest

from deeptrace.errors import DataError, SettingsError
from deeptrace.inference import DetectRun, Job, expand_inputs, read_verdicts
from deeptrace.schema import Outcome, Verdict


@pytest.fixture
def folder(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clips").mkdir()
    for number, name in enumerate(("a-slow.mp4", "b.mp4", "c.mp4", "d.mp4")):
        (tmp_path / "clips" / name).write_bytes(another(clip, number))
    (tmp_path / "clips" / "e-broken.mp4").write_bytes(b"not a video at all")
    return tmp_path


def another(clip: Path, number: int) -> bytes:
    """The clip with a box at its end that says nothing: other bytes, the same pictures."""
    return clip.read_bytes() + struct.pack(">I4sB", 9, b"free", number)


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


def test_resume_judges_again_what_has_changed(folder: Path, clip: Path) -> None:
    run()
    os.utime(folder / "clips/b.mp4", ns=(5, 5))
    assert run(resume=True)[1] == 4, "another date is no other video"
    (folder / "clips/b.mp4").write_bytes(another(clip, 9))
    assert run(resume=True)[1] == 3
    assert run(resume=True)[1] == 4


def test_another_setting_is_an_error_that_names_it(folder: Path) -> None:
    first, _ = run()
    with pytest.raises(SettingsError, match=r"out: holds a run with another detector\.settings\.box\. Name another"):
        run(resume=True, settings={"size": 0.3})
    with pytest.raises(SettingsError, match=r"another detector\.name, detector\.settings\.box"):
        run(resume=True, detector="baseline:all-fake")
    assert read_verdicts(folder / "out/verdicts.jsonl") == first


def test_a_run_or_clips_that_were_moved_or_renamed_keep_their_results(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = run()
    os.rename("clips/b.mp4", "clips/z.mp4")
    second, kept = run(resume=True)
    assert kept == 4
    kept_ones = [second[k].elapsed_s for k in (0, 1, 2, 4)]
    assert kept_ones == [first[k].elapsed_s for k in (0, 2, 3, 1)]
    assert read_verdicts("out/verdicts.jsonl") == second, "each once, under the name that it has now"
    (folder / "elsewhere").mkdir()
    for name in ("clips", "out"):
        os.rename(name, f"elsewhere/{name}")
    monkeypatch.chdir(folder / "elsewhere")
    third, kept = run(str(folder / "elsewhere/clips"), resume=True)
    assert kept == 4
    names = [str(folder / "elsewhere" / verdict.video) for verdict in second]
    assert [verdict.video for verdict in third] == names
    assert read_verdicts("out/verdicts.jsonl") == third


def test_copies_are_listed_each_and_stay(folder: Path) -> None:
    shutil.copy("clips/b.mp4", "clips/copy.mp4")
    run("clips/b.mp4", "clips/c.mp4", "clips/copy.mp4")
    _, kept = run("clips/copy.mp4", "clips/d.mp4", resume=True)
    assert kept == 1
    names = [Path(verdict.video).name for verdict in read_verdicts("out/verdicts.jsonl")]
    assert names == ["b.mp4", "c.mp4", "copy.mp4", "d.mp4"]


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85", "\r", "\n", "\x1c", "\udcff"])
def test_any_name_can_be_kept_and_gone_on_with(folder: Path, clip: Path, mark: str) -> None:
    for name in (f"f{mark}1.mp4", f"f{mark}2.mp4"):
        (folder / "clips" / name).write_bytes(another(clip, 10 + int(name[-5])))
    run(limit=6)
    found, kept = run(resume=True)
    assert (len(found), kept) == (7, 4 if mark == "\udcff" else 5)  # such a name is an error, to be mended
    assert read_verdicts("out/verdicts.jsonl") == found
    assert (folder / "out/verdicts.jsonl").read_bytes().count(b"\n") == 7


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


def test_verdicts_that_nothing_is_known_of_are_left_alone(folder: Path) -> None:
    first, _ = run("clips/b.mp4", "clips/c.mp4")
    (folder / "out/journal.jsonl").unlink()
    with pytest.raises(SettingsError, match=r"has lost its journal\.jsonl"):
        run("clips/c.mp4", resume=True)
    (folder / "out/manifest.json").unlink()  # as an earlier version left its folders
    with pytest.raises(SettingsError, match=r"holds verdicts\.jsonl, and no run that this version"):
        run("clips/c.mp4", resume=True)
    assert read_verdicts(folder / "out/verdicts.jsonl") == first


def test_damage_in_the_middle_costs_that_result_alone(folder: Path) -> None:
    first, _ = run()
    for name in ("verdicts.jsonl", "journal.jsonl"):
        path = folder / "out" / name
        lines = path.read_text().split("\n")
        path.write_text("\n".join([lines[0], lines[1][:30], *lines[2:]]))
    with pytest.raises(DataError, match="line 2"):
        read_verdicts(folder / "out/verdicts.jsonl")
    found, kept = run(resume=True)
    assert kept == 3
    assert [found[k] for k in (0, 2, 3)] == [first[k] for k in (0, 2, 3)]
    assert read_verdicts(folder / "out/verdicts.jsonl") == found


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
    for options in ({"workers": 0}, {"timeout_s": -1.0}, {"resume": True, "out": None}, {"out": "clips/b.mp4"}):
        with pytest.raises(SettingsError):
            run(**options)


def test_a_broken_folder_leaves_no_worker_behind(folder: Path, hostile: str) -> None:
    before = children()
    with pytest.raises(SettingsError):
        run(detector=hostile, workers=2, out="clips/b.mp4")
    assert children() == before


def children() -> set[str]:
    """Process ids of this process's children (Linux)."""
    lists = [task / "children" for task in Path("/proc/self/task").glob("*")]
    return {pid for one in lists if one.exists() for pid in one.read_text().split()}
