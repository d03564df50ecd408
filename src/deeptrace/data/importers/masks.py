"""Masks, a frame each, as boxes over time: what benchmarks of localisation give where we have tubes.

Format of folders of pictures: DAVIS 2017 (`Annotations/480p/CLIP/00000.png`), which YouTube-VOS shares. Of mask videos:
FaceForensics++ (`manipulated_sequences/METHOD/masks/videos/CLIP.mp4`), ondyari/FaceForensics dataset/README.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from deeptrace.data.frames import Notes, needed_boxes, trace_of_boxes
from deeptrace.data.importers.shared import (
    Annotated,
    DatasetRoot,
    Rows,
    dataset_reader,
)
from deeptrace.data.media_join import VIDEO_SUFFIXES
from deeptrace.errors import DataError
from deeptrace.geometry import Box, box_iou
from deeptrace.schema import Media, Trace

__all__ = ["mask_traces", "read_masks"]

_SMALLEST = 0.0002
"""Share of the frame below which a spot of a mask is dirt: 18 pixels of 416 x 240."""
_SAME = 0.2
"""IoU with its last box from which on a spot goes on as the same trace."""
_GAP = 3
"""Frames that a spot may be gone for."""


@dataset_reader(folder="videos")
def read_masks(path: str, data: DatasetRoot) -> Rows:
    """A folder of masks: of each clip a folder of pictures, `CLIP/00000.png` (DAVIS's layout), or a video, `CLIP.mp4`.

    In a picture with a palette (DAVIS, YouTube-VOS) each value but 0 and 255 is a mask of its own; everything else is
    black and white, where each connected spot is one. A spot that overlaps one of the frame before goes on as the same
    trace. What lies between is the line between the boxes; the shape itself cannot be held, which is reported.

    BrokenVideos gives pixel masks with its clips (Lin et al., arXiv 2506.20103); how its files lie was not to be found,
    so bring them into one of these two layouts.

    Raises:
        DataError: no such folder, no mask in it, or not one that can be read.
    """
    base, notes = Path(path), Notes()
    if not base.is_dir():
        raise DataError(str(path), "is no folder of masks")
    masks = sorted(one for one in base.iterdir() if _is_masks(one))
    if not masks:
        raise DataError(str(path), "has neither folders of .png nor mask videos")

    def read(row: Mapping[str, Any], where: str) -> Iterator[Annotated]:
        mask = Path(row["mask"])
        own = data.path(f"{mask.stem}.mp4" if mask.is_dir() else mask.name, where)
        traces, facts = mask_traces(mask, data.media(own), where)
        notes.add(where, "of the mask's shape only its box is kept")
        yield Annotated(where, own, facts, traces, "masks")

    rows = [(mask.name, {"mask": str(mask)}) for mask in masks]
    return Rows(rows, read, notes)


def _is_masks(place: Path) -> bool:
    if place.is_dir():
        return any(one.suffix.lower() == ".png" for one in place.iterdir())
    return place.suffix.lower() in VIDEO_SUFFIXES


def mask_traces(mask: Path, media: Media | None, where: str) -> tuple[tuple[Trace, ...], Media]:
    """The traces of one clip's masks, and the clip's facts: those given, else the mask video's own.

    Raises:
        DataError: a picture's clip has no rate, or a picture cannot be read.
        VideoError: the mask video cannot be read.
    """
    from deeptrace.video import open_video

    if mask.is_dir():
        if media is None or media.fps is None:
            raise DataError(where, "is pictures, which state no frame rate", "Name the folder of the videos.")
        frames: Iterable[np.ndarray] = (_mask_picture(one, where) for one in sorted(mask.glob("*.png")))
        return _followed(frames, media), media
    with open_video(mask) as video:
        facts = (media or video.media).model_copy(update={"sampled_times_s": ()})
        shown = ((np.asarray(frame.image) > 127).astype(np.uint8) * 255 for frame in video.frames(format="gray"))
        return _followed(shown, facts), facts


def _mask_picture(path: Path, where: str) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(path) as image:
            values = np.asarray(image if image.mode == "P" else image.convert("L"))
            return values if image.mode == "P" else (values > 127).astype(np.uint8) * 255
    except (OSError, ValueError) as error:
        raise DataError(f"{where}, {path.name}", f"is no picture: {error}") from error


@dataclass
class _Spot:
    """A spot of a mask over time: its value, and its box by frame."""

    value: int
    boxes: dict[int, Box] = field(default_factory=dict)

    @property
    def last(self) -> int:
        return max(self.boxes)


def _followed(frames: Iterable[np.ndarray], media: Media) -> tuple[Trace, ...]:
    done: list[_Spot] = []
    live: list[_Spot] = []
    for number, values in enumerate(frames):
        done += [spot for spot in live if number - spot.last > _GAP]
        live = [spot for spot in live if number - spot.last <= _GAP]
        free = list(live)
        for value, box in _boxes_of(values):
            near = [(_iou(box, spot.boxes[spot.last]), spot) for spot in free if spot.value == value]
            share, best = max(near, key=lambda pair: pair[0], default=(0.0, None))
            if best is None or (share < _SAME and value == 255):
                best = _Spot(value)
                live.append(best)
            else:
                free.remove(best)
            best.boxes[number] = box
    spots = sorted((*done, *live), key=lambda spot: min(spot.boxes))
    rate = media.fps or 1.0
    return tuple(
        trace_of_boxes(needed_boxes(spot.boxes, media, odd=spot.boxes), min(spot.boxes), spot.last + 1, rate)
        for spot in spots
    )


def _iou(a: Box, b: Box) -> float:
    return float(box_iou(np.array(a.as_tuple()), np.array(b.as_tuple())))


def _boxes_of(values: np.ndarray) -> Iterator[tuple[int, Box]]:
    """Value and box of each spot of a mask (H, W): connected ones of 255, each other value as a whole."""
    import cv2

    height, width = values.shape
    for value in np.unique(values):
        if value == 0:
            continue
        chosen = (values == value).astype(np.uint8)
        if value != 255:
            down, across = np.nonzero(chosen)
            spots = [(across.min(), down.min(), across.max() + 1, down.max() + 1, len(across))]
        else:
            _, _, stats, _ = cv2.connectedComponentsWithStats(chosen, connectivity=8)
            spots = [(x, y, x + w, y + h, size) for x, y, w, h, size in stats[1:].tolist()]
        for x0, y0, x1, y1, size in spots:
            if size >= _SMALLEST * height * width:
                yield int(value), Box.from_fractions(x0 / width, y0 / height, x1 / width, y1 / height)
