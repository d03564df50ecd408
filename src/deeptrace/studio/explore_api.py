"""The routes of Explore: lists by pages, one video with what is true and what was said, counts, measures, plots."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any, Literal

import numpy as np
import sqlalchemy as sa
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from deeptrace.benchmark.compare import Difference
from deeptrace.benchmark.leaderboard import plain_tables, read_entries
from deeptrace.benchmark.tables import TABLES, Column, Row, outcome_line
from deeptrace.errors import DataError
from deeptrace.io.csv_cells import csv_cell
from deeptrace.metrics.arrays import Ints
from deeptrace.reports.benchmark import reliability, roc, shown_table
from deeptrace.reports.benchmark_clips import GROUPS
from deeptrace.server.responses import RequestError
from deeptrace.studio.database import clips
from deeptrace.studio.explore import RESAMPLES, Exploration, Model, Wanted
from deeptrace.studio.workshop import DATA, Workshop
from deeptrace.urls import public_url

__all__ = ["add_explore"]

MOST_AT_ONCE = 60
_PARTS = ("by_category", "by_box_size", "by_trace_length")
_CSV = ("video_id", "path", "truth", "source", "split", "true_traces")
_CSV_MODEL = ("label", "p_fake", "outcome", "group", "viou", "traces")


class Shown(BaseModel):
    """Videos that are on the screen, by their numbers: their pictures are made next."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    videos: Annotated[list[Annotated[int, Field(ge=0)]], Field(max_length=MOST_AT_ONCE)]


class WantedPage(Wanted):
    """A page of a list."""

    offset: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    limit: Annotated[int, Field(ge=1, le=500)] = 100


class WantedMeasures(Wanted):
    """`full` with intervals and explanations, which takes longer."""

    full: bool = False


class WantedPlot(Wanted):
    """Of which model, by its number."""

    of: Annotated[int, Field(ge=0)] = 0


class WantedDifferences(Wanted):
    """Of which model against which, by their numbers."""

    of: Annotated[int, Field(ge=0)] = 1
    against: Annotated[int, Field(ge=0)] = 0


def add_explore(api: APIRouter, workshop: Workshop, found: Exploration | None) -> None:
    """Add the routes; they answer 404 in a studio that was given nothing to explore."""

    def explored() -> Exploration:
        if found is None:
            line = "there is nothing to explore: start the studio with --data DIR, or on a run of `deeptrace eval`"
            raise RequestError(404, "not_found", line)
        return found

    _add_leaderboard(api, workshop, found)
    _add_lists(api, workshop, explored)
    _add_videos(api, workshop, explored)
    _add_figures(api, explored)


def _add_leaderboard(api: APIRouter, workshop: Workshop, found: Exploration | None) -> None:
    @api.get("/leaderboard")
    def leaderboard() -> list[dict[str, Any]]:
        """The entries of a leaderboard as they are now: a table a data set and split.

        `explore` says where the videos behind a row are: which model it is in Explore, and the split; None where its
        run is not among those that the studio was started with.
        """
        folder = workshop.settings.leaderboard
        if folder is None:
            raise RequestError(404, "not_found", "there is no leaderboard: start the studio with --leaderboard DIR")
        try:
            boards = plain_tables(read_entries(folder))
        except (DataError, OSError) as error:
            raise RequestError(422, "unprocessable", str(error)) from None
        models = {} if found is None else {model.run: at for at, model in enumerate(found.models) if model.run}
        splits = () if found is None else found.splits
        for board in boards:
            split = board["split"] if board["split"] in splits else ""
            for row in board["rows"]:
                at = models.get(row["run"])
                row["explore"] = None if at is None else {"model": str(at), "split": split}
        return boards


