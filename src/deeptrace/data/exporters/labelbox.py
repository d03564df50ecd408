"""Samples as Labelbox takes them: `labels.ndjson`, imported as ground truth or as pre-labels, and `ontology.json`.

A trace is a bounding box with segments of keyframes, a segment for each time that it is to be seen, and below its
first keyframe the kinds as a checklist and the explanation as text. The label of a video is a radio button. A video is
named by its global key, which is its path here. Frames count from 1, boxes are pixels, linear between keyframes.

Format: Labelbox documentation, "Import video annotations"; read back by `deeptrace.data.importers.labelbox`.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from deeptrace.data.exporters.shared import Exported, samples_on_frames
from deeptrace.data.frames import ANY_KIND, Notes, TraceFrames
from deeptrace.io import jsonl
from deeptrace.io.atomic import atomic_path
from deeptrace.schema import Category, Label, Media, Sample

__all__ = ["write_labelbox"]

LABELS_NAME, ONTOLOGY_NAME = "labels.ndjson", "ontology.json"
KINDS, EXPLANATION, TRUTH = "kinds", "explanation", "truth"
_IDS = uuid.UUID("6c0d1c3e-5e0b-4b35-9a6b-7c4f1f4f2b1a")


def write_labelbox(samples: Iterable[Sample], folder: str | os.PathLike[str]) -> Exported:
    """Write `labels.ndjson` and `ontology.json`.

    A video without a label and without a trace has no line. Traces without a box have no place, nor have source, split
    and prompt of a video, and scores.

    Raises:
        DataError: the folder cannot be written.
    """
    base, notes = Path(folder), Notes()
    videos = traces = 0

    def lines() -> Iterator[dict[str, Any]]:
        nonlocal videos, traces
        for sample, media, found in samples_on_frames(samples, notes, holds=("label",), boxes_only=True):
            where = f"video {sample.video_id}"
            if sample.label is None and not found:
                notes.add(where, "has neither a label nor a trace, and so no line")
            if Path(sample.path).stem != sample.video_id:
                notes.add(where, "its id is not the name of its file and has no place in this format")
            if any(item.trace.score is not None for item in found):
                notes.add(where, "scores have no place in this format and were left out")
            videos, traces = videos + 1, traces + len(found)
            row = {"dataRow": {"globalKey": sample.path or sample.video_id}}
            if sample.label is not None:
                yield {"name": TRUTH, "answer": {"name": Label(sample.label).value}} | row
            for number, item in enumerate(found, 1):
                # The same id each time, so that the same labels are the same file.
                name = str(uuid.uuid5(_IDS, f"{sample.path}\n{number}"))
                yield {"uuid": name, "name": ANY_KIND, "segments": _segments(item, media)} | row

    jsonl.write_lines(lines(), base / LABELS_NAME)
    with atomic_path(base / ONTOLOGY_NAME) as scratch:
        scratch.write_text(json.dumps(_ontology(), indent=2) + "\n", encoding="utf-8")
    return Exported(videos, traces, tuple(notes.lines()), notes.left_out)


def _segments(item: TraceFrames, media: Media) -> list[dict[str, Any]]:
    """The keyframes of each segment, its first and last frame among them, which say when it begins and ends."""
    segments = []
    for first, end in item.segments:
        frames = sorted({first, end - 1, *(key for key in item.keys if first <= key < end)})
        segments.append({"keyframes": [_keyframe(item, frame, media) for frame in frames]})
    segments[0]["keyframes"][0]["classifications"] = _classifications(item)
    return segments


def _keyframe(item: TraceFrames, frame: int, media: Media) -> dict[str, Any]:
    left, top, width, height = item.boxes[frame - item.first].to_pixels_ltwh(width=media.width, height=media.height)
    return {"frame": frame + 1, "bbox": {"top": top, "left": left, "height": height, "width": width}}


def _classifications(item: TraceFrames) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = []
    if item.trace.categories:
        said.append({"name": KINDS, "answer": [{"name": Category(kind).value} for kind in item.trace.categories]})
    if item.trace.explanation:
        said.append({"name": EXPLANATION, "answer": item.trace.explanation})
    return said


def _ontology() -> dict[str, Any]:
    """What a project has to ask for, as Labelbox states it."""

    def question(kind: str, name: str, values: list[str]) -> dict[str, Any]:
        options = [{"label": value, "value": value} for value in values]
        return {"type": kind, "name": name, "instructions": name, "required": False, "options": options}

    kinds = question("checklist", KINDS, [kind.value for kind in Category])
    nested = [kinds, question("text", EXPLANATION, [])]
    tool = {"tool": "rectangle", "name": ANY_KIND, "required": False, "classifications": nested}
    truth = question("radio", TRUTH, [label.value for label in Label]) | {"scope": "global"}
    return {"tools": [tool], "classifications": [truth]}
