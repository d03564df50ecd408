"""What to make of each clip so that no metadata is left to tell the classes apart.

One size, one frame rate, one bit rate; no clip enlarged, no frame made up: clips too small or too slow for that are
left out, by name. Lengths: both classes are sorted by length and each clip is cut to the shorter of the two classes'
lengths at its own rank, so that the distributions become one and no clip is cut more than that needs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from deeptrace.audit.file_facts import FileFacts
from deeptrace.errors import DataError, SettingsError
from deeptrace.geometry import Box, Keyframe, gaps_between
from deeptrace.schema import Label, Media, Sample, Trace

__all__ = ["Crop", "FixPlan", "make_plan", "map_trace"]

PERCENTILE = 5.0
MIN_SIDE = 64
MIN_FPS = 4
MIN_SECONDS = 0.5
BITS_A_PIXEL = 0.25
FPS_TOLERANCE = 0.02  # 23.976 frames/s will do for 24


@dataclass(frozen=True)
class Crop:
    """Scale to cover, then cut the centre out: no bars, no stretching.

    Attributes:
        scaled: (width, height) after scaling, at least the target both ways.
        left, top: pixels cut away there.
        size: (width, height) of the target.
    """

    scaled: tuple[int, int]
    left: int
    top: int
    size: tuple[int, int]

    @classmethod
    def cover(cls, width: int, height: int, size: tuple[int, int]) -> Crop:
        """The crop of a `width` x `height` picture to `size`."""
        scale = max(size[0] / width, size[1] / height)
        scaled = (max(round(width * scale), size[0]), max(round(height * scale), size[1]))
        return cls(scaled, (scaled[0] - size[0]) // 2, (scaled[1] - size[1]) // 2, size)

    def image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The centre of an image (H, W, 3) of the scaled size."""
        return image[self.top : self.top + self.size[1], self.left : self.left + self.size[0]]

    def box(self, box: Box) -> Box | None:
        """Where a box of the whole picture is in the cropped one; None when nothing of it is left."""
        x0, y0, x1, y1 = box.to_pixels_xyxy(width=self.scaled[0], height=self.scaled[1])
        corners = (x0 - self.left, y0 - self.top, x1 - self.left, y1 - self.top)
        try:
            return Box.from_pixels_xyxy(*corners, width=self.size[0], height=self.size[1])
        except ValueError:
            return None


@dataclass(frozen=True)
class FixPlan:
    """Attributes:
    width, height: of every clip, pixels.
    fps: of every clip.
    bit_rate: of every clip, bits per second.
    frames: number of frames of each clip, by video id.
    left_out: why, by video id.
    """

    width: int
    height: int
    fps: int
    bit_rate: int
    frames: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def make_plan(
    samples: Sequence[Sample],
    facts: Mapping[str, FileFacts],
    *,
    size: tuple[int, int] | None = None,
    fps: int | None = None,
    bit_rate: int | None = None,
) -> FixPlan:
    """Choose what is not given, and what becomes of each clip.

    Args:
        samples: to be fixed.
        facts: decoded, by video id.
        size: (width, height), even; by default the 5th percentiles of the clips' widths and heights.
        fps: by default the 5th percentile of the clips' rates, rounded down.
        bit_rate: by default a quarter bit a pixel.

    Raises:
        DataError: no clip was decoded, or every one would be left out.
        SettingsError: a size or rate that is invalid.
    """
    left_out = {s.video_id: _unusable(facts.get(s.video_id)) for s in samples}
    left_out = {video_id: reason for video_id, reason in left_out.items() if reason}
    media = {s.video_id: facts[s.video_id].decoded for s in samples if s.video_id not in left_out}
    known = {video_id: found for video_id, found in media.items() if found is not None}
    if not known:
        raise DataError("fix", "not one clip could be decoded")
    width, height = size or _common_size(list(known.values()))
    rate = fps or max(int(np.percentile([found.fps or MIN_FPS for found in known.values()], PERCENTILE)), MIN_FPS)
    if width % 2 or height % 2 or min(width, height) < MIN_SIDE:
        raise SettingsError("size", f"expected even sides of {MIN_SIDE} px or more but got {width} x {height}")
    if rate < 1:
        raise SettingsError("fps", f"expected 1 or more but got {rate}")
    available = {}
    for video_id, found in known.items():
        if found.width < width or found.height < height:
            left_out[video_id] = f"{found.width} x {found.height} would have to be enlarged"
        elif (found.fps or 0) < rate * (1 - FPS_TOLERANCE):
            left_out[video_id] = f"{found.fps or 0:.3g} frames/s would have to be made up to {rate}"
        elif found.duration_s < MIN_SECONDS:
            left_out[video_id] = f"{found.duration_s:.2f} s is too short"
        else:
            available[video_id] = max(math.floor(found.duration_s * rate + 1e-3), 1)
    if not available:
        raise DataError("fix", f"no clip can be made {width} x {height} at {rate} frames/s", "Choose smaller figures.")
    frames = _matched_lengths(samples, available)
    rate_bits = bit_rate or max(round(BITS_A_PIXEL * width * height * rate, -3), 64_000)
    return FixPlan(width, height, rate, int(rate_bits), frames, left_out)


