"""Label Studio's JSON export of video tasks to samples with boxes over time.

A task has `data` (its video and whatever else it was made with) and `annotations`, one an annotator, whose `result`
lists regions by id: `videorectangle` with a `sequence` of keyframes in percent of the frame, frames **counted from 1**,
linear between them, the box gone after one that is not `enabled`; `timelinelabels` with `ranges` of frames; and, under
a region's id or that of none, `labels`, `choices`, `textarea` and `number`.

Frames are counted by the frame rate that the Video tag was given (24 unless `framerate` says otherwise), which the
export does not hold. It is looked for in the task's data (`fps`), then in a region's `framesCount` and `duration`; so
is the frame's size (`width`, `height`), which is else asked for.

Format: Label Studio documentation, "Video", "VideoRectangle", "TimelineLabels", "Export annotations";
HumanSignal/label-studio-sdk label_studio_tools/postprocessing/video.py.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, urlsplit

from deeptrace.data.frames import ANY_KIND, Notes, joined_boxes, needed_boxes, trace_of_boxes
from deeptrace.data.importers.shared import (
    Annotated,
    Imported,
    Words,
    box_in_frame,
    rotated_hull,
    samples_of,
    set_aside,
    switched,
)
from deeptrace.data.media_join import path_below
from deeptrace.errors import DataError, DeeptraceError
from deeptrace.geometry import Box
from deeptrace.io import jsonl
from deeptrace.schema import Label, Media, Trace

__all__ = ["read_label_studio"]

_VIDEO_KEYS = ("path", "video", "video_url", "url")
_REGIONS = ("videorectangle", "timelinelabels")


def read_label_studio(
    path: str | os.PathLike[str],
    *,
    media: Callable[[str], Media] | None = None,
    folder: str = "videos",
    label: Label | None = None,
    source: str | None = None,
) -> Imported:
    """Read an export, or the tasks that `write_label_studio` wrote.

    A region that is switched off and on again is one trace with a gap; a text or choice about the video as a whole,
    a trace without place and time, or the video's label. Each annotation that was not cancelled is a round.

    Args:
        path: the JSON file (a list of tasks), or a folder with `tasks.json`.
        media: asked for the size, rate and length of a video that its task does not state, with the video's path below
            the dataset's root.
        folder: where the videos lie, below the dataset's root.
        label: the truth of all videos; by default what is chosen for the video, else FAKE for those with a trace.
        source: generator or origin, when one is true of all.

    Raises:
        DataError: not one task is a video task that makes sense; the subject names file, task and region.
    """
    file = os.path.join(path, "tasks.json") if os.path.isdir(path) else str(path)
    name = PurePosixPath(file).name
    notes = Notes()
    found: list[Annotated] = []
    refused: list[DeeptraceError] = []
    for number, task in jsonl.iter_objects(file):
        with set_aside(refused, f"{name}, task {number}"):
            found += _read_task(task, f"{name}, task {number}", notes, media, folder)
    return samples_of(found, notes, refused, folder=folder, label=label, source=source)


def _read_task(
    task: Mapping[str, Any], where: str, notes: Notes, media: Callable[[str], Media] | None, folder: str
) -> Iterator[Annotated]:
    data = task.get("data")
    if not isinstance(data, Mapping):
        raise DataError(f"{where}, data", "expected an object", "Export as 'JSON', not as 'JSON-MIN'.")
    path = _path(data, folder)
    if path is None:
        raise DataError(f"{where}, data", f"names no video: expected one of {', '.join(_VIDEO_KEYS)}")
    annotations = [item for item in task.get("annotations") or () if not item.get("was_cancelled")]
    if not annotations:
        notes.add(where, f"{PurePosixPath(path).name} has no annotation yet and was left out")
        return
    facts = _media(data, annotations, path, media, where)
    stated = {key: data[key] for key in ("source", "split", "prompt") if isinstance(data.get(key), str)}
    for at, annotation in enumerate(annotations, 1):
        spot = f"{where}, annotation {at}"
        look = _Look(annotation.get("result") or (), facts, spot, notes)
        traces = tuple(look.traces())
        video_id = data.get("video_id")
        yield Annotated(
            where=spot,
            path=path,
            media=facts,
            traces=traces,
            annotator=_annotator(annotation, at),
            incomplete=look.incomplete,
            video_id=video_id if isinstance(video_id, str) else None,
            label=look.whole.label,
            about=stated,
        )


def _path(data: Mapping[str, Any], folder: str) -> str | None:
    """The video's path below the dataset's root; what our own tasks state, as it stands."""
    for key in _VIDEO_KEYS:
        value = data.get(key)
        if not isinstance(value, str) or not value.strip():
            continue
        if key == "path":
            return value
        local = parse_qs(urlsplit(value).query).get("d")  # /data/local-files/?d=PATH
        return path_below(local[0] if local else PurePosixPath(path_below(value, "") or "").name, folder)
    return None


def _annotator(annotation: Mapping[str, Any], at: int) -> str:
    by = annotation.get("completed_by")
    if isinstance(by, Mapping):
        by = by.get("email") or by.get("username") or by.get("id")
    return f"annotation {at}" if by in (None, "") else str(by)


def _media(
    data: Mapping[str, Any],
    annotations: Sequence[Mapping[str, Any]],
    path: str,
    ask: Callable[[str], Media] | None,
    where: str,
) -> Media:
    numbers = {key: _number(data.get(key)) for key in ("width", "height", "fps", "frames", "duration")}
    for value in (item.get("value") or {} for annotation in annotations for item in annotation.get("result") or ()):
        numbers["frames"] = numbers["frames"] or _number(value.get("framesCount"))
        numbers["duration"] = numbers["duration"] or _number(value.get("duration"))
    if numbers["fps"] is None and numbers["frames"] and numbers["duration"]:
        numbers["fps"] = numbers["frames"] / numbers["duration"]
    if None in (numbers["width"], numbers["height"], numbers["fps"]) or not (numbers["frames"] or numbers["duration"]):
        if ask is None:
            raise DataError(f"{where}, data", "does not state size, rate and length", "Name the folder of the videos.")
        facts = ask(path)
        rate = numbers["fps"] or facts.fps
        return facts.model_copy(update={"fps": rate, "sampled_times_s": ()})
    fps = numbers["fps"] or 1.0
    frames = int(numbers["frames"] or round((numbers["duration"] or 0.0) * fps))
    return Media(
        width=int(numbers["width"] or 0),
        height=int(numbers["height"] or 0),
        duration_s=numbers["duration"] or frames / fps,
        fps=fps,
        frames=frames,
    )


def _number(value: Any) -> float | None:
    """A positive number, or None."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None
    return number if 0 < number < math.inf else None


