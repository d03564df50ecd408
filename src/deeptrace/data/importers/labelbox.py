"""Labelbox video exports (NDJSON, export v2) to samples with boxes over time.

One JSON object a line: `data_row`, `media_attributes` and `projects`. In a label's `annotations`, `frames` holds the
boxes (`objects`) and what is said of the frame as a whole (`classifications`) by frame number **counted from 1**,
`segments` the [first, last] (both inclusive) in which each feature lives, `key_frame_feature_map` its keyframes; frames
between keyframes are linear and may be left out. Classifications, of a box, a frame or (in `annotations` itself) the
whole video, are checklists (`checklist_answers`, our tags), radio buttons (`radio_answer`) and free text
(`text_answer`). A row that Labelbox failed to export has `errors` in place of its labels.

What Labelbox takes in is another layout, which `write_labelbox` writes: a line an annotation, with `dataRow` and either
`segments` of `keyframes` or an `answer`.

Format: Labelbox documentation, "Export video annotations", "Import video annotations".
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any

from deeptrace.data.frames import Notes, joined_boxes, needed_boxes, trace_of_boxes
from deeptrace.data.importers.shared import Annotated, Imported, Words, box_in_frame, samples_of, set_aside
from deeptrace.data.media_join import path_below
from deeptrace.errors import DataError, DeeptraceError
from deeptrace.geometry import Box
from deeptrace.io import jsonl
from deeptrace.schema import Label, Media, Trace

__all__ = ["read_labelbox"]


def read_labelbox(
    path: str | os.PathLike[str],
    *,
    media: Callable[[str], Media] | None = None,
    project: str | None = None,
    folder: str = "videos",
    label: Label | None = None,
    source: str | None = None,
) -> Imported:
    """Read an export, or the lines that `write_labelbox` wrote.

    A box that lives in several segments is one trace with gaps; what is said of frames as a whole, a trace without
    a box. A video that two people labelled gives two rounds; its Sample takes the traces of the first who marked any. A
    row without a label is left out, and so is one that makes no sense or that Labelbox failed to export, by name.

    Args:
        path: the NDJSON file.
        media: asked for the size, rate and length of a video that the lines do not state, with the video's path.
        project: id or name of the project to read; needed when the export holds several.
        folder: where the videos lie, below the dataset's root; the file name is the data row's external id with its
            folders, else its global key, else the last part of its URL.
        label: the truth of all videos; by default what a radio button of the video says, else FAKE for those with a
            trace, unknown for the rest.
        source: generator or origin, when one is true of all.

    Raises:
        DataError: not one line is a video export that makes sense; the subject names file, row and part.
    """
    name = PurePosixPath(str(path)).name
    notes = Notes()
    found: list[Annotated] = []
    refused: list[DeeptraceError] = []
    taken_in: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for number, row in jsonl.iter_objects(path):
        with set_aside(refused, f"{name}, row {number}"):
            if "dataRow" in row:
                key = _object(row["dataRow"], f"{name}, row {number}, dataRow").get("globalKey")
                if not isinstance(key, str) or not key.strip():
                    raise DataError(f"{name}, row {number}, dataRow", "has no globalKey")
                taken_in.setdefault(key, []).append((f"{name}, row {number}", row))
                continue
            found += _read_row(row, f"{name}, row {number}", notes, project=project, folder=folder)
    for key, lines in taken_in.items():
        with set_aside(refused, lines[0][0]):
            found.append(_read_lines(key, lines, notes, media))
    return samples_of(_urls_apart(found, folder), notes, refused, folder=folder, label=label, source=source)


def _read_row(
    row: Mapping[str, Any], where: str, notes: Notes, *, project: str | None, folder: str
) -> Iterator[Annotated]:
    """What each label of a row says."""
    data_row = _object(row.get("data_row"), f"{where}, data_row")
    path, identity = _name(data_row, folder, f"{where}, data_row")
    if row.get("errors"):
        errors = row["errors"] if isinstance(row["errors"], list) else [row["errors"]]
        raise DataError(f"{where}, {path}", f"was not exported: {'; '.join(map(str, errors))}", "Export it again.")
    labels = _labels(row, project, where)
    if not labels:
        notes.add(where, f"{PurePosixPath(path).name} has no label yet and was left out")
        return
    media = _media(row, f"{where}, media_attributes")
    extra = {key: data_row[key] for key in ("global_key", "external_id") if isinstance(data_row.get(key), str)}
    for at, label in enumerate(labels, 1):
        spot = f"{where}, label {at}"
        details = label.get("label_details") or {}
        look = _Look(_object(label.get("annotations") or {}, f"{spot}, annotations"), media, spot, notes)
        traces = tuple(look.traces())
        yield Annotated(
            where=spot,
            path=path,
            media=media,
            traces=traces,
            annotator=str(details.get("created_by") or f"label {at}"),
            incomplete=look.incomplete,
            label=look.whole.label,
            identity=identity,
            about={"extra": extra},
        )


def _read_lines(
    key: str, lines: list[tuple[str, Mapping[str, Any]]], notes: Notes, ask: Callable[[str], Media] | None
) -> Annotated:
    """What the lines of one video say, in the layout that Labelbox takes in."""
    first = lines[0][0]
    if ask is None:
        raise DataError(f"{first}, {key}", "does not state size, rate and length", "Name the folder of the videos.")
    media = ask(key).model_copy(update={"sampled_times_s": ()})
    whole = Words()
    traces: list[Trace] = []
    for where, line in lines:
        if "segments" in line:
            traces.append(_trace_of_line(line, media, where, notes))
        else:
            _collect_answer(line, whole)
    about = {"label": whole.label, "annotator": "labelbox"}
    return Annotated(where=first, path=key, media=media, traces=tuple(traces), **about)  # type: ignore[arg-type]


def _trace_of_line(line: Mapping[str, Any], media: Media, where: str, notes: Notes) -> Trace:
    words = Words()
    _collect_answer(line, words)
    parts: list[tuple[dict[int, Box], int, int]] = []
    for segment in line["segments"]:
        boxes: dict[int, Box] = {}
        for stated in _object(segment, f"{where}, segments")["keyframes"]:
            frame = _whole(_object(stated, f"{where}, keyframes").get("frame"), f"{where}, keyframes") - 1
            _collect_answer(stated, words)
            sides = _object(stated.get("bbox"), f"{where}, frame {frame + 1}, bbox")
            left, top, width, height = (float(sides[side]) for side in ("left", "top", "width", "height"))
            box = box_in_frame((left, top, left + width, top + height), media, f"{where}, frame {frame + 1}", notes)
            if not isinstance(box, Box) or not 0 <= frame < (media.frames or frame + 1):
                raise DataError(f"{where}, frame {frame + 1}", "has no box within its video")
            boxes[frame] = box
        last = max(boxes)
        keys = set(boxes) - ({last} if len(boxes) > 1 else set())  # it may only say when the segment ends
        parts.append((needed_boxes(boxes, media, keys=keys), min(boxes), last + 1))
    parts.sort(key=lambda part: part[1])
    if any(end > after for (_, _, end), (_, after, _) in pairwise(parts)):
        raise DataError(f"{where}, segments", "expected segments apart but two overlap")
    words.note_unused(where, notes)
    whole, gaps = joined_boxes(parts)
    said = {"categories": words.categories, "score": words.score, "explanation": words.explanation}
    return trace_of_boxes(whole, parts[0][1], parts[-1][2], media.fps or 1.0, gaps=gaps, **said)  # type: ignore[arg-type]


def _collect_answer(item: Mapping[str, Any], words: Words) -> None:
    """An answer and those below it, in the layout that Labelbox takes in."""
    answer = item.get("answer")
    if isinstance(answer, str):
        words.add_text(answer)
    for chosen in answer if isinstance(answer, list) else [answer]:
        if isinstance(chosen, Mapping):
            words.add_tag(str(chosen.get("name") or ""))
    for below in item.get("classifications") or ():
        _collect_answer(_object(below, "classifications"), words)


def _name(data_row: Mapping[str, Any], folder: str, where: str) -> tuple[str, str | None]:
    """The video's path, and what tells it from another video of that path."""
    for key in ("external_id", "global_key", "row_data", "id"):
        value = data_row.get(key)
        if isinstance(value, str) and value.strip():
            name = value.split("?", 1)[0]
            last = path_below(name, "")
            if last is not None and "://" in name:  # a URL's folders are the store's, not the dataset's
                return path_below(PurePosixPath(last).name, folder) or last, name
            if last is not None:
                key_of_row = data_row.get("global_key")
                return path_below(name, folder) or last, key_of_row if isinstance(key_of_row, str) else None
    raise DataError(where, "has neither external_id, global_key, row_data nor id")


