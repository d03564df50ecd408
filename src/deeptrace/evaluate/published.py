"""The published results: 21 rows of the paper's test table and 21 of its validation table, shown beside ours.

They were taken on RewardData's own splits (test: 440 fake and 332 real rows; val: 434 and 332). Beside results on any
other data they are there for orientation, and the tables say so.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib.resources import files
from io import StringIO

from deeptrace.errors import SettingsError

__all__ = ["PublishedRow", "is_published_split", "published_rows"]

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
    text = (files("deeptrace.evaluate") / "published" / f"published_{split}.csv").read_text(encoding="utf-8")
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
