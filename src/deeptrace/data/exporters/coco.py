"""Samples as COCO for video, in TAO's layout: `videos`, `images` (their frames), `tracks`, `annotations`, `categories`.

Any COCO reader takes it as boxes on frames; TAO's take the tracks as well. Every frame in which a trace has a box is an
image, named PATH/INDEX.jpg by the video's path without its ending and the frame's index from 0; no picture is written
(`ffmpeg -i PATH.mp4 -start_number 0 PATH/%06d.jpg` makes them). A video without a trace has no image.

An annotation has one category, the first of its trace; all of them, the explanation, the exact times and the gaps in
which it has no row stand with the track, in fields of our own, as do label, source, split and prompt with the video.

Format: COCO, "Data format"; TAO-Dataset/tao, "Annotation format".
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, TextIO

from deeptrace.data.exporters.shared import Exported, kinds_of, samples_on_frames
from deeptrace.data.frames import ANY_KIND, Notes, TraceFrames, frame_count
from deeptrace.io.atomic import atomic_path
from deeptrace.schema import Category, Media, Sample

__all__ = ["write_coco"]

KINDS = (*(kind.value for kind in Category), ANY_KIND)
"""Names of the categories, whose ids count from 1."""

_Video = tuple[int, Sample, Media, list[tuple[int, TraceFrames]]]


def write_coco(samples: Iterable[Sample], path: str | os.PathLike[str]) -> Exported:
    """Write the annotation file.

    Raises:
        DataError: it cannot be written.
    """
    notes = Notes()
    videos: list[_Video] = []
    tracks = 0
    for sample, media, found in samples_on_frames(samples, notes, exact_times=True):
        numbered = list(enumerate(found, tracks + 1))
        tracks += len(found)
        videos.append((len(videos) + 1, sample, media, numbered))
    # A video's image ids follow on those of the videos before it.
    first_image = [1]
    for video in videos:
        first_image.append(first_image[-1] + len(_frames_of(video)))
    sections: dict[str, Iterator[Mapping[str, Any]]] = {
        "videos": (_video(*video[:3]) for video in videos),
        "tracks": (_track(video[0], number, item) for video in videos for number, item in video[3]),
        "images": _images(videos, first_image),
        "annotations": _annotations(videos, first_image),
        "categories": ({"id": at, "name": kind, "supercategory": ANY_KIND} for at, kind in enumerate(KINDS, 1)),
    }
    with atomic_path(path) as scratch, open(scratch, "w", encoding="utf-8") as file:
        file.write('{"info": {"description": "Traces of AI-generated video"}')
        for name, items in sections.items():
            _write(file, name, items)
        file.write("\n}\n")
    return Exported(len(videos), tracks, tuple(notes.lines()), notes.left_out)


def _write(file: TextIO, name: str, items: Iterator[Mapping[str, Any]]) -> None:
    file.write(f',\n"{name}": [')
    for at, item in enumerate(items):
        file.write((",\n" if at else "\n") + json.dumps(item, ensure_ascii=False, allow_nan=False))
    file.write("\n]")


def _frames_of(video: _Video) -> list[int]:
    """The frames in which one of the video's traces has a box."""
    return sorted({frame for _, item in video[3] for frame, _ in item.seen})


def _video(number: int, sample: Sample, media: Media) -> dict[str, Any]:
    known = {name: getattr(sample, name) for name in ("label", "source", "split", "prompt")}
    return {
        "id": number,
        "name": sample.path,
        "video_id": sample.video_id,
        "width": media.width,
        "height": media.height,
        "fps": media.fps,
        "frames": frame_count(media),
        "duration": media.duration_s,
    } | {name: value for name, value in known.items() if value is not None}


def _track(video: int, number: int, item: TraceFrames) -> dict[str, Any]:
    trace = item.trace
    kinds = [KINDS.index(kind) + 1 for kind in kinds_of(item)]
    track: dict[str, Any] = {
        "id": number,
        "video_id": video,
        "category_id": kinds[0],
        "category_ids": kinds,
        "first_frame": item.first,
        "end_frame": item.end,
        "onset_s": trace.onset_s,
        "offset_s": trace.offset_s,
        "explanation": trace.explanation,
    }
    if item.gaps:  # in COCO, a frame without a row may also be one that nobody looked at
        track |= {"gaps": [list(gap) for gap in item.gaps], "gaps_s": [[g.onset_s, g.offset_s] for g in trace.gaps]}
    return track if trace.score is None else track | {"score": trace.score}


def _images(videos: list[_Video], first_image: list[int]) -> Iterator[dict[str, Any]]:
    for video, image in zip(videos, first_image, strict=False):
        number, sample, media, _ = video
        folder = PurePosixPath(sample.path or sample.video_id).with_suffix("")
        for at, frame in enumerate(_frames_of(video), image):
            name = f"{folder}/{frame:06d}.jpg"
            size = {"width": media.width, "height": media.height}
            yield {"id": at, "video_id": number, "file_name": name, "frame_index": frame} | size


def _annotations(videos: list[_Video], first_image: list[int]) -> Iterator[dict[str, Any]]:
    count = 0
    for video, image in zip(videos, first_image, strict=False):
        number, _, media, tracks = video
        image_of = {frame: at for at, frame in enumerate(_frames_of(video), image)}
        for track, item in tracks:
            category = KINDS.index(kinds_of(item)[0]) + 1
            for frame, box in item.seen:
                count += 1
                sides = box.to_pixels_ltwh(width=media.width, height=media.height)
                yield {
                    "id": count,
                    "image_id": image_of[frame],
                    "video_id": number,
                    "track_id": track,
                    "category_id": category,
                    "bbox": list(sides),
                    "area": sides[2] * sides[3],
                    "segmentation": [],
                    "iscrowd": 0,
                    "keyframe": frame in item.keys,
                }
