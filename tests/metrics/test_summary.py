"""The blocks of the evaluation JSON: the contract's names, plain JSON, and parts that add up to the whole."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from deeptrace.geometry import Box
from deeptrace.metrics import BASELINES, evaluate_pairs, mean_box, trivial_baselines
from deeptrace.schema import Category, Label, Media, Outcome, Sample, SegmentScore, Trace, Verdict

MakeRun = Callable[..., tuple[list[Sample], list[Verdict]]]
CONTRACT = {
    "paper": "overall accuracy fake_accuracy real_accuracy explanation bbox_iou bbox_distance time_distance",
    "per_video": "accuracy fake_accuracy real_accuracy auroc average_precision tpr_at_fpr_1pct ece brier",
    "traces": (
        "tiou viou onset_error_s offset_error_s map_viou_30 map_viou_50 recall_viou_30 false_traces_per_real_video"
    ),
    "text": "bleu rouge_l cider",
}


def test_the_names_of_the_contract(make_run: MakeRun) -> None:
    result = evaluate_pairs(*make_run(60), resamples=20)
    for block, names in CONTRACT.items():
        assert set(names.split()) <= set(result[block]), block
    assert {"by_generator", "by_category", "outcomes", "intervals"} <= set(result)
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_no_data_is_null_all_over() -> None:
    result = evaluate_pairs([], [], resamples=5)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    for block in ("paper", "per_video", "grounded", "traces", "text"):
        assert set(result[block].values()) == {None}
    assert result["intervals"] == {}


def test_generators_apart_equal_a_run_of_their_own(make_run: MakeRun) -> None:
    samples, verdicts = make_run(300)
    whole = evaluate_pairs(samples, verdicts, text=False)["by_generator"]
    generators = {s.source for s in samples if s.label is Label.FAKE}
    for name in generators:
        mine = [i for i, s in enumerate(samples) if s.source in (name, "camera")]
        alone = evaluate_pairs([samples[i] for i in mine], [verdicts[i] for i in mine], text=False)
        assert whole[name]["auroc"] == pytest.approx(alone["per_video"]["auroc"])
        assert whole[name]["viou"] == pytest.approx(alone["traces"]["viou"])
        assert whole[name]["bbox_iou"] == pytest.approx(alone["paper"]["bbox_iou"])
        assert whole[name]["accuracy"] == pytest.approx(alone["per_video"]["fake_accuracy"])
    assert whole["camera"]["label"] == "REAL"
    assert whole["camera"]["viou"] is None
    assert whole["macro"]["viou"] == pytest.approx(np.mean([whole[name]["viou"] for name in generators]))


def test_macro_weighs_generators_alike() -> None:
    box = Box(x0=0, y0=0, x1=1, y1=1)

    def one(name: str, source: str) -> Sample:
        return Sample(video_id=name, path=name, label=Label.FAKE, source=source, traces=(Trace(box=box, onset_s=0),))

    samples = [one("a", "big"), one("b", "big"), one("c", "big"), one("d", "small")]
    labels = [Label.FAKE] * 3 + [Label.REAL]
    verdicts = [Verdict(video="v", outcome=Outcome.SCORED, label=label) for label in labels]
    result = evaluate_pairs(samples, verdicts)
    assert result["per_video"]["accuracy"] == 75
    assert result["by_generator"]["macro"]["accuracy"] == 50


def test_categories_sizes_and_lengths_count_every_trace(make_run: MakeRun) -> None:
    samples, verdicts = make_run(200)
    result = evaluate_pairs(samples, verdicts, text=False)
    traces = [t for s in samples for t in s.traces]
    for kind in Category:
        block = result["by_category"][kind.value]
        assert block["traces"] == sum(kind in t.categories for t in traces)
        assert 0 < block["ap_viou_50"] <= block["ap_viou_30"] < 1
    for name in ("by_trace_length", "by_box_size"):
        blocks = result[name]
        assert sum(block["traces"] for block in blocks.values()) == len(traces)
        mean = sum(b["viou"] * b["traces"] for b in blocks.values() if b["traces"]) / len(traces)
        assert mean == pytest.approx(result["traces"]["viou"])


def test_predictions_without_categories_have_no_precision_by_category(make_run: MakeRun) -> None:
    samples, verdicts = make_run(60)
    bare = [
        v.model_copy(update={"traces": tuple(t.model_copy(update={"categories": ()}) for t in v.traces)})
        for v in verdicts
    ]
    block = evaluate_pairs(samples, bare, text=False)["by_category"]["macro"]
    assert block["ap_viou_30"] is None
    assert block["recall_viou_30"] > 0


def test_outcomes_stand_beside_every_number(make_run: MakeRun) -> None:
    samples, verdicts = make_run(8)
    mixed: list[Verdict | None] = [*verdicts[:4], None]
    mixed += [Verdict.failed("v", o, "why") for o in (Outcome.REFUSED, Outcome.PARSE_FAILED, Outcome.DECODE_FAILED)]
    outcomes = evaluate_pairs(samples, mixed)["outcomes"]
    assert outcomes == dict.fromkeys([*Outcome, "missing"], 0) | {
        "scored": 4,
        "refused": 1,
        "parse_failed": 1,
        "decode_failed": 1,
        "missing": 1,
    }


def test_baselines(make_run: MakeRun) -> None:
    samples, _ = make_run(40)
    runs = trivial_baselines(samples, training=samples)
    assert tuple(runs) == BASELINES
    assert "training_mean_box" not in trivial_baselines(samples)
    scores = {name: evaluate_pairs(samples, verdicts, text=False) for name, verdicts in runs.items()}
    assert scores["all_real"]["per_video"]["real_accuracy"] == scores["all_fake"]["per_video"]["fake_accuracy"] == 100
    assert scores["all_fake"]["paper"]["bbox_distance"] == 100
    boxes = [t.box for s in samples for t in s.traces if t.box]
    assert scores["full_frame_box"]["paper"]["bbox_iou"] == pytest.approx(100 * np.mean([b.area for b in boxes]))
    center = mean_box(samples)
    assert center is not None
    assert center.x0 == pytest.approx(np.mean([b.x0 for b in boxes]))
    assert mean_box([]) is None
    assert {v.detector.name for v in runs["center_box"] if v.detector} == {"baseline:center_box"}


@pytest.mark.slow
def test_20_000_predictions_take_a_second_or_two(make_run: MakeRun) -> None:
    import time

    samples, verdicts = make_run(20_000)
    start = time.process_time()
    evaluate_pairs(samples, verdicts, text=False)
    assert time.process_time() - start < 4


def test_frames_bear_their_clips_label_and_their_windows_score() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(3)
    samples, verdicts, labels, scores = [], [], [], []
    for at in range(12):
        label = Label.FAKE if at % 2 else Label.REAL
        samples.append(Sample(video_id=str(at), path=f"{at}.mp4", label=label))
        times = np.arange(10) / 8
        windows = [(0.0, 0.5, float(rng.random())), (0.5, 9 / 8, float(rng.random() + 0.3 * (at % 2)))]
        media = Media(width=8, height=8, duration_s=1.25, fps=8, frames=10, sampled_times_s=tuple(times))
        said = [SegmentScore(onset_s=a, offset_s=b, score=score) for a, b, score in windows]
        verdicts.append(
            Verdict(video=f"{at}.mp4", outcome="scored", label=label, p_fake=0.5, media=media, segment_scores=said)
        )
        labels += [at % 2] * 10
        scores += [windows[0][2]] * 4 + [windows[1][2]] * 6
    found = evaluate_pairs(samples, verdicts, resamples=200)
    assert found["per_video"]["frame_auroc"] == pytest.approx(sklearn.roc_auc_score(labels, scores))
    low, high = found["intervals"]["per_video.frame_auroc"]
    assert low < found["per_video"]["frame_auroc"] < high
    alone = [one.model_copy(update={"segment_scores": ()}) for one in verdicts]
    assert "frame_auroc" not in evaluate_pairs(samples, alone, resamples=20)["per_video"]
    one_class = evaluate_pairs(samples[:1], verdicts[:1])["per_video"]
    assert one_class["frame_auroc"] is None
