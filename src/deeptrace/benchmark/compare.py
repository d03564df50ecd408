"""compare: finished runs side by side over the same videos, the first of them as the reference.

Whether two of them differ: paired bootstrap intervals and permutation p-values, by video. Both use the pairing: a
resample draws the same videos for both runs, a permutation swaps the two runs' results of a video. Videos that are hard
for everybody then cancel out, and rows of one video never count as independent.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from deeptrace.benchmark.folder import SavedRun, read_run
from deeptrace.benchmark.ground_truth import sample_digest
from deeptrace.benchmark.tables import run_title
from deeptrace.errors import DataError, SettingsError
from deeptrace.metrics import auroc, average_precision, metric_sums, percentile_interval
from deeptrace.metrics.arrays import Bools, Floats
from deeptrace.metrics.intervals import bootstrap_weights, ratio
from deeptrace.plural import plural
from deeptrace.schema import Label, Sample, Verdict

__all__ = ["Comparison", "compare_runs", "paired_differences", "run_columns", "unique_titles"]


@dataclass(frozen=True)
class Comparison:
    """Runs against the first of them.

    Attributes:
        titles: of all runs, the reference first; unique.
        videos: number of videos that they were compared on.
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
        seed: of the resamples and the swaps.

    Raises:
        SettingsError: fewer than two runs.
        DataError: a folder holds no finished evaluation; the runs cover different videos (and `common` was not
            asked for), have none in common, or disagree on what is true of one.
    """
    if len(folders) < 2:
        raise SettingsError("compare", f"expected two runs or more but got {len(folders)}")
    runs = [read_run(folder) for folder in folders]
    samples = _shared_samples(runs, common=common)
    titles = unique_titles([run_title(run.manifest) for run in runs], [run.name for run in runs])
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
        outcomes={title: run.evaluation.outcomes for title, run in zip(titles, runs, strict=True)},
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
                    f"the ground truth of video {sample.video_id!r} is not the same in both",
                    "Runs can be compared on the same annotations only: evaluate one of them again.",
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
    data = run.manifest.data
    return f"{data.name}, split {data.split}, {plural(data.videos, 'video')}"


def unique_titles(titles: Sequence[str], places: Sequence[str]) -> list[str]:
    """Who each run is; where it lies is added where two have one name, and a number where that is one too."""
    told = [
        title if titles.count(title) == 1 else f"{title} ({place})" for title, place in zip(titles, places, strict=True)
    ]
    return [title if told.count(title) == 1 else f"{title} #{at}" for at, title in enumerate(told, 1)]


Values = dict[str, Floats]
_RANKED: dict[str, Callable[..., Floats]] = {
    "per_video.auroc": auroc,
    "per_video.average_precision": average_precision,
}
_SECONDS_OR_SHARES = "traces."
_BLOCK = 500


@dataclass(frozen=True, slots=True)
class RunColumns:
    """One run over N videos, as the statistics need it.

    Attributes:
        names: ratio metrics, in the order of the columns of `sums`.
        sums: numerator and denominator of each video, (N, 2 * metrics).
        p_fake: stated probability, (N,); NaN where there is none.
    """

    names: tuple[str, ...]
    sums: Floats
    p_fake: Floats


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric of run b against run a.

    Attributes:
        a, b: the two values, in the metric's unit.
        difference: b - a.
        interval: 95 %, paired bootstrap; None where some resamples have no value.
        p_value: two-sided, paired permutation.
    """

    a: float
    b: float
    difference: float
    interval: tuple[float, float] | None
    p_value: float


def run_columns(
    samples: Sequence[Sample],
    verdicts: Sequence[Verdict | None],
    scores: Mapping[tuple[str, int], float | None],
) -> RunColumns:
    """The columns of a run over `samples`."""
    sums = metric_sums(samples, verdicts, explanation_scores=scores)
    table = np.stack([part for pair in sums.values() for part in pair], axis=1)
    p_fake = np.array([None if v is None else v.p_fake for v in verdicts], dtype=float)
    return RunColumns(tuple(sums), table, p_fake)


