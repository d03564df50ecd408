"""The paper's seven metrics and its overall, by annotation row and by video; 0 to 100, and both ways named.

A *row* is one annotated trace of a generated video (or the video itself, if nothing is annotated) or one real video.
The paper counts accuracy over rows, others over videos: a video with six traces then weighs six times. A missing or
unusable box or time scores worst (IoU 0, distance 100); so does a wrong REAL, which names neither. A failed answer is a
wrong one. Of several predicted traces the first with a box, and the first with a time, is compared with every row of
its video.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deeptrace.geometry import box_iou, center_distance
from deeptrace.metrics.arrays import Bools, Floats, Ints, PairColumns, columns_of, sum_by
from deeptrace.schema import Sample, Verdict

__all__ = [
    "JudgeRow",
    "PaperSums",
    "judge_rows",
    "overall_score",
    "paper_scores",
    "paper_sums",
    "row_weighted_accuracy",
]

Sums = dict[str, tuple[Floats, Floats]]
"""Metric -> (numerator, denominator) of each video, (N,): the metric is the ratio of their sums."""


def row_weighted_accuracy(fake_accuracy: float, real_accuracy: float, *, fake_rows: int, real_rows: int) -> float:
    """Accuracy over rows out of the two classes'; the test split has 440 fake and 332 real rows, val 434 and 332.

    Examples:
        >>> round(row_weighted_accuracy(84.6, 98.8, fake_rows=440, real_rows=332), 1)
        90.7
    """
    return (fake_rows * fake_accuracy + real_rows * real_accuracy) / (fake_rows + real_rows)


def overall_score(accuracy: float, explanation: float, bbox_iou: float, time_distance: float) -> float:
    """The paper's overall: the mean of accuracy, explanation, box IoU and 100 - time distance, all 0 to 100.

    Examples:
        >>> overall_score(accuracy=80.0, explanation=40.0, bbox_iou=20.0, time_distance=20.0)
        55.0
    """
    return (accuracy + explanation + bbox_iou + (100.0 - time_distance)) / 4


@dataclass(frozen=True, slots=True)
class JudgeRow:
    """A predicted explanation that a judge has to score against a written one.

    Attributes:
        key: (video id, index of the true trace in the sample): where its score is looked up.
        predicted: explanation in the answer.
        truth: explanation by the annotator.
    """

    key: tuple[str, int]
    predicted: str
    truth: str


@dataclass(frozen=True, slots=True)
class PaperSums:
    """Sums by video behind the paper's metrics, as shares in [0, 1].

    Attributes:
        rows: `accuracy`, `fake_accuracy`, `real_accuracy`, `explanation`, `bbox_iou`, `bbox_distance`,
            `time_distance` by row. A metric that the labels cannot tell has denominators 0.
        videos: the three accuracies by video.
        explanation_rows: rows with a written explanation.
        unjudged: those of them that need a judge's score and have none; the explanation metric is null while any is.
        without_length: rows with an onset that time distance leaves out, because the length of the video is not known.
    """

    rows: Sums
    videos: Sums
    explanation_rows: int
    unjudged: int
    without_length: int


def judge_rows(samples: Sequence[Sample], verdicts: Sequence[Verdict | None]) -> list[JudgeRow]:
    """What a judge must be asked: rows with a written explanation whose video got a FAKE with an explanation.

    All other rows need no judge: without a written explanation they are skipped, and a REAL, failed or wordless answer
    scores 0.

    Examples:
        >>> from deeptrace.schema import Label, Trace
        >>> sample = Sample(video_id="a", path="a.mp4", label=Label.FAKE, traces=(Trace(explanation="The cup melts."),))
        >>> said = Verdict(video="a.mp4", outcome="scored", label="FAKE", traces=(Trace(explanation="It melts."),))
        >>> [(row.key, row.predicted, row.truth) for row in judge_rows([sample], [said])]
        [(('a', 0), 'It melts.', 'The cup melts.')]
        >>> judge_rows([sample], [None])
        []
    """
    rows: list[JudgeRow] = []
    for sample, verdict in zip(samples, verdicts, strict=True):
        said = "" if verdict is None or verdict.label != "FAKE" else first_text(t.explanation for t in verdict.traces)
        if said and sample.label == "FAKE":
            rows += [
                JudgeRow((sample.video_id, index), said, trace.explanation)
                for index, trace in enumerate(sample.traces)
                if trace.explanation.strip()
            ]
    return rows


def paper_scores(
    samples: Sequence[Sample],
    verdicts: Sequence[Verdict | None],
    *,
    explanation_scores: Mapping[tuple[str, int], float | None] | None = None,
) -> dict[str, float | None]:
    """The paper's table row: `overall` and the seven metrics by annotation row, 0 to 100; None without data.

    Args:
        samples: the ground truth.
        verdicts: one a sample, None where there is none.
        explanation_scores: judge's scores in [0, 1] by `JudgeRow.key`; a missing one or None makes `explanation`, and
            with it `overall`, None. Nothing is put in its place.

    Examples:
        >>> from deeptrace.geometry import Box
        >>> from deeptrace.schema import Label, Media, Outcome, Trace
        >>> trace = Trace(onset_s=1.0, box=Box(x0=0.0, y0=0.0, x1=0.5, y1=0.5), explanation="The cup melts.")
        >>> media = Media(width=640, height=360, duration_s=4.0)
        >>> sample = Sample(video_id="a", path="a.mp4", label=Label.FAKE, media=media, traces=(trace,))
        >>> said = Verdict(video="a.mp4", outcome=Outcome.SCORED, label=Label.FAKE, traces=(trace,))
        >>> scores = paper_scores([sample], [said], explanation_scores={("a", 0): 0.5})
        >>> scores["accuracy"], scores["bbox_iou"], scores["time_distance"], scores["explanation"], scores["overall"]
        (100.0, 100.0, 0.0, 50.0, 87.5)
        >>> paper_scores([sample], [said])["overall"] is None  # no judge was asked
        True
    """
    return finish_paper(paper_sums(columns_of(samples, verdicts), samples, explanation_scores).rows)


def paper_sums(
    columns: PairColumns,
    samples: Sequence[Sample],
    explanation_scores: Mapping[tuple[str, int], float | None] | None = None,
) -> PaperSums:
    """The sums by video of which every paper metric, subset and interval is made."""
    fake, real = columns.truth == 1, columns.truth == 0
    traces = np.bincount(columns.true.video, minlength=len(columns))
    weight = np.where(fake, np.maximum(traces, 1), real).astype(float)
    if fake.any() and not traces[fake].any():
        # Labels alone: how many rows a generated video has is not known, nor any metric that counts them.
        weight = real.astype(float)
    right = (columns.said == columns.truth).astype(float)
    knows_fake = weight[fake].any() or not fake.any()
    rows: Sums = {
        "accuracy": (right * weight, weight) if knows_fake else (np.zeros(len(columns)),) * 2,
        "fake_accuracy": (right * weight * fake, weight * fake),
        "real_accuracy": (right * weight * real, weight * real),
    }
    known = (fake | real).astype(float)
    videos: Sums = {
        "accuracy": (right * known, known),
        "fake_accuracy": (right * fake, fake.astype(float)),
        "real_accuracy": (right * real, real.astype(float)),
    }
    rows |= _grounding_sums(columns, fake)
    rows["explanation"], count, unjudged = _explanation_sums(columns, samples, explanation_scores or {})
    true = columns.true
    timed = ~np.isnan(true.span[:, 0]) & fake[true.video]
    return PaperSums(rows, videos, count, unjudged, int((timed & np.isnan(columns.duration_s[true.video])).sum()))


def finish_paper(rows: Mapping[str, tuple[Floats, Floats]]) -> dict[str, float | None]:
    """Scores out of sums, with the overall first."""
    scores = {name: percent(num.sum(), den.sum()) for name, (num, den) in rows.items()}
    parts = [scores[name] for name in ("accuracy", "explanation", "bbox_iou", "time_distance")]
    known = [part for part in parts if part is not None]
    overall = overall_score(*known) if len(known) == 4 else None
    order = ("accuracy", "fake_accuracy", "real_accuracy", "explanation", "bbox_iou", "bbox_distance", "time_distance")
    return {"overall": overall, **{name: scores[name] for name in order}}


def percent(numerator: float, denominator: float) -> float | None:
    """A ratio in percent; None when there is nothing to divide by or the numerator is not known.

    Examples:
        >>> percent(1.0, 4.0), percent(0.0, 0.0)
        (25.0, None)
    """
    ratio = numerator / denominator if denominator > 0 else np.nan
    return None if np.isnan(ratio) else float(100.0 * ratio)


def first_text(texts: Iterable[str]) -> str:
    """The first text that is not blank, or "".

    Examples:
        >>> first_text(["", "  ", "The cup melts."])
        'The cup melts.'
    """
    return next((text for text in texts if text.strip()), "")


def first_of(columns: PairColumns, usable: Bools) -> Ints:
    """For each video the index of its first asserted trace for which `usable` (P,) holds; -1 where there is none."""
    first = np.full(len(columns), -1, dtype=np.int64)
    index = np.flatnonzero(usable & columns.asserted)[::-1]
    first[columns.predicted.video[index]] = index  # written last to first: the first stays
    return first


def _grounding_sums(columns: PairColumns, fake: Bools) -> Sums:
    true, predicted = columns.true, columns.predicted
    count = len(columns)

    def by_video(values: Floats, counted: Bools) -> tuple[Floats, Floats]:
        video = true.video[counted]
        return sum_by(video, values[counted], count), sum_by(video, None, count)

    boxed = first_of(columns, predicted.has_box)[true.video]
    timed = first_of(columns, ~np.isnan(predicted.span[:, 0]))[true.video]
    boxes = np.vstack([predicted.box, np.full((1, 4), np.nan)])[boxed]
    onsets = np.append(predicted.span[:, 0], np.nan)[timed]
    of_fake = fake[true.video]
    counted = true.has_box & of_fake
    iou = np.nan_to_num(box_iou(true.box, boxes), nan=0.0)
    apart = np.nan_to_num(center_distance(true.box, boxes), nan=1.0)
    duration = columns.duration_s[true.video]
    late = np.minimum(np.nan_to_num(np.abs(onsets - true.span[:, 0]) / duration, nan=1.0), 1.0)
    in_time = ~np.isnan(true.span[:, 0]) & ~np.isnan(duration) & of_fake
    return {
        "bbox_iou": by_video(iou, counted),
        "bbox_distance": by_video(apart, counted),
        "time_distance": by_video(late, in_time),
    }


def _explanation_sums(
    columns: PairColumns, samples: Sequence[Sample], scores: Mapping[tuple[str, int], float | None]
) -> tuple[tuple[Floats, Floats], int, int]:
    texts = columns.predicted.texts
    spoken = np.array([bool(text.strip()) for text in texts], dtype=bool)
    says = first_of(columns, spoken) >= 0
    total, count = np.zeros(len(columns)), np.zeros(len(columns))
    unjudged = 0
    first_row = np.searchsorted(columns.true.video, np.arange(len(columns)))
    for row, video in enumerate(columns.true.video.tolist()):
        if columns.truth[video] != 1 or not columns.true.texts[row].strip():
            continue
        count[video] += 1
        if not says[video]:
            continue
        score = scores.get((samples[video].video_id, row - int(first_row[video])))
        if score is None:
            unjudged += 1
            total[video] = np.nan
        else:
            total[video] += score
    return (total, count), int(count.sum()), unjudged
