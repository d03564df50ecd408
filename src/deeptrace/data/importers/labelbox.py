"""Labelbox video exports (NDJSON, export v2) to samples with boxes over time.

One JSON object a line: `data_row`, `media_attributes` and `projects`. In a label's `annotations`, `frames` holds the
boxes by frame number **counted from 1**, `segments` the stretches [first, last] (both inclusive) in which each
feature lives, `key_frame_feature_map` its keyframes; frames between keyframes are linear and may be left out.
Nested `classifications` of a box are checklists (`checklist_answers`, our tags), radio buttons (`radio_answer`) and
free text (`text_answer`). Format: Labelbox documentation, "Export video annotations".
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from deeptrace.data import jsonio
from deeptrace.data.importers.shared import Imported, Words, sample_of, trace_of_stretch
from deeptrace.data.passes import AnnotationPass
from deeptrace.errors import DataError
from deeptrace.geometry import Box
from deeptrace.trace import Label, Media, Trace

__all__ = ["read_labelbox"]


def read_labelbox(
    path: str | os.PathLike[str],
    *,
    project: str | None = None,
    folder: str = "videos",
    label: Label | None = None,
    source: str | None = None,
) -> Imported:
    """Read an export.

    A box that lives in several segments becomes one trace a segment. A video that two people labelled gives two
    passes; its Sample takes the traces of the first.

    Args:
        path: the NDJSON file.
        project: id or name of the project to read; needed when the export holds several.
        folder: where the videos lie, below the dataset's root; the file name is the data row's external id, else
            its global key, else the last part of its URL.
        label: the truth of all videos; by default FAKE for those with a trace, unknown for the rest.
        source: generator or origin, when one is true of all.

    Raises:
        DataError: a line is no video export or makes no sense; the subject names file, row and part.
    """
    result = Imported()
    name = PurePosixPath(str(path)).name
    for number, row in jsonio.iter_objects(path):
        where = f"{name}, row {number}"
        _read_row(row, where, result, project=project, folder=folder, label=label, source=source)
    seen: dict[str, None] = {}
    for sample in result.samples:
        if sample.video_id in seen:
            raise DataError(name, f"holds video {sample.video_id!r} twice")
        seen[sample.video_id] = None
    return result


def _read_row(
    row: Mapping[str, Any],
    where: str,
    result: Imported,
    *,
    project: str | None,
    folder: str,
    label: Label | None,
    source: str | None,
) -> None:
    data_row = _object(row.get("data_row"), f"{where}, data_row")
    media = _media(row, f"{where}, media_attributes")
    file = _file_name(data_row, f"{where}, data_row")
    path = f"{folder}/{file}" if folder else file
    traces: tuple[Trace, ...] | None = None
    for at, found in enumerate(_labels(row, project, where), 1):
        spot = f"{where}, label {at}"
        mine = tuple(_traces(_object(found.get("annotations"), f"{spot}, annotations"), media, spot, result.warnings))
        details = found.get("label_details") or {}
        annotator = str(details.get("created_by") or f"label {at}")
        if any(item.file == path and item.annotator == annotator for item in result.passes):
            annotator = f"{annotator} ({at})"
        result.passes.append(AnnotationPass(file=path, annotator=annotator, cannot_tell=not mine, traces=mine))
        traces = mine if traces is None else traces
    if traces is None:
        result.warnings.append(f"{where}: {file} has no label yet and was left out")
        return
    extra = {key: data_row[key] for key in ("global_key", "external_id") if isinstance(data_row.get(key), str)}
    stem = PurePosixPath(file).stem
    result.samples.append(sample_of(stem, path, media, traces, label=label, source=source, extra=extra))


def _labels(row: Mapping[str, Any], project: str | None, where: str) -> list[Mapping[str, Any]]:
    projects = _object(row.get("projects"), f"{where}, projects")
    chosen = {
        key: value
        for key, value in projects.items()
        if project is None or project in (key, _object(value, where).get("name"))
    }
    if len(chosen) > 1:
        raise DataError(f"{where}, projects", f"holds several: {', '.join(chosen)}", "Name the one to read.")
    return [
        _object(item, f"{where}, labels")
        for value in chosen.values()
        for item in _object(value, f"{where}, projects").get("labels") or ()
    ]


def _media(row: Mapping[str, Any], where: str) -> Media:
    stated = _object(row.get("media_attributes"), where)
    values = {}
    for key in ("width", "height", "frame_rate", "frame_count"):
        value = stated.get(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
            raise DataError(f"{where}, {key}", f"expected a positive number but got {value!r}")
        values[key] = value
    fps, frames = float(values["frame_rate"]), int(values["frame_count"])
    return Media(
        width=int(values["width"]), height=int(values["height"]), duration_s=frames / fps, fps=fps, frames=frames
    )


def _file_name(data_row: Mapping[str, Any], where: str) -> str:
    for key in ("external_id", "global_key", "row_data", "id"):
        value = data_row.get(key)
        if isinstance(value, str) and value.strip():
            file = value.split("?", 1)[0].replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
            if file not in ("", ".", ".."):
                return file if PurePosixPath(file).suffix else f"{file}.mp4"
    raise DataError(where, "has neither external_id, global_key, row_data nor id")


def _traces(annotations: Mapping[str, Any], media: Media, where: str, warnings: list[str]) -> Iterator[Trace]:
    frames = {
        _whole(key, f"{where}, frames"): _object(frame, f"{where}, frame {key}")
        for key, frame in _object(annotations.get("frames") or {}, f"{where}, frames").items()
    }
    objects: dict[str, dict[int, Mapping[str, Any]]] = {}
    for number, frame in sorted(frames.items()):
        for feature, item in _object(frame.get("objects") or {}, f"{where}, frame {number}, objects").items():
            objects.setdefault(feature, {})[number] = _object(item, f"{where}, frame {number}, {feature}")
    segments = _object(annotations.get("segments") or {}, f"{where}, segments")
    marked = _object(annotations.get("key_frame_feature_map") or {}, f"{where}, key_frame_feature_map")
    for feature, by_frame in objects.items():
        spot = f"{where}, object {feature}"
        words = Words()
        for item in by_frame.values():
            _collect(item.get("classifications") or (), words)
        boxes = {number: _box(item, media, f"{spot}, frame {number}") for number, item in by_frame.items()}
        known = {number: box for number, box in boxes.items() if box is not None}
        if not known:
            warnings.append(f"{spot}: is no bounding box and was left out")
            continue
        if words.unknown:
            warnings.append(f"{spot}: no category for {', '.join(words.unknown)}")
        keys = {_whole(number, f"{spot}, keyframes") for number in marked.get(feature) or ()}
        yield from _stretches(known, keys, segments.get(feature), media, words, spot)


def _stretches(
    boxes: Mapping[int, Box], keys: set[int], segments: Any, media: Media, words: Words, where: str
) -> Iterator[Trace]:
    """One trace a segment; without segments, one from the first box to the last."""
    stretches = segments or [[min(boxes), max(boxes)]]
    for stretch in stretches:
        if not isinstance(stretch, (list, tuple)) or len(stretch) != 2:
            raise DataError(f"{where}, segments", f"expected [first, last] but got {stretch!r}")
        first, last = (_whole(number, f"{where}, segments") for number in stretch)
        inside = {number: box for number, box in boxes.items() if first <= number <= last}
        # Frames that are no keyframe were interpolated by the tool; the keyframes alone say the same, linearly.
        marked = {number: box for number, box in inside.items() if number in keys}
        chosen = marked or inside
        if not chosen:  # the segment's keyframe lies before it: the nearest box holds
            nearest = min(boxes, key=lambda number: min(abs(number - first), abs(number - last)))
            chosen = {first: boxes[nearest]}
        yield trace_of_stretch(
            [(number - 1, box) for number, box in chosen.items()],
            first - 1,
            last,
            media.fps or 1.0,
            words,
            where=where,
        )


def _box(item: Mapping[str, Any], media: Media, where: str) -> Box | None:
    stated = item.get("bounding_box")
    if not isinstance(stated, Mapping):
        return None
    try:
        return Box.from_pixels_ltwh(
            float(stated["left"]),
            float(stated["top"]),
            float(stated["width"]),
            float(stated["height"]),
            width=media.width,
            height=media.height,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{where}, bounding_box", f"makes no sense: {dict(stated)}") from error


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
