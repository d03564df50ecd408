"""compare: finished runs side by side over the same videos, the first of them as the reference."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from deeptrace.errors import DataError, SettingsError
from deeptrace.evaluate.compare_stats import Difference, paired_differences, ranked_videos, run_columns
from deeptrace.evaluate.run_folder import SavedRun, read_run
from deeptrace.evaluate.table import run_title
from deeptrace.evaluate.truth import sample_digest
from deeptrace.trace import Sample

__all__ = ["Comparison", "compare_runs"]


@dataclass(frozen=True)
class Comparison:
    """Runs against the first of them.

    Attributes:
        titles: of all runs, the reference first; unique.
        videos: how many videos they were compared on.
        left_out: how many videos of each run the others do not have, in the order of `titles`.
        differences: of each run but the reference, by title: metric -> difference to the reference.
        with_probability: of each run but the reference, by title: for how many videos both state a probability, which
            are those of AUROC and average precision.
        outcomes: of each run, over all of its own videos.
    """

    titles: tuple[str, ...]
    videos: int
    left_out: tuple[int, ...]
    differences: dict[str, dict[str, Difference]]
    with_probability: dict[str, int]
    outcomes: dict[str, dict[str, int]]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def compare_runs(
    folders: Sequence[str | os.PathLike[str]],
    *,
    common: bool = False,
    resamples: int = 2000,
    permutations: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Compare finished runs on the same videos.

    Args:
        folders: of two evaluations or more; the first is the reference.
        common: when the runs cover different videos, compare on those that all have; else that is an error.
        resamples, permutations: for intervals and p-values.
        seed: of both.

    Raises:
        SettingsError: fewer than two runs.
        DataError: a folder holds no finished evaluation; the runs cover different videos (and `common` was not
            asked for), have none in common, or disagree on what is true of one.
    """
    if len(folders) < 2:
        raise SettingsError("compare", f"expected two runs or more but got {len(folders)}")
    runs = [read_run(folder) for folder in folders]
    samples = _shared_samples(runs, common=common)
    titles = _titles(runs)
    columns = []
    for run in runs:
        by_id = dict(zip((sample.video_id for sample in run.samples), run.verdicts, strict=True))
        columns.append(run_columns(samples, [by_id[sample.video_id] for sample in samples], run.scores))
    differences = {
        title: paired_differences(samples, columns[0], other, resamples=resamples, permutations=permutations, seed=seed)
        for title, other in zip(titles[1:], columns[1:], strict=True)
    }
    return Comparison(
        titles=tuple(titles),
        videos=len(samples),
        left_out=tuple(len(run.samples) - len(samples) for run in runs),
        differences=differences,
        with_probability={
            title: int(ranked_videos(samples, columns[0], other).sum())
            for title, other in zip(titles[1:], columns[1:], strict=True)
        },
        outcomes={title: run.evaluation["outcomes"] for title, run in zip(titles, runs, strict=True)},
    )


def _shared_samples(runs: Sequence[SavedRun], *, common: bool) -> list[Sample]:
    """Samples that all runs have, in the first one's order.

    Raises:
        DataError: see `compare_runs`.
    """
    first = {sample.video_id: sample for sample in runs[0].samples}
    for run in runs[1:]:
        for sample in run.samples:
            ours = first.get(sample.video_id)
            if ours is not None and sample_digest(ours) != sample_digest(sample):
                raise DataError(
                    f"{runs[0].path}, {run.path}",
                    f"the truth of video {sample.video_id!r} is not the same in both",
                    "Runs can be compared on the same annotations only: evaluate one of them anew.",
                )
    shared = set(first).intersection(*({sample.video_id for sample in run.samples} for run in runs[1:]))
    if not shared:
        names = ", ".join(f"{run.path} ({_data(run)})" for run in runs)
        raise DataError(names, "the runs have no video in common", "Compare runs on the same data.")
    sizes = [len(run.samples) for run in runs]
    if any(size != len(shared) for size in sizes) and not common:
        listed = ", ".join(f"{run.path} has {size}" for run, size in zip(runs, sizes, strict=True))
        raise DataError(
            "compare",
            f"the runs cover different videos: {listed}, {len(shared)} are in all",
            "Add --common to compare on those, or evaluate on the same split.",
        )
    return [sample for sample in runs[0].samples if sample.video_id in shared]


def _data(run: SavedRun) -> str:
    data = run.manifest["data"]
    return f"{data['name']}, split {data['split']}, {data['videos']} videos"


def _titles(runs: Sequence[SavedRun]) -> list[str]:
    """Who each run is; its folder is added where two have one name."""
    titles = [run_title(run.evaluation) for run in runs]
    titles = [
        title if titles.count(title) == 1 else f"{title} ({run.name})" for title, run in zip(titles, runs, strict=True)
    ]
    return [title if titles.count(title) == 1 else f"{title} #{at}" for at, title in enumerate(titles, 1)]
