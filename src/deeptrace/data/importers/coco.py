"""COCO for video (TAO's layout, MMTracking's CocoVID) to samples with boxes over time.

`videos` name the clips, `images` their frames (`video_id`, and `frame_index` or `frame_id`, from 0), `annotations` the
boxes [left, top, width, height] in pixels, which `track_id` or `instance_id` joins over frames. What `write_coco` adds
to `videos` and `tracks` is read where it is there.

Format: COCO, "Data format"; TAO-Dataset/tao, "Annotation format".
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
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
from deeptrace.io.atomic import short_name
from deeptrace.schema import Label, Media, Trace

__all__ = ["read_coco"]

Item = Mapping[str, Any]
_IDS = {"id", "video_id", "image_id", "track_id", "instance_id", "category_id"}


@dataclass
class _Track:
    """A track's boxes by frame, its keyframes where they are marked, and what is said of it."""

    stated: Item = field(default_factory=dict)
    boxes: dict[int, Item] = field(default_factory=dict)


def read_coco(
    path: str | os.PathLike[str],
    *,
    media: Callable[[str], Media] | None = None,
    folder: str = "videos",
    label: Label | None = None,
    source: str | None = None,
) -> Imported:
    """Read an annotation file.

    Args:
        path: the JSON file.
        media: asked for the rate and length of a video that the file does not state (COCO has no frame rate), with the
            video's path below the dataset's root.
        folder: where the videos lie, below the dataset's root.
        label: the truth of all videos; by default what the file says, else FAKE for those with a trace.
        source: generator or origin, when one is true of all.

    Raises:
        DataError: no COCO file, one without videos, or not one video of it makes sense.
    """
    name = short_name(path)
    whole = _load(path, name)
    kinds = {item.get("id"): str(item.get("name")) for item in _list(whole, "categories", name)}
    frames = {
        item.get("id"): (item.get("video_id"), item.get("frame_index", item.get("frame_id")))
        for item in _list(whole, "images", name)
    }
    notes = Notes()
    tracks: dict[Any, dict[Any, _Track]] = {}
    for stated in _list(whole, "tracks", name):
        tracks.setdefault(stated.get("video_id"), {})[stated.get("id")] = _Track(stated)
    for item in _list(whole, "annotations", name):
        where = f"{name}, annotation {item.get('id')}"
        video, frame = frames.get(item.get("image_id"), (None, None))
        track = item.get("track_id", item.get("instance_id"))
        if video is None or not isinstance(frame, int):
            notes.add(where, "is on no frame of a video and was left out")
        elif track is None:
            notes.add(where, "belongs to no track and was left out")
        else:
            found = tracks.setdefault(video, {}).setdefault(track, _Track())
            found.boxes[frame] = item
    annotated: list[Annotated] = []
    refused: list[DeeptraceError] = []
    for video in _list(whole, "videos", name):
        with set_aside(refused, f"{name}, video {video.get('id')}"):
            annotated.append(_read_video(video, tracks.get(video.get("id"), {}), kinds, name, notes, media, folder))
    if not annotated and not refused:
        raise DataError(name, "has no videos: it is COCO for images")
    return samples_of(annotated, notes, refused, folder=folder, label=label, source=source)


def _load(path: str | os.PathLike[str], name: str) -> Item:
    try:
        with open(path, encoding="utf-8-sig") as file:
            whole = json.load(file)
    except (OSError, ValueError) as error:
        raise DataError(name, f"cannot be read as JSON: {error}") from error
    if not isinstance(whole, Mapping):
        raise DataError(name, f"expected an object but got {type(whole).__name__}", "Is it a COCO annotation file?")
    return whole


def _list(whole: Item, key: str, name: str) -> list[Item]:
    stated = whole.get(key) or []
    if not isinstance(stated, list) or not all(isinstance(item, Mapping) for item in stated):
        raise DataError(f"{name}, {key}", "expected a list of objects")
    for number, item in enumerate(stated, 1):
        for id_ in _IDS & item.keys():
            if isinstance(item[id_], (list, dict)):
                raise DataError(f"{name}, {key} {number}, {id_}", "expected a number or a text")
    return stated


