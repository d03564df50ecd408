"""Samples as a FiftyOneVideoLabelsDataset: `manifest.json` and one file of ETA VideoLabels a video.

    fo.Dataset.from_dir(dataset_dir=FOLDER, dataset_type=fo.types.FiftyOneVideoLabelsDataset)

Each trace is a temporal detection of the video's field `traces` and, where it has a box, a detection of its frames'
field `traces`, both with the trace's number; label, source, split and prompt are classifications of the video. Frames
count from 1, boxes are fractions. A trace that is off for a while has no detection then; its attribute `gaps` says in
which frames ("12-18,30-31").

Format: FiftyOne documentation, "FiftyOneVideoLabelsDataset"; voxel51/eta docs/video_labels_guide.md;
voxel51/fiftyone fiftyone/utils/eta.py (from_video_labels).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from deeptrace.data.exporters.shared import Exported, PortableNames, kinds_of, samples_on_frames
from deeptrace.data.frames import Notes, TraceFrames, frame_count
from deeptrace.data.media_join import path_below, resolve_path
from deeptrace.errors import DataError
from deeptrace.io.atomic import atomic_path
from deeptrace.schema import Category, Media, Sample

__all__ = ["write_fiftyone"]

MANIFEST_NAME = "manifest.json"
FIELD = "traces"
_INDEX_CLASS = "eta.core.datasets.LabeledVideoDataset"


def write_fiftyone(
    samples: Iterable[Sample], folder: str | os.PathLike[str], *, root: str | os.PathLike[str] | None = None
) -> Exported:
    """Write `manifest.json` and `labels/PATH.json` for each video; the videos themselves are not copied.

    Args:
        samples: see `Exported.notes` for what of them is lost.
        folder: where to.
        root: the dataset's folder, where FiftyOne is to find the videos; None for `folder/data`.

    Raises:
        DataError: the folder cannot be written.
    """
    base, notes = Path(folder), Notes()
    names = PortableNames()
    index: list[dict[str, str]] = []
    traces = 0
    for sample, media, found in samples_on_frames(samples, notes, exact_times=True):
        name = path_below(sample.path or sample.video_id, "")
        try:
            video = f"data/{name}" if root is None else os.path.abspath(resolve_path(sample, root))
        except DataError as error:  # the others are written all the same
            notes.leave_out(sample.video_id, error.problem)
            continue
        if name is None:
            notes.leave_out(sample.video_id, "has no path to name its labels by")
            continue
        labels = f"labels/{names.of(name, '.json')}"
        index.append({"data": video, "labels": labels})
        traces += len(found)
        with atomic_path(base / labels) as scratch:
            scratch.write_text(json.dumps(_labels(sample, media, found), ensure_ascii=False), encoding="utf-8")
    manifest = {"type": _INDEX_CLASS, "description": "Traces of AI-generated video", "index": index}
    with atomic_path(base / MANIFEST_NAME) as scratch:
        scratch.write_text(json.dumps(manifest, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return Exported(len(index), traces, tuple(notes.lines()), notes.left_out)


def _labels(sample: Sample, media: Media, traces: list[TraceFrames]) -> dict[str, Any]:
    """ETA VideoLabels of one video."""
    known = {name: getattr(sample, name) for name in ("label", "source", "split", "prompt")} | {
        "video_id": sample.video_id
    }
    frames: dict[int, list[dict[str, Any]]] = {}
    for number, item in enumerate(traces, 1):
        for frame, detected in _objects(item, number).items():
            frames.setdefault(frame, []).append(detected)
    return {
        "filename": sample.path,
        "metadata": {
            "frame_size": [media.width, media.height],
            "frame_rate": media.fps,
            "total_frame_count": frame_count(media),
            "duration": media.duration_s,
        },
        "attrs": _attributes({name: str(value) for name, value in known.items() if value is not None}),
        "frames": {
            str(frame): {"frame_number": frame, "objects": {"objects": objects}}
            for frame, objects in sorted(frames.items())
        },
        "events": {"events": [_event(item, number) for number, item in enumerate(traces, 1)]},
    }


def _event(item: TraceFrames, number: int) -> dict[str, Any]:
    trace = item.trace
    about = {
        "trace": number,
        "categories": ", ".join(Category(kind).value for kind in trace.categories),
        "explanation": trace.explanation,
        "onset_s": trace.onset_s,
        "offset_s": trace.offset_s,
        "timed": trace.onset_s is not None,
        "gaps": ",".join(f"{first + 1}-{end}" for first, end in item.gaps),
        "gaps_s": ",".join(f"{gap.onset_s!r}/{gap.offset_s!r}" for gap in trace.gaps),
    }
    event = {
        "type": "eta.core.events.VideoEvent",
        "label": kinds_of(item)[0],
        "name": FIELD,
        "index": number,
        "support": {"ranges": f"{item.first + 1}-{item.end}"},
        "attrs": _attributes(about),
    }
    return event if trace.score is None else event | {"confidence": trace.score}


def _objects(item: TraceFrames, number: int) -> dict[int, dict[str, Any]]:
    """The detections of one trace, by frame counted from 1."""
    objects = {}
    for frame, box in item.seen:
        detected: dict[str, Any] = {
            "type": "eta.core.objects.DetectedObject",
            "label": kinds_of(item)[0],
            "name": FIELD,
            "index": number,
            "bounding_box": {"top_left": {"x": box.x0, "y": box.y0}, "bottom_right": {"x": box.x1, "y": box.y1}},
            "attrs": _attributes({"keyframe": frame in item.keys}),
        }
        if item.trace.score is not None:
            detected["confidence"] = item.trace.score
        objects[frame + 1] = detected
    return objects


def _attributes(values: dict[str, Any]) -> dict[str, Any]:
    """An attribute container; what is not known is left out."""
    attributes = []
    for name, value in values.items():
        if value is None or value == "":
            continue
        kind = "Boolean" if isinstance(value, bool) else "Numeric" if isinstance(value, (int, float)) else "Categorical"
        attributes.append({"type": f"eta.core.data.{kind}Attribute", "name": name, "value": value})
    return {"attrs": attributes}
