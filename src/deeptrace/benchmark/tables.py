"""The tables of an evaluation as data: columns, rows, and what each number rests on. Printing is elsewhere.

One table a question: the paper's protocol, REAL or FAKE, traces, explanations. The same rows in each: the run, the
annotator ceiling, the trivial baselines; and the published models where they have numbers.

The published results are 21 rows of the paper's test table and 21 of its validation table. They were taken on
RewardData's own splits (test: 440 fake and 332 real rows; val: 434 and 332). Beside results on any other data they are
there for orientation, and the tables say so.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from io import StringIO
from typing import Literal

from deeptrace.benchmark.reference_points import BASELINE_TITLES
from deeptrace.benchmark.result import (
    EvaluationResult,
    GroundedScores,
    Manifest,
    Metric,
    PaperScores,
    Scores,
    TraceScores,
    VideoScores,
)
from deeptrace.errors import SettingsError
from deeptrace.plural import plural
from deeptrace.schema import Outcome

__all__ = [
    "TABLES",
    "Column",
    "Row",
    "Table",
    "frame_line",
    "is_published_split",
    "outcome_line",
    "paper_notes",
    "published_rows",
    "run_title",
    "tables_of",
    "training_note",
    "unavailable",
]

Read = Callable[[Scores[Metric]], Metric | None]
Kind = Literal["run", "ceiling", "baseline", "published"]


class _Path:
    """Stands in for scores, and says which attribute of them was asked for."""

    def __init__(self, *parts: str) -> None:
        self._parts = parts

    def __getattr__(self, name: str) -> _Path:
        return _Path(*self._parts, name)

    def __str__(self) -> str:
        return ".".join(self._parts)


@dataclass(frozen=True, slots=True)
class Column:
    """One metric.

    Attributes:
        read: the metric in a run's scores.
        title: for the head of the table.
        better: "up" when more is better, "down" when less is.
        digits: after the point.
        meaning: one line for people.
    """

    read: Read
    title: str
    better: Literal["up", "down"]
    digits: int
    meaning: str

    @property
    def name(self) -> str:
        """ "block.metric", as the evaluation JSON calls it."""
        return str(self.read(_Path()))  # type: ignore[arg-type]

    def of(self, row: Row) -> Metric:
        """The metric in a row; one without a value where it was not measured."""
        return (self.read(row.scores) if row.scores is not None else None) or Metric()

    def text(self, value: float | None) -> str:
        """The value as it is shown; a dash for what was not measured."""
        return "–" if value is None else f"{value:.{self.digits}f}"


@dataclass(frozen=True, slots=True)
class Table:
    """Columns that answer one question together."""

    title: str
    unit: str
    columns: tuple[Column, ...]

    def has_values(self, rows: Iterable[Row]) -> bool:
        """Whether anything of the table was measured in one of the rows."""
        return any(column.of(row).value is not None for row in rows for column in self.columns)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table.

    Attributes:
        title: name of the method.
        kind: run, ceiling, baseline or published.
        scores: what was measured.
        note: of published rows, their group.
    """

    title: str
    kind: Kind
    scores: Scores[Metric] | None
    note: str = ""


def _c(
    read: Callable[[Scores[Metric]], Metric | None],
    title: str,
    better: Literal["up", "down"],
    digits: int,
    meaning: str,
) -> Column:
    return Column(read, title, better, digits, meaning)


