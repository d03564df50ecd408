"""What Explore shows: the videos of a dataset beside what several models said of them, filtered, counted and measured.

All of it is read from files that do not change while a studio runs, and is held as columns: a filter over 10,000 videos
is a few comparisons of arrays, and there is no second copy in the database that could differ from the files. Metrics
and their intervals are the benchmark's own, over the videos that a filter lets through.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, Field

from deeptrace.benchmark.compare import Difference, paired_differences, run_columns, unique_titles
from deeptrace.benchmark.folder import EVALUATION, PREDICTIONS, SavedRun, read_run
from deeptrace.benchmark.ground_truth import ALL, read_ground_truth, sample_digest, with_media
from deeptrace.benchmark.result import Measured
from deeptrace.benchmark.run import measured_blocks, read_answers
from deeptrace.benchmark.tables import run_title
from deeptrace.data import resolve_path
from deeptrace.errors import DataError, SettingsError
from deeptrace.inference.results import VERDICTS
from deeptrace.metrics import metric_sums
from deeptrace.metrics.arrays import KINDS, Bools, Floats, Ints, PairColumns, columns_of
from deeptrace.metrics.intervals import ratio
from deeptrace.reports.benchmark_clips import group_of
from deeptrace.schema import Sample, Verdict
from deeptrace.studio.settings import StudioSettings

__all__ = ["RESAMPLES", "Exploration", "Model", "Wanted", "read_exploration"]

RESAMPLES = 2000
"""Of videos, for the 95 % intervals: as many as `deeptrace eval` draws."""
_KEPT = 64
_WRONG = ("missed", "accused")
T = TypeVar("T")


class Wanted(BaseModel):
    """Which videos, in which order. `model` is a number of the list of models; empty for any of them.

    `low` and `high` bound the mean vIoU of a video's true traces, missed ones 0; videos without a true trace have none.
    """

    q: Annotated[str, Field(max_length=200)] = ""
    label: Literal["", "FAKE", "REAL", "none"] = ""
    source: Annotated[str, Field(max_length=500)] = ""
    split: Annotated[str, Field(max_length=500)] = ""
    kind: Annotated[str, Field(max_length=40)] = ""
    model: Annotated[str, Field(pattern=r"^\d{0,3}$")] = ""
    result: Literal["", "right", "wrong", "found", "misplaced", "missed", "accused", "failed"] = ""
    agree: Literal["", "same", "differ", "all_right", "all_wrong"] = ""
    low: Annotated[float, Field(ge=0, le=1)] = 0.0
    high: Annotated[float, Field(ge=0, le=1)] = 1.0
    sort: Literal["data", "name", "worst", "p", "viou"] = "data"
    order: Literal["up", "down"] = "up"

    @property
    def by_answers(self) -> bool:
        """Whether it chooses videos by how models did on them: figures of such a part say nothing of the whole."""
        return bool(self.result or self.agree or self.low > 0 or self.high < 1)


@dataclass(frozen=True)
class Model:
    """What one detector or model said of N videos.

    Attributes:
        title: its name; unique among the models of an exploration.
        verdicts: one a video, None where there is none.
        scores: the judge's, by row; empty without a judge.
        columns: of videos and verdicts.
        right: 1 for the right label, 0 for a wrong one or none, -1 where the truth is not known, (N,).
        groups: key of `GROUPS` of each video, "" where it belongs to none or has no answer.
        worst: what orders failures, the most confident error lowest, (N,).
        viou: mean vIoU of each video's true traces, (N,); NaN where there is none.
        box_iou: the paper's box IoU, mean over the video's rows, (N,); NaN where there is none.
        unmatched: number of answers that belong to no video.
        run: key of the run of `deeptrace eval` that it is; empty for a file of answers.
    """

    title: str
    verdicts: list[Verdict | None]
    scores: dict[tuple[str, int], float | None]
    columns: PairColumns
    right: Ints
    groups: list[str]
    worst: Floats
    viou: Floats
    box_iou: Floats
    unmatched: int
    run: str

    @property
    def answered(self) -> Bools:
        """Which videos it has any answer on, a failed one too, (N,)."""
        return np.array([verdict is not None for verdict in self.verdicts], dtype=bool)


class Exploration:
    """Videos and models; safe to use from any thread.

    Args:
        name: of the dataset.
        root: folder that paths of videos are relative to.
        samples: its videos.
        models: what was said of them.

    Attributes:
        name, root, samples, models: as given.
        paths: where each video's file is, or is said to be: a path, or a URL.
        index: number of a video by its id.
        sources, splits: the names that occur, sorted.
        truth: columns of the videos, without any answer.

    Raises:
        DataError: a path leads out of the dataset's folder.
    """

    def __init__(self, name: str, root: str, samples: Sequence[Sample], models: Sequence[Model]) -> None:
        self.name, self.root, self.samples, self.models = name, root, list(samples), list(models)
        self.paths = [resolve_path(sample, root) for sample in samples]
        self.index = {sample.video_id: at for at, sample in enumerate(samples)}
        self.truth = columns_of(samples, [None] * len(samples))
        self.sources, self._source = _coded(sample.source or "unknown" for sample in samples)
        self.splits, self._split = _coded(sample.split or "none" for sample in samples)
        self._names = [f"{sample.video_id}\n{sample.path}\n{sample.prompt or ''}".lower() for sample in samples]
        by_name = sorted(range(len(samples)), key=lambda at: samples[at].video_id)
        self._by_name = np.empty(len(samples), dtype=np.int64)
        self._by_name[by_name] = np.arange(len(samples))
        kinds = np.zeros((len(samples), len(KINDS)), dtype=bool)
        np.logical_or.at(kinds, self.truth.true.video, self.truth.true.kinds)
        self.kinds = kinds
        self._measured: OrderedDict[tuple[Any, ...], Measured] = OrderedDict()
        self._measuring, self._looking = threading.Lock(), threading.Lock()

    # -- which videos --------------------------------------------------------------------------------------------------

    def chosen(self, wanted: Wanted) -> Ints:
        """The videos that a filter lets through, in its order, (K,)."""
        keep = np.flatnonzero(self._kept(wanted))
        if wanted.sort == "data":
            return keep if wanted.order == "up" else keep[::-1]
        key = self._key(wanted)[keep]
        known = ~np.isnan(key)
        order = np.argsort(key[known] if wanted.order == "up" else -key[known], kind="stable")
        return np.concatenate([keep[known][order], keep[~known]])  # what has no value comes last, either way

    def _kept(self, wanted: Wanted) -> Bools:
        keep = np.ones(len(self.samples), dtype=bool)
        if wanted.q:
            text = wanted.q.lower()
            keep &= np.array([text in name for name in self._names], dtype=bool)
        if wanted.label:
            keep &= self.truth.truth == {"FAKE": 1, "REAL": 0, "none": -1}[wanted.label]
        for names, codes, value in (
            (self.sources, self._source, wanted.source),
            (self.splits, self._split, wanted.split),
        ):
            if value:
                keep &= codes == (names.index(value) if value in names else -1)
        if wanted.kind:
            known = [kind.value for kind in KINDS]
            keep &= self.kinds[:, known.index(wanted.kind)] if wanted.kind in known else False
        models = self.chosen_models(wanted)
        if wanted.result:
            keep &= _any(_has_result(model, wanted.result) for model in models)
        if wanted.low > 0 or wanted.high < 1:
            with np.errstate(invalid="ignore"):
                keep &= _any((model.viou >= wanted.low) & (model.viou <= wanted.high) for model in models)
        if wanted.agree:
            keep &= self._agreeing(wanted.agree)
        return keep

    def chosen_models(self, wanted: Wanted) -> list[Model]:
        """The model that a filter names, or all of them."""
        if wanted.model == "":
            return self.models
        return self.models[int(wanted.model) : int(wanted.model) + 1]

    def _agreeing(self, how: str) -> Bools:
        """Whether the models say the same: of those with a label, at least two; a failed answer is a wrong one."""
        if not self.models:
            return np.zeros(len(self.samples), dtype=bool)
        if how in ("all_right", "all_wrong"):
            some = _any(model.answered for model in self.models)
            return np.asarray(some & np.all([model.right == (how == "all_right") for model in self.models], axis=0))
        said = np.stack([model.columns.said for model in self.models])
        fake, real = (said == 1).sum(axis=0), (said == 0).sum(axis=0)
        if how == "differ":
            return np.asarray((fake > 0) & (real > 0))
        return np.asarray((fake + real >= 2) & ((fake == 0) | (real == 0)))

    def _key(self, wanted: Wanted) -> Floats:
        if wanted.sort == "name":
            return self._by_name.astype(float)
        models = self.chosen_models(wanted)
        if not models:
            return np.full(len(self.samples), np.nan)
        columns = np.stack(
            [{"worst": model.worst, "p": model.columns.p_fake, "viou": model.viou}[wanted.sort] for model in models]
        )
        if wanted.sort == "worst":
            return np.asarray(np.fmin.reduce(columns, axis=0))
        count = (~np.isnan(columns)).sum(axis=0)
        return np.where(count > 0, np.nansum(columns, axis=0) / np.maximum(count, 1), np.nan)  # the models' mean

    # -- what there is of them -----------------------------------------------------------------------------------------

    def counts(self, wanted: Wanted) -> dict[str, Any]:
        """How many videos and traces of each sort a filter lets through."""
        keep = self._kept(wanted)
        true = self.truth.true
        inside = keep[true.video]
        labels, box = self.truth.truth[keep], true.box[inside]
        area = (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])
        span = true.span[inside]
        named = zip(KINDS, true.kinds[inside].sum(axis=0), self.kinds[keep].sum(axis=0), strict=True)
        return {
            "videos": int(keep.sum()),
            "traces": int(inside.sum()),
            "labels": {name: int((labels == code).sum()) for name, code in (("FAKE", 1), ("REAL", 0), ("none", -1))},
            "sources": self._by_label(self.sources, self._source, keep),
            "splits": self._by_label(self.splits, self._split, keep),
            "kinds": [{"id": kind.value, "traces": int(t), "videos": int(v)} for kind, t, v in named],
            "no_kind": int((~true.kinds[inside].any(axis=1)).sum()),
            "length_s": _histogram(self.truth.duration_s[keep], (0, 1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 60)),
            "box_percent": _histogram(100 * area, (0, 1, 2, 5, 10, 25, 50, 75)),
            "trace_s": _histogram(span[:, 1] - span[:, 0], (0, 0.25, 0.5, 1, 1.5, 2, 3, 4, 5, 10)),
            "onset_s": _histogram(span[:, 0], (0, 0.25, 0.5, 1, 1.5, 2, 3, 4, 5, 10)),
        }

    def _by_label(self, names: Sequence[str], codes: Ints, keep: Bools) -> list[dict[str, Any]]:
        """Videos of each name by label, most first."""
        found = {
            key: np.bincount(codes[keep & (self.truth.truth == code)], minlength=len(names))
            for key, code in (("FAKE", 1), ("REAL", 0), ("none", -1))
        }
        rows = [{"name": name, **{key: int(of[at]) for key, of in found.items()}} for at, name in enumerate(names)]
        shown = [row for row in rows if any(row[key] for key in found)]
        return sorted(shown, key=lambda row: (-sum(row[key] for key in found), row["name"]))

    # -- how well the models did ---------------------------------------------------------------------------------------

    def covered(self, wanted: Wanted) -> tuple[Ints, int]:
        """The videos of a filter on which any model has an answer, (K,), and how many have none."""
        keep = np.sort(self.chosen(wanted))
        some = keep[_any(model.answered[keep] for model in self.models)] if self.models else keep[:0]
        return some, len(keep) - len(some)

    def measured(self, at: int, videos: Ints, *, full: bool) -> Measured:
        """What the benchmark measures of a model over some videos; `full` with intervals and compared explanations.

        Args:
            at: number of the model.
            videos: their numbers.
            full: takes seconds for 1,000 videos and minutes for 10,000; it is kept.
        """
        key = (at, full, videos.tobytes())
        with self._looking:
            if (known := self._measured.get(key)) is not None:
                self._measured.move_to_end(key)
                return known
        model = self.models[at]
        with self._measuring:
            with self._looking:
                known = self._measured.get(key)
            found = known or Measured.model_validate(
                measured_blocks(
                    _at(self.samples, videos),
                    _at(model.verdicts, videos),
                    model.scores,
                    text=full,
                    bootstrap=RESAMPLES if full else 0,
                )
            )
        with self._looking:
            self._measured[key] = found
            while len(self._measured) > _KEPT:
                self._measured.popitem(last=False)
        return found

    def differences(self, of: int, against: int, videos: Ints) -> dict[str, Difference]:
        """Every metric of a model against another over some videos, as `deeptrace compare` has it.

        Args:
            of, against: numbers of the models; `against` is the reference.
            videos: their numbers.
        """
        samples = _at(self.samples, videos)
        with self._measuring:
            sides = [
                run_columns(samples, _at(self.models[at].verdicts, videos), self.models[at].scores)
                for at in (against, of)
            ]
            return paired_differences(samples, *sides, resamples=RESAMPLES, permutations=RESAMPLES)


def _at(values: Sequence[T], places: Ints) -> list[T]:
    return [values[place] for place in places.tolist()]


def _any(columns: Iterable[Bools]) -> Bools:
    """Where any of the columns holds; nowhere, where there is no column."""
    found = list(columns)
    return np.any(found, axis=0) if found else np.asarray(False)


def _coded(values: Iterable[str]) -> tuple[list[str], Ints]:
    names, codes = np.unique(np.array(list(values), dtype=object).astype(str), return_inverse=True)
    return names.tolist(), codes.astype(np.int64)


def _has_result(model: Model, result: str) -> Bools:
    if result in ("right", "wrong"):
        return np.asarray((model.right == (result == "right")) & model.answered)
    return np.array([group == result for group in model.groups], dtype=bool)


def _histogram(values: Floats, edges: tuple[float, ...]) -> list[dict[str, Any]]:
    """Counts between edges, the last of them open; values that are not known are left out."""
    known = values[~np.isnan(values)]
    counts, _ = np.histogram(known, bins=[*edges, np.inf])
    bins = [
        {"from": low, "to": high, "count": int(count)}
        for low, high, count in zip(edges, (*edges[1:], None), counts, strict=True)
    ]
    while len(bins) > 1 and not bins[-1]["count"]:
        bins.pop()
    return bins


# -- reading -----------------------------------------------------------------------------------------------------------


def read_exploration(settings: StudioSettings) -> Exploration | None:
    """Read what a studio is to explore; None where it was given nothing of the kind.

    The videos are those of `settings.data`, else of the first run of `deeptrace eval`.

    Raises:
        SettingsError: predictions without data, or a coordinate space that does not exist.
        DataError: data or predictions that are invalid, or a run on other annotations.
    """
    places = list(settings.predictions)
    if settings.place is not None and settings.is_evaluation:
        places.insert(0, settings.place)
    runs = {place: read_run(place) for place in places if (place / EVALUATION).is_file()}
    if settings.data is not None:
        truth = read_ground_truth(settings.data, split=ALL)
        name, root, stated = truth.name, truth.root, list(truth.samples)
        samples = list(with_media(truth))
    elif runs:
        first = next(iter(runs.values()))
        name, root, samples = first.manifest.data.name, _root_of(first), first.samples
        stated = samples
    elif places:
        raise SettingsError("--predictions", "of which videos?", "Name the annotated data with --data DIR.")
    else:
        return None
    read: list[tuple[str, list[Verdict | None], dict[Any, Any], int]] = []
    for place in places:
        if place in runs:
            read.append((run_title(runs[place].manifest), *_of_run(runs[place], stated)))
        else:
            joined = read_answers(samples, _file_of(place), answer_space=settings.answer_space)
            title = place.stem
            read.append((title, joined.verdicts, {}, len(joined.unmatched)))
    titles = unique_titles([title for title, *_ in read], [place.resolve().name for place in places])
    models = [
        _model(title, samples, verdicts, scores, unmatched, runs[place].manifest.run if place in runs else "")
        for title, place, (_, verdicts, scores, unmatched) in zip(titles, places, read, strict=True)
    ]
    return Exploration(name, root, samples, models)


def _file_of(place: Path) -> Path:
    """The file of answers: itself, or the verdicts of a run of `deeptrace detect` or `eval`."""
    if not place.is_dir():
        return place
    found = next((place / name for name in (VERDICTS, PREDICTIONS) if (place / name).is_file()), None)
    if found is None:
        raise DataError(
            str(place), "holds no predictions", "Name a file, or the --out of `deeptrace eval` or `detect`."
        )
    return found


def _of_run(run: SavedRun, samples: Sequence[Sample]) -> tuple[list[Verdict | None], dict[Any, Any], int]:
    """A finished run's verdicts beside these samples; its annotations of them must be the same."""
    by_id = {sample.video_id: (sample, verdict) for sample, verdict in zip(run.samples, run.verdicts, strict=True)}
    for sample in samples:
        theirs = by_id.get(sample.video_id)
        if theirs is not None and theirs[0] is not sample and sample_digest(theirs[0]) != sample_digest(sample):
            raise DataError(
                str(run.path),
                f"the annotation of video {sample.video_id!r} is not the one of the data",
                "Runs can be compared on the same annotations only: evaluate it again.",
            )
    known = {sample.video_id for sample in samples}
    verdicts = [by_id[sample.video_id][1] if sample.video_id in by_id else None for sample in samples]
    return verdicts, run.scores, len(by_id.keys() - known)


