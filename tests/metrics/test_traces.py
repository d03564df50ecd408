"""Matching, overlaps and average precision against Tube.viou, brute force and pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from tests.needs import needs

from deeptrace.geometry import Box, Interval
from deeptrace.metrics import box_iou, center_distance, evaluate_pairs, temporal_iou, trivial_baselines, tube_viou
from deeptrace.metrics.arrays import columns_of
from deeptrace.metrics.matching import match_traces, trace_pairs
from deeptrace.metrics.traces import rank_traces, trace_average_precision, videos_with_known_traces
from deeptrace.schema import Category, Label, Media, Outcome, Sample, Trace, Verdict

MEDIA = Media(width=100, height=100, duration_s=10)
LEFT, RIGHT = Box(x0=0, y0=0, x1=0.5, y1=1), Box(x0=0.5, y0=0, x1=1, y1=1)
MakeRun = Callable[..., tuple[list[Sample], list[Verdict]]]


def sample(*traces: Trace, label: str = "FAKE", media: Media | None = MEDIA) -> Sample:
    return Sample(video_id="v", path="v.mp4", label=Label(label), media=media, traces=traces)


def verdict(*traces: Trace, label: str = "FAKE", p_fake: float | None = None) -> Verdict:
    return Verdict(video="v", outcome=Outcome.SCORED, label=Label(label), traces=traces, p_fake=p_fake)


def changed(item: Any, **fields: object) -> Any:
    """The same with all its traces changed."""
    return item.model_copy(update={"traces": tuple(t.model_copy(update=fields) for t in item.traces)})


def test_overlaps_are_the_ground_floors(make_run: MakeRun) -> None:
    samples, verdicts = make_run(60, moving=True)
    true = [t for s in samples for t in s.traces]
    said = [t for v in verdicts for t in v.traces if t.keyframes][: len(true)]
    true = true[: len(said)]
    assert len(said) > 20
    a, b = (np.array([t.box.as_tuple() for t in group if t.box]) for group in (true, said))
    pairs = list(zip(true, said, strict=True))
    assert box_iou(a, b) == pytest.approx([x.box.iou(y.box) for x, y in pairs if x.box and y.box])
    assert center_distance(a, b) == pytest.approx([x.box.center_distance(y.box) for x, y in pairs if x.box and y.box])
    spans = [np.array([(t.onset_s, t.offset_s) for t in group], dtype=float) for group in (true, said)]
    assert temporal_iou(*spans) == pytest.approx(
        [x.interval.tiou(y.interval) for x, y in pairs if x.interval and y.interval]
    )
    tubes = [(x.tube, y.tube) for x, y in pairs if x.tube and y.tube]
    together = tube_viou([x for x, _ in tubes], [y for _, y in tubes])
    assert together.tolist() == [x.viou(y) for x, y in tubes]
    assert (together > 0).any()


def test_instants() -> None:
    spans = np.array([[1.0, 1.0], [1.0, 1.0]])
    assert temporal_iou(spans, np.array([[1.0, 1.0], [2.0, 2.0]])).tolist() == [1, 0]
    assert tube_viou([], []).tolist() == []


def test_the_assignment_is_the_best_of_all(make_run: MakeRun) -> None:
    samples, verdicts = make_run(80, seed=3)
    columns = columns_of(samples, verdicts)
    pairs = trace_pairs(columns.true, columns.predicted, columns.duration_s)
    matched = match_traces(pairs, columns.true.video)
    for video, (s, v) in enumerate(zip(samples, verdicts, strict=True)):
        got = matched.overlap[columns.true.video[matched.true] == video].sum()
        small, large = sorted((s.traces, v.traces), key=len)
        best = max(
            sum(a.tube.viou(b.tube) for a, b in zip(small, chosen, strict=True) if a.tube and b.tube)
            for chosen in permutations(large, len(small))
        )
        assert got == pytest.approx(best)
    assert len(set(matched.true.tolist())) == len(set(matched.predicted.tolist())) == len(matched) > 20


def test_what_the_words_leave_open_is_read_as_a_viewer_does() -> None:
    truth = Trace(box=LEFT, onset_s=5, offset_s=10)
    for said, overlap in (
        (Trace(box=LEFT, onset_s=5), 1.0),  # to the end
        (Trace(box=LEFT), 0.5),  # from the start to the end
        (Trace(box=LEFT, offset_s=10), 0.5),
        (Trace(onset_s=5, offset_s=10), 0.0),  # no place
    ):
        result = evaluate_pairs([sample(truth)], [verdict(said)])
        assert result["traces"]["viou"] == pytest.approx(overlap)
    unknown = sample(truth, media=None)
    assert evaluate_pairs([unknown], [verdict(Trace(box=LEFT))])["traces"]["viou"] == pytest.approx(1)  # box alone


def test_unfound_traces_count_as_zero_and_matched_ones_stand_apart() -> None:
    truth = (Trace(box=LEFT, onset_s=0, offset_s=4), Trace(box=RIGHT, onset_s=0, offset_s=4))
    found = Trace(box=LEFT, onset_s=1, offset_s=4, categories=(Category.OBJECT_MERGING,))
    traces = evaluate_pairs([sample(*truth)], [verdict(found)])["traces"]
    assert traces["viou"] == pytest.approx(0.375)
    assert traces["matched_viou"] == traces["matched_tiou"] == pytest.approx(0.75)
    assert traces["tiou"] == pytest.approx(0.375)
    assert traces["matched_box_iou"] == pytest.approx(1)
    assert (traces["onset_error_s"], traces["offset_error_s"]) == (1, 0)
    assert (traces["recall_viou_30"], traces["precision_viou_30"]) == (0.5, 1)
    assert traces["category_jaccard"] is None  # the truth names none


def test_traces_of_a_real_verdict_are_not_asserted_but_ranked() -> None:
    truth = Trace(box=LEFT, onset_s=0, offset_s=4)
    low = verdict(truth.model_copy(update={"score": 0.2}), label="REAL", p_fake=0.3)
    samples = [sample(truth), sample(label="REAL")]
    traces = evaluate_pairs(samples, [low, low])["traces"]
    assert (traces["viou"], traces["false_traces_per_real_video"]) == (0, 0)
    assert traces["map_viou_30"] == pytest.approx(0.5)  # a tie with the same trace on the real video


def test_predictions_where_nothing_was_agreed_on_are_neither_right_nor_wrong() -> None:
    truth = Trace(box=LEFT, onset_s=0, offset_s=4)
    with_it, without = ([sample(truth), sample()][:n] for n in (2, 1))
    say = verdict(truth)
    first, second = (evaluate_pairs(s, [say] * len(s))["traces"] for s in (with_it, without))
    assert first["precision_viou_30"] == second["precision_viou_30"] == 1
    assert first["map_viou_50"] == second["map_viou_50"] == 1


class TestAveragePrecision:
    @staticmethod
    def still(make_run: MakeRun, seed: int) -> tuple[list[Sample], list[Verdict]]:
        """A run in which every trace lasts the whole video: vIoU is then box IoU, and trace AP is object AP."""
        whole = {"onset_s": 0.0, "offset_s": 5.0, "keyframes": ()}
        samples, verdicts = make_run(150, seed=seed)
        samples = [
            s.model_copy(update={"traces": tuple(t.model_copy(update=whole) for t in s.traces)}) for s in samples
        ]
        verdicts = [
            v.model_copy(update={"traces": tuple(t.model_copy(update=whole) for t in v.traces)}) for v in verdicts
        ]
        return samples, verdicts

    @pytest.mark.parametrize("by_kind", [False, True])
    @pytest.mark.parametrize("threshold", [0.3, 0.5])
    @pytest.mark.parametrize("seed", [0, 1])
    def test_against_pycocotools(self, make_run: MakeRun, seed: int, threshold: float, by_kind: bool) -> None:
        coco = needs("pycocotools.coco")
        cocoeval = needs("pycocotools.cocoeval")
        samples, verdicts = self.still(make_run, seed)
        kind = list(Category).index(Category.OBJECT_MERGING)

        def rows(groups: list[tuple[Trace, ...]]) -> list[dict[str, Any]]:
            out: list[dict[str, Any]] = []
            for image, traces in enumerate(groups):
                for t in traces:
                    if t.box and (not by_kind or Category.OBJECT_MERGING in t.categories):
                        x, y, w, h = t.box.to_pixels_ltwh(width=1000, height=1000)
                        row = {"image_id": image, "category_id": 1, "bbox": [x, y, w, h], "area": w * h, "iscrowd": 0}
                        out.append(row | {"id": len(out) + 1, "score": t.score})
            return out

        with contextlib.redirect_stdout(io.StringIO()):
            truth = coco.COCO()
            truth.dataset = {
                "images": [{"id": i} for i in range(len(samples))],
                "annotations": rows([s.traces for s in samples]),
                "categories": [{"id": 1}],
                "info": {},
            }
            truth.createIndex()
            run = cocoeval.COCOeval(truth, truth.loadRes(rows([v.traces for v in verdicts])), "bbox")
            run.params.iouThrs = np.array([threshold])
            run.params.areaRng, run.params.areaRngLbl, run.params.maxDets = [[0, 1e10]], ["all"], [100]
            run.evaluate()
            run.accumulate()
        columns = columns_of(samples, verdicts)
        ranked = rank_traces(
            columns,
            trace_pairs(columns.true, columns.predicted, columns.duration_s),
            threshold=threshold,
            known=videos_with_known_traces(columns),
            true_of_kind=columns.true.kinds[:, kind] if by_kind else None,
            predicted_of_kind=columns.predicted.kinds[:, kind] if by_kind else None,
        )
        ours = float(trace_average_precision(ranked))
        assert 0.05 < ours < 0.95
        assert ours == pytest.approx(float(run.eval["precision"].mean()), abs=1e-9)

    def test_the_order_of_a_file_decides_nothing(self, make_run: MakeRun) -> None:
        samples, verdicts = self.still(make_run, 2)
        tied = [changed(v, score=0.5) for v in verdicts]
        forward = evaluate_pairs(samples, tied, text=False)["traces"]["map_viou_50"]
        backward = evaluate_pairs(samples[::-1], tied[::-1], text=False)["traces"]["map_viou_50"]
        assert forward == pytest.approx(backward)

    def test_weights_are_copies_of_videos(self, make_run: MakeRun) -> None:
        samples, verdicts = make_run(60, seed=5)
        weight = np.random.default_rng(0).integers(0, 3, 60)

        def ranked(s: list[Sample], v: list[Verdict]) -> Any:
            columns = columns_of(s, v)
            pairs = trace_pairs(columns.true, columns.predicted, columns.duration_s)
            return rank_traces(columns, pairs, threshold=0.3, known=videos_with_known_traces(columns))

        copies = [i for i, n in enumerate(weight) for _ in range(n)]
        whole = trace_average_precision(ranked([samples[i] for i in copies], [verdicts[i] for i in copies]))
        weighted = trace_average_precision(ranked(samples, verdicts), weights=weight[None].astype(float))
        assert weighted == pytest.approx([float(whole)])


class TestGroundedOverall:
    truth = Trace(box=Box(x0=0.1, y0=0.1, x1=0.4, y1=0.5), onset_s=1, offset_s=4)
    samples = (sample(truth), sample(truth), sample(label="REAL"), sample(label="REAL"))

    def overall(self, verdicts: list[Verdict]) -> float:
        return float(evaluate_pairs(self.samples, verdicts)["grounded"]["overall"])

    def test_trivial_answers_get_nothing(self) -> None:
        for name, verdicts in trivial_baselines(self.samples, training=self.samples).items():
            assert self.overall(verdicts) == 0, name

    def test_a_perfect_classifier_that_grounds_nothing_gets_nothing(self) -> None:
        assert self.overall([verdict(), verdict(), verdict(label="REAL"), verdict(label="REAL")]) == 0

    def test_nor_one_with_a_centre_box(self) -> None:
        boxes = trivial_baselines(self.samples)["center_box"]
        assert self.overall([*boxes[:2], verdict(label="REAL"), verdict(label="REAL")]) == 0

    def test_by_hand(self) -> None:
        # One trace found exactly, one missed, one false; one of two real videos left alone.
        extra = Trace(box=RIGHT, onset_s=6, offset_s=9)
        verdicts = [verdict(self.truth, extra), verdict(label="REAL"), verdict(label="REAL"), verdict(extra)]
        result = evaluate_pairs(self.samples, verdicts)["grounded"]
        assert result["trace_quality"] == pytest.approx(100 * 1 / (1 + 0.5 + 0.5))
        assert result["clean_share"] == 50
        assert result["overall"] == pytest.approx(25)

    def test_perfect(self) -> None:
        verdicts = [verdict(self.truth), verdict(self.truth), verdict(label="REAL"), verdict(label="REAL")]
        assert self.overall(verdicts) == pytest.approx(100)

    def test_is_at_most_either_factor(self, make_run: MakeRun) -> None:
        grounded = evaluate_pairs(*make_run(200), text=False)["grounded"]
        assert 0 < grounded["overall"] <= min(grounded["trace_quality"], grounded["clean_share"])


def test_an_interval_of_time_alone_is_no_place() -> None:
    truth = Trace.from_tube(Trace(box=LEFT, onset_s=1, offset_s=2).tube or pytest.fail("no tube"))
    result = evaluate_pairs([sample(truth)], [verdict(Trace(onset_s=1, offset_s=2))])
    assert result["traces"]["viou"] == 0
    assert Interval(onset_s=1, offset_s=2) == truth.interval
