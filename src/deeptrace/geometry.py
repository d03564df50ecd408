"""Box, Interval and Tube, and the way in and out of every outside coordinate space.

Inside deeptrace a box is (x0, y0, x1, y1) as fractions of the frame's width and height, and a time is in seconds
of the decoded frame's timestamp. Pixels, per-mille coordinates, `left/top/width/height` and y-first orders exist
only in the `from_*` and `to_*` functions here, whose names say which they speak.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, model_serializer, model_validator

__all__ = ["Box", "Interval", "Keyframe", "Tube", "hull"]

SQRT2 = math.sqrt(2.0)


class _Value(BaseModel):
    """An immutable, hashable value."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Box(_Value):
    """A box in fractions of the frame: 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1; in JSON the list [x0, y0, x1, y1].

    Raises:
        ValueError: on construction (pydantic's ValidationError is one), when the corners are out of order, out of
            the frame or not finite. Use the `from_*` functions for outside numbers; they can clip.
    """

    x0: float
    y0: float
    x1: float
    y1: float

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            if len(value) != 4:
                raise ValueError(f"expected a box [x0, y0, x1, y1] but got {len(value)} numbers")
            return dict(zip(("x0", "y0", "x1", "y1"), value, strict=True))
        return value

    @model_validator(mode="after")
    def _inside_frame(self) -> Self:
        if not (0.0 <= self.x0 < self.x1 <= 1.0 and 0.0 <= self.y0 < self.y1 <= 1.0):
            raise ValueError(
                f"expected a box with 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1 but got {list(self.as_tuple())}"
            )
        return self

    @model_serializer
    def _as_list(self) -> list[float]:
        return [self.x0, self.y0, self.x1, self.y1]

    # -- measures ---------------------------------------------------------------------------------------------

    def as_tuple(self) -> tuple[float, float, float, float]:
        """(x0, y0, x1, y1) in fractions."""
        return (self.x0, self.y0, self.x1, self.y1)

    @property
    def width(self) -> float:
        """Fraction of the frame's width."""
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        """Fraction of the frame's height."""
        return self.y1 - self.y0

    @property
    def area(self) -> float:
        """Fraction of the frame's area, in (0, 1]."""
        return self.width * self.height

    @property
    def center(self) -> tuple[float, float]:
        """(x, y) in fractions."""
        return ((self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2)

    @property
    def place(self) -> str:
        """Where it lies, as people say it: "upper left", "right half", "centre"."""
        x, y = self.center
        across = "left" if x < 0.38 else "right" if x > 0.62 else ""
        down = "upper" if y < 0.38 else "lower" if y > 0.62 else ""
        if across and down:
            return f"{down} {across}"
        return f"{across or down} half" if across or down else "centre"

    @property
    def nearly_everywhere(self) -> bool:
        """Whether it takes up so much of the frame that no place says where it lies."""
        return self.area > 0.7

    def overlap(self, other: Box) -> float:
        """Area shared with `other`, as a fraction of the frame."""
        w = min(self.x1, other.x1) - max(self.x0, other.x0)
        h = min(self.y1, other.y1) - max(self.y0, other.y0)
        return max(w, 0.0) * max(h, 0.0)

    def iou(self, other: Box) -> float:
        """Intersection over union with `other`, in [0, 1] (paper, metric 5: boxes as ratios)."""
        shared = self.overlap(other)
        union = self.area + other.area - shared
        return min(shared / union, 1.0) if union > 0 else 0.0

    def center_distance(self, other: Box) -> float:
        """Distance of the centres over sqrt(2), in [0, 1] (paper, metric 6)."""
        (ax, ay), (bx, by) = self.center, other.center
        return math.hypot(ax - bx, ay - by) / SQRT2

    # -- outside coordinate spaces ----------------------------------------------------------------------------

    def placed_in(self, outer: Box) -> Box:
        """This box, given in fractions of `outer`, in fractions of the frame that `outer` is part of.

        >>> Box(x0=0.0, y0=0.5, x1=1.0, y1=1.0).placed_in(Box(x0=0.25, y0=0.0, x1=0.75, y1=1.0)).as_tuple()
        (0.25, 0.5, 0.75, 1.0)
        """
        return Box.from_fractions(
            outer.x0 + self.x0 * outer.width,
            outer.y0 + self.y0 * outer.height,
            outer.x0 + self.x1 * outer.width,
            outer.y0 + self.y1 * outer.height,
        )

    def seen_in(self, outer: Box) -> Box:
        """What of this box lies in `outer`, in fractions of `outer`.

        Raises:
            ValueError: nothing does.
        """
        return Box.from_fractions(
            (self.x0 - outer.x0) / outer.width,
            (self.y0 - outer.y0) / outer.height,
            (self.x1 - outer.x0) / outer.width,
            (self.y1 - outer.y0) / outer.height,
        )

    @classmethod
    def from_fractions(cls, x0: float, y0: float, x1: float, y1: float) -> Box:
        """A box from fractions that may stick out of the frame: clipped to it.

        Raises:
            ValueError: nothing of the box lies in the frame, or it has no area.
        """
        return cls(x0=_clip(x0), y0=_clip(y0), x1=_clip(x1), y1=_clip(y1))

    @classmethod
    def from_pixels_xyxy(cls, x0: float, y0: float, x1: float, y1: float, *, width: float, height: float) -> Box:
        """A box from corner pixels of a `width` x `height` frame, clipped to it.

        Raises:
            ValueError: the frame has no size, or nothing of the box lies in it.
        """
        if not (width > 0 and height > 0):
            raise ValueError(f"expected a frame of positive size but got {width} x {height}")
        return cls.from_fractions(x0 / width, y0 / height, x1 / width, y1 / height)

    @classmethod
    def from_pixels_ltwh(
        cls, left: float, top: float, box_width: float, box_height: float, *, width: float, height: float
    ) -> Box:
        """A box from RewardData's `{left, top, width, height}` in pixels of a `width` x `height` frame.

        Raises:
            ValueError: as `from_pixels_xyxy`.
        """
        return cls.from_pixels_xyxy(left, top, left + box_width, top + box_height, width=width, height=height)

    @classmethod
    def from_permille_xyxy(cls, x0: float, y0: float, x1: float, y1: float) -> Box:
        """A box in 0..1000 of width and height (Qwen3-VL, Gemini after reordering), clipped to the frame."""
        return cls.from_fractions(x0 / 1000, y0 / 1000, x1 / 1000, y1 / 1000)

    @classmethod
    def from_permille_yxyx(cls, y0: float, x0: float, y1: float, x1: float) -> Box:
        """A y-first box in 0..1000 (Gemini's `box_2d`), clipped to the frame."""
        return cls.from_permille_xyxy(x0, y0, x1, y1)

    @classmethod
    def from_1024ths_yxyx(cls, y0: float, x0: float, y1: float, x1: float) -> Box:
        """A y-first box in 0..1024 (PaliGemma's location tokens), clipped to the frame."""
        return cls.from_fractions(x0 / 1024, y0 / 1024, x1 / 1024, y1 / 1024)

    def to_pixels_xyxy(self, *, width: float, height: float) -> tuple[float, float, float, float]:
        """Corner pixels (x0, y0, x1, y1), not rounded, of a `width` x `height` frame."""
        return (self.x0 * width, self.y0 * height, self.x1 * width, self.y1 * height)

    def to_pixels_ltwh(self, *, width: float, height: float) -> tuple[float, float, float, float]:
        """RewardData's (left, top, width, height) in pixels, not rounded, of a `width` x `height` frame."""
        return (self.x0 * width, self.y0 * height, self.width * width, self.height * height)

    def to_permille_xyxy(self) -> tuple[float, float, float, float]:
        """(x0, y0, x1, y1) in 0..1000, not rounded."""
        return (self.x0 * 1000, self.y0 * 1000, self.x1 * 1000, self.y1 * 1000)


def hull(boxes: Iterable[Box]) -> Box:
    """The smallest box that contains all of `boxes`.

    Raises:
        ValueError: `boxes` is empty.
    """
    rows = [box.as_tuple() for box in boxes]
    if not rows:
        raise ValueError("expected at least one box but got none")
    x0, y0, x1, y1 = zip(*rows, strict=True)
    return Box(x0=min(x0), y0=min(y0), x1=max(x1), y1=max(y1))


class Interval(_Value):
    """A half-open stretch of time [onset_s, offset_s) in seconds, 0 <= onset_s <= offset_s.

    Raises:
        ValueError: on construction, when the times are negative, out of order or not finite.
    """

    onset_s: float
    offset_s: float

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not 0.0 <= self.onset_s <= self.offset_s:
            raise ValueError(f"expected 0 <= onset_s <= offset_s but got {self.onset_s} and {self.offset_s}")
        return self

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.offset_s - self.onset_s

    def overlap_s(self, other: Interval) -> float:
        """Seconds shared with `other`."""
        return max(min(self.offset_s, other.offset_s) - max(self.onset_s, other.onset_s), 0.0)

    def tiou(self, other: Interval) -> float:
        """Temporal intersection over union with `other`, in [0, 1]; two equal instants have 1."""
        shared = self.overlap_s(other)
        union = self.duration_s + other.duration_s - shared
        if union == 0.0:
            return float(self == other)
        return min(shared / union, 1.0)


class Keyframe(_Value):
    """Where a trace is at one moment; between keyframes the box moves linearly."""

    time_s: float
    box: Box


class Tube(_Value):
    """A box over time: keyframes in order of time, linear between them, alive over [onset_s, offset_s).

    Before the first keyframe and after the last one (within the life of the tube) the nearest keyframe holds.

    Raises:
        ValueError: on construction, when there is no keyframe or their times do not rise.
    """

    onset_s: float
    offset_s: float
    keyframes: tuple[Keyframe, ...]

    @model_validator(mode="after")
    def _rising(self) -> Self:
        Interval(onset_s=self.onset_s, offset_s=self.offset_s)
        if not self.keyframes:
            raise ValueError("expected a tube with at least one keyframe but got none")
        if any(a.time_s >= b.time_s for a, b in pairwise(self.keyframes)):
            raise ValueError("expected keyframes with rising times but two are equal or out of order")
        return self

    @classmethod
    def constant(cls, box: Box, interval: Interval) -> Tube:
        """A box that stands still over `interval`."""
        key = Keyframe(time_s=interval.onset_s, box=box)
        return cls(onset_s=interval.onset_s, offset_s=interval.offset_s, keyframes=(key,))

    @property
    def interval(self) -> Interval:
        """When the tube is alive."""
        return Interval(onset_s=self.onset_s, offset_s=self.offset_s)

    @property
    def box(self) -> Box:
        """Union of the boxes over the tube's life (linear motion: the union of the keyframes')."""
        return hull(key.box for key in self.keyframes)

    def corners_at(self, times_s: Sequence[float] | np.ndarray) -> np.ndarray:
        """Corners (N, 4) as x0, y0, x1, y1 fractions at `times_s` (N,), whether alive then or not."""
        keys = np.array([key.time_s for key in self.keyframes])
        rows = np.array([key.box.as_tuple() for key in self.keyframes])
        times = np.asarray(times_s, dtype=float)
        return np.stack([np.interp(times, keys, rows[:, side]) for side in range(4)], axis=-1)

    def box_at(self, time_s: float) -> Box | None:
        """The box at `time_s`, or None when the tube is not alive then."""
        if not (self.onset_s <= time_s < self.offset_s or time_s == self.onset_s):
            return None
        return Box.from_fractions(*self.corners_at([time_s])[0])

    def viou(self, other: Tube, *, samples: int = 64) -> float:
        """Volume IoU in [0, 1]: the integral of box IoU over the shared time, over the length of the joint time.

        vIoU = (1 / |T_union|) * integral over T_shared of IoU(box_a(t), box_b(t)) dt, as for spatio-temporal video
        grounding (VidSTG, HC-STVG), in continuous time so that it does not depend on a frame rate: midpoint rule
        with `samples` points in every stretch between keyframes.
        """
        start, end = max(self.onset_s, other.onset_s), min(self.offset_s, other.offset_s)
        joint = self.interval.duration_s + other.interval.duration_s - self.interval.overlap_s(other.interval)
        if joint == 0.0:
            return self.box.iou(other.box) if self.interval == other.interval else 0.0
        if start >= end:
            return 0.0
        inner = {key.time_s for tube in (self, other) for key in tube.keyframes if start < key.time_s < end}
        cuts = np.array(sorted({start, end} | inner))
        steps = (np.arange(samples) + 0.5) / samples
        times = (cuts[:-1, None] + np.diff(cuts)[:, None] * steps).ravel()
        weights = np.repeat(np.diff(cuts) / samples, samples)
        total = float((_pairwise_iou(self.corners_at(times), other.corners_at(times)) * weights).sum())
        return min(total / joint, 1.0)


def _pairwise_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU (N,) of corners `a` and `b`, both (N, 4)."""
    low, high = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])
    shared = np.clip(high - low, 0.0, None).prod(axis=1)
    union = (a[:, 2:] - a[:, :2]).prod(axis=1) + (b[:, 2:] - b[:, :2]).prod(axis=1) - shared
    return np.asarray(shared / np.maximum(union, 1e-12))


def _clip(value: float) -> float:
    return min(max(float(value), 0.0), 1.0)
