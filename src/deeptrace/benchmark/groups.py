"""Figures by group: whether a detector treats people, places and light alike.

The groups are the user's: a CSV with a row a video and a column a trait, as age, gender, skin tone and lighting of
Casual Conversations (Hazirbas et al., arXiv 2104.02821). A detector is worst for the group in which its accuracy is
lowest, and accuses most the one of whose real videos most are called AI-generated. That group was looked for, so its
interval is of it alone, and the gap to all others together stands beside it.
"""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deeptrace.benchmark.result import ColumnGroups, GroupScores, Metric
from deeptrace.errors import DataError
from deeptrace.io.jsonl import open_text
from deeptrace.metrics import auroc, percentile_interval
from deeptrace.metrics.intervals import clustered_weights, ratio
from deeptrace.schema import Decision, Label, Sample, Verdict

__all__ = ["PERSON", "Groups", "group_figures", "read_groups"]

PERSON = "person"
"""Column whose value is no group: videos of one are drawn together for the intervals."""
_NAMES = ("video_id", "video", "path", "file")
_LEAST = 5
"""Videos of a group that can be the worst: with fewer, one of them decides."""

Groups = dict[str, dict[str, str]]
"""Group by column and video id; a video without a value is in none."""


def read_groups(path: str | os.PathLike[str], samples: Sequence[Sample]) -> Groups:
    """The groups of the samples.

    Args:
        path: CSV with a head; a column `video_id`, `video`, `path` or `file` has a sample's id, path, or file name
            without suffix, where that is unique. An empty cell is not known.
        samples: of the dataset; rows of other videos are passed over.

    Raises:
        DataError: the file cannot be read, has no such column or no other, names none of the
            samples, or puts one into two groups of a column.
    """
    where = str(path)
    try:
        with open_text(path, newline="") as file:
            reader = csv.DictReader(file)
            head, rows = list(reader.fieldnames or ()), list(reader)
    except csv.Error as error:
        raise DataError(where, f"cannot be read as a table: {error}") from None
    by = next((name for name in _NAMES if name in head), None)
    columns = [name for name in head if name not in (by, None, "")]
    if by is None or not [name for name in columns if name != PERSON]:
        hint = f"It needs a column {', '.join(_NAMES[:-1])} or {_NAMES[-1]}, and one or more with groups."
        raise DataError(where, f"has the columns {', '.join(head) or 'none'}", hint)
    known: dict[str, str] = {}
    stems: dict[str, list[str]] = defaultdict(list)
    for sample in samples:
        stems[Path(sample.path).stem].append(sample.video_id)
    known |= {stem: ids[0] for stem, ids in stems.items() if len(ids) == 1}
    known |= {sample.path: sample.video_id for sample in samples} | {s.video_id: s.video_id for s in samples}
    found: Groups = {name: {} for name in columns}
    for row in rows:
        video_id = known.get((row[by] or "").strip())
        for name in columns if video_id is not None else ():
            value = (row[name] or "").strip()
            if value and found[name].setdefault(str(video_id), value) != value:
                problem = f"{video_id} is in two groups of {name}: {found[name][str(video_id)]} and {value}"
                raise DataError(where, problem, "Each video has one row.")
    if not any(found.values()):
        raise DataError(where, f"its column {by} names none of the {len(samples)} videos", "Name them by id or path.")
    return found


def group_figures(
    samples: Sequence[Sample],
    verdicts: Sequence[Verdict | None],
    groups: Mapping[str, Mapping[str, str]],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, ColumnGroups]:
    """Figures of every group of every column. A video without a verdict counts as wrong, as it does everywhere.

    Args:
        samples: the ground truth; those without a label are left out.
        verdicts: one a sample, None where there is none.
        groups: see `read_groups`.
        resamples: for the 95 % intervals, of videos, or of persons where there is such a column; 0 for none.
        seed: of the resamples.
    """
    chosen = [(s, v) for s, v in zip(samples, verdicts, strict=True) if s.label is not None]
    persons = groups.get(PERSON, {})
    units = [persons.get(sample.video_id, f"video {sample.video_id}") for sample, _ in chosen]
    drawing = bool(chosen) and resamples > 0
    answers = _Answers(
        fake=np.array([sample.label is Label.FAKE for sample, _ in chosen], bool),
        called=np.array([v is not None and v.decision is Decision.GENERATED for _, v in chosen], bool),
        right=np.array([v is not None and v.label is sample.label for sample, v in chosen], bool),
        p_fake=np.array([np.nan if v is None or v.p_fake is None else v.p_fake for _, v in chosen], float),
        weights=clustered_weights(np.zeros(len(chosen)), units, resamples=resamples, seed=seed) if drawing else None,
    )
    names = [sample.video_id for sample, _ in chosen]
    return {
        column: answers.by_group(np.array([group.get(name, "") for name in names], dtype=object))
        for column, group in groups.items()
        if column != PERSON
    }