def _urls_apart(found: list[Annotated], folder: str) -> list[Annotated]:
    """Videos that are named by URLs with the same last part get as many of its folders as tell them apart."""
    urls: dict[str, set[str]] = {}
    for item in found:
        if item.identity is not None and "://" in item.identity:
            urls.setdefault(item.path, set()).add(item.identity)
    longer: dict[str, str] = {}
    for same in urls.values():
        parts = {url: (path_below(url, "") or url).split("/") for url in same}
        depth = 1
        while depth < max(map(len, parts.values())) and len({tuple(p[-depth:]) for p in parts.values()}) < len(same):
            depth += 1
        if len(same) > 1:
            longer |= {url: path_below("/".join(p[-depth:]), folder) or url for url, p in parts.items()}
    return [replace(item, path=longer.get(item.identity or "", item.path)) for item in found]


def _labels(row: Mapping[str, Any], project: str | None, where: str) -> list[Mapping[str, Any]]:
    """The labels of the one project that is read, without those that an annotator skipped."""
    projects = _object(row.get("projects"), f"{where}, projects")
    chosen = {
        key: value
        for key, value in projects.items()
        if project is None or project in (key, _object(value, where).get("name"))
    }
    if len(chosen) > 1:
        raise DataError(f"{where}, projects", f"holds several: {', '.join(chosen)}", "Name the one to read.")
    labels = [
        _object(item, f"{where}, labels")
        for value in chosen.values()
        for item in _object(value, f"{where}, projects").get("labels") or ()
    ]
    return [label for label in labels if not (label.get("performance_details") or {}).get("skipped")]


