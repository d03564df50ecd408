"""CVAT for video 1.1 (XML, or the zip that holds it) to samples with boxes over time.

A `track` holds one `box` a frame: `keyframe="1"` where a person set it, `outside="1"` where the object is gone,
`rotation` in degrees about the box's centre. Frames are counted from 0 in the original video, whatever step of it the
task shows. A task export names its video in `meta/task/source`; a project export has several tasks, and each track a
`task_id`. CVAT does not export the frame rate: name it, or let it be read from the videos.

Format: CVAT documentation, "XML annotation format"; cvat-ai/cvat cvat/apps/dataset_manager/formats/cvat.py
(dump_as_cvat_interpolation, load_anno).
"""

from __future__ import annotations

import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from deeptrace.data.frames import Notes, joined_boxes, needed_boxes, trace_of_boxes
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
from deeptrace.errors import DataError, DeeptraceError, SettingsError
from deeptrace.geometry import Box
from deeptrace.schema import Label, Media, Trace

__all__ = ["read_cvat"]

XML_NAME = "annotations.xml"
MAX_XML_BYTES = 1 << 30
_CHUNK_BYTES = 1 << 16
_CATEGORY_WORDS = ("categor", "check", "kind", "type", "tag", "appl")
_STEP = re.compile(r"step\s*=\s*(\d+)")

Inputs = Mapping[tuple[str, str], str]
"""The `input_type` that the task's labels declare, by (label, attribute)."""


@dataclass(frozen=True)
class _Task:
    """One task of an export: its video, and what its tracks are read by."""

    where: str
    number: str
    path: str
    annotator: str
    media: Media
    step: int
    split: str | None
    inputs: Inputs


def read_cvat(
    path: str | os.PathLike[str],
    *,
    fps: float | Callable[[str], float] | None = None,
    folder: str = "videos",
    label: Label | None = None,
    source: str | None = None,
) -> Imported:
    """Read an export, or a folder of exports.

    A track that leaves and comes back is one trace with a gap, or several where its attributes say something else by
    then. A rotated box becomes the upright box around it, one that sticks out of the frame is clipped to it, one
    outside the frame counts as gone. Category tags are read from the track's label and from its attributes: the value
    of a choice or of one named like "category", the name of a ticked checkbox; a number is the confidence or left out;
    any other text is explanation. A task that makes no sense is left out by name, and so is a track of a project export
    that does not say which task it belongs to. Two tasks over one video are rounds of two annotators.

    Args:
        path: `annotations.xml`, the zip with it inside, or a folder of such files.
        fps: frames per second of the videos; a function is asked with each video's path below the dataset's root.
        folder: where the videos lie, below the dataset's root; of no effect where the export names it.
        label: the truth of all videos; by default FAKE for those with a track, unknown for the rest.
        source: generator or origin, when one is true of all.

    Raises:
        SettingsError: `fps` is not given.
        DataError: a file is no CVAT video export, or not one task of it makes sense; the subject names file, track and
            frame.
    """
    if fps is None:
        raise SettingsError(str(path), "CVAT exports carry no frame rate", "State it, or the folder of the videos.")
    notes = Notes()
    found: list[Annotated] = []
    refused: list[DeeptraceError] = []
    for file in _files(path):
        try:
            found += _read_file(file, notes, refused, fps, folder)
        except DataError as error:
            refused.append(error)
    return samples_of(found, notes, refused, folder=folder, label=label, source=source)


def _files(path: str | os.PathLike[str]) -> list[Path]:
    place = Path(path)
    if not place.is_dir():
        return [place]
    files = sorted(file for file in place.rglob("*") if file.suffix.lower() in (".xml", ".zip") and file.is_file())
    if not files:
        raise DataError(str(path), "the folder has no .xml and no .zip", "Name a CVAT export.")
    return files


def _read_file(
    path: Path,
    notes: Notes,
    refused: list[DeeptraceError],
    fps: float | Callable[[str], float],
    folder: str,
) -> Iterator[Annotated]:
    """What each task of a file says; why one cannot be read goes to `refused`."""
    root = _parse(path)
    tasks = root.findall("./meta/task") + root.findall("./meta/job") + root.findall("./meta/project/tasks/task")
    if not tasks:
        raise DataError(path.name, "has no meta/task", "Export as 'CVAT for video 1.1'.")
    tracks = root.findall("track")
    if root.findall("image") and not tracks:
        raise DataError(path.name, "is an export for images", "Export as 'CVAT for video 1.1'.")
    numbers = {task.findtext("id", "") for task in tasks}
    lost = [track for track in tracks if len(tasks) > 1 and track.get("task_id") not in numbers]
    for track in lost:
        notes.add(_name(path, track), "names none of the export's tasks and was left out")
    declared = _declared(root)
    for element in tasks:
        with set_aside(refused, f"{path.name}, task {element.findtext('id', '')}"):
            task = _task(element, path.name, fps, folder, declared)
            mine = [t for t in tracks if len(tasks) == 1 or t.get("task_id") == task.number]
            traces: list[Trace] = []
            incomplete = bool(lost)
            for track in mine:
                here = _track(track, task, _name(path, track), notes)
                incomplete = incomplete or not here
                traces += here
            traces.sort(key=lambda trace: (trace.onset_s or 0.0, trace.offset_s or 0.0))
            yield Annotated(
                where=task.where,
                path=task.path,
                media=task.media,
                traces=tuple(traces),
                annotator=task.annotator,
                incomplete=incomplete,
                about={"split": task.split, "extra": {"cvat_task": task.number}},
            )


