"""Rounds of annotation: what each annotator saw on each clip, on its own (`passes.jsonl`).

One JSON object a line: `file`, `annotator`, `cannot_tell`, `traces` of `categories`, `box` ([x0, y0, x1, y1] in
fractions), `onset_s`, `offset_s`, `explanation`, `confidence`, `keyframes` (`time_s`, `box`) where the box moves, and
`gaps` (`onset_s`, `offset_s`) where it is off for a while. Several lines a file, one a pass.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict

from deeptrace.errors import DataError
from deeptrace.geometry import Box, Interval, Keyframe
from deeptrace.io import jsonl
from deeptrace.io.atomic import short_name
from deeptrace.schema import Sample, Trace, categories_of_tags

__all__ = ["AnnotationRound", "group_rounds", "iter_rounds", "match_rounds", "read_rounds", "write_rounds"]


class AnnotationRound(BaseModel):
    """One annotator's look at one clip.

    Attributes:
        file: path of the clip, relative to the dataset's root.
        annotator: name of the annotator.
        cannot_tell: the annotator saw nothing that gives the clip away.
        traces: what was seen, in the annotator's order; `score` is the annotator's own confidence.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    annotator: str
    cannot_tell: bool = False
    traces: tuple[Trace, ...] = ()


def read_rounds(path: str | os.PathLike[str]) -> list[AnnotationRound]:
    """All rounds of a file, in order.

    Raises:
        DataError: a line is invalid; the subject names file, line and field.
    """
    return list(iter_rounds(path))


def iter_rounds(path: str | os.PathLike[str]) -> Iterator[AnnotationRound]:
    """As `read_rounds`, one at a time."""
    name = short_name(path)
    for number, fields in jsonl.iter_objects(path):
        where = f"{name}, row {number}"
        file, annotator = fields.get("file"), fields.get("annotator")
        if not isinstance(file, str) or not file:
            raise DataError(f"{where}, file", "expected the path of the clip")
        if not isinstance(annotator, (str, int)):
            raise DataError(f"{where}, annotator", "expected a name")
        stated = fields.get("traces") or []
        if not isinstance(stated, list):
            raise DataError(f"{where}, traces", "expected a list")
        traces = tuple(_trace(item, f"{where}, trace {at}") for at, item in enumerate(stated, 1))
        yield AnnotationRound(
            file=file, annotator=str(annotator), cannot_tell=bool(fields.get("cannot_tell")), traces=traces
        )


def _trace(fields: Any, where: str) -> Trace:
    if not isinstance(fields, dict):
        raise DataError(where, f"expected an object but got {type(fields).__name__}")
    categories, unknown = categories_of_tags(fields.get("categories") or ())
    if unknown:
        raise DataError(f"{where}, categories", f"no such category: {', '.join(unknown)}")
    box = fields.get("box")
    try:
        return Trace(
            categories=categories,
            onset_s=fields.get("onset_s"),
            offset_s=fields.get("offset_s"),
            score=fields.get("confidence"),
            box=None if box is None else Box.from_fractions(*box),
            keyframes=tuple(Keyframe.model_validate(key) for key in fields.get("keyframes") or ()),
            explanation=fields.get("explanation") or "",
            gaps=tuple(Interval.model_validate(gap) for gap in fields.get("gaps") or ()),
        )
    except (TypeError, ValueError) as error:
        raise DataError(where, " ".join(str(error).split())) from error


def write_rounds(rounds: Iterable[AnnotationRound], path: str | os.PathLike[str]) -> int:
    """Write rounds as JSON lines that `read_rounds` reads back equal; returns how many."""
    return jsonl.write_lines((_round_fields(item) for item in rounds), path)


def _round_fields(item: AnnotationRound) -> dict[str, Any]:
    traces = []
    for trace in item.traces:
        stated = trace.model_dump(mode="json")
        fields = {name: stated[name] for name in ("categories", "box", "onset_s", "offset_s", "explanation")}
        fields["confidence"] = stated["score"]
        if trace.keyframes:
            fields["keyframes"] = stated["keyframes"]
        if trace.gaps:
            fields["gaps"] = stated["gaps"]
        traces.append(fields)
    return {"file": item.file, "annotator": item.annotator, "cannot_tell": item.cannot_tell, "traces": traces}


def group_rounds(rounds: Iterable[AnnotationRound]) -> dict[str, list[AnnotationRound]]:
    """Rounds by clip, in order of first mention.

    Raises:
        DataError: one annotator has two rounds for one clip.
    """
    groups: dict[str, list[AnnotationRound]] = {}
    for item in rounds:
        group = groups.setdefault(item.file, [])
        if any(other.annotator == item.annotator for other in group):
            raise DataError(item.file, f"annotator {item.annotator!r} has two rounds over this clip")
        group.append(item)
    return groups


def match_rounds(
    samples: Iterable[Sample], rounds: Iterable[AnnotationRound]
) -> tuple[dict[str, list[AnnotationRound]], list[str]]:
    """Rounds by `video_id` (joined on the samples' path), and the files of rounds that no sample has."""
    by_path = {sample.path: sample.video_id for sample in samples}
    matched: dict[str, list[AnnotationRound]] = {}
    unmatched: list[str] = []
    for file, group in group_rounds(rounds).items():
        if file in by_path:
            matched[by_path[file]] = group
        else:
            unmatched.append(file)
    return matched, unmatched