def _add_lists(api: APIRouter, workshop: Workshop, explored: Callable[[], Exploration]) -> None:
    @api.get("/explore")
    def about() -> dict[str, Any]:
        """The dataset, and the models that answered."""
        one = explored()
        return {
            "name": one.name,
            "videos": len(one.samples),
            "sources": one.sources,
            "splits": one.splits,
            "groups": GROUPS,
            "resamples": RESAMPLES,
            "models": [
                {"title": model.title, "answered": int(model.answered.sum()), "unmatched": model.unmatched}
                for model in one.models
            ],
        }

    @api.get("/explore/videos")
    def listed(wanted: Annotated[WantedPage, Query()]) -> dict[str, Any]:
        """A page of the videos that a filter lets through, and how many they are in all."""
        one = explored()
        chosen = one.chosen(wanted)
        page = chosen[wanted.offset : wanted.offset + wanted.limit]
        known = _known(workshop, one, page)
        rows = [_item(one, at) | {"clip": known.get(at)} for at in page.tolist()]
        return {"total": len(chosen), "offset": wanted.offset, "videos": rows}

    @api.get("/explore/videos.csv")
    def table(wanted: Annotated[Wanted, Query()]) -> Response:
        """The videos that a filter lets through, with what each model said. Cells are no formulas."""
        one = explored()
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        heads = [*_CSV, *(f"{model.title}: {name}" for model in one.models for name in _CSV_MODEL)]
        writer.writerow([csv_cell(head) for head in heads])
        for at in one.chosen(wanted).tolist():
            item, path = _item(one, at), public_url(one.samples[at].path)
            cells = [item["id"], path, item["label"], item["source"], item["split"], item["traces"]]
            cells += [answer[name] for answer in item["answers"] for name in _CSV_MODEL]
            writer.writerow([csv_cell("" if cell is None else cell) for cell in cells])
        headers = {"Content-Disposition": 'attachment; filename="videos.csv"'}
        return Response(text.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


def _add_videos(api: APIRouter, workshop: Workshop, explored: Callable[[], Exploration]) -> None:
    @api.get("/explore/video")
    def video(id: Annotated[str, Query(min_length=1, max_length=4096)]) -> dict[str, Any]:
        """One video: what is true of it, and what each model said."""
        one = explored()
        at = one.index.get(id)
        if at is None:
            raise RequestError(404, "not_found", f"there is no video {id[:200]!r}")
        return _whole(one, at) | {"clip": _known(workshop, one, np.array([at])).get(at)}

    @api.post("/explore/clips")
    def show(body: Shown) -> dict[str, dict[str, Any] | None]:
        """Have pictures and timestamps made of videos whose files are here; their clips by number, None for others."""
        one = explored()
        wanted = [at for at in dict.fromkeys(body.videos) if at < len(one.samples)]
        here = [at for at in wanted if _place(one, at) == "here"]
        known = _known(workshop, one, np.array(here, dtype=np.int64))
        fresh = [at for at in here if at not in known]
        if fresh:
            workshop.add(
                [(one.samples[at].path or one.samples[at].video_id, _path(one, at)) for at in fresh], DATA, first=True
            )
            known = _known(workshop, one, np.array(here, dtype=np.int64))
        return {str(at): known.get(at) for at in wanted}


def _add_figures(api: APIRouter, explored: Callable[[], Exploration]) -> None:
    @api.get("/explore/counts")
    def counts(wanted: Annotated[Wanted, Query()]) -> dict[str, Any]:
        """How many videos and traces of each sort a filter lets through."""
        one = explored()
        groups = _groups(one, one.chosen(wanted))
        return one.counts(wanted) | {"groups": groups}

    @api.get("/explore/measures")
    def measures(wanted: Annotated[WantedMeasures, Query()]) -> dict[str, Any]:
        """The models side by side, by the benchmark's metrics, over the videos that a filter lets through."""
        one = explored()
        return _measures(one, wanted)

    @api.get("/explore/differences")
    def differences(wanted: Annotated[WantedDifferences, Query()]) -> dict[str, Any]:
        """A model against another: differences with 95 % intervals and p-values, as `deeptrace compare` has them."""
        one = explored()
        for at in (wanted.of, wanted.against):
            if at >= len(one.models):
                raise RequestError(404, "not_found", f"there is no model {at}")
        if wanted.of == wanted.against:
            raise RequestError(422, "unprocessable", "a model does not differ from itself: name two")
        return _differences(one, wanted)

    @api.get("/explore/{name}.svg")
    def plot(name: Literal["reliability", "roc"], wanted: Annotated[WantedPlot, Query()]) -> Response:
        """How far stated probabilities can be taken at their word, or how well they rank; in the page's colours."""
        one = explored()
        if wanted.of >= len(one.models):
            raise RequestError(404, "not_found", f"there is no model {wanted.of}")
        videos, _ = one.covered(wanted)
        columns = one.models[wanted.of].columns
        use = videos[(columns.truth[videos] >= 0) & ~np.isnan(columns.p_fake[videos])]
        draw = {"reliability": reliability, "roc": roc}[name]
        drawn = draw(columns.truth[use].astype(float), columns.p_fake[use])
        # Without a stated probability there is nothing to draw, which is no error.
        return Response(drawn, media_type="image/svg+xml") if drawn else Response(status_code=204)


def _measures(one: Exploration, wanted: WantedMeasures) -> dict[str, Any]:
    videos, without = one.covered(wanted)
    found = [one.measured(at, videos, full=wanted.full) for at in range(len(one.models))] if len(videos) else []
    rows = [Row(model.title, "run", of.scores) for model, of in zip(one.models, found, strict=False)]
    first = found[0] if found else None
    sources = {} if first is None else first.by_generator
    return {
        "videos": len(videos),
        "without": without,
        "by_answers": wanted.by_answers,
        "full": wanted.full,
        "models": [model.title for model in one.models],
        "outcomes": [outcome_line(of.outcomes) for of in found],
        "tables": [shown_table(table, rows) for table in TABLES if table.has_values(rows)],
        "sources": [
            {
                "name": name,
                "label": block.label,
                "videos": block.videos,
                "accuracy": [of.by_generator[name].accuracy for of in found],
                "viou": [of.by_generator[name].viou for of in found],
            }
            for name, block in sources.items()
        ],
        "parts": {
            part: [
                {
                    "name": name,
                    "traces": block.traces,
                    "viou": [getattr(of, part)[name].viou for of in found],
                    "recall": [getattr(of, part)[name].recall_viou_30 for of in found],
                }
                for name, block in ({} if first is None else getattr(first, part)).items()
                if block.traces
            ]
            for part in _PARTS
        },
    }


def _differences(one: Exploration, wanted: WantedDifferences) -> dict[str, Any]:
    videos, without = one.covered(wanted)
    found = one.differences(wanted.of, wanted.against, videos) if len(videos) else {}
    tables = []
    for table in TABLES:
        rows = [_differing(column, found[column.name]) for column in table.columns if column.name in found]
        if rows:
            tables.append({"title": table.title, "rows": rows})
    models = [one.models[at].title for at in (wanted.against, wanted.of)]
    return {"videos": len(videos), "without": without, "models": models, "tables": tables}


def _differing(column: Column, one: Difference) -> dict[str, Any]:
    """A metric of two models, as the page shows it."""
    return {
        "metric": f"{column.title} {'↑' if column.better == 'up' else '↓'}",
        "name": column.name,
        "values": [column.text(one.a), column.text(one.b)],
        "difference": ("+" if one.difference > 0 else "") + column.text(one.difference),
        "interval": [column.text(limit) for limit in one.interval or ()],
        "p_value": one.p_value,
        "better": bool(one.difference) and (one.difference > 0) == (column.better == "up"),
    }


def _groups(one: Exploration, chosen: Ints) -> list[dict[str, int]]:
    """How many of these videos are in each group, by model."""
    counted = [Counter(model.groups[at] for at in chosen.tolist()) for model in one.models]
    return [{name: count[name] for name in GROUPS} for count in counted]


def _item(one: Exploration, at: int) -> dict[str, Any]:
    """A video for lists."""
    sample = one.samples[at]
    return {
        "at": at,
        "id": sample.video_id,
        "label": sample.label,
        "source": sample.source,
        "split": sample.split,
        "kinds": list(dict.fromkeys(kind for trace in sample.traces for kind in trace.categories)),
        "traces": len(sample.traces),
        "duration_s": _number(one.truth.duration_s[at]),
        "answers": [_answer(model, at) for model in one.models],
    }


def _answer(model: Model, at: int) -> dict[str, Any]:
    verdict = model.verdicts[at]
    return {
        "outcome": "missing" if verdict is None else verdict.outcome.value,
        "label": None if verdict is None else verdict.label,
        "p_fake": None if verdict is None else verdict.p_fake,
        "right": None if model.right[at] < 0 or verdict is None else bool(model.right[at]),
        "group": model.groups[at],
        "viou": _number(model.viou[at]),
        "traces": 0 if verdict is None else len(verdict.traces),
    }


def _whole(one: Exploration, at: int) -> dict[str, Any]:
    sample = one.samples[at]
    answers = []
    for model in one.models:
        verdict = model.verdicts[at]
        whole = None if verdict is None else verdict.model_dump(mode="json")
        more = {"title": model.title, "box_iou": _number(model.box_iou[at]), "verdict": whole}
        answers.append(_answer(model, at) | more)
    return _item(one, at) | {
        "prompt": sample.prompt,
        "media": None if sample.media is None else sample.media.model_dump(mode="json"),
        "truth": [trace.model_dump(mode="json") for trace in sample.traces],
        "place": _place(one, at),
        "path": public_url(one.paths[at]),
        "answers": answers,
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _path(one: Exploration, at: int) -> str:
    return os.path.abspath(one.paths[at])


def _place(one: Exploration, at: int) -> Literal["here", "missing", "address"]:
    """Whether a video's file is on this machine; what is at an address is not fetched."""
    path = one.paths[at]
    if "://" in path:
        return "address"
    return "here" if os.path.isfile(path) else "missing"


def _known(workshop: Workshop, one: Exploration, videos: Ints) -> dict[int, dict[str, Any]]:
    """The clips of those videos that were looked at before, by the videos' numbers."""
    by_path: dict[str, list[int]] = {}
    for at in videos.tolist():
        if "://" not in one.paths[at]:
            by_path.setdefault(_path(one, at), []).append(at)
    with workshop.database.reading() as connection:
        query = sa.select(clips.c.id, clips.c.path, clips.c.state, clips.c.error).where(clips.c.path.in_(list(by_path)))
        return {
            at: {"id": row.id, "state": row.state, "error": row.error}
            for row in connection.execute(query)
            for at in by_path[row.path]
        }