TABLES: tuple[Table, ...] = (
    Table(
        "The paper's protocol",
        "0 to 100, by annotation row",
        (
            _c(
                lambda s: s.paper.overall,
                "overall",
                "up",
                1,
                "mean of accuracy, explanation, box IoU and 100 - time distance",
            ),
            _c(lambda s: s.paper.accuracy, "acc", "up", 1, "right labels, by annotation row"),
            _c(lambda s: s.paper.fake_accuracy, "fake", "up", 1, "generated rows called FAKE"),
            _c(lambda s: s.paper.real_accuracy, "real", "up", 1, "real videos called REAL"),
            _c(lambda s: s.paper.explanation, "expl.", "up", 1, "the judge's mean score of explanations"),
            _c(lambda s: s.paper.bbox_iou, "IoU", "up", 1, "the first predicted box against every row of its video"),
            _c(lambda s: s.paper.bbox_distance, "dist", "down", 1, "distance of the boxes' centres"),
            _c(lambda s: s.paper.time_distance, "time", "down", 1, "distance of the onsets over the video's length"),
        ),
    ),
    Table(
        "REAL or FAKE",
        "accuracies 0 to 100 by video, the rest 0 to 1",
        (
            _c(lambda s: s.per_video.accuracy, "acc", "up", 1, "right labels, by video"),
            _c(lambda s: s.per_video.fake_accuracy, "fake", "up", 1, "generated videos called FAKE"),
            _c(lambda s: s.per_video.real_accuracy, "real", "up", 1, "real videos called REAL"),
            _c(
                lambda s: s.per_video.auroc,
                "AUROC",
                "up",
                3,
                "a generated video has a higher probability than a real one",
            ),
            _c(lambda s: s.per_video.average_precision, "AP", "up", 3, "area under precision and recall"),
            _c(
                lambda s: s.per_video.tpr_at_fpr_1pct,
                "TPR1%",
                "up",
                3,
                "generated found when 1 % of real ones are accused",
            ),
            _c(lambda s: s.per_video.tpr_at_fpr_01pct, "TPR.1%", "up", 3, "the same at 0.1 %"),
            _c(lambda s: s.per_video.ece, "ECE", "down", 3, "distance of stated probability and frequency"),
            _c(lambda s: s.per_video.brier, "Brier", "down", 3, "mean squared error of the probability"),
        ),
    ),
    Table(
        "Traces, matched one to one",
        "grounded, quality and clean 0 to 100, the rest 0 to 1",
        (
            _c(lambda s: s.grounded.overall, "grounded", "up", 1, "trace quality x clean share"),
            _c(
                lambda s: s.grounded.trace_quality,
                "quality",
                "up",
                1,
                "F1 of traces times how well the found ones are placed",
            ),
            _c(lambda s: s.grounded.clean_share, "clean", "up", 1, "real videos without an accusation"),
            _c(lambda s: s.traces.tiou, "tIoU", "up", 3, "overlap in time, missed traces 0"),
            _c(lambda s: s.traces.viou, "vIoU", "up", 3, "overlap in space and time, missed traces 0"),
            _c(lambda s: s.traces.recall_viou_30, "recall", "up", 3, "true traces found with vIoU 0.3"),
            _c(
                lambda s: s.traces.precision_viou_30,
                "precis.",
                "up",
                3,
                "predicted traces that are right, on generated videos",
            ),
        ),
    ),
    Table(
        "Traces, ranked and timed",
        "precision 0 to 1, errors in seconds",
        (
            _c(lambda s: s.traces.map_viou_30, "AP@.3", "up", 3, "average precision of traces at vIoU 0.3"),
            _c(lambda s: s.traces.map_viou_50, "AP@.5", "up", 3, "average precision of traces at vIoU 0.5"),
            _c(lambda s: s.traces.onset_error_s, "onset s", "down", 2, "error of the onset of matched traces"),
            _c(lambda s: s.traces.offset_error_s, "offset s", "down", 2, "error of the end of matched traces"),
            _c(
                lambda s: s.traces.false_traces_per_real_video,
                "false/real",
                "down",
                2,
                "traces asserted on a real video",
            ),
        ),
    ),
    Table(
        "Explanations, by counting words",
        "0 to 100, CIDEr to 1000, no model involved",
        (
            _c(lambda s: s.text.bleu if s.text else None, "BLEU", "up", 1, "n-grams in common"),
            _c(lambda s: s.text.rouge_l if s.text else None, "ROUGE-L", "up", 1, "longest common subsequence"),
            _c(
                lambda s: s.text.meteor_like if s.text else None,
                "METEOR~",
                "up",
                1,
                "aligned words, without synonyms",
            ),
            _c(lambda s: s.text.cider if s.text else None, "CIDEr-D", "up", 1, "n-grams weighted by rarity"),
        ),
    ),
)


def tables_of(result: EvaluationResult, *, published: bool = True) -> list[tuple[Table, list[Row]]]:
    """Each table with its rows; a table in which nothing was measured at all is left out.

    Args:
        result: of an evaluation.
        published: whether the paper's models stand in the first table, where the data is the split they are of.
    """
    rows = [Row(run_title(result.manifest), "run", result.scores)]
    if result.annotator_ceiling is not None:
        title = f"a second annotator ({plural(result.annotator_ceiling.videos or 0, 'clip')})"
        rows.append(Row(title, "ceiling", result.annotator_ceiling.scores))
    for name, title in BASELINE_TITLES.items():
        if (scores := result.baselines[name].scores) is not None:
            rows.append(Row(title, "baseline", scores))
    out = []
    for table in TABLES:
        of_table = list(rows) if table is not TABLES[-1] else [row for row in rows if row.kind != "baseline"]
        if table is TABLES[0] and published and _same_split(result):
            of_table += _published(result.manifest.data.split)
        if table.has_values(of_table[:1]):
            out.append((table, of_table))
    return out


def unavailable(result: EvaluationResult) -> list[tuple[str, str]]:
    """Baselines that could not be computed, each with the reason."""
    found = {title: result.baselines[name].unavailable for name, title in BASELINE_TITLES.items()}
    return [(title, why) for title, why in found.items() if why is not None]


