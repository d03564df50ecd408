"""The tables of an evaluation as data: columns, rows, and what each number stands on. Printing is elsewhere.

One table a question: the paper's protocol, REAL or FAKE, traces, explanations. The same rows in each: the run, the
annotator ceiling, the trivial baselines; and the published models where they have numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from deeptrace.evaluate.published import is_published_split, published_rows
from deeptrace.evaluate.references import BASELINE_TITLES

__all__ = [
    "TABLES",
    "Column",
    "Row",
    "Table",
    "outcome_line",
    "published_note",
    "run_title",
    "tables_of",
    "unavailable",
]

Kind = Literal["run", "ceiling", "baseline", "published"]


@dataclass(frozen=True, slots=True)
class Column:
    """One metric.

    Attributes:
        name: "block.metric" in the evaluation JSON.
        title: for the head of the table.
        better: "up" when more is better, "down" when less is.
        digits: after the point.
        meaning: one line for people.
    """

    name: str
    title: str
    better: Literal["up", "down"]
    digits: int
    meaning: str

    def text(self, value: float | None) -> str:
        """The value as it is shown; a dash for what was not measured."""
        return "–" if value is None else f"{value:.{self.digits}f}"


@dataclass(frozen=True, slots=True)
class Table:
    """Columns that answer one question together."""

    title: str
    unit: str
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table.

    Attributes:
        title: who.
        kind: what stands in it.
        values: by column name; None where not measured.
        intervals: 95 %, by column name.
        support: how many rows, videos or traces the value stands on, by column name.
        note: of published rows, their group.
    """

    title: str
    kind: Kind
    values: dict[str, float | None]
    intervals: dict[str, list[float]] = field(default_factory=dict)
    support: dict[str, float] = field(default_factory=dict)
    note: str = ""


def _c(name: str, title: str, better: Literal["up", "down"], digits: int, meaning: str) -> Column:
    return Column(name, title, better, digits, meaning)


TABLES: tuple[Table, ...] = (
    Table(
        "The paper's protocol",
        "0 to 100, by annotation row",
        (
            _c("paper.overall", "overall", "up", 1, "mean of accuracy, explanation, box IoU and 100 - time distance"),
            _c("paper.accuracy", "acc", "up", 1, "right labels, by annotation row"),
            _c("paper.fake_accuracy", "fake", "up", 1, "generated rows called FAKE"),
            _c("paper.real_accuracy", "real", "up", 1, "real videos called REAL"),
            _c("paper.explanation", "expl.", "up", 1, "the judge's mean score of explanations"),
            _c("paper.bbox_iou", "IoU", "up", 1, "the first predicted box against every row of its video"),
            _c("paper.bbox_distance", "dist", "down", 1, "distance of the boxes' centres"),
            _c("paper.time_distance", "time", "down", 1, "distance of the onsets over the video's length"),
        ),
    ),
    Table(
        "REAL or FAKE",
        "accuracies 0 to 100 by video, the rest 0 to 1",
        (
            _c("per_video.accuracy", "acc", "up", 1, "right labels, by video"),
            _c("per_video.fake_accuracy", "fake", "up", 1, "generated videos called FAKE"),
            _c("per_video.real_accuracy", "real", "up", 1, "real videos called REAL"),
            _c("per_video.auroc", "AUROC", "up", 3, "a generated video has a higher probability than a real one"),
            _c("per_video.average_precision", "AP", "up", 3, "area under precision and recall"),
            _c("per_video.tpr_at_fpr_1pct", "TPR1%", "up", 3, "generated found when 1 % of real ones are accused"),
            _c("per_video.tpr_at_fpr_01pct", "TPR.1%", "up", 3, "the same at 0.1 %"),
            _c("per_video.ece", "ECE", "down", 3, "distance of stated probability and frequency"),
            _c("per_video.brier", "Brier", "down", 3, "mean squared error of the probability"),
        ),
    ),
    Table(
        "Traces, matched one to one",
        "grounded, quality and clean 0 to 100, the rest 0 to 1",
        (
            _c("grounded.overall", "grounded", "up", 1, "trace quality x clean share"),
            _c("grounded.trace_quality", "quality", "up", 1, "F1 of traces times how well the found ones are placed"),
            _c("grounded.clean_share", "clean", "up", 1, "real videos without an accusation"),
            _c("traces.tiou", "tIoU", "up", 3, "overlap in time, missed traces 0"),
            _c("traces.viou", "vIoU", "up", 3, "overlap in space and time, missed traces 0"),
            _c("traces.recall_viou_30", "recall", "up", 3, "true traces found with vIoU 0.3"),
            _c("traces.precision_viou_30", "precis.", "up", 3, "predicted traces that are right, on generated videos"),
        ),
    ),
    Table(
        "Traces, ranked and timed",
        "precision 0 to 1, errors in seconds",
        (
            _c("traces.map_viou_30", "AP@.3", "up", 3, "average precision of traces at vIoU 0.3"),
            _c("traces.map_viou_50", "AP@.5", "up", 3, "average precision of traces at vIoU 0.5"),
            _c("traces.onset_error_s", "onset s", "down", 2, "error of the onset of matched traces"),
            _c("traces.offset_error_s", "offset s", "down", 2, "error of the end of matched traces"),
            _c("traces.false_traces_per_real_video", "false/real", "down", 2, "traces asserted on a real video"),
        ),
    ),
    Table(
        "Explanations, by counting words",
        "0 to 100, CIDEr to 1000, no model involved",
        (
            _c("text.bleu", "BLEU", "up", 1, "n-grams in common"),
            _c("text.rouge_l", "ROUGE-L", "up", 1, "longest common subsequence"),
            _c("text.meteor_like", "METEOR~", "up", 1, "aligned words, without synonyms"),
            _c("text.cider", "CIDEr-D", "up", 1, "n-grams weighted by rarity"),
        ),
    ),
)

