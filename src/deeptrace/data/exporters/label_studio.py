"""Samples as Label Studio tasks with annotations: boxes over time, kinds, texts, the truth of the video.

`config.xml` is the project's labeling interface, `tasks.json` what its import takes. Label Studio counts frames from 1
by the `framerate` of its Video tag, which each task states as `$fps`.

Format: as `deeptrace.data.importers.label_studio`, which reads it back.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from deeptrace.data.exporters.shared import Exported, kinds_of, samples_on_frames
from deeptrace.data.frames import ANY_KIND, Notes, TraceFrames, frame_count
from deeptrace.data.media_join import resolve_path
from deeptrace.errors import DataError
from deeptrace.geometry import Box
from deeptrace.io import jsonl
from deeptrace.io.atomic import atomic_path
from deeptrace.schema import Category, Label, Media, Sample

__all__ = ["write_label_studio"]

TASKS_NAME, CONFIG_NAME = "tasks.json", "config.xml"


def write_label_studio(
    samples: Iterable[Sample], folder: str | os.PathLike[str], *, root: str | os.PathLike[str] | None = None
) -> Exported:
    """Write `config.xml` and `tasks.json`.

    A trace with a box is a `VideoRectangle` region, one without a `TimelineLabels` region. Whether a video is real, and
    where it comes from, are kept.

    Args:
        samples: see `Exported.notes` for what of them is lost.
        folder: where to.
        root: put before the videos' relative paths: where Label Studio finds them, such as
            "/data/local-files/?d=RewardData" or "https://media.example/RewardData".

    Raises:
        DataError: the folder cannot be written.
    """
    base, notes = Path(folder), Notes()
    videos = traces = 0

    def tasks() -> Iterator[dict[str, Any]]:
        nonlocal videos, traces
        for sample, media, found in samples_on_frames(samples, notes):
            try:
                place = sample.path if root is None else resolve_path(sample, root)
            except DataError as error:  # the others are written all the same
                notes.leave_out(sample.video_id, error.problem)
                continue
            videos, traces = videos + 1, traces + len(found)
            yield _task(sample, media, found, place)

    jsonl.write_list(tasks(), base / TASKS_NAME)
    config = ElementTree.ElementTree(_config())
    ElementTree.indent(config)
    with atomic_path(base / CONFIG_NAME) as scratch:
        config.write(scratch, encoding="utf-8")
    return Exported(videos, traces, tuple(notes.lines()), notes.left_out)


def _config() -> ElementTree.Element:
    """The labeling interface."""
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Video", name="video", value="$video", frameRate="$fps", timelineHeight="120")
    ElementTree.SubElement(view, "VideoRectangle", name="box", toName="video", smart="true")
    kinds = [*(kind.value for kind in Category), ANY_KIND]
    for tag, name in (("Labels", "kinds"), ("TimelineLabels", "moment")):
        labels = ElementTree.SubElement(view, tag, name=name, toName="video", choice="multiple")
        for kind in kinds:
            ElementTree.SubElement(labels, "Label", value=kind)
    about = {"toName": "video", "perRegion": "true"}
    ElementTree.SubElement(view, "TextArea", {"name": "explanation", "maxSubmissions": "1", "editable": "true"} | about)
    ElementTree.SubElement(view, "Number", {"name": "confidence", "min": "0", "max": "1", "step": "0.001"} | about)
    choices = ElementTree.SubElement(view, "Choices", name="truth", toName="video", choice="single-radio")
    for label in Label:
        ElementTree.SubElement(choices, "Choice", value=label.value)
    return view


def _task(sample: Sample, media: Media, traces: list[TraceFrames], video: str) -> dict[str, Any]:
    data = {
        "video": video,
        "video_id": sample.video_id,
        "path": sample.path,
        "fps": media.fps,
        "width": media.width,
        "height": media.height,
        "frames": frame_count(media),
        "duration": media.duration_s,
    }
    data |= {name: getattr(sample, name) for name in ("source", "split", "prompt") if getattr(sample, name) is not None}
    result = [region for number, item in enumerate(traces, 1) for region in _regions(item, f"trace{number}", media)]
    if sample.label is not None:
        result.append(_entry("truth", "choices", "truth", {"choices": [sample.label.value]}))
    return {"data": data, "annotations": [{"result": result, "ground_truth": False, "was_cancelled": False}]}


def _entry(region: str, kind: str, control: str, value: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": region,
        "type": kind,
        "from_name": control,
        "to_name": "video",
        "value": value,
        "origin": "manual",
    }


def _regions(item: TraceFrames, region: str, media: Media) -> Iterator[dict[str, Any]]:
    """The results of one trace: its region, and its text and confidence under the region's id."""
    trace = item.trace
    length = {"framesCount": frame_count(media), "duration": media.duration_s}
    if item.boxes:
        yield _entry(
            region, "videorectangle", "box", length | {"sequence": _sequence(item, media), "labels": kinds_of(item)}
        )
    else:
        ranges = [{"start": item.first + 1, "end": item.end}]
        yield _entry(region, "timelinelabels", "moment", {"ranges": ranges, "timelinelabels": kinds_of(item)})
    if trace.explanation:
        yield _entry(region, "textarea", "explanation", {"text": [trace.explanation]})
    if trace.score is not None:
        yield _entry(region, "number", "confidence", {"number": trace.score})


def _sequence(item: TraceFrames, media: Media) -> list[dict[str, Any]]:
    """Keyframes; those before a gap or the end are not enabled: the region is gone then. The clip's end needs none."""
    lasts = {end - 1 for _, end in item.segments if end < frame_count(media)}
    off = {frame for first, end in item.gaps for frame in range(first, end)}
    return [
        _keyframe(frame, item.boxes[frame - item.first], media, enabled=frame not in lasts)
        for frame in sorted((item.keys | lasts) - off)
    ]


def _keyframe(frame: int, box: Box, media: Media, *, enabled: bool) -> dict[str, Any]:
    x, y, width, height = (100.0 * side for side in (box.x0, box.y0, box.width, box.height))
    place = {"x": x, "y": y, "width": width, "height": height, "rotation": 0}
    return {"frame": frame + 1, "enabled": enabled, "time": (frame + 1) / (media.fps or 1.0), **place}