def _unusable(facts: FileFacts | None) -> str:
    if facts is None:
        return "has no file"
    return facts.error or ("" if facts.decoded else "was not decoded")


def _common_size(media: Sequence[Media]) -> tuple[int, int]:
    sides = (np.percentile([getattr(found, side) for found in media], PERCENTILE) for side in ("width", "height"))
    width, height = (max(int(side) // 8 * 8, MIN_SIDE) for side in sides)
    return width, height


def _matched_lengths(samples: Sequence[Sample], available: Mapping[str, int]) -> dict[str, int]:
    """Frames of each clip: the shorter of the two classes' lengths at the clip's rank in its own."""
    label = {sample.video_id: sample.label for sample in samples}
    classes = {
        truth: sorted((video_id for video_id in available if label[video_id] is truth), key=lambda v: (available[v], v))
        for truth in Label
    }
    ranked = {truth: np.array([available[v] for v in members]) for truth, members in classes.items() if members}
    frames = dict(available)
    if len(ranked) < 2:
        return frames
    for truth, members in classes.items():
        other = ranked[Label.FAKE if truth is Label.REAL else Label.REAL]
        for at, video_id in enumerate(members):
            place = min(int((at + 0.5) / len(members) * len(other)), len(other) - 1)
            frames[video_id] = min(available[video_id], int(other[place]))
    return frames


def map_trace(trace: Trace, crop: Crop, duration_s: float) -> Trace | None:
    """A trace of the old clip in the cropped and cut one; None when nothing of it is left to see."""
    if trace.onset_s is not None and trace.onset_s >= duration_s:
        return None
    box = None if trace.box is None else crop.box(trace.box)
    if trace.box is not None and box is None:
        return None
    offset = None if trace.offset_s is None else min(trace.offset_s, duration_s)
    keys = [Keyframe(time_s=key.time_s, box=kept) for key in _cut(trace, duration_s) if (kept := crop.box(key.box))]
    gaps = gaps_between(trace.gaps, 0.0, duration_s)
    return trace.model_copy(update={"box": box, "offset_s": offset, "keyframes": tuple(keys), "gaps": gaps})


def _cut(trace: Trace, duration_s: float) -> list[Keyframe]:
    """Keyframes up to the cut, where the box then is included."""
    inside = [key for key in trace.keyframes if key.time_s <= duration_s]
    tube = trace.tube
    if len(inside) < len(trace.keyframes) and tube is not None and inside and inside[-1].time_s < duration_s:
        inside.append(Keyframe(time_s=duration_s, box=Box.from_fractions(*tube.corners_at([duration_s])[0])))
    return inside