# -- the file ---------------------------------------------------------------------------------------------------------


class _NoDoctype(ElementTree.TreeBuilder):
    """Refuses a document type as the parser meets it, in whatever encoding: entities can blow up or reach out."""

    def doctype(self, name: str, _public: str | None, _system: str | None) -> None:
        raise DataError(name, "has a document type declaration, which CVAT never writes")


def _parse(path: Path) -> ElementTree.Element:
    name = path.name
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                inside = next((item for item in archive.namelist() if PurePosixPath(item).name == XML_NAME), None)
                if inside is None:
                    raise DataError(name, f"the zip has no {XML_NAME}")
                with archive.open(inside) as file:
                    root = _root(iter(lambda: file.read(_CHUNK_BYTES), b""), name)
        else:
            with path.open("rb") as file:
                root = _root(iter(lambda: file.read(_CHUNK_BYTES), b""), name)
    except FileNotFoundError as error:
        raise DataError(name, "no such file") from error
    except (OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise DataError(name, f"cannot be read: {error}") from error
    if root.tag != "annotations":
        raise DataError(name, f"expected <annotations> but got <{root.tag}>")
    return root


def _root(chunks: Iterator[bytes], name: str) -> ElementTree.Element:
    parser = ElementTree.XMLParser(target=_NoDoctype())
    size = 0
    try:
        for chunk in chunks:
            if (size := size + len(chunk)) > MAX_XML_BYTES:
                raise DataError(name, f"is larger than {MAX_XML_BYTES >> 20} MiB")
            parser.feed(chunk)
        root = parser.close()
    except DataError as error:
        raise DataError(name, error.problem) from error
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise DataError(name, f"no XML: {error}") from error
    if not isinstance(root, ElementTree.Element):
        raise DataError(name, "no XML: the file is empty")
    return root


# -- a task -----------------------------------------------------------------------------------------------------------


def _name(path: Path, track: ElementTree.Element) -> str:
    return f"{path.name}, track {track.get('id', '?')}"


def _declared(root: ElementTree.Element) -> Inputs:
    return {
        (label.findtext("name", ""), attribute.findtext("name", "")): attribute.findtext("input_type", "")
        for label in root.findall("./meta//labels/label")
        for attribute in label.findall("./attributes/attribute")
    }


def _task(
    element: ElementTree.Element, name: str, fps: float | Callable[[str], float], folder: str, inputs: Inputs
) -> _Task:
    number = element.findtext("id", "")
    where = f"{name}, task {number}"
    name_of_video = element.findtext("source") or element.findtext("name") or ""
    # CVAT names a file without its folder; one with it was written by `write_cvat`, and is the whole path.
    path = path_below(name_of_video, "" if "/" in name_of_video else folder)
    if path is None:
        raise DataError(where, "names no source video")
    rate = fps(path) if callable(fps) else fps
    if not rate > 0:
        raise SettingsError(path, f"expected a positive frame rate but got {rate}")
    step = _STEP.search(element.findtext("frame_filter") or "")
    owner = element.findtext("assignee/username") or element.findtext("owner/username") or "cvat"
    return _Task(
        where=where,
        number=number,
        path=path,
        annotator=owner,
        media=_media(element, rate, where),
        step=max(int(step[1]), 1) if step else 1,
        split=(element.findtext("subset") or "").strip() or None,
        inputs=inputs,
    )


def _media(task: ElementTree.Element, rate: float, where: str) -> Media:
    try:
        width = int(task.findtext("original_size/width", ""))
        height = int(task.findtext("original_size/height", ""))
        # A frame step or a start leaves frames out of the task's size; the last frame is then a better count.
        frames = max(int(task.findtext("size") or 0), int(task.findtext("stop_frame") or -1) + 1)
        return Media(width=width, height=height, duration_s=frames / rate, fps=rate, frames=frames)
    except ValueError as error:
        raise DataError(where, "has no usable size and original_size", "Export as 'CVAT for video 1.1'.") from error


# -- a track ----------------------------------------------------------------------------------------------------------


@dataclass
class _Segment:
    """Frames on which a track is there, one after the other."""

    words: Words
    boxes: dict[int, Box]
    keys: set[int]
    turned: set[int]
    end: int = 0

    @property
    def said(self) -> tuple[object, ...]:
        return self.words.categories, self.words.score, self.words.explanation


def _trace(segments: Sequence[_Segment], off: Mapping[int, Box], media: Media) -> Trace:
    """The trace of segments of which the same is said."""
    parts = [(needed_boxes(s.boxes, media, keys=s.keys, odd=s.turned), min(s.boxes), s.end) for s in segments]
    boxes, gaps = joined_boxes(parts, off=off)
    words = segments[0].words
    return trace_of_boxes(
        boxes,
        parts[0][1],
        segments[-1].end,
        media.fps or 1.0,
        categories=words.categories,
        score=words.score,
        explanation=words.explanation,
        gaps=gaps,
    )


def _track(track: ElementTree.Element, task: _Task, where: str, notes: Notes) -> list[Trace]:
    """The traces of a track: one, or one each time that something else is said of it after it was away."""
    others = {child.tag for child in track if child.tag != "box"}
    if others:
        notes.add(where, f"{', '.join(sorted(others))} were left out; only boxes are read")
    label = track.get("label", "").strip()
    said: dict[str, str] = {}
    groups: list[list[_Segment]] = []
    off: dict[int, Box] = {}
    open_: _Segment | None = None

    def close(end: int) -> None:
        nonlocal open_
        if open_ is not None:
            # The label's own name is a tag only where it is a category; one label "trace" for all is no mystery.
            if label in open_.words.unknown:
                del open_.words.tags[label]
            open_.end = end
            if groups and groups[-1][-1].said == open_.said:
                groups[-1].append(open_)
            else:
                open_.words.note_unused(where, notes)
                groups.append([open_])
            open_ = None

    for index, element in _by_frame(track, task, where, notes):
        # What is not said again holds on: CVAT keeps an attribute until the next keyframe that changes it.
        said |= {item.get("name", ""): (item.text or "").strip() for item in element.findall("attribute")}
        spot = f"{where}, frame {index}"
        outside = switched(element.get("outside"), False, f"{spot}, outside")
        # Where an outside box lies says how the track moves towards it; it may lie anywhere.
        box = _box(element, task.media, spot, Notes() if outside else notes)
        if outside or box == "off frame":
            if open_ is not None and isinstance(box, Box):
                off[index] = box
            close(index)
        elif isinstance(box, Box):
            if open_ is None:
                open_ = _Segment(Words(), {}, set(), set())
                open_.words.add_tag(label)
            open_.boxes[index] = box
            if switched(element.get("keyframe"), False, f"{spot}, keyframe"):
                open_.keys.add(index)
            if element.get("rotation"):  # the upright box around one that turns does not move along a line
                open_.turned.add(index)
            for name, value in said.items():
                _add(open_.words, name, value, task.inputs.get((label, name), ""))
    if open_ is not None:
        # CVAT writes a track on to the end of its task unless an outside box closes it.
        end = max(open_.boxes) + task.step
        if end <= (task.media.frames or 0) - task.step:
            notes.add(where, "is closed by no outside box; it was taken to end with its last box")
        close(min(end, max(task.media.frames or end, max(open_.boxes) + 1)))
    return [_trace(group, off, task.media) for group in groups]


def _by_frame(
    track: ElementTree.Element, task: _Task, where: str, notes: Notes
) -> Iterator[tuple[int, ElementTree.Element]]:
    """The boxes of a track in order, one a frame."""
    boxes: dict[int, ElementTree.Element] = {}
    for element in track.findall("box"):
        try:
            index = int(element.get("frame", ""))
        except ValueError as error:
            raise DataError(where, f"expected a frame number but got {element.get('frame')!r}") from error
        if index < 0 or index >= (task.media.frames or index + 1):
            notes.add(f"{where}, frame {index}", "the box lies outside its task's frames and was left out")
            continue
        if index in boxes:
            notes.add(f"{where}, frame {index}", "has two boxes; the latter was taken")
        boxes[index] = element
    yield from sorted(boxes.items())


def _box(element: ElementTree.Element, media: Media, where: str, notes: Notes) -> Box | str:
    try:
        corners = [float(element.get(side, "")) for side in ("xtl", "ytl", "xbr", "ybr")]
        degrees = float(element.get("rotation") or 0.0)
    except ValueError as error:
        raise DataError(where, f"the box makes no sense: {dict(element.attrib)}") from error
    return box_in_frame(rotated_hull(corners, degrees, about="centre"), media, where, notes)


def _add(words: Words, name: str, value: str, declared: str) -> None:
    """One attribute, by the input that the task declares for it, else by its name and value."""
    if not value:
        return
    names_category = any(word in name.lower() for word in _CATEGORY_WORDS)
    if declared == "text" and not names_category:
        words.add_text(value)
    elif value.lower() == "true":
        words.add_tag(name)
    elif value.lower() in ("false", "__undefined__"):
        return
    elif (number := _number(value)) is not None:
        words.add_number(name, number)
    elif names_category or declared in ("select", "radio", "checkbox"):
        for tag in value.split(","):
            words.add_tag(tag)
    else:
        words.add_text(value)


def _number(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None
