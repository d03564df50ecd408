"""The paper's protocol: all 42 published rows, and every rule on cases small enough to work out by hand."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from deeptrace.geometry import Box
from deeptrace.metrics import evaluate_pairs, judge_rows, overall_score, paper_scores, row_weighted_accuracy
from deeptrace.schema import Label, Media, Outcome, Sample, Trace, Verdict

MEDIA = Media(width=100, height=100, duration_s=10)
LEFT, RIGHT = Box(x0=0, y0=0, x1=0.5, y1=1), Box(x0=0.5, y0=0, x1=1, y1=1)


def fake(name: str, *traces: Trace) -> Sample:
    return Sample(video_id=name, path=f"{name}.mp4", label=Label.FAKE, media=MEDIA, traces=traces)


def real(name: str) -> Sample:
    return Sample(video_id=name, path=f"{name}.mp4", label=Label.REAL, media=MEDIA)


def said(label: str, *traces: Trace) -> Verdict:
    return Verdict(video="v", outcome=Outcome.SCORED, label=Label(label), traces=traces)


@pytest.mark.parametrize(("table", "fake_rows"), [("table2_test.csv", 440), ("table5_val.csv", 434)])
def test_all_published_rows_follow_from_their_components(shared_dir: Path, table: str, fake_rows: int) -> None:
    with (shared_dir / "spec" / table).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 21
    for row in rows:
        value = {key: float(text) for key, text in row.items() if key not in ("model", "group")}
        # The validation row of Gemini 2.5 Pro repeats its test row, accuracy included: it was weighted as there.
        copied = fake_rows == 434 and row["model"] == "Gemini 2.5 Pro"
        weight = 440 if copied else fake_rows
        accuracy = row_weighted_accuracy(value["fake_acc"], value["real_acc"], fake_rows=weight, real_rows=332)
        # Published to 0.1: each input is off by 0.05 at most, and so is the stated result.
        assert accuracy == pytest.approx(value["acc"], abs=0.1001), row["model"]
        overall = overall_score(value["acc"], value["explanation"], value["bbox_iou"], value["time_dist"])
        assert overall == pytest.approx(value["overall"], abs=0.1001), row["model"]


def test_accuracy_by_row_and_by_video_differ() -> None:
    samples = [fake("a", *[Trace(box=LEFT, onset_s=0)] * 3), fake("b", Trace(box=LEFT, onset_s=0)), real("c")]
    result = evaluate_pairs(samples, [said("FAKE"), said("REAL"), said("FAKE")])
    assert result["paper"]["accuracy"] == pytest.approx(60)  # 3 of 5 rows
    assert result["paper"]["fake_accuracy"] == pytest.approx(75)
    assert result["paper"]["real_accuracy"] == 0
    assert result["per_video"]["accuracy"] == pytest.approx(100 / 3)
    assert result["per_video"]["fake_accuracy"] == 50


def test_one_predicted_box_is_compared_with_every_row() -> None:
    samples = [fake("a", Trace(box=LEFT, onset_s=2), Trace(box=RIGHT, onset_s=4))]
    verdict = said("FAKE", Trace(explanation="no place"), Trace(box=LEFT), Trace(box=RIGHT, onset_s=3))
    scores = paper_scores(samples, [verdict])
    assert scores["bbox_iou"] == pytest.approx(50)  # the first box: 1 and 0
    assert scores["bbox_distance"] == pytest.approx(100 * 0.5 / 2 / 2**0.5)
    assert scores["time_distance"] == pytest.approx(10)  # the first time: 3 s is 1 s from both, of 10


@pytest.mark.parametrize(
    "verdict",
    [
        None,
        said("REAL"),
        said("REAL", Trace(box=LEFT, onset_s=2)),
        said("FAKE"),
        Verdict.failed("v", Outcome.PARSE_FAILED, "unreadable"),
        Verdict.failed("v", Outcome.REFUSED, "no"),
    ],
    ids=["missing", "real", "real with a box", "fake without a box", "parse failed", "refused"],
)
def test_a_missing_box_or_time_scores_worst(verdict: Verdict | None) -> None:
    scores = paper_scores([fake("a", Trace(box=LEFT, onset_s=2))], [verdict])
    assert (scores["bbox_iou"], scores["bbox_distance"], scores["time_distance"]) == (0, 100, 100)


def test_a_time_beyond_the_video_is_at_most_worst() -> None:
    scores = paper_scores([fake("a", Trace(box=LEFT, onset_s=2))], [said("FAKE", Trace(onset_s=500))])
    assert scores["time_distance"] == 100


def test_a_row_without_a_length_is_left_out_of_time_distance_and_counted() -> None:
    timed = Trace(onset_s=1.0, box=LEFT)
    known, unknown = fake("a", timed), fake("b", timed, timed).model_copy(update={"media": None})
    result = evaluate_pairs([known, unknown], [said("FAKE", timed), said("FAKE", timed)], resamples=0)
    assert result["counts"]["rows_without_length"] == 2
    assert result["paper"]["time_distance"] == 0
    assert evaluate_pairs([known], [said("FAKE", timed)], resamples=0)["counts"]["rows_without_length"] == 0


def test_a_failed_answer_counts_as_wrong_and_is_counted() -> None:
    samples = [real("a"), real("b")]
    result = evaluate_pairs(samples, [Verdict.failed("v", Outcome.MODEL_FAILED, "boom"), None])
    assert result["per_video"]["accuracy"] == 0
    assert (result["outcomes"]["model_failed"], result["outcomes"]["missing"], result["outcomes"]["scored"]) == (
        1,
        1,
        0,
    )


class TestExplanation:
    samples = (
        fake("a", Trace(box=LEFT, explanation="It melts."), Trace(box=LEFT, explanation="  ")),
        fake("b", Trace(box=LEFT, explanation="It splits.")),
        fake("c", Trace(box=LEFT)),
        real("d"),
    )
    why = Trace(explanation="Six fingers.")

    def test_rows_without_a_written_one_are_skipped_and_real_scores_zero(self) -> None:
        verdicts = [said("FAKE", self.why), said("REAL", self.why), said("FAKE", self.why), said("REAL")]
        assert [row.key for row in judge_rows(self.samples, verdicts)] == [("a", 0)]
        scores = paper_scores(self.samples, verdicts, explanation_scores={("a", 0): 0.5})
        assert scores["explanation"] == pytest.approx(25)  # 0.5 and 0, of two rows
        assert scores["overall"] is None  # no true onset, so no time distance

    @pytest.mark.parametrize("judged", [None, {}, {("a", 0): None}])
    def test_a_judge_that_failed_is_no_number(self, judged: dict[tuple[str, int], float | None] | None) -> None:
        verdicts = [said("FAKE", self.why), said("REAL"), said("REAL"), said("REAL")]
        result = evaluate_pairs(self.samples, verdicts, explanation_scores=judged, resamples=10)
        assert result["paper"]["explanation"] is None
        assert result["paper"]["overall"] is None
        assert result["counts"]["explanation_unjudged"] == 1
        assert "paper.explanation" not in result["intervals"]

    def test_without_words_no_judge_is_needed(self) -> None:
        verdicts = [said("FAKE"), said("REAL"), said("FAKE"), None]
        assert judge_rows(self.samples, verdicts) == []
        assert paper_scores(self.samples, verdicts)["explanation"] == 0


def test_overall_of_a_perfect_run() -> None:
    truth = Trace(box=LEFT, onset_s=2, explanation="It melts.")
    samples = [fake("a", truth), real("b")]
    scores = paper_scores(samples, [said("FAKE", truth), said("REAL")], explanation_scores={("a", 0): 1.0})
    assert scores == {
        **dict.fromkeys(("overall", "accuracy", "fake_accuracy", "real_accuracy", "explanation", "bbox_iou"), 100),
        **dict.fromkeys(("bbox_distance", "time_distance"), 0),
    }


def test_labels_alone_give_null_for_what_they_cannot_tell() -> None:
    samples = [Sample(video_id="a", path="a", label=Label.FAKE), Sample(video_id="b", path="b", label=Label.REAL)]
    result = evaluate_pairs(samples, [said("FAKE", Trace(box=LEFT, onset_s=1)), said("REAL")], resamples=20)
    assert result["paper"].pop("real_accuracy") == 100
    assert set(result["paper"].values()) == {None}
    assert result["per_video"]["accuracy"] == 100
    assert result["traces"].pop("false_traces_per_real_video") == 0
    assert set(result["traces"].values()) == {None}
    assert result["grounded"]["overall"] is None
    assert set(result["text"].values()) == {None}


def test_a_sample_without_a_label_is_counted_in_outcomes_alone() -> None:
    result = evaluate_pairs([Sample(video_id="a", path="a")], [said("FAKE")])
    assert result["outcomes"]["scored"] == 1
    assert result["per_video"]["accuracy"] is None
    assert result["counts"]["rows"] == 0


def test_one_verdict_a_sample() -> None:
    with pytest.raises(ValueError, match="got 1 sample and 0 verdicts"):
        evaluate_pairs([real("a")], [])