_OUTCOME_WORDS = {
    "scored": "scored",
    "decode_failed": "not decoded",
    "model_failed": "model failed",
    "refused": "refused",
    "parse_failed": "unreadable",
    "judge_failed": "judge failed",
    "missing": "missing",
}


def tables_of(result: Mapping[str, Any], *, published: bool = True) -> list[tuple[Table, list[Row]]]:
    """Each table with its rows; a table in which nothing was measured at all is left out.

    Args:
        result: an evaluation JSON.
        published: whether the paper's models stand in the first table.
    """
    rows = [_run_row(result)]
    if result["annotator_ceiling"] is not None:
        ceiling = result["annotator_ceiling"]
        title = f"a second annotator ({ceiling['videos']} clips)"
        rows.append(Row(title, "ceiling", _values(ceiling)))
    for name, title in BASELINE_TITLES.items():
        found = result["baselines"][name]
        if "unavailable" not in found:
            rows.append(Row(title, "baseline", _values(found)))
    out = []
    for table in TABLES:
        of_table = list(rows) if table is not TABLES[-1] else [row for row in rows if row.kind != "baseline"]
        if table is TABLES[0] and published:
            of_table += _published(result)
        if any(row.values.get(column.name) is not None for row in of_table[:1] for column in table.columns):
            out.append((table, of_table))
    return out


def unavailable(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Baselines that could not be had, each with the reason."""
    return [
        (title, result["baselines"][name]["unavailable"])
        for name, title in BASELINE_TITLES.items()
        if "unavailable" in result["baselines"][name]
    ]


def run_title(result: Mapping[str, Any]) -> str:
    """Who was measured: the detector, or the file of predictions."""
    manifest = result["manifest"]
    if manifest["detector"] is not None:
        return str(manifest["detector"]["name"])
    return str(manifest["predictions"]["name"]).rsplit(".", 1)[0]


def outcome_line(outcomes: Mapping[str, int]) -> str:
    """How the verdicts ended: "651 scored, 13 unreadable"; kinds that did not occur are left out."""
    return ", ".join(f"{count} {_OUTCOME_WORDS[name]}" for name, count in outcomes.items() if count) or "no video"


def published_note(result: Mapping[str, Any]) -> str:
    """Where the published rows come from, and whether they are comparable."""
    if _same_split(result):
        return "Published rows: the paper's, on this split."
    split = result["manifest"]["data"]["split"]
    table = split if split in ("test", "val") else "test"
    return f"Published rows: the paper's, on RewardData's {table} split. This is other data; they are no comparison."


def _same_split(result: Mapping[str, Any]) -> bool:
    counts, split = result["counts"], result["manifest"]["data"]["split"]
    real = counts["real_videos"]
    if not counts["rows"]:  # labels alone: rows are not known
        return is_published_split(split, fake_videos=counts["fake_videos"], real_videos=real)
    return is_published_split(split, fake_rows=counts["rows"] - real, real_rows=real)


def _published(result: Mapping[str, Any]) -> list[Row]:
    split = result["manifest"]["data"]["split"]
    return [
        Row(row.model, "published", {f"paper.{name}": value for name, value in row.paper.items()}, note=row.group)
        for row in published_rows(split if split in ("test", "val") else "test")
    ]


def _run_row(result: Mapping[str, Any]) -> Row:
    intervals = {name: limits for name, limits in result["intervals"].items() if limits is not None}
    return Row(run_title(result), "run", _values(result), intervals, result["support"])


def _values(blocks: Mapping[str, Any]) -> dict[str, float | None]:
    names = [column.name for table in TABLES for column in table.columns]
    parts = {name: name.split(".", 1) for name in names}
    return {name: (blocks.get(block) or {}).get(metric) for name, (block, metric) in parts.items()}