def _media(row: Mapping[str, Any], where: str) -> Media:
    stated = _object(row.get("media_attributes"), where)
    values: dict[str, float] = {}
    for key in ("width", "height", "frame_rate", "frame_count"):
        value = stated.get(key)
        try:
            values[key] = math.nan if value is None or isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            values[key] = math.nan
        if not 0 < values[key] < math.inf:
            raise DataError(f"{where}, {key}", f"expected a positive number but got {value!r}")
    fps, frames = values["frame_rate"], int(values["frame_count"])
    return Media(
        width=int(values["width"]), height=int(values["height"]), duration_s=frames / fps, fps=fps, frames=frames
    )


class _Look:
    """One label of one video: its traces, and whether something in it could not be read as one."""

    def __init__(self, annotations: Mapping[str, Any], media: Media, where: str, notes: Notes) -> None:
        self.media, self.where, self.notes, self.incomplete = media, where, notes, False
        self.frames = {
            _whole(key, f"{where}, frames"): _object(frame, f"{where}, frame {key}")
            for key, frame in _object(annotations.get("frames") or {}, f"{where}, frames").items()
        }
        self.segments = _object(annotations.get("segments") or {}, f"{where}, segments")
        self.keys = _object(annotations.get("key_frame_feature_map") or {}, f"{where}, key_frame_feature_map")
        self.from_one = 0 if 0 in self.frames else 1
        if not self.from_one:
            notes.add(where, "has a frame 0, where Labelbox counts from 1; its frames were read as counted from 0")
        self.whole = Words()
        _collect(annotations.get("classifications") or (), self.whole)

    def traces(self) -> Iterator[Trace]:
        """One an object, then one a run of frames of which something is said, then the whole video's."""
        objects: dict[str, dict[int, Mapping[str, Any]]] = {}
        for number, frame in sorted(self.frames.items()):
            spot = f"{self.where}, frame {number}"
            for feature, item in _object(frame.get("objects") or {}, f"{spot}, objects").items():
                objects.setdefault(feature, {})[number] = _object(item, f"{spot}, {feature}")
        for feature, by_frame in objects.items():
            yield from self._object(feature, by_frame)
        yield from self._frame_texts()
        self.whole.note_unused(self.where, self.notes)
        if self.whole.categories or self.whole.explanation:
            yield Trace(categories=self.whole.categories, explanation=self.whole.explanation)

    def _object(self, feature: str, by_frame: Mapping[int, Mapping[str, Any]]) -> Iterator[Trace]:
        spot = f"{self.where}, object {feature}"
        words = Words()
        for item in by_frame.values():
            _collect(item.get("classifications") or (), words)
        if not any(isinstance(item.get("bounding_box"), Mapping) for item in by_frame.values()):
            self.notes.add(spot, "is no bounding box and was left out")
            self.incomplete = True
            return
        boxes = {number: self._box(item, f"{spot}, frame {number}") for number, item in by_frame.items()}
        known = {number: box for number, box in boxes.items() if box is not None}
        if not known:
            self.incomplete = True
            return
        words.note_unused(spot, self.notes)
        keys = {_whole(number, f"{spot}, keyframes") for number in self.keys.get(feature) or ()}
        parts = []
        for first, last in sorted(self._spans(feature, known, spot)):
            inside = {number: box for number, box in known.items() if first <= number <= last}
            if not inside:  # the segment's keyframe lies before it: the nearest box holds
                nearest = min(known, key=lambda number: min(abs(number - first), abs(number - last)))
                inside = {first: known[nearest]}
            parts.append((needed_boxes(inside, self.media, keys=keys), first, last + 1))
        if any(end > first for (_, _, end), (_, first, _) in pairwise(parts)):
            raise DataError(f"{spot}, segments", "expected segments apart but two overlap")
        if parts:
            whole, gaps = joined_boxes(parts)
            yield self._trace(whole, parts[0][1], parts[-1][2] - 1, words, gaps)

    def _frame_texts(self) -> Iterator[Trace]:
        """A trace without a box for what is said of frames as a whole; the same said of several is one."""
        said: dict[str, tuple[Words, list[int]]] = {}
        for number, frame in sorted(self.frames.items()):
            for item in frame.get("classifications") or ():
                words = Words()
                _collect([item], words)
                name = str(item.get("feature_id") or item.get("name")) if isinstance(item, Mapping) else ""
                key = f"{name}\n{words.explanation}\n{list(words.tags)}"
                said.setdefault(key, (words, []))[1].append(number)
        for key, (words, numbers) in said.items():
            words.note_unused(self.where, self.notes)
            if not words.categories and not words.explanation:
                continue
            for first, last in self._spans(key.partition("\n")[0], numbers, self.where):
                yield self._trace({}, first, last, words)

    def _spans(self, feature: str, numbers: Iterable[int], where: str) -> Iterator[tuple[int, int]]:
        """The [first, last] frames of each segment; without segments one from the first number to the last."""
        known = list(numbers)
        final = (self.media.frames or 0) - 1 + self.from_one
        for stated in self.segments.get(feature) or [[min(known), max(known)]]:
            if not isinstance(stated, (list, tuple)) or len(stated) != 2:
                raise DataError(f"{where}, segments", f"expected [first, last] but got {stated!r}")
            first, last = (_whole(number, f"{where}, segments") for number in stated)
            if not self.from_one <= first <= last:
                raise DataError(f"{where}, segments", f"expected frames in order but got {first} to {last}")
            if first > final:
                self.notes.add(where, "begins after the end of its video and was left out")
                self.incomplete = True
                continue
            if last > final:
                self.notes.add(where, "lasts beyond the end of its video and was cut off there")
            yield first, min(last, final)

    def _trace(
        self, boxes: Mapping[int, Box], first: int, last: int, words: Words, gaps: Iterable[tuple[int, int]] = ()
    ) -> Trace:
        return trace_of_boxes(
            {number - self.from_one: box for number, box in boxes.items()},
            first - self.from_one,
            last + 1 - self.from_one,
            self.media.fps or 1.0,
            categories=words.categories,
            score=words.score,
            explanation=words.explanation,
            gaps=[(low - self.from_one, high - self.from_one) for low, high in gaps],
        )

    def _box(self, item: Mapping[str, Any], where: str) -> Box | None:
        stated = item.get("bounding_box")
        if not isinstance(stated, Mapping):
            return None
        try:
            left, top, width, height = (float(stated[side]) for side in ("left", "top", "width", "height"))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{where}, bounding_box", f"makes no sense: {dict(stated)}") from error
        box = box_in_frame((left, top, left + width, top + height), self.media, where, self.notes)
        return box if isinstance(box, Box) else None


def _collect(classifications: Iterable[Any], words: Words) -> None:
    """Answers and texts of nested classifications, depth first."""
    for item in classifications:
        if not isinstance(item, Mapping):
            continue
        answers = list(item.get("checklist_answers") or ())
        if isinstance(item.get("radio_answer"), Mapping):
            answers.append(item["radio_answer"])
        for answer in answers:
            words.add_tag(str(answer.get("name") or answer.get("value") or ""))
            _collect(answer.get("classifications") or (), words)
        text = item.get("text_answer")
        if isinstance(text, Mapping):
            words.add_text(str(text.get("content") or ""))
        _collect(item.get("classifications") or (), words)


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise DataError(where, f"expected an object but got {type(value).__name__}", "Is it a Labelbox video export?")
    return value


def _whole(value: Any, where: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise DataError(where, f"expected a frame number but got {value!r}") from error
