"""The benchmarks for lmms-eval and VLMEvalKit, scored as `deeptrace eval` scores; by the kits where they are there."""

from __future__ import annotations

import csv
import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.needs import needs

from deeptrace.benchmark import eval_kits
from deeptrace.data.exporters import write_lmms_eval, write_vlmevalkit
from deeptrace.errors import DataError, SettingsError
from deeptrace.geometry import Box
from deeptrace.metrics import paper_scores
from deeptrace.prompts import JSON, ZERO_SHOT, View, write_answer
from deeptrace.schema import Category, Label, Media, Outcome, Sample, Trace, Verdict
from deeptrace.video import write_video

MEDIA = Media(width=64, height=48, duration_s=1.0, fps=8.0)
TRACE = Trace(
    categories=(Category.OBJECT_MERGING,),
    box=Box(x0=0.25, y0=0.25, x1=0.75, y1=0.75),
    onset_s=0.5,
    offset_s=1.0,
    explanation="It melts.",
)
FAKE = Sample(video_id="f", path="videos/f.mp4", label=Label.FAKE, source="Pika", media=MEDIA, traces=(TRACE,))
REAL = Sample(video_id="r", path="real_videos/r.mp4", label=Label.REAL, media=MEDIA)
BARE = Sample(video_id="b", path="videos/b.mp4", label=Label.FAKE, media=MEDIA)
SAMPLES = [FAKE, REAL, BARE]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """The samples' videos on disk."""
    for sample in SAMPLES:
        path = tmp_path / "set" / sample.path
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, np.zeros((8, MEDIA.height, MEDIA.width, 3), np.uint8), fps=8.0)
    return tmp_path / "set"


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "deeptrace.jsonl").read_text().splitlines()]


def collected(rows: list[dict[str, Any]], answers: list[Any], name: str) -> float:
    """What lmms-eval makes of its documents and a model's answers."""
    items = [eval_kits.process_results(row, [answer])[name] for row, answer in zip(rows, answers, strict=True)]
    return eval_kits.AGGREGATIONS[name](items)


@pytest.mark.parametrize("form", [ZERO_SHOT, JSON])
def test_the_right_answers_score_as_the_paper_scores_them(tmp_path: Path, form) -> None:
    assert write_lmms_eval(SAMPLES, tmp_path, form=form) == 3
    rows = rows_of(tmp_path)
    assert [eval_kits.sample_of_row(row) for row in rows] == SAMPLES
    right = [row["answer"] for row in rows]
    for name in ("accuracy", "fake_accuracy", "real_accuracy", "bbox_iou", "accuracy_per_video", "readable"):
        assert collected(rows, right, name) == pytest.approx(100.0)
    assert collected(rows, right, "time_distance") == collected(rows, right, "bbox_distance") == 0.0


def test_wrong_missing_and_unreadable_answers_count_as_wrong_and_are_counted(tmp_path: Path) -> None:
    write_lmms_eval(SAMPLES, tmp_path)
    rows = rows_of(tmp_path)
    off = TRACE.model_copy(update={"box": Box(x0=0.5, y0=0.25, x1=1, y1=0.75), "onset_s": 0.0})
    answers = [write_answer(Label.FAKE, [off], form=ZERO_SHOT, view=View.of(MEDIA)), "Who knows?", None]
    truth = [
        Verdict(video="f", outcome=Outcome.SCORED, label=Label.FAKE, traces=(off,)),
        Verdict.failed("r", Outcome.PARSE_FAILED, "x"),
        None,
    ]
    wanted = paper_scores(SAMPLES, truth)
    for name in ("accuracy", "fake_accuracy", "real_accuracy", "bbox_iou", "bbox_distance", "time_distance"):
        assert collected(rows, answers, name) == pytest.approx(wanted[name])
    assert collected(rows, answers, "readable") == pytest.approx(100 / 3)
    assert math.isnan(collected(rows[1:2], ["REAL"], "bbox_iou")), "no data is no number"
    failed = eval_kits.verdict_of_answer_to(rows[0], "Failed to obtain answer via API.")
    assert failed.outcome is Outcome.MODEL_FAILED


