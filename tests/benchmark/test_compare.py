"""compare: paired statistics against other implementations, and what may not be compared."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy import stats
from tests.benchmark.eval_sets import make_set
from typer.testing import CliRunner

from deeptrace.benchmark.compare import compare_runs, paired_differences, run_columns
from deeptrace.benchmark.result import EvaluationResult
from deeptrace.benchmark.run import evaluate
from deeptrace.benchmark.tables import tables_of
from deeptrace.cli.main import app
from deeptrace.cli.tables import print_evaluation
from deeptrace.data import read_reward_data
from deeptrace.errors import DataError, SettingsError
from deeptrace.geometry import Box
from deeptrace.metrics import auroc, metric_sums, paired_permutation
from deeptrace.schema import Label, Media, Outcome, Sample, Trace, Verdict

MEDIA = Media(width=100, height=100, duration_s=4.0, fps=10.0, frames=40)


def videos(count: int, rng: np.random.Generator) -> list[Sample]:
    out = []
    for at in range(count):
        traces = tuple(
            Trace(box=_box(rng), onset_s=float(rng.uniform(0, 2)), offset_s=3.0) for _ in range(rng.integers(1, 4))
        )
        fake = at % 2 == 0
        label = Label.FAKE if fake else Label.REAL
        out.append(
            Sample(video_id=f"v{at}", path=f"v{at}.mp4", label=label, media=MEDIA, traces=traces if fake else ())
        )
    return out


def answers(samples: list[Sample], rng: np.random.Generator, *, skill: float) -> list[Verdict]:
    out = []
    for sample in samples:
        p = float(np.clip((sample.label is Label.FAKE) * skill + rng.uniform(0, 1) * (1 - skill), 0, 1))
        right = sample.traces[:1] if sample.traces and rng.random() < skill else (Trace(box=_box(rng), onset_s=0.0),)
        label = Label.FAKE if p >= 0.5 else Label.REAL
        traces = right if label is Label.FAKE else ()
        out.append(Verdict(video=sample.path, outcome=Outcome.SCORED, label=label, p_fake=p, traces=traces))
    return out


def _box(rng: np.random.Generator) -> Box:
    x, y = rng.uniform(0, 0.6, 2)
    return Box(x0=x, y0=y, x1=x + rng.uniform(0.1, 0.4), y1=y + rng.uniform(0.1, 0.4))


@pytest.fixture(scope="module")
def pair() -> tuple[list[Sample], list[Verdict], list[Verdict]]:
    rng = np.random.default_rng(0)
    samples = videos(120, rng)
    return samples, answers(samples, rng, skill=0.3), answers(samples, rng, skill=0.5)


def test_differences_agree_with_other_implementations(pair: tuple) -> None:
    samples, one, other = pair
    found = paired_differences(
        samples, run_columns(samples, one, {}), run_columns(samples, other, {}), resamples=2000, permutations=4000
    )
    a, b = metric_sums(samples, one), metric_sums(samples, other)
    for name in ("paper.accuracy", "paper.bbox_iou", "per_video.accuracy", "traces.viou", "traces.onset_error_s"):
        scale = 1 if name.startswith("traces") else 100
        difference, p_value = paired_permutation(b[name], a[name], permutations=4000, seed=3)
        assert found[name].difference == pytest.approx(scale * difference)
        assert found[name].p_value == pytest.approx(p_value, abs=0.03)
        low, high = found[name].interval
        assert low < found[name].difference < high
    # McNemar's exact test is the same question of two accuracies.
    right = [np.array([v.label is s.label for s, v in zip(samples, run, strict=True)]) for run in (one, other)]
    better, worse = int((~right[0] & right[1]).sum()), int((right[0] & ~right[1]).sum())
    exact = stats.binomtest(better, better + worse).pvalue
    assert found["per_video.accuracy"].p_value == pytest.approx(exact, abs=0.03)
    y = np.array([s.label is Label.FAKE for s in samples], dtype=float)
    scores = [np.array([v.p_fake for v in run]) for run in (one, other)]
    assert found["per_video.auroc"].difference == pytest.approx(float(auroc(y, scores[1]) - auroc(y, scores[0])))
    oracle = stats.permutation_test(
        tuple(scores),
        lambda p, q: float(auroc(y, q) - auroc(y, p)),
        permutation_type="samples",
        n_resamples=1000,
        vectorized=False,
        random_state=0,
    )
    assert found["per_video.auroc"].p_value == pytest.approx(oracle.pvalue, abs=0.04)
    grounded = found["grounded.overall"]
    assert grounded.difference == pytest.approx(grounded.b - grounded.a)
    assert "paper.overall" not in found  # explanations nobody judged


def test_a_run_does_not_differ_from_itself(pair: tuple) -> None:
    samples, one, _ = pair
    columns = run_columns(samples, one, {})
    for difference in paired_differences(samples, columns, columns, resamples=200, permutations=200).values():
        assert difference.difference == 0
        assert difference.p_value == 1
        assert difference.interval == (0, 0)


def test_p_values_are_uniform_when_nothing_differs() -> None:
    rng = np.random.default_rng(1)
    found = []
    for _ in range(60):
        samples = videos(40, rng)
        runs = [run_columns(samples, answers(samples, rng, skill=0.3), {}) for _ in range(2)]
        found.append(paired_differences(samples, *runs, resamples=1, permutations=199)["paper.bbox_iou"].p_value)
    assert stats.kstest(found, "uniform").pvalue > 0.01


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    data = make_set(folder / "set")
    found = {}
    for name, detector, split in (
        ("fake", "baseline:all-fake", "test"),
        ("box", "baseline:center-box", "test"),
        ("train", "baseline:all-fake", "train"),
        ("all", "baseline:center-box", "all"),
    ):
        found[name] = folder / name
        evaluate(data, detector=detector, split=split, out=folder / name, bootstrap=0)
    rows = json.loads((data / "all_data.json").read_text())
    for row in rows:
        if row["video_id"] == "test_fake_1":
            row["faketrace_duration"] = 0.5
    (data / "all_data.json").write_text(json.dumps(rows))
    found["edited"] = folder / "edited"
    evaluate(data, detector="baseline:center-box", out=folder / "edited", bootstrap=0)
    return found


def test_two_runs_side_by_side(runs: dict[str, Path]) -> None:
    found = compare_runs([runs["fake"], runs["box"]], resamples=100, permutations=100)
    assert found.videos == 8
    assert found.titles == ("baseline:all-fake", "baseline:center-box")
    differences = found.differences["baseline:center-box"]
    assert differences["paper.accuracy"].difference == 0
    assert differences["paper.bbox_iou"].difference == pytest.approx(100 * 4 / 6)
    assert json.loads(json.dumps(found.as_json()))["videos"] == 8


@pytest.mark.parametrize("width", [50, 80, 100])
def test_a_narrow_terminal_cuts_no_number_short(runs: dict[str, Path], width: int) -> None:
    result = json.loads((runs["box"] / "evaluation.json").read_text())
    result["per_video"]["brier"] = 0.12345
    result = EvaluationResult.model_validate(result)
    console = Console(width=width, file=io.StringIO())
    print_evaluation(result, console)
    shown = console.file.getvalue()
    assert "…" not in shown
    assert max(len(line) for line in shown.splitlines()) <= width
    assert "0.123" in shown.split()
    heads = [column.title.split()[0] for table, _ in tables_of(result) for column in table.columns]
    assert [head for head in heads if not re.search(rf"{re.escape(head)}( s)?[↑↓]", shown)] == []


def test_on_how_many_videos_auroc_stands_is_said(tmp_path: Path) -> None:
    data = make_set(tmp_path / "set")
    for name, missing in (("one", 0), ("two", 3)):
        lines = []
        for number, sample in enumerate(read_reward_data(data, split="test")):
            known = {"video": sample.video_id, "outcome": "scored", "label": sample.label}
            lines.append(json.dumps(known | {"p_fake": None if number < missing else number / 10}) + "\n")
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
        evaluate(data, predictions=tmp_path / f"{name}.jsonl", out=tmp_path / name, bootstrap=0)
    args = ["compare", str(tmp_path / "one"), str(tmp_path / "two"), "--bootstrap", "20", "--permutations", "20"]
    assert json.loads(CliRunner().invoke(app, [*args, "--json"]).stdout)["with_probability"] == {"two": 5}
    assert "AUROC, AP: the 5 videos for which both" in CliRunner().invoke(app, args).stdout


def test_other_data_is_refused(runs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no video in common"):
        compare_runs([runs["fake"], runs["train"]])
    with pytest.raises(DataError, match="truth of video 'test_fake_1' is not the same"):
        compare_runs([runs["fake"], runs["edited"]])
    with pytest.raises(DataError, match=r"has 16.*8 are in all.*--common"):
        compare_runs([runs["fake"], runs["all"]])
    found = compare_runs([runs["fake"], runs["all"]], common=True, resamples=20, permutations=20)
    assert (found.videos, found.left_out) == (8, (0, 8))
    with pytest.raises(DataError, match="holds no evaluation"):
        compare_runs([runs["fake"], tmp_path])
    with pytest.raises(SettingsError, match="two runs"):
        compare_runs([runs["fake"]])


def test_the_command(runs: dict[str, Path]) -> None:
    args = ["compare", str(runs["fake"]), str(runs["box"]), "--bootstrap", "50", "--permutations", "50"]
    shown = CliRunner().invoke(app, args)
    assert shown.exit_code == 0
    assert "IoU↑" in shown.stdout
    found = json.loads(CliRunner().invoke(app, [*args, "--json"]).stdout)
    assert found["differences"]["baseline:center-box"]["paper.bbox_iou"]["p_value"] < 0.2
    twice = CliRunner().invoke(app, ["compare", str(runs["fake"]), str(runs["fake"]), "--json", "--bootstrap", "20"])
    assert len(set(json.loads(twice.stdout)["titles"])) == 2