class _Look:
    """One annotation of one video: its traces, and whether something in it could not be read as one."""

    def __init__(self, result: Sequence[Any], media: Media, where: str, notes: Notes) -> None:
        self.media, self.where, self.notes, self.incomplete = media, where, notes, False
        self.fps = media.fps or 1.0
        self.regions: dict[str, dict[str, Any]] = {}
        self.words: dict[str, Words] = {}
        items = [item for item in result if isinstance(item, Mapping)]
        for item in items:
            if item.get("type") in _REGIONS:
                self.regions[str(item.get("id"))] = dict(item)
        self.whole = Words()
        for item in items:
            self._say(item)

    def _say(self, item: Mapping[str, Any]) -> None:
        """What an entry says, of its region or of the whole video."""
        name, value = str(item.get("id")), item.get("value") or {}
        words = self.words.setdefault(name, Words()) if name in self.regions else self.whole
        for key in ("labels", "timelinelabels", "choices"):
            for tag in value.get(key) or ():
                if tag != ANY_KIND:
                    words.add_tag(str(tag))
        text = value.get("text")
        for line in [text] if isinstance(text, str) else text or ():
            words.add_text(str(line))
        if isinstance(value.get("number"), (int, float)):
            words.add_number(str(item.get("from_name")), float(value["number"]))
        known = (*_REGIONS, "labels", "choices", "textarea", "number")
        if item.get("type") not in known and item.get("type") != "relation":
            self.notes.add(f"{self.where}, {name}", f"is a {item.get('type')} and was left out")
            self.incomplete = True

    def traces(self) -> Iterator[Trace]:
        """One a region with boxes, one a range of a region without, then one for what is said of the whole video."""
        for name, item in self.regions.items():
            words, where = self.words[name], f"{self.where}, region {name}"
            words.note_unused(where, self.notes)
            segments = list(self._spans(item, where) if item["type"] == "timelinelabels" else self._tubes(item, where))
            self.incomplete = self.incomplete or not segments
            whole = [segments] if item["type"] == "videorectangle" and segments else [[one] for one in segments]
            for part in whole:
                boxes, gaps = joined_boxes(part)
                yield trace_of_boxes(
                    boxes,
                    part[0][1],
                    part[-1][2],
                    self.fps,
                    categories=words.categories,
                    score=words.score,
                    explanation=words.explanation,
                    gaps=gaps,
                )
        self.whole.note_unused(self.where, self.notes)
        if self.whole.categories or self.whole.explanation:
            yield Trace(categories=self.whole.categories, explanation=self.whole.explanation)

    def _spans(self, item: Mapping[str, Any], where: str) -> Iterator[tuple[dict[int, Box], int, int]]:
        for stated in (item.get("value") or {}).get("ranges") or ():
            try:
                first, end = int(stated["start"]) - 1, int(stated["end"])
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(f"{where}, ranges", f"expected start and end but got {stated!r}") from error
            if span := self._inside(first, end, where):
                yield {}, *span

    def _tubes(self, item: Mapping[str, Any], where: str) -> Iterator[tuple[dict[int, Box], int, int]]:
        """(boxes by frame, first, end) of each segment: up to a keyframe that is not enabled, or to the end."""
        sequence = (item.get("value") or {}).get("sequence") or ()
        try:
            keys = sorted(sequence, key=lambda key: int(key["frame"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{where}, sequence", "expected keyframes with a frame number") from error
        boxes: dict[int, Box] = {}
        for key in keys:
            frame = int(key["frame"]) - 1
            box = self._box(key, f"{where}, frame {frame + 1}")
            if isinstance(box, Box):
                boxes[frame] = box
            if not switched(key.get("enabled"), True, f"{where}, frame {frame + 1}, enabled"):
                yield from self._segment(boxes, frame + 1, where)
                boxes = {}
        if boxes:
            yield from self._segment(boxes, self.media.frames or max(boxes) + 1, where)

    def _segment(self, boxes: dict[int, Box], end: int, where: str) -> Iterator[tuple[dict[int, Box], int, int]]:
        if boxes and (span := self._inside(min(boxes), end, where)):
            keys = set(boxes)
            if len(boxes) > 1 and max(keys) == end - 1:
                keys.discard(end - 1)  # it only says when the region ends, unless the box is elsewhere by then
            yield needed_boxes(boxes, self.media, keys=keys), *span

    def _inside(self, first: int, end: int, where: str) -> tuple[int, int] | None:
        """What of [first, end) lies in the video; None and a note where nothing does."""
        frames = self.media.frames or end
        if not 0 <= first < end or first >= frames:
            self.notes.add(where, "lies outside its video's frames and was left out")
            return None
        if end > frames:
            self.notes.add(where, "lasts beyond the end of its video and was cut off there")
        return first, min(end, frames)

    def _box(self, key: Mapping[str, Any], where: str) -> Box | str:
        width, height = self.media.width / 100, self.media.height / 100
        try:
            x, y = float(key["x"]) * width, float(key["y"]) * height
            corners = x, y, x + float(key["width"]) * width, y + float(key["height"]) * height
            degrees = float(key.get("rotation") or 0.0)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(where, f"the box makes no sense: {dict(key)}") from error
        return box_in_frame(rotated_hull(corners, degrees, about="corner"), self.media, where, self.notes)