def _read_video(
    video: Item,
    tracks: Mapping[Any, _Track],
    kinds: Mapping[Any, str],
    name: str,
    notes: Notes,
    ask: Callable[[str], Media] | None,
    folder: str,
) -> Annotated:
    where = f"{name}, video {video.get('id')}"
    stated = video.get("name") or video.get("file_name")
    if not isinstance(stated, str) or not stated.strip():
        raise DataError(where, "has no name")
    ours = isinstance(video.get("video_id"), str)
    path = stated if ours else path_below(stated, folder)
    if path is None:
        raise DataError(where, f"expected the path of a video but got {stated!r}")
    facts = _media(video, path, ask, where)
    traces, incomplete = [], False
    for track_id, track in tracks.items():
        trace = _trace(track, kinds, facts, f"{where}, track {track_id}", notes)
        incomplete = incomplete or trace is None
        traces += [] if trace is None else [trace]
    about = {key: video[key] for key in ("source", "split", "prompt") if isinstance(video.get(key), str)}
    said = Words(tags={str(video["label"]): None} if video.get("label") else {})
    return Annotated(
        where=where,
        path=path,
        media=facts,
        traces=tuple(traces),
        annotator="coco",
        incomplete=incomplete,
        video_id=video["video_id"] if ours else None,
        label=said.label,
        about=about,
    )


def _media(video: Item, path: str, ask: Callable[[str], Media] | None, where: str) -> Media:
    try:
        frames, fps = int(video["frames"]), float(video["fps"])
        return Media(
            width=int(video["width"]),
            height=int(video["height"]),
            duration_s=float(video.get("duration") or frames / fps),
            fps=fps,
            frames=frames,
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        if ask is None:
            problem = "does not state width, height, fps and frames"
            raise DataError(where, problem, "Name the folder of the videos.") from error
        return ask(path).model_copy(update={"sampled_times_s": ()})


def _trace(track: _Track, kinds: Mapping[Any, str], media: Media, where: str, notes: Notes) -> Trace | None:
    """One trace, or None where nothing of it can be read."""
    ids = track.stated.get("category_ids") or list(
        dict.fromkeys([track.stated.get("category_id"), *(item.get("category_id") for item in track.boxes.values())])
    )
    words = Words()
    for kind in ids:
        if kind in kinds and kinds[kind] != ANY_KIND:
            words.add_tag(kinds[kind])
    words.note_unused(where, notes)
    text, score = track.stated.get("explanation"), track.stated.get("score")
    about: dict[str, Any] = {
        "categories": words.categories,
        "explanation": text if isinstance(text, str) else "",
        "score": float(score) if isinstance(score, (int, float)) and 0 <= score <= 1 else None,
    }
    boxes = dict(_boxes(track, media, where, notes))
    if not boxes and track.boxes:
        return None
    if boxes:
        first, end = min(boxes), max(boxes) + 1
    elif isinstance(track.stated.get("first_frame"), int) and isinstance(track.stated.get("end_frame"), int):
        first, end = track.stated["first_frame"], track.stated["end_frame"]
    else:
        notes.add(where, "has no annotation and was left out")
        return None
    keys = [frame for frame in boxes if track.boxes[frame].get("keyframe")]
    parts = parts_between(boxes, first, end, _gaps(track.stated, where))
    needed, gaps = joined_boxes([(needed_boxes(of, media, keys=keys, odd=of), low, high) for of, low, high in parts])
    trace = trace_of_boxes(needed, first, end, media.fps or 1.0, gaps=gaps, **about)
    return with_exact_times(trace, track.stated, media.fps or 1.0)


def _gaps(stated: Item, where: str) -> list[tuple[int, int]]:
    """The frames [first, end) in which a track has no box, where it says so; else a missing row is a missing row."""
    try:
        return [(int(first), int(end)) for first, end in stated.get("gaps") or ()]
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}, gaps", "expected a list of [first, end]") from error


def _boxes(track: _Track, media: Media, where: str, notes: Notes) -> Iterator[tuple[int, Box]]:
    for frame, item in sorted(track.boxes.items()):
        spot = f"{where}, frame {frame}"
        try:
            left, top, width, height = (float(side) for side in item["bbox"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(spot, f"expected a bbox of four numbers but got {item.get('bbox')!r}") from error
        if not 0 <= frame < (media.frames or frame + 1):
            notes.add(spot, "the box lies outside its video's frames and was left out")
            continue
        box = box_in_frame((left, top, left + width, top + height), media, spot, notes)
        if isinstance(box, Box):
            yield frame, box
