"""Bootstrap by video and the permutation test: against loops, known distributions and their own purpose."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from deeptrace.metrics import (
    auroc,
    bootstrap_ratios,
    evaluate_pairs,
    metric_sums,
    paired_permutation,
    percentile_interval,
)
from deeptrace.metrics.intervals import bootstrap_weights
from deeptrace.schema import Sample, Verdict

MakeRun = Callable[..., tuple[list[Sample], list[Verdict]]]


def test_weights_draw_every_video_once_on_average() -> None:
    weights = np.concatenate(list(bootstrap_weights(50, resamples=3000, seed=1)))
    assert weights.shape == (3000, 50)
    assert (weights.sum(1) == 50).all()
    assert weights.mean(0) == pytest.approx(1, abs=0.1)
    assert weights.var() == pytest.approx(1 - 1 / 50, abs=0.03)


def test_blocks_and_seeds() -> None:
    large = list(bootstrap_weights(5_000_000, resamples=3))
    assert [len(block) for block in large] == [1, 1, 1]
    first, again, other = (next(bootstrap_weights(20, resamples=5, seed=s)) for s in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


def test_ratios_equal_a_loop_over_resamples() -> None:
    rng = np.random.default_rng(0)
    num, den = rng.uniform(0, 2, 30), rng.integers(0, 3, 30).astype(float)
    drawn = bootstrap_ratios({"a": (num, den)}, resamples=50, seed=4)["a"]
    weights = np.concatenate(list(bootstrap_weights(30, resamples=50, seed=4)))
    assert drawn == pytest.approx([(w * num).sum() / (w * den).sum() for w in weights])


def test_a_metric_that_a_resample_does_not_have_has_no_interval() -> None:
    drawn = bootstrap_ratios({"a": (np.array([1.0, 0]), np.array([1.0, 0]))}, resamples=200)["a"]
    assert np.isnan(drawn).any()
    assert percentile_interval(drawn) is None
    assert bootstrap_ratios({}) == {}


def test_the_interval_of_a_share_covers_as_it_says() -> None:
    rng = np.random.default_rng(3)
    inside = 0
    for trial in range(200):
        hits = (rng.uniform(size=200) < 0.3).astype(float)
        interval = percentile_interval(bootstrap_ratios({"a": (hits, np.ones(200))}, resamples=300, seed=trial)["a"])
        assert interval is not None
        inside += interval[0] <= 0.3 <= interval[1]
    assert 0.89 <= inside / 200 <= 0.99


def test_videos_with_many_rows_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    hit = (rng.uniform(size=100) < 0.5).astype(float)
    six = {"clustered": (6 * hit, np.full(100, 6.0)), "rows": (np.repeat(hit, 6), np.ones(600))}
    width = {}
    for name, pair in six.items():
        interval = percentile_interval(bootstrap_ratios({name: pair}, resamples=1000)[name])
        assert interval is not None
        width[name] = interval[1] - interval[0]
    assert width["clustered"] == pytest.approx(width["rows"] * 6**0.5, rel=0.15)


class TestPermutation:
    ones = np.ones(200)

    def test_equal_runs_do_not_differ(self) -> None:
        hits = (np.random.default_rng(0).uniform(size=200) < 0.5).astype(float)
        assert paired_permutation((hits, self.ones), (hits, self.ones), permutations=500) == (0, 1)

    def test_a_clear_difference_is_found(self) -> None:
        rng = np.random.default_rng(1)
        a, b = (rng.uniform(size=200) < 0.8).astype(float), (rng.uniform(size=200) < 0.5).astype(float)
        difference, p = paired_permutation((a, self.ones), (b, self.ones), permutations=2000)
        assert difference == pytest.approx(a.mean() - b.mean())
        assert p == pytest.approx(1 / 2001)

    def test_is_exact_on_a_handful(self) -> None:
        a, b = np.array([1.0, 1, 1, 1, 0]), np.array([0.0, 0, 0, 0, 0])
        difference, p = paired_permutation((a, np.ones(5)), (b, np.ones(5)), permutations=20_000)
        assert difference == pytest.approx(0.8)
        assert p == pytest.approx(2 / 16, abs=0.01)  # all four signs equal

    def test_false_alarms_are_as_rare_as_they_should_be(self) -> None:
        rng = np.random.default_rng(2)
        alarms = 0
        for trial in range(200):
            a, b = ((rng.uniform(size=80) < 0.4).astype(float) for _ in range(2))
            alarms += paired_permutation((a, np.ones(80)), (b, np.ones(80)), permutations=300, seed=trial)[1] <= 0.05
        assert alarms / 200 <= 0.10

    def test_runs_over_other_videos_cannot_be_paired(self) -> None:
        with pytest.raises(ValueError, match="same videos"):
            paired_permutation((np.ones(2), np.ones(2)), (np.ones(3), np.ones(3)))

    def test_nothing_to_divide_by(self) -> None:
        nothing = (np.zeros(3), np.zeros(3))
        assert np.isnan(paired_permutation(nothing, nothing)).all()


def test_intervals_hold_every_metric_and_its_value(make_run: MakeRun) -> None:
    samples, verdicts = make_run(120)
    result = evaluate_pairs(samples, verdicts, resamples=400, text=False)
    assert {"per_video.auroc", "traces.map_viou_30", "paper.bbox_iou", "grounded.overall"} <= set(result["intervals"])
    for name, interval in result["intervals"].items():
        block, _, metric = name.partition(".")
        assert interval is not None, name
        low, high = interval
        assert low <= high
        if metric not in ("tpr_at_fpr_1pct", "tpr_at_fpr_01pct", "ece"):  # their resamples are biased, by nature
            assert low <= result[block][metric] <= high, name


def test_the_interval_of_auroc_equals_resampling_the_videos(make_run: MakeRun) -> None:
    samples, verdicts = make_run(80)
    interval = evaluate_pairs(samples, verdicts, resamples=200, seed=9, text=False)["intervals"]["per_video.auroc"]
    y = np.array([s.label == "FAKE" for s in samples], dtype=float)
    p = np.array([v.p_fake for v in verdicts], dtype=float)
    weights = np.concatenate(list(bootstrap_weights(80, resamples=200, seed=9))).astype(int)
    looped = [float(auroc(np.repeat(y, w), np.repeat(p, w))) for w in weights]
    assert interval == pytest.approx(list(np.quantile(looped, [0.025, 0.975])))


def test_two_runs_compare_metric_by_metric(make_run: MakeRun) -> None:
    samples, good = make_run(200)
    sums = metric_sums(samples, good)
    worse = metric_sums(samples, [v.model_copy(update={"traces": ()}) for v in good])
    assert set(sums) == set(worse)
    difference, p = paired_permutation(sums["traces.viou"], worse["traces.viou"], permutations=500)
    assert difference > 0.1
    assert p < 0.01
    assert paired_permutation(sums["paper.accuracy"], worse["paper.accuracy"], permutations=500) == (0, 1)


def test_664_predictions_with_2000_resamples_take_well_under_two_seconds(make_run: MakeRun) -> None:
    samples, verdicts = make_run(664)
    best = float("inf")
    for _ in range(3):  # the best of three: other work on the machine is not ours
        start = time.process_time()
        evaluate_pairs(samples, verdicts, resamples=2000)
        best = min(best, time.process_time() - start)
    assert best < 2.0
