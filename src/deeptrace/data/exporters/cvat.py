"""Samples as CVAT for video 1.1: one XML a video, to be uploaded as annotations of that video's task.

Each trace is a track labelled "trace" with a checkbox a category and its explanation as text; `labels.json` beside the
files is what CVAT's "Raw" label editor takes. As CVAT itself does, every frame of a track is written, and an `outside`
box closes it, or says that it is off until the next one.

Format: as `deeptrace.data.importers.cvat`, which reads it back.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from deeptrace.data.exporters.shared import Exported, PortableNames, samples_on_frames
from deeptrace.data.frames import ANY_KIND, Notes, TraceFrames, frame_count
from deeptrace.data.media_join import path_below
from deeptrace.geometry import Box
from deeptrace.io.atomic import atomic_path
from deeptrace.schema import Category, Media, Sample

__all__ = ["write_cvat"]

LABELS_NAME = "labels.json"
EXPLANATION, CONFIDENCE = "explanation", "confidence"
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_cvat(samples: Iterable[Sample], folder: str | os.PathLike[str]) -> Exported:
    """Write `folder/PATH.xml` for each video, PATH being its path, and `labels.json`.

    The split becomes CVAT's subset. Traces without a box have no place, nor have label, source and prompt of a video.

    Raises:
        DataError: the folder cannot be written.
    """
    base, notes = Path(folder), Notes()
    names = PortableNames()
    videos = traces = 0
    scored = False
    for sample, media, found in samples_on_frames(samples, notes, holds=("split",), boxes_only=True):
        where = f"video {sample.video_id}"
        name = path_below(sample.path or sample.video_id, "")
        if name is None:
            notes.leave_out(sample.video_id, "has no path to name its task by")
            continue
        if name != sample.path:
            notes.add(where, "its path cannot be kept as it stands")
        if Path(name).stem != sample.video_id:
            notes.add(where, "its id is not the name of its file and has no place in this format")
        scored = scored or any(item.trace.score is not None for item in found)
        with atomic_path(base / names.of(name, ".xml")) as scratch:
            _document(sample, name, media, found, notes).write(scratch, encoding="utf-8", xml_declaration=True)
        videos, traces = videos + 1, traces + len(found)
    with atomic_path(base / LABELS_NAME) as scratch:
        scratch.write_text(json.dumps(_labels(scored), indent=2) + "\n", encoding="utf-8")
    return Exported(videos, traces, tuple(notes.lines()), notes.left_out)


def _labels(scored: bool) -> list[dict[str, Any]]:
    """The label as CVAT's raw editor takes it."""
    ticks = [_attribute(kind.value, "checkbox", "false", ["false"]) for kind in Category]
    further = [_attribute(EXPLANATION, "text", "", [""])]
    if scored:
        further.append(_attribute(CONFIDENCE, "number", "0", ["0", "1", "0.001"]))
    return [{"name": ANY_KIND, "type": "rectangle", "attributes": ticks + further}]


def _attribute(name: str, kind: str, default: str, values: list[str]) -> dict[str, Any]:
    return {"name": name, "mutable": False, "input_type": kind, "default_value": default, "values": values}


def _document(
    sample: Sample, name: str, media: Media, traces: list[TraceFrames], notes: Notes
) -> ElementTree.ElementTree[ElementTree.Element]:
    root = ElementTree.Element("annotations")
    _add(root, "version", "1.1")
    _meta(_add(_add(root, "meta"), "task"), sample, name, media, any(item.trace.score is not None for item in traces))
    for number, item in enumerate(traces):
        track = _add(root, "track", id=str(number), label=ANY_KIND, source="manual")
        values = _values(item, f"video {sample.video_id}, trace {number + 1}", notes)
        off = dict.fromkeys(frame for frame, _ in item.gaps)
        seen = {frame: (box, False) for frame, box in item.seen}
        seen |= {frame: (item.boxes[frame - item.first], True) for frame in off}
        for frame, (box, outside) in sorted(seen.items(), key=lambda one: one[0]):
            _box(track, frame, box, media, values, keyframe=outside or frame in item.keys, outside=outside)
        if item.end < frame_count(media):
            _box(track, item.end, item.boxes[-1], media, values, keyframe=True, outside=True)
    ElementTree.indent(root)
    return ElementTree.ElementTree(root)


def _meta(task: ElementTree.Element, sample: Sample, name: str, media: Media, scored: bool) -> None:
    frames = frame_count(media)
    for tag, text in (
        ("id", "0"),
        ("name", _plain(sample.video_id)),
        ("size", str(frames)),
        ("mode", "interpolation"),
        ("overlap", "0"),
        ("start_frame", "0"),
        ("stop_frame", str(frames - 1)),
        ("frame_filter", ""),
        ("subset", _plain(sample.split or "")),
    ):
        _add(task, tag, text)
    labels = _add(task, "labels")
    for label in _labels(scored):
        element = _add(labels, "label")
        _add(element, "name", label["name"])
        _add(element, "type", label["type"])
        attributes = _add(element, "attributes")
        for stated in label["attributes"]:
            attribute = _add(attributes, "attribute")
            _add(attribute, "name", stated["name"])
            _add(attribute, "mutable", str(stated["mutable"]))
            _add(attribute, "input_type", stated["input_type"])
            _add(attribute, "default_value", stated["default_value"])
            _add(attribute, "values", "\n".join(stated["values"]))
    size = _add(task, "original_size")
    _add(size, "width", str(media.width))
    _add(size, "height", str(media.height))
    _add(task, "source", _plain(name))


def _values(item: TraceFrames, where: str, notes: Notes) -> Mapping[str, str]:
    """The attributes of a track's boxes; ticked categories first, in the trace's order."""
    trace = item.trace
    text = _plain(trace.explanation)
    if _NOT_XML.search(trace.explanation):
        notes.add(where, "its explanation has characters that XML cannot hold; spaces stand for them")
    ticked = {Category(kind).value: "true" for kind in trace.categories}
    unticked = {kind.value: "false" for kind in Category if kind.value not in ticked}
    score = {} if trace.score is None else {CONFIDENCE: repr(trace.score)}
    return ticked | unticked | {EXPLANATION: text} | score


def _plain(text: str) -> str:
    return _NOT_XML.sub(" ", text).replace("\r\n", "\n").replace("\r", "\n")


def _box(
    track: ElementTree.Element,
    frame: int,
    box: Box,
    media: Media,
    values: Mapping[str, str],
    *,
    keyframe: bool,
    outside: bool,
) -> None:
    corners = box.to_pixels_xyxy(width=media.width, height=media.height)
    sides = dict(zip(("xtl", "ytl", "xbr", "ybr"), (f"{corner:.12g}" for corner in corners), strict=True))
    state = {"keyframe": str(int(keyframe)), "outside": str(int(outside)), "occluded": "0"}
    element = _add(track, "box", frame=str(frame), **state, **sides, z_order="0")
    for name, value in values.items():
        _add(element, "attribute", value, name=name)


def _add(parent: ElementTree.Element, tag: str, text: str | None = None, **attributes: str) -> ElementTree.Element:
    element = ElementTree.SubElement(parent, tag, attributes)
    element.text = text
    return element
