"""deeptrace eval from the rows to the JSON: the published figures, what is null, what stands beside a run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import FunctionType

import pytest
from pydantic import ValidationError
from tests.benchmark.eval_sets import make_set
from tests.benchmark.judge_double import Judge, serve
from typer.testing import CliRunner

import deeptrace
from deeptrace.benchmark.folder import read_run
from deeptrace.benchmark.ground_truth import read_ground_truth
from deeptrace.benchmark.manifest import build_manifest
from deeptrace.benchmark.result import EvaluationResult
from deeptrace.benchmark.run import evaluate
from deeptrace.benchmark.tables import is_published_split, published_rows, tables_of
from deeptrace.cli.main import app
from deeptrace.detectors import load_detector
from deeptrace.errors import DataError, SettingsError
from deeptrace.metrics import overall_score
from deeptrace.schema import Label, Outcome, Usage, Verdict

PUBLISHED = {
    "qwen2.5-vl-3b-v2-test": (66.566, 56.928, 76.205),
    "videollama3-2b-v2-test": (47.892, 10.542, 85.241),
    "smolvlm2-500m-test": (18.373, 15.361, 21.386),
    "trufor-track-b-test": (47.590, 1.205, 93.976),
}
CONTRACT = {
    "paper": "overall accuracy fake_accuracy real_accuracy explanation bbox_iou bbox_distance time_distance",
    "per_video": "accuracy fake_accuracy real_accuracy auroc average_precision tpr_at_fpr_1pct ece brier",
    "traces": "tiou viou onset_error_s offset_error_s map_viou_30 map_viou_50 recall_viou_30 "
    "false_traces_per_real_video",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_set(tmp_path_factory.mktemp("set"))


def as_json(*args: str) -> dict:
    result = CliRunner().invoke(app, ["eval", *args, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_accuracies_to_three_decimals(shared_dir: Path, name: str) -> None:
    folder = shared_dir / "predictions"
    found = as_json("--data", f"{folder}/test_labels.json", "--predictions", f"{folder}/{name}.jsonl", "--bootstrap=20")
    shown = found["per_video"]
    assert tuple(round(shown[key], 3) for key in ("accuracy", "fake_accuracy", "real_accuracy")) == PUBLISHED[name]
    assert sum(found["outcomes"].values()) == 664
    # What labels alone cannot tell is null: rows, boxes, times, texts.
    assert {found["paper"][key] for key in ("overall", "accuracy", "explanation", "bbox_iou", "time_distance")} == {
        None
    }
    assert found["traces"]["viou"] is None
    assert set(found["text"].values()) == {None}
    assert found["annotator_ceiling"] is None


def test_ill_formed_answers_are_counted(shared_dir: Path) -> None:
    folder = shared_dir / "predictions"
    files = {"smolvlm2-500m-test": 65, "qwen2.5-vl-3b-v2-test": 3}
    for name, count in files.items():
        found = evaluate(f"{folder}/test_labels.json", predictions=f"{folder}/{name}.jsonl", bootstrap=0)
        assert found.result.as_json()["outcomes"]["parse_failed"] == count


def test_the_json_is_the_contracts(data: Path) -> None:
    found = as_json("--data", str(data), "--detector", "baseline:center-box", "--bootstrap", "50")
    for block, names in CONTRACT.items():
        assert set(names.split()) <= set(found[block])
    assert {"text", "by_generator", "by_category", "outcomes", "intervals", "manifest"} <= set(found)
    # Four generated clips with 6 traces, four real ones: rows 6 and 4; a constant FAKE is right on the rows of fakes.
    assert found["counts"]["rows"] == 10
    assert found["paper"]["accuracy"] == pytest.approx(60.0)
    assert found["per_video"]["accuracy"] == pytest.approx(50.0)
    # The centre box is the first trace's, exactly; the second one's is (0, 0, 1/4, 1/4): no overlap.
    assert found["paper"]["bbox_iou"] == pytest.approx(100 * 4 / 6)
    assert found["paper"]["time_distance"] == pytest.approx(100 * (0.5 * 2 / 6))
    assert found["traces"]["false_traces_per_real_video"] == 1.0
    assert found["paper"]["explanation"] is None  # it says something, and nobody judged it
    assert found["paper"]["overall"] is None
    low, high = found["intervals"]["paper.bbox_iou"]
    assert low <= found["paper"]["bbox_iou"] <= high


def test_what_stands_beside_every_run(data: Path) -> None:
    found = evaluate(data, detector="baseline:all-real", bootstrap=0).result
    rows = {row.title: row for row in tables_of(found)[0][1]}
    for title in ("all REAL", "all FAKE", "full-frame box from 0 s", "centre box from 0 s", "metadata only"):
        assert title in rows
    ours, theirs = rows["baseline:all-real"].scores, rows["all REAL"].scores
    for block in ("paper", "per_video", "grounded", "traces"):
        mine, other = getattr(ours, block), getattr(theirs, block)
        assert [getattr(mine, name).value for name in type(mine).model_fields] == [
            getattr(other, name).value for name in type(other).model_fields
        ]
    assert rows["training-mean box from 0 s"].scores.paper.bbox_iou.value > 0
    ceiling = rows["a second annotator (4 clips)"]
    assert ceiling.scores.paper.real_accuracy.value is None  # nobody annotated real clips
    assert 0.5 < found.annotator_ceiling.agreement["box_iou"] < 1
    assert "VideoLLaMa3 7B (SFT)" not in rows  # measured on other clips
    assert found.paper.explanation == 0.0  # silent on written rows: 0 by the protocol, no judge needed


def test_a_metric_comes_with_its_interval_and_support(data: Path) -> None:
    found = evaluate(data, detector="baseline:center-box", bootstrap=50).result
    metric = found.scores.paper.bbox_iou
    assert metric.value == found.paper.bbox_iou
    assert metric.interval == found.intervals["paper.bbox_iou"]
    assert metric.support == found.support["paper.bbox_iou"] > 0
    assert EvaluationResult.model_validate_json(json.dumps(found.as_json())) == found
    with pytest.raises(ValidationError):
        found.paper.bbox_iou = 1.0


def test_metadata_alone_finds_what_gives_the_label_away(data: Path, tmp_path: Path) -> None:
    rows = json.loads((data / "all_data.json").read_text())
    for row in rows:  # no media: sizes and rates as stated
        row["video_path"] = f"gone/{row['video_id']}.mp4"
        row["video_width"], row["video_height"] = (640, 480) if row["video_type"] == "fake_video" else (64, 48)
        row.pop("faketrace_bbox", None)
    (tmp_path / "all_data.json").write_text(json.dumps(rows))
    (tmp_path / "answers.jsonl").write_text("{}")
    found = evaluate(tmp_path, predictions=tmp_path / "answers.jsonl", bootstrap=0).result.as_json()
    assert found["baselines"]["metadata_only"]["per_video"]["accuracy"] == 100.0
    assert found["outcomes"]["missing"] == 8
    assert found["per_video"]["accuracy"] == 0.0  # a missing answer is wrong, not left out


def test_predictions_of_a_run_give_the_same_numbers_again(data: Path, tmp_path: Path) -> None:
    first = evaluate(data, detector="baseline:d3", out=tmp_path / "run", bootstrap=100)
    again = evaluate(data, predictions=tmp_path / "run" / "predictions.jsonl", bootstrap=100)
    for block in ("paper", "per_video", "grounded", "traces", "outcomes", "intervals", "by_generator"):
        assert getattr(again.result, block) == getattr(first.result, block)
    saved = read_run(tmp_path / "run")
    assert saved.evaluation == first.result
    assert [v.label for v in saved.verdicts if v] == [v.label for v in first.verdicts if v]
    text = (tmp_path / "run" / "manifest.json").read_text()
    assert json.loads(text)["settings"]["detector"]["settings"]["max_fps"] == 8.0
    assert saved.manifest.detector.settings["max_fps"] == 8.0
    assert saved.manifest.frames_seen == {"least": 8, "median": 8.0, "most": 8}
    assert str(tmp_path) not in text  # no paths of this machine


def test_a_manifest_names_what_decides(data: Path, tmp_path: Path) -> None:
    base = {"detector": "baseline:all-fake", "bootstrap": 10}
    key = evaluate(data, **base).result.as_json()["manifest"]["run"]
    assert evaluate(data, **base).result.as_json()["manifest"]["run"] == key
    assert evaluate(data, **{**base, "bootstrap": 11}).result.as_json()["manifest"]["run"] != key
    assert evaluate(data, **base, seed=1).result.as_json()["manifest"]["run"] != key
    assert evaluate(data, **base, split="train").result.as_json()["manifest"]["run"] != key
    moved = tmp_path / "moved"
    data_copy = json.loads((data / "all_data.json").read_text())
    moved.mkdir()
    (moved / "all_data.json").write_text(json.dumps(sorted(data_copy, key=lambda row: row["video_id"], reverse=True)))
    other = evaluate(moved, predictions=_empty(tmp_path)).result.as_json()["manifest"]["data"]["sha256"]
    assert other == evaluate(data, **base).result.as_json()["manifest"]["data"]["sha256"]


def test_a_manifest_says_which_frames_a_language_model_was_shown(data: Path) -> None:
    detector = load_detector("openai:gpt-4.1@http://127.0.0.1:9/v1", fps=1.0, max_frame_pixels=90_000)
    truth = read_ground_truth(data)
    manifest = build_manifest(truth, detector=detector.info, predictions=None, judge=None, resamples=0, seed=0)
    assert manifest.sampling == {"fps": 1.0, "max_frames": 64, "frames": None}
    assert manifest.pixel_budget == {
        "min_frame_pixels": 1, "max_frame_pixels": 90_000, "max_total_pixels": 12_845_056
    }  # fmt: skip


def _empty(folder: Path) -> Path:
    (folder / "none.jsonl").write_text("{}")
    return folder / "none.jsonl"


def test_the_judge_in_a_run(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    judge = Judge(default="0.5")
    server = serve(judge)
    try:
        name = f"openai:gpt-4.1@{judge.url}"
        found = evaluate(
            data, detector="baseline:center-box", judge=name, bootstrap=50, out=tmp_path / "a"
        ).result.as_json()
        assert found["paper"]["explanation"] == 50.0
        paper = found["paper"]
        parts = [paper[key] for key in ("accuracy", "explanation", "bbox_iou", "time_distance")]
        assert paper["overall"] == pytest.approx(overall_score(*parts))
        assert found["manifest"]["judge"]["name"] == name
        assert found["judge"]["scored"] == 4
        asked = len(judge.asked)
        evaluate(data, detector="baseline:center-box", judge=name, bootstrap=50, out=tmp_path / "a", resume=True)
        assert len(judge.asked) == asked  # cached

        judge.moods = {"constant": ["three"]}  # the baseline's own words; now unusable
        cache = tmp_path / "other.jsonl"
        failed = evaluate(data, detector="baseline:center-box", judge=name, judge_cache=cache, bootstrap=50)
        result = failed.result.as_json()
        assert result["outcomes"]["judge_failed"] == 4
        assert result["outcomes"]["scored"] == 4
        assert (result["paper"]["explanation"], result["paper"]["overall"]) == (None, None)
        assert "paper.overall" not in result["intervals"]
        assert result["paper"]["accuracy"] == found["paper"]["accuracy"]  # the label still counts
        assert result["text"] == found["text"]  # under its own name, whatever the judge does
    finally:
        server.shutdown()
        server.server_close()


def test_mistakes_are_said_clearly(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no video in split 'val'.*test \(8 videos\), train \(8 videos\)"):
        evaluate(data, split="val")
    with pytest.raises(SettingsError, match="not both"):
        evaluate(data, detector="baseline:d3", predictions="x.jsonl")
    with pytest.raises(DataError, match="no such file of predictions"):
        evaluate(data, predictions=tmp_path / "gone.jsonl")
    with pytest.raises(SettingsError, match="--out DIR"):
        evaluate(data, detector="baseline:d3", resume=True)
    evaluate(data, detector="baseline:all-fake", out=tmp_path / "run", bootstrap=0)
    with pytest.raises(SettingsError, match="--resume"):
        evaluate(data, detector="baseline:all-fake", out=tmp_path / "run", bootstrap=0)
    with pytest.raises(SettingsError, match="another detector"):
        evaluate(data, detector="baseline:all-real", out=tmp_path / "run", bootstrap=0, resume=True)


def test_what_a_language_model_took_is_summed(data: Path, tmp_path: Path) -> None:
    lines = [
        Verdict(
            video=name,
            outcome=Outcome.SCORED,
            label=Label.REAL,
            elapsed_s=elapsed_s,
            usage=Usage(requests=2, prompt_tokens=tokens, served_model="m-1"),
        )
        for name, elapsed_s, tokens in (("test_real_0", 1.0, 100), ("test_real_1", 3.0, None))
    ]
    (tmp_path / "p.jsonl").write_text("".join(line.model_dump_json() + "\n" for line in lines))
    found = evaluate(data, predictions=tmp_path / "p.jsonl", bootstrap=0).result.as_json()
    usage = found["usage"]
    assert (usage["videos"], usage["requests"], usage["prompt_tokens"], usage["cost"]) == (2, 4, 100, None)
    assert found["latency"]["total_s"] == 4.0
    assert evaluate(data, detector="baseline:all-fake", bootstrap=0).result.as_json()["usage"] is None


def test_evaluate_is_a_plain_function_of_the_package(data: Path) -> None:
    assert "evaluate" in deeptrace.__all__
    assert isinstance(deeptrace.evaluate, FunctionType)
    found = deeptrace.evaluate(data, detector=deeptrace.load_detector("baseline:all-fake"), bootstrap=0)
    assert found.result.as_json()["per_video"]["fake_accuracy"] == 100.0


def test_published_rows() -> None:
    assert [len(published_rows(split)) for split in ("test", "val")] == [21, 21]
    assert is_published_split("test", fake_rows=440, real_rows=332)
    assert not is_published_split("val", fake_rows=440, real_rows=332)
    with pytest.raises(SettingsError):
        published_rows("train")


def test_the_table_for_people(data: Path) -> None:
    result = CliRunner().invoke(app, ["eval", "--data", str(data), "--detector", "baseline:d3", "--bootstrap", "20"])
    assert result.exit_code == 0
    shown = " ".join(result.stdout.split())
    for text in ("8 scored", "based on", "95 %", "a second annotator", "all REAL", "RewardData's test and val"):
        assert text in shown
    assert "VideoLLaMa3" not in shown  # measured on other data
    assert "by frame" not in shown  # nothing is said where no frame has a score
    framed = CliRunner().invoke(app, ["eval", "--data", str(data), "--detector", "baseline:npr", "--bootstrap", "20"])
    assert "AUROC by frame" in framed.stdout
    assert max(map(len, framed.stdout.splitlines())) <= 80
    found = evaluate(data, detector="baseline:all-fake", bootstrap=0).result
    counts = found.counts.model_copy(update={"fake_videos": 332, "real_videos": 332, "rows": 772})
    same = found.model_copy(update={"counts": counts})
    assert any(row.kind == "published" for row in tables_of(same)[0][1])
    manifest = same.manifest
    source = manifest.data.model_copy(update={"split": "all"})
    other = same.model_copy(update={"manifest": manifest.model_copy(update={"data": source})})
    assert not any(row.kind == "published" for row in tables_of(other)[0][1])


def test_boxes_in_pixels_hold_where_rows_do_not_state_the_length(data: Path, tmp_path: Path) -> None:
    answers = tmp_path / "answers.jsonl"
    said = {"predicted_label": "FAKE", "bbox": [16, 12, 48, 36], "start_time": 0.25}
    lines = [json.dumps({"video_id": f"test_fake_{at}", **said}) + "\n" for at in range(4)]
    answers.write_text("".join(lines), encoding="utf-8")
    brief = tmp_path / "brief"
    shutil.copytree(data, brief)
    rows = json.loads((brief / "all_data.json").read_text(encoding="utf-8"))
    left_out = {"video_frame_count", "video_duration"}
    rows = [{name: value for name, value in row.items() if name not in left_out} for row in rows]
    (brief / "all_data.json").write_text(json.dumps(rows), encoding="utf-8")
    stated = evaluate(data, predictions=answers, bootstrap=0).result.paper
    found = evaluate(brief, predictions=answers, bootstrap=0).result.paper
    assert found.bbox_iou is not None
    assert found.bbox_iou > 0
    assert found.time_distance is not None
    assert found == stated


def test_the_space_of_a_files_boxes(data: Path, tmp_path: Path) -> None:
    rows = [
        {"video_id": f"test_fake_{at}", "predicted_label": "FAKE", "bbox": [250, 250, 750, 750], "start_time": 0}
        for at in range(4)
    ]
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, rows[0]]), encoding="utf-8")
    permille = evaluate(data, predictions=path, answer_space="permille", bootstrap=0)
    pixels = evaluate(data, predictions=path, bootstrap=0)
    # The first trace of each clip is the middle of its frame; 250 is far outside of one that is 64 pixels wide.
    assert permille.result.traces.recall_viou_30 > pixels.result.traces.recall_viou_30 == 0
    assert permille.result.manifest.predictions.space == "permille"
    assert permille.result.manifest.run != pixels.result.manifest.run
    assert (permille.repeated, permille.result.repeated_predictions) == (("test_fake_0",), 1)
    shown = CliRunner().invoke(
        app, ["eval", "--data", str(data), "--predictions", str(path), "--answer-space", "permille", "--json"]
    )
    assert "1 video has several predictions, such as test_fake_0" in " ".join(shown.stderr.split())
    assert json.loads(shown.stdout)["traces"] == json.loads(permille.result.model_dump_json())["traces"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"predictions": "answers.jsonl", "answer_space": "gemini"}, "permille_yxyx"),
        ({"answer_space": "permille"}, "--set space"),
    ],
)
def test_a_space_that_says_nothing_is_an_error(data: Path, tmp_path: Path, options: dict, words: str) -> None:
    (tmp_path / "answers.jsonl").write_text("{}", encoding="utf-8")
    if "predictions" in options:
        options = options | {"predictions": tmp_path / "answers.jsonl"}
    with pytest.raises(SettingsError, match=words):
        evaluate(data, bootstrap=0, **options)
