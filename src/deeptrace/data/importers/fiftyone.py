"""A FiftyOneVideoLabelsDataset (ETA VideoLabels) to samples with boxes over time.

`manifest.json` lists the videos and their label files. In one of these `frames` holds detections by frame number,
**counted from 1**, boxes as fractions, joined over frames by `index`; `events` temporal detections; `attrs` what is
said of the video. An event and the detections of the same number are one trace.

Format: FiftyOne documentation, "FiftyOneVideoLabelsDataset"; voxel51/eta docs/video_labels_guide.md.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from deeptrace.data.frames import ANY_KIND, Notes, joined_boxes, needed_boxes, parts_between, trace_of_boxes
from deeptrace.data.importers.shared import (
    Annotated,
    Imported,
    Words,
    box_in_frame,
    samples_of,
    set_aside,
    with_exact_times,
)
from deeptrace.data.media_join import path_below
from deeptrace.errors import DataError, DeeptraceError
from deeptrace.geometry import Box
from deeptrace.schema import Label, Media, Trace

__all__ = ["read_fiftyone"]

Item = Mapping[str, Any]
_GAP = re.compile(r"(\d+)-(\d+)")
_RANGE = re.compile(r"\d+(?:-\d+)?(?:,\s*\d+(?:-\d+)?)*")


def read_fiftyone(
    folder_of_dataset: str | os.PathLike[str],
    *,
    media: Callable[[str], Media] | None = None,
    folder: str = "videos",
    label: Label | None = None,
    source: str | None = None,
) -> Imported:
    """Read a dataset's folder.

    Args:
        folder_of_dataset: with `manifest.json`.
        media: asked for the size, rate and length of a video that its labels do not state, with the video's path below
            the dataset's root.
        folder: where the videos lie, below the dataset's root.
        label: the truth of all videos; by default what the labels say, else FAKE for those with a trace.
        source: generator or origin, when one is true of all.

    Raises:
        DataError: no such dataset, or not one video of it makes sense; the subject names the file.
    """
    base = Path(folder_of_dataset)
    records = _load(base / "manifest.json", base.name).get("index")
    if not isinstance(records, list):
        raise DataError(f"{base.name}, manifest.json", "expected an index of videos", "Export as VideoLabels.")
    notes = Notes()
    found: list[Annotated] = []
    refused: list[DeeptraceError] = []
    for record in records:
        name = str(record.get("labels")) if isinstance(record, Mapping) else str(record)
        with set_aside(refused, f"{base.name}, {name}"):
            if not isinstance(record, Mapping) or ".." in Path(name).parts or os.path.isabs(name):
                raise DataError(f"{base.name}, manifest.json", f"expected data and labels but got {record!r}")
            labels = _load(base / name, name)
            found.append(_read_video(labels, str(record.get("data") or ""), name, notes, media, folder))
    return samples_of(found, notes, refused, folder=folder, label=label, source=source)


def _load(path: Path, name: str) -> Item:
    try:
        loaded = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(f"{name}, {path.name}", f"cannot be read as JSON: {error}") from error
    if not isinstance(loaded, Mapping):
        raise DataError(f"{name}, {path.name}", f"expected an object but got {type(loaded).__name__}")
    return loaded


def _read_video(
    labels: Item, data: str, where: str, notes: Notes, ask: Callable[[str], Media] | None, folder: str
) -> Annotated:
    stated = labels.get("filename")
    ours = isinstance(stated, str) and bool(stated)
    path = str(stated) if ours else path_below(data.removeprefix("data/"), folder)
    if path is None:
        raise DataError(where, "names no video")
    said = _attributes(labels)
    facts = _media(labels, path, ask, where)
    look = _Look(labels, facts, where, notes)
    traces = tuple(look.traces())
    words = Words(tags={str(said["label"]): None} if said.get("label") else {})
    video_id = said.get("video_id")
    return Annotated(
        where=where,
        path=path,
        media=facts,
        traces=traces,
        annotator="fiftyone",
        incomplete=look.incomplete,
        video_id=video_id if isinstance(video_id, str) else None,
        label=words.label,
        about={key: said[key] for key in ("source", "split", "prompt") if isinstance(said.get(key), str)},
    )


def _media(labels: Item, path: str, ask: Callable[[str], Media] | None, where: str) -> Media:
    facts = labels.get("metadata") or {}
    try:
        width, height = (int(side) for side in facts["frame_size"])
        frames, fps = int(facts["total_frame_count"]), float(facts["frame_rate"])
        duration = float(facts.get("duration") or frames / fps)
        return Media(width=width, height=height, duration_s=duration, fps=fps, frames=frames)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        if ask is None:
            raise DataError(where, "states no size, rate and length", "Name the folder of the videos.") from error
        return ask(path).model_copy(update={"sampled_times_s": ()})


def _attributes(item: Item) -> dict[str, Any]:
    listed = (item.get("attrs") or {}).get("attrs") or ()
    return {str(attribute.get("name")): attribute.get("value") for attribute in listed}


class _Look:
    """One video's labels: its traces, and whether something in them could not be read as one."""

    def __init__(self, labels: Item, media: Media, where: str, notes: Notes) -> None:
        self.media, self.where, self.notes, self.incomplete = media, where, notes, False
        self.objects: dict[int, dict[int, Item]] = {}
        self.events: list[Item] = list((labels.get("events") or {}).get("events") or ())
        for frame in (labels.get("frames") or {}).values():
            number = frame.get("frame_number")
            for item in (frame.get("objects") or {}).get("objects") or ():
                if isinstance(item.get("index"), int) and isinstance(number, int):
                    self.objects.setdefault(item["index"], {})[number - 1] = item
                else:
                    notes.add(f"{where}, frame {number}", "a detection has no index and was left out")
                    self.incomplete = True

    def traces(self) -> Iterator[Trace]:
        """One an event, with the detections of its number, and one for each further number of detections."""
        for event in self.events:
            about = _attributes(event)
            number = about.get("trace", event.get("index"))
            objects = self.objects.pop(int(number), {}) if isinstance(number, (int, float)) else {}
            yield from self._trace(event, about, objects, f"{self.where}, trace {number}")
        for number, objects in self.objects.items():
            yield from self._trace({}, {}, objects, f"{self.where}, detections {number}")

    def _trace(self, event: Item, about: Item, objects: Mapping[int, Item], where: str) -> Iterator[Trace]:
        boxes = dict(self._boxes(objects, where))
        span = (min(boxes), max(boxes) + 1) if boxes else self._support(event)
        if span is None or (objects and not boxes):
            self.notes.add(where, "has neither a box nor frames and was left out")
            self.incomplete = True
            return
        words = Words()
        labels = [str(item["label"]) for item in (event, *objects.values()) if item.get("label")]
        kinds = str(about["categories"]).split(",") if about.get("categories") else labels
        for tag in kinds:
            if tag != ANY_KIND:
                words.add_tag(tag)
        words.note_unused(where, self.notes)
        score = event.get("confidence")
        keys = [frame for frame in boxes if _attributes(objects[frame]).get("keyframe") is True]
        stated = [(int(low) - 1, int(high)) for low, high in _GAP.findall(str(about.get("gaps") or ""))]
        parts = parts_between(boxes, *span, stated)
        needed, gaps = joined_boxes(
            [(needed_boxes(of, self.media, keys=keys, odd=of), low, high) for of, low, high in parts]
        )
        trace = trace_of_boxes(
            needed,
            *span,
            self.media.fps or 1.0,
            categories=words.categories,
            score=float(score) if isinstance(score, (int, float)) and 0 <= score <= 1 else None,
            explanation=str(about.get("explanation") or ""),
            gaps=gaps,
        )
        times = {"onset_s": about.get("onset_s"), "offset_s": about.get("offset_s")} if "timed" in about else {}
        if "timed" in about and about.get("gaps_s"):
            times["gaps_s"] = [one.split("/") for one in str(about["gaps_s"]).split(",")]
        yield with_exact_times(trace, times, self.media.fps or 1.0)

    def _support(self, event: Item) -> tuple[int, int] | None:
        ranges = str((event.get("support") or {}).get("ranges") or "")
        if not _RANGE.fullmatch(ranges.strip()):
            return None
        numbers = [int(number) for number in re.findall(r"\d+", ranges)]
        return max(min(numbers) - 1, 0), max(numbers)

    def _boxes(self, objects: Mapping[int, Item], where: str) -> Iterator[tuple[int, Box]]:
        width, height = self.media.width, self.media.height
        for frame, item in sorted(objects.items()):
            spot = f"{where}, frame {frame + 1}"
            try:
                upper, lower = item["bounding_box"]["top_left"], item["bounding_box"]["bottom_right"]
                corners = [float(corner[axis]) for corner in (upper, lower) for axis in ("x", "y")]
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(spot, "expected a bounding_box with top_left and bottom_right") from error
            pixels = [corner * side for corner, side in zip(corners, (width, height) * 2, strict=True)]
            box = box_in_frame(pixels, self.media, spot, self.notes)
            if isinstance(box, Box):
                yield frame, box