@dataclass(frozen=True)
class _Answers:
    """What was said of N videos.

    Attributes:
        fake: (N,) bool, the truth.
        called: (N,) bool, whether they were called AI-generated.
        right: (N,) bool, whether the label is right.
        p_fake: (N,), NaN for none.
        weights: (resamples, N), or None.
    """

    fake: np.ndarray
    called: np.ndarray
    right: np.ndarray
    p_fake: np.ndarray
    weights: np.ndarray | None

    def by_group(self, values: np.ndarray) -> ColumnGroups:
        """Figures of each value of a column (N,); "" is none."""
        insides = {name: values == name for name in sorted(set(values) - {""})}
        scores = {name: self._scores(inside) for name, inside in insides.items()}
        worst = _extreme(scores, "accuracy", highest=False)
        accused = _extreme(scores, "accused", highest=True)
        known, real = values != "", ~self.fake
        return ColumnGroups(
            groups=scores,
            without=int((~known).sum()),
            worst=worst,
            worst_gap=None if worst is None else self._share(self.right, insides[worst], known & ~insides[worst]),
            most_accused=accused,
            most_accused_gap=None
            if accused is None
            else self._share(self.called, insides[accused] & real, known & ~insides[accused] & real),
        )

    def _scores(self, inside: np.ndarray) -> GroupScores:
        return GroupScores(
            videos=int(inside.sum()),
            accuracy=self._share(self.right, inside),
            accused=self._share(self.called, inside & ~self.fake),
            found=self._share(self.called, inside & self.fake),
            auroc=self._ranking(inside),
        )

    def _share(self, values: np.ndarray, of: np.ndarray, less: np.ndarray | None = None) -> Metric:
        """Mean over the videos `of`, less that over the videos `less`; in percent."""
        if not of.any() or (less is not None and not less.any()):
            return Metric(value=None, support=int(of.sum()))

        def mean(drawn: np.ndarray, where: np.ndarray) -> np.ndarray:
            return 100 * ratio((drawn * (values & where)).sum(axis=1), (drawn * where).sum(axis=1))

        every = np.ones((1, len(values)))
        drawn = [
            mean(w, of) - (mean(w, less) if less is not None else 0) for w in (every, self.weights) if w is not None
        ]
        limits = percentile_interval(drawn[1][np.isfinite(drawn[1])]) if len(drawn) > 1 else None
        return Metric(value=float(drawn[0][0]), interval=limits, support=int(of.sum()))

    def _ranking(self, inside: np.ndarray) -> Metric:
        used = inside & ~np.isnan(self.p_fake)
        labels, p_fake = self.fake[used].astype(int), self.p_fake[used]
        if not labels.any() or labels.all():
            return Metric(value=None, support=int(used.sum()))
        drawn = None if self.weights is None else auroc(labels, p_fake, weights=self.weights[:, used])
        limits = None if drawn is None else percentile_interval(drawn[np.isfinite(drawn)])
        return Metric(value=float(auroc(labels, p_fake)), interval=limits, support=int(used.sum()))


def _extreme(scores: Mapping[str, GroupScores], figure: str, *, highest: bool) -> str | None:
    """The group with the highest or lowest figure, of those with enough videos; None where there are not two."""
    known = {}
    for name, one in scores.items():
        metric: Metric = getattr(one, figure)
        if metric.value is not None and (metric.support or 0) >= _LEAST:
            known[name] = metric.value if highest else -metric.value
    return max(known, key=lambda name: known[name]) if len(known) > 1 else None
