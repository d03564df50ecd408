"""CVAT for video 1.1 (XML, or the zip that holds it) to samples with boxes over time.

A `track` holds one `box` a frame: `keyframe="1"` where a person set it, `outside="1"` where the object is gone.
Frames are counted from 0 in the original video. A task export names its video in `meta/task/source`; a project
export has several tasks, and each track a `task_id`. CVAT does not export the frame rate: name it, or let it be read
from the videos. Format: CVAT documentation, "XML annotation format".
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from xml.etree import ElementTree

from deeptrace.data.importers.shared import Imported, Words, sample_of, trace_of_stretch
from deeptrace.data.passes import AnnotationPass
from deeptrace.errors import DataError, SettingsError
from deeptrace.geometry import Box
from deeptrace.trace import Label, Media, Trace

__all__ = ["read_cvat"]

XML_NAME = "annotations.xml"
MAX_XML_BYTES = 1 << 30
_CATEGORY_WORDS = ("categor", "check", "kind", "type", "tag", "appl")


def read_cvat(
    path: str | os.PathLike[str],
    *,
    fps: float | Callable[[str], float] | None = None,
    folder: str = "videos",
    label: Label | None = None,
    source: str | None = None,
) -> Imported:
    """Read an export.

    A track that leaves and comes back becomes one trace a stretch. Category tags are read from the track's label and
    from its attributes: the value of one named like "category", or the name of a ticked checkbox; any other text is
    explanation.

    Args:
        path: `annotations.xml`, or the zip with it inside.
        fps: frames per second of the videos; a function is asked with each video's path below the dataset's root.
        folder: where the videos lie, below the dataset's root.
        label: the truth of all videos; by default FAKE for those with a track, unknown for the rest.
        source: generator or origin, when one is true of all.

    Raises:
        SettingsError: `fps` is not given.
        DataError: the file is no CVAT video export or makes no sense; the subject names file, track and frame.
    """
    if fps is None:
        raise SettingsError(str(path), "CVAT exports carry no frame rate", "State it, or the folder of the videos.")
    name = PurePosixPath(str(path)).name
    root = _parse(path, name)
    tasks = root.findall("./meta/task") + root.findall("./meta/job") + root.findall("./meta/project/tasks/task")
    if not tasks:
        raise DataError(name, "has no meta/task", "Export as 'CVAT for video 1.1'.")
    result = Imported()
    tracks = root.findall("track")
    if root.findall("image") and not tracks:
        raise DataError(name, "is an export for images", "Export as 'CVAT for video 1.1'.")
    for task in tasks:
        _read_task(task, tracks, len(tasks) > 1, name, result, fps, folder, label, source)
    return result


def _parse(path: str | os.PathLike[str], name: str) -> ElementTree.Element:
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                inside = next((item for item in archive.namelist() if PurePosixPath(item).name == XML_NAME), None)
                if inside is None:
                    raise DataError(name, f"the zip has no {XML_NAME}")
                if archive.getinfo(inside).file_size > MAX_XML_BYTES:
                    raise DataError(name, f"{XML_NAME} is larger than {MAX_XML_BYTES >> 20} MiB")
                text = archive.read(inside)
        else:
            with open(path, "rb") as file:
                text = file.read(MAX_XML_BYTES)
    except FileNotFoundError as error:
        raise DataError(name, "no such file") from error
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(name, f"cannot be read: {error}") from error
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:  # CVAT writes none; entities can blow up or reach out
        raise DataError(name, "has a document type declaration, which CVAT never writes")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise DataError(name, f"no XML: {error}") from error
    if root.tag != "annotations":
        raise DataError(name, f"expected <annotations> but got <{root.tag}>")
    return root


def _read_task(
    task: ElementTree.Element,
    tracks: list[ElementTree.Element],
    several: bool,
    name: str,
    result: Imported,
    fps: float | Callable[[str], float],
    folder: str,
    label: Label | None,
    source: str | None,
) -> None:
    number = task.findtext("id", "")
    file = (task.findtext("source") or task.findtext("name") or "").replace("\\", "/").rsplit("/", 1)[-1]
    if not file:
        raise DataError(f"{name}, task {number}", "names no source video")
    if not PurePosixPath(file).suffix:
        file += ".mp4"
    path = f"{folder}/{file}" if folder else file
    rate = fps(path) if callable(fps) else fps
    if not rate > 0:
        raise SettingsError(path, f"expected a positive frame rate but got {rate}")
    media = _media(task, rate, f"{name}, task {number}")
    traces: list[Trace] = []
    for track in tracks:
        if several and track.get("task_id") != number:
            continue
        where = f"{name}, track {track.get('id', '?')}"
        found = list(_track(track, media, where, result.warnings))
        traces.extend(found)
    traces.sort(key=lambda trace: (trace.onset_s or 0.0, trace.offset_s or 0.0))
    sample = sample_of(
        PurePosixPath(file).stem, path, media, traces, label=label, source=source, extra={"cvat_task": number}
    )
    owner = task.findtext("assignee/username") or task.findtext("owner/username") or "cvat"
    result.samples.append(sample)
    result.passes.append(
        AnnotationPass(file=path, annotator=owner, cannot_tell=not traces, traces=tuple(sample.traces))
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


def _track(track: ElementTree.Element, media: Media, where: str, warnings: list[str]) -> Iterator[Trace]:
    boxes = sorted(track.findall("box"), key=lambda box: int(box.get("frame", "0")))
    others = {child.tag for child in track if child.tag != "box"}
    if others:
        warnings.append(f"{where}: {', '.join(sorted(others))} were left out; only boxes are read")
    if not boxes:
        return
    words = Words()
    words.add_tag(track.get("label", ""))
    for box in boxes:
        _attributes(box, words)
    stretch: list[tuple[int, Box, bool]] = []
    for element in boxes:
        index = int(element.get("frame", "0"))
        if element.get("outside") == "1":
            if stretch:
                yield _close(stretch, index, media, words, where)
                stretch = []
            continue
        stretch.append((index, _box(element, media, f"{where}, frame {index}"), element.get("keyframe") == "1"))
    if stretch:
        # Without a closing outside box, the track lives on to the end of what CVAT wrote: its last box.
        yield _close(stretch, stretch[-1][0] + 1, media, words, where)
    # The label's own name is a tag only where it is a category; one label "trace" for all is no mystery.
    unknown = [tag for tag in words.unknown if tag != track.get("label", "").strip()]
    if unknown:
        warnings.append(f"{where}: no category for {', '.join(unknown)}")


def _close(stretch: list[tuple[int, Box, bool]], end: int, media: Media, words: Words, where: str) -> Trace:
    keys = [(index, box) for index, box, is_key in stretch if is_key] or [(i, box) for i, box, _ in stretch]
    return trace_of_stretch(keys, stretch[0][0], end, media.fps or 1.0, words, where=where)


def _box(element: ElementTree.Element, media: Media, where: str) -> Box:
    try:
        x0, y0, x1, y1 = (float(element.get(side, "")) for side in ("xtl", "ytl", "xbr", "ybr"))
        return Box.from_pixels_xyxy(x0, y0, x1, y1, width=media.width, height=media.height)
    except ValueError as error:
        raise DataError(where, f"the box makes no sense: {dict(element.attrib)}") from error


def _attributes(box: ElementTree.Element, words: Words) -> None:
    for attribute in box.findall("attribute"):
        name, value = attribute.get("name", ""), (attribute.text or "").strip()
        if value.lower() == "true":
            words.add_tag(name)
        elif value.lower() in ("false", "", "__undefined__"):
            continue
        elif any(word in name.lower() for word in _CATEGORY_WORDS):
            for tag in value.split(","):
                words.add_tag(tag)
        else:
            words.add_text(value)
