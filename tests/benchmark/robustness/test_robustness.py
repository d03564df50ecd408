"""What is done to clips, and what is counted of it: real files, real detectors, a run that is killed and goes on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.benchmark.eval_sets import make_set
from typer.testing import CliRunner

from deeptrace.benchmark.robustness.attack import Attack, square
from deeptrace.benchmark.robustness.changes import Tools, changes_of
from deeptrace.benchmark.robustness.clips import Form, Subject, choose
from deeptrace.benchmark.robustness.figures import Asked, left_shares, row_of
from deeptrace.benchmark.robustness.run import measure_robustness
from deeptrace.cli.main import app
from deeptrace.errors import DataError, ModelError, SettingsError
from deeptrace.geometry import Box
from deeptrace.io.journal import read_lines
from deeptrace.schema import Label, Sample, Trace, Verdict
from deeptrace.video.transforms.ops import Crop

BOX = Box(x0=0.2, y0=0.2, x1=0.6, y1=0.6)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_set(tmp_path_factory.mktemp("data") / "set")


def subject(number: int, *, fake: bool, source: str = "a") -> Subject:
    traces = (Trace(box=BOX),) if fake else ()
    label = Label.FAKE if fake else Label.REAL
    return Subject(Sample(video_id=f"{label}{number}", path="", label=label, source=source, traces=traces), "")


def said(p_fake: float, box: Box | None = None) -> Verdict:
    label = Label.FAKE if p_fake >= 0.5 else Label.REAL
    traces = (Trace(box=box),) if box is not None else ()
    return Verdict(video="", outcome="scored", label=label, p_fake=p_fake, traces=traces)


def clips(before: list[float], after: list[float], *, fake: bool, box: Box | None = None) -> list[Asked]:
    pairs = zip(before, after, strict=True)
    return [
        Asked(subject(number, fake=fake, source=f"s{number}"), said(was, box if was >= 0.5 else None), said(now))
        for number, (was, now) in enumerate(pairs)
    ]


def test_figures_of_a_change() -> None:
    asked = clips([0.1, 0.2, 0.6, 0.1], [0.9, 0.2, 0.6, 0.1], fake=False)
    asked += clips([0.9, 0.8, 0.4, 0.9], [0.3, 0.8, 0.4, 0.9], fake=True)
    row = row_of("x", "files", "", asked, resamples=200)
    assert (row.real, row.generated, row.accused.value, row.found.value) == (4, 4, 0.5, 0.5)
    assert (row.accused_change.value, row.found_change.value) == (0.25, -0.25)
    assert row.turned.value == pytest.approx(1 / 3, abs=1e-3)  # of three real clips that were not accused
    assert row.lost.value == pytest.approx(1 / 3, abs=1e-3)
    assert row.auroc_change.value == pytest.approx(row.auroc.value - 15 / 16, abs=1e-3)
    assert row.auroc_change.interval is not None
    assert row.auroc_change.interval[0] <= row.auroc_change.value <= row.auroc_change.interval[1]


def test_clips_of_one_source_are_drawn_together() -> None:
    def interval(sources: int) -> tuple[float, float]:
        asked = [
            Asked(subject(n, fake=fake, source=f"{n % sources}"), said(0.5), said(0.9 if n % sources else 0.1))
            for fake in (False, True)
            for n in range(40)
        ]
        found = row_of("x", "files", "", asked, resamples=400).found.interval
        assert found is not None
        return found

    few, many = interval(4), interval(20)
    assert few[1] - few[0] > 1.5 * (many[1] - many[0])


def test_of_few_sources_there_is_no_interval() -> None:
    asked = clips([0.1, 0.2, 0.3], [0.9, 0.2, 0.3], fake=False) + clips([0.9] * 4, [0.9] * 4, fake=True)
    row = row_of("x", "files", "", asked, resamples=50)
    assert (row.accused.value, row.accused.interval) == (pytest.approx(1 / 3, abs=1e-3), None)
    assert row.auroc.interval is None
    assert row.found.interval is not None


def test_a_failed_clip_counts_as_failed_and_nowhere_else() -> None:
    asked = clips([0.1, 0.9], [0.1, 0.9], fake=False) + clips([0.9], [0.9], fake=True)
    broken = Verdict.failed("", "decode_failed", "no picture")
    row = row_of("x", "files", "", [*asked, Asked(subject(9, fake=True), said(0.9), broken)], resamples=20)
    assert (row.real, row.generated, row.failed) == (2, 1, {"decode_failed": 1})


def test_boxes_are_compared_with_true_ones_where_they_are_after_the_change() -> None:
    window = Box(x0=0.1, y0=0.1, x1=0.9, y1=0.9)
    there = Box(x0=0.125, y0=0.125, x1=0.625, y1=0.625)  # BOX, seen through the window
    one = Asked(subject(0, fake=True), said(0.9, BOX), said(0.9, there), step=Crop(window))
    other = Asked(subject(1, fake=False), said(0.1), said(0.1), step=Crop(window))
    row = row_of("x", "files", "", [one, other], resamples=20)
    assert row.box.value == pytest.approx(1.0)
    assert row.box_change.value == pytest.approx(0.0)
    assert row.own_box.value == pytest.approx(BOX.iou(there), abs=1e-3)


def test_what_is_left_without_motion() -> None:
    asked = clips([0.1, 0.2], [0.5, 0.5], fake=False) + clips([0.8, 0.9], [0.5, 0.5], fake=True)
    assert left_shares({"still": asked}, ["still", "gone"], resamples=50)["still"].value == 0.0
    assert left_shares({"still": asked}, ["still"], resamples=50)["still"].interval is None  # two sources
    blind = clips([0.5, 0.5], [0.1, 0.1], fake=False) + clips([0.5, 0.5], [0.9, 0.9], fake=True)
    assert left_shares({"still": blind}, ["still"], resamples=50) == {}


def test_clips_are_drawn_from_all_sources_and_more_hold_fewer() -> None:
    samples = [subject(n, fake=n % 2 == 0, source=f"{n % 6}").sample for n in range(60)]
    few, more = (choose(samples, ".", most=most) for most in (3, 6))
    assert {one.group for one in few if one.fake} == {"0", "2", "4"}
    assert {one.name for one in few} < {one.name for one in more}
    with pytest.raises(DataError, match="no clip with the label REAL"):
        choose([sample for sample in samples if sample.label is Label.FAKE], ".", most=3)


def test_unknown_changes_and_missing_files_are_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is no part and no change"):
        changes_of(["melt"])
    with pytest.raises(SettingsError, match="--vae FILE"):
        changes_of(["vae"])
    with pytest.raises(ModelError, match="no such file"):
        changes_of([], Tools(autoencoder=str(tmp_path / "none.onnx")))
    (tmp_path / "no.onnx").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="is no autoencoder"):
        changes_of([], Tools(vae=str(tmp_path / "no.onnx")))
    assert not {"autoencoder", "vae"} & {change.name for change in changes_of(["laundering"])}


def test_numbers_that_are_none_and_clips_that_all_are_broken(data: Path, tmp_path: Path) -> None:
    line = ["robustness", "still", "--data", str(data), "--out", str(tmp_path / "run")]
    for option in (["--seconds", "inf"], ["--max-fps", "inf"], ["--hay-seconds", "inf"], ["--seed", "-1"]):
        shown = CliRunner().invoke(app, [*line, *option])
        assert (shown.exit_code, option[0] in shown.stderr) == (2, True)
    rows = json.loads((data / "all_data.json").read_text())
    for row in rows:
        row["video_path"] = str(tmp_path / "gone.mp4")
    (tmp_path / "all_data.json").write_text(json.dumps(rows))
    with pytest.raises(DataError, match=r"none of its clips can be asked about; the first: .*gone\.mp4"):
        measure_robustness(tmp_path, detector="baseline:npr", out=tmp_path / "run", workers=1)


def test_a_run_asks_nothing_twice(data: Path, tmp_path: Path) -> None:
    how = {"detector": "baseline:npr", "clips": 2, "form": Form(1.0, 8.0), "workers": 1, "resamples": 20}
    first = measure_robustness(data, only=["h264_crf35", "still"], out=tmp_path, **how)
    assert [row.name for row in first.rows] == ["as_is", "h264_crf35", "still"]
    assert all((row.real, row.generated) == (2, 2) for row in first.rows)
    asked = len(list(read_lines(tmp_path / "journal.jsonl")))
    assert asked == 4 * 3
    again = measure_robustness(data, only=["still", "noise"], out=tmp_path, resume=True, **how)
    assert len(list(read_lines(tmp_path / "journal.jsonl"))) == asked + 4  # noise alone
    assert next(r for r in again.rows if r.name == "still") == first.rows[-1]
    with pytest.raises(SettingsError, match="another form"):
        measure_robustness(data, out=tmp_path, resume=True, **how | {"form": Form(2.0, 8.0)})


def test_the_table_fits_and_a_broken_clip_is_named(data: Path, tmp_path: Path) -> None:
    rows = json.loads((data / "all_data.json").read_text())
    (tmp_path / "set").mkdir()
    for row in rows:
        row["video_path"] = str(data / row["video_path"])
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    bad = next(row for row in rows if row["video_id"] == "test_real_0")
    bad["video_path"] = str(tmp_path / "bad.mp4")
    (tmp_path / "set" / "all_data.json").write_text(json.dumps(rows))
    line = ["robustness", "style", "reversed", "--data", str(tmp_path / "set"), "--out", str(tmp_path / "run")]
    shown = CliRunner().invoke(app, [*line, "--detector", "baseline:center-box", "--workers", "1", "--bootstrap", "20"])
    assert shown.exit_code == 1
    assert all(len(text) <= 80 for text in shown.stdout.splitlines())
    assert "3 real and 4 generated clips" in shown.stdout
    assert "bad.mp4:\n" in shown.stderr  # the path whole, the reason below it
    told = json.loads((tmp_path / "run" / "robustness.json").read_text())
    style = next(row for row in told["rows"] if row["name"] == "style_region")
    assert (style["changed"], style["own_box"]["value"]) == (7, 1.0)


def test_the_square_attack_stays_within_its_bound_and_goes_down() -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 24, 32, 3), dtype=np.uint8)
    values = []

    def loss(shown: np.ndarray) -> float:
        assert np.abs(shown.astype(int) - images).max() <= 6
        values.append(float(shown[:, :12].mean() - shown[:, 12:].mean()))
        return values[-1]

    best = [shown for _, shown in square(images, loss, epsilon=6, budget=40, rng=np.random.default_rng(1))]
    assert len(best) == len(values) == 40
    reached = [float(shown[:, :12].mean() - shown[:, 12:].mean()) for shown in best]
    assert reached == [min(values[: n + 1]) for n in range(40)]
    assert reached[-1] < reached[0] - 0.2


def test_an_attack_turns_a_detector_that_counts_pixels(data: Path, tmp_path: Path) -> None:
    """The statistic of NPR rises with every stripe: the real clips are soon called something else, or nothing moves."""
    how = {"detector": "baseline:npr", "clips": 2, "form": Form(1.0, 8.0), "workers": 1, "resamples": 20}
    attack = Attack(epsilon=8, budgets=(2, 6))
    found = measure_robustness(data, only=["attack"], out=tmp_path, attack=attack, attacked=2, **how)
    first, few, more = [row for row in found.rows if row.part == "attack"]
    assert first.reference
    assert (few.name, more.name) == ("square_2", "square_6")
    assert (few.real, few.generated) == (2, 2)
    assert more.auroc.value <= few.auroc.value <= first.auroc.value
    assert more.auroc.value < first.auroc.value
    lines = len(list(read_lines(tmp_path / "journal.jsonl")))
    measure_robustness(data, only=["attack"], out=tmp_path, attack=attack, attacked=2, resume=True, **how)
    assert len(list(read_lines(tmp_path / "journal.jsonl"))) == lines