def _root_of(run: SavedRun) -> str:
    """Where a run's videos may lie: its paths are relative to a folder that it does not name."""
    folder = Path(run.path).absolute()
    places: list[Path] = [Path.cwd(), folder.parent, folder]
    some = [sample for sample in run.samples[:50] if sample.path]
    return str(max(places, key=lambda place: sum((place / sample.path).is_file() for sample in some)))


def _model(
    title: str,
    samples: Sequence[Sample],
    verdicts: list[Verdict | None],
    scores: dict[tuple[str, int], float | None],
    unmatched: int,
    run: str,
) -> Model:
    columns = columns_of(samples, verdicts)
    sums = metric_sums(samples, verdicts, explanation_scores=scores)
    quality, viou, iou = (ratio(*sums[name]) for name in ("grounded.trace_quality", "traces.viou", "paper.bbox_iou"))
    placed = [
        None if verdict is None else group_of(sample, verdict, None if np.isnan(value) else value)
        for sample, verdict, value in zip(samples, verdicts, quality.tolist(), strict=True)
    ]
    right = np.where(columns.truth < 0, -1, (columns.said == columns.truth).astype(np.int64))
    worst = np.array([np.nan if place is None else _worst(*place) for place in placed], dtype=float)
    groups = ["" if place is None else place[0] for place in placed]
    return Model(title, verdicts, scores, columns, right, groups, worst, viou, iou, unmatched, run)


def _worst(group: str, rank: float) -> float:
    """What orders all groups: errors by their confidence first, then failed answers, then misplaced traces, then found.

    `rank` orders within a group (see `group_of`): -p of false alarms, p of missed videos.
    """
    if group in _WRONG:
        return -(1.0 - rank) if group == "missed" else rank
    return {"failed": 1.0, "misplaced": 3.0, "found": 5.0}[group] + rank