def paired_differences(
    samples: Sequence[Sample],
    a: RunColumns,
    b: RunColumns,
    *,
    resamples: int = 2000,
    permutations: int = 2000,
    seed: int = 0,
) -> dict[str, Difference]:
    """Every metric that both runs have, by "block.metric".

    Composite metrics (the overalls) are computed again in every resample and permutation. AUROC and average precision
    are taken over the videos for which both runs state a probability.
    """
    truth, ranked = _truth(samples), ranked_videos(samples, a, b)
    ones = np.ones((1, len(samples)))
    at_a, at_b = (_weighted(run, ones, truth, ranked) for run in (a, b))
    known = [name for name, value in at_a.items() if not np.isnan(value[0]) and not np.isnan(at_b[name][0])]
    drawn: dict[str, list[Floats]] = {name: [] for name in known}
    for weights in bootstrap_weights(len(samples), resamples=resamples, seed=seed) if len(samples) else ():
        one, other = (_weighted(run, weights, truth, ranked) for run in (a, b))
        for name in known:
            drawn[name].append(other[name] - one[name])
    p_values = _permuted(a, b, truth, ranked, {n: float((at_b[n] - at_a[n])[0]) for n in known}, permutations, seed)
    return {
        name: Difference(
            a=float(at_a[name][0]),
            b=float(at_b[name][0]),
            difference=float((at_b[name] - at_a[name])[0]),
            interval=percentile_interval(np.concatenate(drawn[name])) if drawn[name] else None,
            p_value=p_values[name],
        )
        for name in known
    }


def ranked_videos(samples: Sequence[Sample], a: RunColumns, b: RunColumns) -> Bools:
    """The videos (N,) whose ground truth is known and for which both runs state a probability."""
    return (_truth(samples) >= 0) & ~np.isnan(a.p_fake) & ~np.isnan(b.p_fake)


def _truth(samples: Sequence[Sample]) -> np.ndarray:
    """1 generated, 0 real, -1 not known; (N,)."""
    return np.array([{Label.FAKE: 1, Label.REAL: 0, None: -1}[sample.label] for sample in samples])


def _weighted(run: RunColumns, weights: Floats, truth: np.ndarray, ranked: Bools) -> Values:
    """Every metric (R,) of weights (R, N)."""
    values = _ratios(run.names, weights @ run.sums)
    if ranked.any():
        for name, measure in _RANKED.items():
            values[name] = measure(truth[ranked].astype(float), run.p_fake[ranked], weights=weights[:, ranked])
    return values


def _ratios(names: Sequence[str], totals: Floats) -> Values:
    """Metrics in their units out of sums (R, 2 * metrics), the overalls with them."""
    values = {
        name: (1.0 if name.startswith(_SECONDS_OR_SHARES) else 100.0) * ratio(totals[:, 2 * at], totals[:, 2 * at + 1])
        for at, name in enumerate(names)
    }
    accuracy, explanation, iou, time = (
        values[f"paper.{name}"] for name in ("accuracy", "explanation", "bbox_iou", "time_distance")
    )
    values["paper.overall"] = (accuracy + explanation + iou + 100.0 - time) / 4
    values["grounded.overall"] = values["grounded.trace_quality"] * values["grounded.clean_share"] / 100.0
    return values


def _permuted(
    a: RunColumns,
    b: RunColumns,
    truth: np.ndarray,
    ranked: Bools,
    observed: Mapping[str, float],
    permutations: int,
    seed: int,
) -> dict[str, float]:
    """Share of random swaps with at least the observed difference, the observed arrangement counted in."""
    rng = np.random.default_rng(seed)
    change = np.nan_to_num(b.sums - a.sums)
    total_a, total_b = np.nan_to_num(a.sums).sum(0), np.nan_to_num(b.sums).sum(0)
    y = truth[ranked].astype(float)
    extreme = dict.fromkeys(observed, 0)
    for start in range(0, permutations, _BLOCK):
        swap = rng.integers(0, 2, size=(min(_BLOCK, permutations - start), len(truth)), dtype=np.int8).astype(bool)
        moved = swap.astype(float) @ change
        one, other = _ratios(a.names, total_a + moved), _ratios(b.names, total_b - moved)
        for name, measure in _RANKED.items():
            if name in observed:
                first = np.where(swap[:, ranked], b.p_fake[ranked], a.p_fake[ranked])
                second = np.where(swap[:, ranked], a.p_fake[ranked], b.p_fake[ranked])
                one[name] = np.array([measure(y, p) for p in first])
                other[name] = np.array([measure(y, p) for p in second])
        for name, value in observed.items():
            extreme[name] += int((np.abs(other[name] - one[name]) >= abs(value) - 1e-9).sum())
    return {name: (1 + count) / (1 + permutations) for name, count in extreme.items()}