def test_the_task_is_yaml_whose_functions_are_there(tmp_path: Path, dataset: Path) -> None:
    yaml = needs("yaml")
    write_lmms_eval(SAMPLES, tmp_path / "task", root=dataset)
    spec = importlib.util.spec_from_file_location("utils", tmp_path / "task" / "utils.py")
    assert spec is not None
    assert spec.loader is not None
    utils = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(utils)

    class Loader(yaml.SafeLoader):
        pass

    def function(_: Any, node: Any) -> Any:
        module, name = node.value.split(".")
        assert module == "utils"
        return getattr(utils, name)

    Loader.add_constructor("!function", function)
    task = yaml.load((tmp_path / "task" / "deeptrace.yaml").read_text(), Loader)
    assert Path(task["dataset_kwargs"]["data_files"]["test"]) == tmp_path / "task" / "deeptrace.jsonl"
    row = rows_of(tmp_path / "task")[0]
    assert task["doc_to_visual"](row) == [str(dataset / FAKE.path)]
    assert task["doc_to_text"](row, {}) == row["question"]
    names = [metric["metric"] for metric in task["metric_list"]]
    assert set(task["process_results"](row, ["REAL"])) == set(names)
    assert all(callable(metric["aggregation"]) for metric in task["metric_list"])


def test_rows_that_make_no_sense_and_videos_that_are_not_there_are_named(tmp_path: Path) -> None:
    write_lmms_eval([FAKE], tmp_path)
    (row,) = rows_of(tmp_path)
    for change in ({"label": "MAYBE"}, {"traces": "["}, {"width": "wide"}):
        with pytest.raises(DataError, match="row 0: is not a row of an exported benchmark"):
            eval_kits.sample_of_row(row | change)
    with pytest.raises(DataError, match=r"videos/f.mp4: no such file. Export with --root"):
        eval_kits.doc_to_visual(row)


def test_the_table_and_the_task_hold_the_same_rows(tmp_path: Path) -> None:
    write_lmms_eval(SAMPLES, tmp_path)
    write_vlmevalkit(SAMPLES, tmp_path / "set.tsv")
    with open(tmp_path / "set.tsv", encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file, delimiter="\t"))
    assert [eval_kits.sample_of_row(row) for row in table] == SAMPLES
    assert [{k: "" if v is None else str(v) for k, v in row.items()} for row in rows_of(tmp_path)] == table


def test_the_class_without_its_kit_says_so() -> None:
    if importlib.util.find_spec("vlmeval") is None:
        with pytest.raises(SettingsError, match="needs VLMEvalKit"):
            importlib.import_module("deeptrace.benchmark.vlmevalkit")


# -- the kits themselves, where they are installed --------------------------------------------------------------------


@pytest.mark.slow
def test_lmms_eval_runs_the_task(tmp_path: Path, dataset: Path) -> None:
    needs("lmms_eval", command="pip install lmms-eval, then make test SLOW=1")
    write_lmms_eval(SAMPLES, tmp_path / "task", root=dataset)
    command = [
        sys.executable, "-m", "lmms_eval", "--model", "dummy", "--model_args", "response=FAKE", "--batch_size", "1",
        "--include_path", str(tmp_path / "task"), "--tasks", "deeptrace", "--output_path", str(tmp_path / "out"),
    ]  # fmt: skip
    offline = {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled"}
    done = subprocess.run(command, env=os.environ | offline, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    (result,) = (tmp_path / "out").rglob("*results.json")
    found = json.loads(result.read_text())["results"]["deeptrace"]
    assert found["fake_accuracy,none"] == 100.0
    assert found["real_accuracy,none"] == 0.0
    assert found["bbox_iou,none"] == 0.0


@pytest.mark.slow
def test_vlmevalkit_builds_asks_and_scores(tmp_path: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kit = needs("vlmeval.dataset", command="pip install VLMEvalKit from its repository, then make test SLOW=1")
    from deeptrace.benchmark import vlmevalkit

    monkeypatch.setenv("LMUData", str(tmp_path))
    write_vlmevalkit(SAMPLES, tmp_path / "RewardData.tsv", root=dataset)
    vlmevalkit.install()
    bench = kit.build_dataset("RewardData", nframe=2)
    assert bench.build_prompt(0, video_llm=True)[0] == {"type": "video", "value": str(dataset / FAKE.path)}
    frames = [part["value"] for part in bench.build_prompt(0, video_llm=False) if part["type"] == "image"]
    assert len(frames) == 2
    assert all(Path(frame).is_file() for frame in frames)
    answered = bench.data.copy()
    answered["prediction"] = [*answered["answer"][:2], "Who knows?"]
    answered.to_excel(tmp_path / "model_RewardData.xlsx", index=False)
    scores = bench.evaluate(str(tmp_path / "model_RewardData.xlsx"))
    assert scores["bbox_iou"] == pytest.approx(100.0)
    assert scores["readable"] == pytest.approx(200 / 3)
    assert scores["real_accuracy"] == 100.0