def run_title(manifest: Manifest) -> str:
    """Who was measured: the detector, or the file of predictions."""
    if manifest.detector is not None:
        return manifest.detector.name
    return manifest.predictions.name.rsplit(".", 1)[0] if manifest.predictions is not None else "unknown"


def outcome_line(outcomes: Mapping[str, int]) -> str:
    """How the verdicts ended: "651 scored, 13 answer not understood"; kinds that did not occur are left out."""
    return ", ".join(f"{count} {_named(name)}" for name, count in outcomes.items() if count) or "no video"


def _named(outcome: str) -> str:
    return "missing" if outcome == "missing" else Outcome(outcome).display_name


def paper_notes(result: EvaluationResult) -> list[str]:
    """What is to be known of the first table: the published rows, and what a column leaves out."""
    if _same_split(result):
        notes = ["Published rows: the paper's, on this split."]
    else:
        notes = ["The paper's models are not shown: they were measured on RewardData's test and val splits."]
    if without := result.counts.rows_without_length:
        rows = plural(without, "row whose video has", "rows whose videos have")
        notes.append(f"Time distance leaves out {rows} no known length.")
    return notes


def frame_line(result: EvaluationResult) -> str | None:
    """Frame AUROC beside the clip's, in words; None where no verdict has scores of frames or windows."""
    found = result.scores.per_video.frame_auroc
    if found is None or found.value is None:
        return None
    limits = "" if found.interval is None else " ({:.3f} to {:.3f})".format(*found.interval)
    clip = result.per_video.auroc
    beside = "" if clip is None else f"; by clip it is {clip:.3f}"
    return (
        f"AUROC by frame {found.value:.3f}{limits}, each with the score of its window or its own, and with its video's "
        f"label, of {plural(int(found.support or 0), 'video')}{beside}."
    )


def training_note(result: EvaluationResult) -> str | None:
    """What must be known of figures on videos that the detector has learned from; None where there are none."""
    seen, videos = result.seen_in_training, result.counts.videos
    if not seen:
        return None
    return (
        f"The detector has learned from {seen} of {plural(videos, 'video')} here. What it says of those is memory, not "
        "skill: the figures are no estimate of how it does on others."
    )


def _same_split(result: EvaluationResult) -> bool:
    counts, split = result.counts, result.manifest.data.split
    if not counts.rows:  # labels alone: rows are not known
        return is_published_split(split, fake_videos=counts.fake_videos, real_videos=counts.real_videos)
    return is_published_split(split, fake_rows=counts.rows - counts.real_videos, real_rows=counts.real_videos)


def _published(split: str) -> list[Row]:
    return [Row(row.model, "published", _paper_alone(row.paper), note=row.group) for row in published_rows(split)]


def _paper_alone(paper: Mapping[str, float | None]) -> Scores[Metric]:
    """Scores of which only the paper's block is known."""
    blocks = (("paper", PaperScores), ("per_video", VideoScores), ("grounded", GroundedScores), ("traces", TraceScores))
    return Scores[Metric].model_validate(
        {
            block: {name: Metric(value=paper.get(name) if block == "paper" else None) for name in kind.model_fields}
            for block, kind in blocks
        }
    )


ROWS = {"test": (440, 332), "val": (434, 332)}
VIDEOS = (332, 332)  # generated and real, in both splits
_FIELDS = {
    "overall": "overall",
    "accuracy": "acc",
    "fake_accuracy": "fake_acc",
    "real_accuracy": "real_acc",
    "explanation": "explanation",
    "bbox_iou": "bbox_iou",
    "bbox_distance": "bbox_dist",
    "time_distance": "time_dist",
}


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """One published model.

    Attributes:
        model: its name.
        group: "baseline", "reward model" or "ablation".
        paper: the eight numbers by their names in the evaluation JSON, 0 to 100.
    """

    model: str
    group: str
    paper: dict[str, float]


def published_rows(split: str = "test") -> list[PublishedRow]:
    """The rows of the paper's table for "test" or "val", in its order.

    Raises:
        SettingsError: nothing was published for that split.
    """
    if split not in ROWS:
        raise SettingsError("split", f"nothing was published for {split!r}", "There are: test, val.")
    text = (files("deeptrace.benchmark") / "published" / f"published_{split}.csv").read_text(encoding="utf-8")
    return [
        PublishedRow(
            model=row["model"],
            group=row["group"],
            paper={name: float(row[field]) for name, field in _FIELDS.items()},
        )
        for row in csv.DictReader(StringIO(text))
    ]


def is_published_split(
    split: str, *, fake_rows: int = 0, real_rows: int = 0, fake_videos: int = 0, real_videos: int = 0
) -> bool:
    """Whether a run's counts are those of the published split: of its rows, or of its videos where rows are unknown."""
    if split not in ROWS:
        return False
    return (fake_rows, real_rows) == ROWS[split] or (fake_videos, real_videos) == VIDEOS
