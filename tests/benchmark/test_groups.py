"""Figures by group: read from a table, counted by hand, worst named, persons drawn together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.benchmark.eval_sets import make_set
from typer.testing import CliRunner

from deeptrace.benchmark.groups import group_figures, read_groups
from deeptrace.cli.main import app
from deeptrace.errors import DataError
from deeptrace.schema import Label, Sample, Verdict


def sample(name: str, label: Label = Label.REAL) -> Sample:
    return Sample(video_id=name, path=f"clips/{name}.mp4", label=label)


def said(p_fake: float) -> Verdict:
    return Verdict(video="", outcome="scored", label=Label.FAKE if p_fake >= 0.5 else Label.REAL, p_fake=p_fake)


def table(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def test_a_table_names_videos_by_id_path_or_stem(tmp_path: Path) -> None:
    samples = [sample("a"), sample("b"), sample("c")]
    lines = ("video,age,lighting", "a,18-30,bright", "clips/b.mp4,31-45,", "elsewhere,46+,dark")
    found = read_groups(table(tmp_path / "g.csv", *lines), samples)
    assert found == {"age": {"a": "18-30", "b": "31-45"}, "lighting": {"a": "bright"}}


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (("who,age", "a,18"), "has the columns who, age"),
        (("video_id,person", "a,7"), "has the columns video_id, person"),
        (("video_id,age", "z,18"), "names none of the 1 videos"),
        (("video_id,age", "a,18", "a ,19"), "a is in two groups of age: 18 and 19"),
        ((), "has the columns none"),
    ],
)
def test_a_table_that_is_of_no_use(tmp_path: Path, lines: tuple[str, ...], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        read_groups(table(tmp_path / "g.csv", *lines), [sample("a")])
    with pytest.raises(DataError, match="no such file"):
        read_groups(tmp_path / "none.csv", [sample("a")])


def cohort() -> tuple[list[Sample], list[Verdict | None], dict[str, dict[str, str]]]:
    """Dark: 6 real clips of which 3 are accused, 6 generated all found. Bright: none accused, 3 of 6 found."""
    samples, verdicts, light = [], [], {}
    for group, accused, found in (("dark", 3, 6), ("bright", 0, 3)):
        for number in range(6):
            for label, right in ((Label.REAL, number >= accused), (Label.FAKE, number < found)):
                one = sample(f"{group}{label}{number}", label)
                samples.append(one)
                light[one.video_id] = group
                verdicts.append(said(0.9 if (label is Label.FAKE) == right else 0.1))
    return samples, verdicts, {"light": light}


def test_figures_of_each_group_and_who_fares_worst() -> None:
    samples, verdicts, groups = cohort()
    verdicts[0] = None  # a real clip of the dark: without an answer it is wrong, and nobody accused it
    found = group_figures([*samples, sample("x")], [*verdicts, said(0.1)], groups, resamples=200)["light"]
    dark, bright = found.groups["dark"], found.groups["bright"]
    assert (dark.videos, dark.accuracy.value, dark.found.value) == (12, 75.0, 100.0)
    assert dark.accused.value == pytest.approx(100 / 3)
    assert (bright.accused.value, bright.found.value, bright.auroc.value) == (0.0, 50.0, 0.75)
    assert bright.accuracy.interval is not None
    assert bright.accuracy.interval[0] < 75 < bright.accuracy.interval[1]
    assert (found.without, found.most_accused) == (1, "dark")
    assert found.most_accused_gap is not None
    assert found.most_accused_gap.value == pytest.approx(100 / 3)


def test_few_videos_are_never_the_worst_group() -> None:
    samples, verdicts, groups = cohort()
    groups["light"] |= {"y": "dusk"}
    found = group_figures([*samples, sample("y")], [*verdicts, said(0.9)], groups, resamples=0)["light"]
    assert found.groups["dusk"].accuracy.value == 0.0
    assert found.worst in ("dark", "bright")


def test_clips_of_one_person_are_drawn_together() -> None:
    samples = [sample(f"{number:02}") for number in range(32)]
    verdicts = [said(0.9 if number < 16 else 0.1) for number in range(32)]
    light = {one.video_id: "dark" for one in samples}
    persons = {one.video_id: f"person {number // 4}" for number, one in enumerate(samples)}
    alone = group_figures(samples, verdicts, {"light": light}, resamples=400)
    together = group_figures(samples, verdicts, {"light": light, "person": persons}, resamples=400)
    assert set(together) == {"light"}
    wide, narrow = (found["light"].groups["dark"].accused.interval for found in (together, alone))
    assert wide is not None
    assert narrow is not None
    assert wide[1] - wide[0] > 1.5 * (narrow[1] - narrow[0])  # twice, in theory


def test_eval_prints_the_groups(tmp_path: Path) -> None:
    data = make_set(tmp_path / "set")
    rows = json.loads((data / "all_data.json").read_text())
    ids = sorted({row["video_id"] for row in rows if row["split"] == "test"})
    lines = [f"{name},{'young' if number % 2 else 'old'}" for number, name in enumerate(ids)]
    groups = table(tmp_path / "g.csv", "video_id,age", *lines)
    line = ["eval", "--data", str(data), "--detector", "baseline:all-fake", "--bootstrap", "20", "--workers", "1"]
    shown = CliRunner().invoke(app, [*line, "--groups", str(groups), "--out", str(tmp_path / "run")])
    assert shown.exit_code == 0, shown.stderr
    assert "by age" in shown.stdout
    told = json.loads((tmp_path / "run" / "evaluation.json").read_text())["by_group"]["age"]
    assert told["groups"]["old"]["accused"]["value"] == 100.0
    assert told["groups"]["young"]["videos"] == 4
