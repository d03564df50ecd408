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
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, model_serializer, model_validator

__all__ = [
    "Box",
    "Interval",
    "Keyframe",
    "Tube",
    "box_iou",
    "center_distance",
    "check_gaps",
    "gaps_between",
    "hull",
    "segments_tiou",
    "temporal_iou",
    "tube_viou",
]

SQRT2 = math.sqrt(2.0)
Floats = NDArray[np.float64]
_MIDPOINTS = 16  # in every segment between keyframes: within 0.002 of the integral
_CHUNK = 2_000


class _Value(BaseModel):
    """An immutable, hashable value."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Box(_Value):
    """A box in fractions of the frame: 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1; in JSON the list [x0, y0, x1, y1].

    Raises:
        ValueError: on construction (pydantic's ValidationError is one), when the corners are out of order, out of
            the frame or not finite. Use the `from_*` functions for outside numbers; they can clip.

    Examples:
        >>> Box(x0=0.25, y0=0.5, x1=0.75, y1=1.0)
        Box(x0=0.25, y0=0.5, x1=0.75, y1=1.0)
        >>> Box.model_validate([0.25, 0.5, 0.75, 1.0]).model_dump_json()
        '[0.25,0.5,0.75,1.0]'
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
        """(x0, y0, x1, y1) in fractions.

        Examples:
            >>> Box(x0=0.25, y0=0.5, x1=0.75, y1=1.0).as_tuple()
            (0.25, 0.5, 0.75, 1.0)
        """
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
        """Fraction of the frame's area, in (0, 1].

        Examples:
            >>> Box(x0=0.0, y0=0.0, x1=0.5, y1=0.25).area
            0.125
        """
        return self.width * self.height

    @property
    def center(self) -> tuple[float, float]:
        """(x, y) in fractions.

        Examples:
            >>> Box(x0=0.25, y0=0.5, x1=0.75, y1=1.0).center
            (0.5, 0.75)
        """
        return ((self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2)

    @property
    def place(self) -> str:
        """Where it lies, as people say it: "upper left", "right half", "centre".

        Examples:
            >>> corners = [(0, 0, 0.3, 0.3), (0.7, 0, 1, 1), (0.4, 0.4, 0.6, 0.6)]
            >>> [Box.from_fractions(*four).place for four in corners]
            ['upper left', 'right half', 'centre']
        """
        x, y = self.center
        across = "left" if x < 0.38 else "right" if x > 0.62 else ""
        down = "upper" if y < 0.38 else "lower" if y > 0.62 else ""
        if across and down:
            return f"{down} {across}"
        return f"{across or down} half" if across or down else "centre"

    @property
    def nearly_everywhere(self) -> bool:
        """Whether it takes up so much of the frame that no place says where it lies.

        Examples:
            >>> Box(x0=0.0, y0=0.0, x1=1.0, y1=0.8).nearly_everywhere
            True
            >>> Box(x0=0.0, y0=0.0, x1=1.0, y1=0.5).nearly_everywhere
            False
        """
        return self.area > 0.7

    def overlap(self, other: Box) -> float:
        """Area shared with `other`, as a fraction of the frame.

        Examples:
            >>> left, middle = Box(x0=0.0, y0=0.0, x1=0.5, y1=1.0), Box(x0=0.25, y0=0.0, x1=0.75, y1=1.0)
            >>> left.overlap(middle)
            0.25
        """
        w = min(self.x1, other.x1) - max(self.x0, other.x0)
        h = min(self.y1, other.y1) - max(self.y0, other.y0)
        return max(w, 0.0) * max(h, 0.0)

    def iou(self, other: Box) -> float:
        """Intersection over union with `other`, in [0, 1] (paper, metric 5: boxes as ratios).

        Examples:
            >>> left, middle = Box(x0=0.0, y0=0.0, x1=0.5, y1=1.0), Box(x0=0.25, y0=0.0, x1=0.75, y1=1.0)
            >>> left.iou(left), round(left.iou(middle), 4)
            (1.0, 0.3333)
            >>> left.iou(Box(x0=0.5, y0=0.0, x1=1.0, y1=1.0))  # they touch
            0.0
        """
        shared = self.overlap(other)
        union = self.area + other.area - shared
        return min(shared / union, 1.0) if union > 0 else 0.0

    def center_distance(self, other: Box) -> float:
        """Distance of the centres over sqrt(2), in [0, 1] (paper, metric 6).

        Examples:
            >>> corner, opposite = Box(x0=0.0, y0=0.0, x1=0.2, y1=0.2), Box(x0=0.8, y0=0.8, x1=1.0, y1=1.0)
            >>> round(corner.center_distance(opposite), 6)
            0.8
        """
        (ax, ay), (bx, by) = self.center, other.center
        return math.hypot(ax - bx, ay - by) / SQRT2

    # -- outside coordinate spaces ----------------------------------------------------------------------------

    def placed_in(self, outer: Box) -> Box:
        """This box, given in fractions of `outer`, in fractions of the frame that `outer` is part of.

        Examples:
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

        Examples:
            >>> half = Box(x0=0.5, y0=0.0, x1=1.0, y1=1.0)
            >>> Box(x0=0.25, y0=0.0, x1=0.75, y1=1.0).seen_in(half).as_tuple()
            (0.0, 0.0, 0.5, 1.0)
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

        Examples:
            >>> Box.from_fractions(-0.1, 0.0, 0.5, 1.2).as_tuple()
            (0.0, 0.0, 0.5, 1.0)
        """
        return cls(x0=_clip(x0), y0=_clip(y0), x1=_clip(x1), y1=_clip(y1))

    @classmethod
    def from_pixels_xyxy(cls, x0: float, y0: float, x1: float, y1: float, *, width: float, height: float) -> Box:
        """A box from corner pixels of a `width` x `height` frame, clipped to it.

        Raises:
            ValueError: the frame has no size, or nothing of the box lies in it.

        Examples:
            >>> Box.from_pixels_xyxy(320, 180, 960, 720, width=1280, height=720).as_tuple()
            (0.25, 0.25, 0.75, 1.0)
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

        Examples:
            >>> Box.from_pixels_ltwh(320, 180, 640, 540, width=1280, height=720).as_tuple()
            (0.25, 0.25, 0.75, 1.0)
        """
        return cls.from_pixels_xyxy(left, top, left + box_width, top + box_height, width=width, height=height)

    @classmethod
    def from_permille_xyxy(cls, x0: float, y0: float, x1: float, y1: float) -> Box:
        """A box in 0..1000 of width and height (Qwen3-VL, Gemini after reordering), clipped to the frame.

        Examples:
            >>> Box.from_permille_xyxy(250, 250, 750, 1000).as_tuple()
            (0.25, 0.25, 0.75, 1.0)
        """
        return cls.from_fractions(x0 / 1000, y0 / 1000, x1 / 1000, y1 / 1000)

    @classmethod
    def from_permille_yxyx(cls, y0: float, x0: float, y1: float, x1: float) -> Box:
        """A y-first box in 0..1000 (Gemini's `box_2d`), clipped to the frame.

        Examples:
            >>> Box.from_permille_yxyx(250, 125, 1000, 750).as_tuple()
            (0.125, 0.25, 0.75, 1.0)
        """
        return cls.from_permille_xyxy(x0, y0, x1, y1)

    @classmethod
    def from_1024ths_yxyx(cls, y0: float, x0: float, y1: float, x1: float) -> Box:
        """A y-first box in 0..1024 (PaliGemma's location tokens), clipped to the frame.

        Examples:
            >>> Box.from_1024ths_yxyx(256, 128, 1024, 768).as_tuple()
            (0.125, 0.25, 0.75, 1.0)
        """
        return cls.from_fractions(x0 / 1024, y0 / 1024, x1 / 1024, y1 / 1024)

    def to_pixels_xyxy(self, *, width: float, height: float) -> tuple[float, float, float, float]:
        """Corner pixels (x0, y0, x1, y1), not rounded, of a `width` x `height` frame.

        Examples:
            >>> Box(x0=0.25, y0=0.25, x1=0.75, y1=1.0).to_pixels_xyxy(width=1280, height=720)
            (320.0, 180.0, 960.0, 720.0)
        """
        return (self.x0 * width, self.y0 * height, self.x1 * width, self.y1 * height)

    def to_pixels_ltwh(self, *, width: float, height: float) -> tuple[float, float, float, float]:
        """RewardData's (left, top, width, height) in pixels, not rounded, of a `width` x `height` frame.

        Examples:
            >>> Box(x0=0.25, y0=0.25, x1=0.75, y1=1.0).to_pixels_ltwh(width=1280, height=720)
            (320.0, 180.0, 640.0, 540.0)
        """
        return (self.x0 * width, self.y0 * height, self.width * width, self.height * height)

    def to_permille_xyxy(self) -> tuple[float, float, float, float]:
        """(x0, y0, x1, y1) in 0..1000, not rounded.

        Examples:
            >>> Box(x0=0.25, y0=0.25, x1=0.75, y1=1.0).to_permille_xyxy()
            (250.0, 250.0, 750.0, 1000.0)
        """
        return (self.x0 * 1000, self.y0 * 1000, self.x1 * 1000, self.y1 * 1000)


def hull(boxes: Iterable[Box]) -> Box:
    """The smallest box that contains all of `boxes`.

    Raises:
        ValueError: `boxes` is empty.

    Examples:
        >>> hull([Box(x0=0.0, y0=0.5, x1=0.25, y1=1.0), Box(x0=0.5, y0=0.25, x1=0.75, y1=0.5)]).as_tuple()
        (0.0, 0.25, 0.75, 1.0)
    """
    rows = [box.as_tuple() for box in boxes]
    if not rows:
        raise ValueError("expected at least one box but got none")
    x0, y0, x1, y1 = zip(*rows, strict=True)
    return Box(x0=min(x0), y0=min(y0), x1=max(x1), y1=max(y1))


class Interval(_Value):
    """A half-open interval of time [onset_s, offset_s) in seconds, 0 <= onset_s <= offset_s.

    Raises:
        ValueError: on construction, when the times are negative, out of order or not finite.

    Examples:
        >>> Interval(onset_s=1.0, offset_s=2.5).duration_s
        1.5
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
        """Seconds shared with `other`.

        Examples:
            >>> Interval(onset_s=1.0, offset_s=3.0).overlap_s(Interval(onset_s=2.0, offset_s=6.0))
            1.0
        """
        return max(min(self.offset_s, other.offset_s) - max(self.onset_s, other.onset_s), 0.0)

    def tiou(self, other: Interval) -> float:
        """Temporal intersection over union with `other`, in [0, 1]; two equal instants have 1.

        Examples:
            >>> first, later = Interval(onset_s=1.0, offset_s=3.0), Interval(onset_s=2.0, offset_s=6.0)
            >>> first.tiou(later), first.tiou(first), first.tiou(Interval(onset_s=3.0, offset_s=4.0))
            (0.2, 1.0, 0.0)
        """
        shared = self.overlap_s(other)
        union = self.duration_s + other.duration_s - shared
        if union == 0.0:
            return float(self == other)
        return min(shared / union, 1.0)

    def without(self, gaps: Iterable[Interval]) -> tuple[Interval, ...]:
        """What of it lies in none of `gaps`, which are in order and apart.

        Examples:
            >>> seen = Interval(onset_s=1, offset_s=5).without([Interval(onset_s=2, offset_s=3)])
            >>> [(one.onset_s, one.offset_s) for one in seen]
            [(1.0, 2.0), (3.0, 5.0)]
        """
        parts, since_s = [], self.onset_s
        for gap in gaps:
            if gap.onset_s >= self.offset_s or gap.offset_s <= since_s:
                continue
            if gap.onset_s > since_s:
                parts.append(Interval(onset_s=since_s, offset_s=gap.onset_s))
            since_s = gap.offset_s
        if since_s < self.offset_s or (self.duration_s == 0 and since_s == self.onset_s):
            parts.append(Interval(onset_s=since_s, offset_s=self.offset_s))
        return tuple(parts)


def gaps_between(gaps: Iterable[Interval], start_s: float, end_s: float) -> tuple[Interval, ...]:
    """What of `gaps` lies in the segment [start_s, end_s), in that segment's own time.

    Examples:
        >>> [(one.onset_s, one.offset_s) for one in gaps_between([Interval(onset_s=2, offset_s=4)], 1.0, 3.0)]
        [(1.0, 2.0)]
    """
    inside = ((max(gap.onset_s, start_s) - start_s, min(gap.offset_s, end_s) - start_s) for gap in gaps)
    return tuple(Interval(onset_s=low, offset_s=high) for low, high in inside if low < high)


def check_gaps(gaps: Sequence[Interval]) -> None:
    """Refuse gaps that make no sense.

    Raises:
        ValueError: a gap has no length, or two are out of order or overlap.
    """
    if any(not gap.duration_s for gap in gaps) or any(a.offset_s > b.onset_s for a, b in pairwise(gaps)):
        raise ValueError("expected gaps with a length, in order and apart, but two overlap or one is empty")


class Keyframe(_Value):
    """Where a trace is at one moment; between keyframes the box moves linearly."""

    time_s: float
    box: Box


class Tube(_Value):
    """A box over time: keyframes in order of time, linear between them, present over [onset_s, offset_s).

    Before the first keyframe and after the last one (within the life of the tube) the nearest keyframe holds. In a gap
    there is no box; the motion between keyframes goes on unseen.

    Raises:
        ValueError: on construction, when there is no keyframe, their times do not rise, or gaps overlap.

    Examples:
        >>> here, there = Box(x0=0.0, y0=0.0, x1=0.5, y1=0.5), Box(x0=0.5, y0=0.5, x1=1.0, y1=1.0)
        >>> keys = (Keyframe(time_s=1.0, box=here), Keyframe(time_s=3.0, box=there))
        >>> tube = Tube(onset_s=1.0, offset_s=4.0, keyframes=keys)
        >>> tube.interval.duration_s, tube.box.as_tuple()
        (3.0, (0.0, 0.0, 1.0, 1.0))
        >>> tube.box_at(2.0).as_tuple()
        (0.25, 0.25, 0.75, 0.75)
    """

    onset_s: float
    offset_s: float
    keyframes: tuple[Keyframe, ...]
    gaps: tuple[Interval, ...] = ()

    @model_validator(mode="after")
    def _rising(self) -> Self:
        Interval(onset_s=self.onset_s, offset_s=self.offset_s)
        check_gaps(self.gaps)
        if not self.keyframes:
            raise ValueError("expected a tube with at least one keyframe but got none")
        if any(a.time_s >= b.time_s for a, b in pairwise(self.keyframes)):
            raise ValueError("expected keyframes with rising times but two are equal or out of order")
        return self

    @classmethod
    def constant(cls, box: Box, interval: Interval) -> Tube:
        """A box that stands still over `interval`.

        Examples:
            >>> tube = Tube.constant(Box(x0=0.0, y0=0.0, x1=0.5, y1=0.5), Interval(onset_s=1.0, offset_s=2.0))
            >>> tube.box_at(1.5).as_tuple()
            (0.0, 0.0, 0.5, 0.5)
        """
        key = Keyframe(time_s=interval.onset_s, box=box)
        return cls(onset_s=interval.onset_s, offset_s=interval.offset_s, keyframes=(key,))

    @property
    def interval(self) -> Interval:
        """Temporal extent of the tube."""
        return Interval(onset_s=self.onset_s, offset_s=self.offset_s)

    @property
    def segments(self) -> tuple[Interval, ...]:
        """Its temporal extent without the gaps."""
        return self.interval.without(self.gaps)

    @property
    def box(self) -> Box:
        """Union of the boxes over the tube's life (linear motion: the union of the keyframes'), gaps left out."""
        seen = self.segments if self.gaps else ()
        if not seen:
            return hull(key.box for key in self.keyframes)
        ends = {time_s for one in seen for time_s in (one.onset_s, one.offset_s)}
        inner = {k.time_s for k in self.keyframes if any(one.onset_s < k.time_s < one.offset_s for one in seen)}
        return hull(Box.from_fractions(*row) for row in self.corners_at(sorted(ends | inner)))

    def corners_at(self, times_s: Sequence[float] | np.ndarray) -> np.ndarray:
        """Corners (N, 4) as x0, y0, x1, y1 fractions at `times_s` (N,), whether the tube is present then or not.

        Examples:
            >>> tube = Tube.constant(Box(x0=0.0, y0=0.25, x1=0.5, y1=0.75), Interval(onset_s=1.0, offset_s=2.0))
            >>> tube.corners_at([1.0, 9.0]).tolist()
            [[0.0, 0.25, 0.5, 0.75], [0.0, 0.25, 0.5, 0.75]]
        """
        keys = np.array([key.time_s for key in self.keyframes])
        rows = np.array([key.box.as_tuple() for key in self.keyframes])
        times = np.asarray(times_s, dtype=float)
        return np.stack([np.interp(times, keys, rows[:, side]) for side in range(4)], axis=-1)

    def box_at(self, time_s: float) -> Box | None:
        """The box at `time_s`, or None when the tube is not present then.

        Examples:
            >>> tube = Tube.constant(Box(x0=0.0, y0=0.25, x1=0.5, y1=0.75), Interval(onset_s=1.0, offset_s=2.0))
            >>> tube.box_at(1.0).as_tuple(), tube.box_at(2.0)
            ((0.0, 0.25, 0.5, 0.75), None)
        """
        if not (self.onset_s <= time_s < self.offset_s or time_s == self.onset_s):
            return None
        if any(gap.onset_s <= time_s < gap.offset_s for gap in self.gaps):
            return None
        return Box.from_fractions(*self.corners_at([time_s])[0])

    def viou(self, other: Tube) -> float:
        """Volume IoU in [0, 1]: the integral of box IoU over the shared time, over the length of the joint time.

        vIoU = (1 / |T_union|) * integral over T_shared of IoU(box_a(t), box_b(t)) dt, as for spatio-temporal video
        grounding (VidSTG, HC-STVG), in continuous time so that it does not depend on a frame rate; see `tube_viou`. A
        gap is no time of a tube: T_shared is when both have a box, T_union when either has.

        Examples:
            >>> box, half = Box(x0=0.0, y0=0.0, x1=1.0, y1=1.0), Box(x0=0.0, y0=0.0, x1=0.5, y1=1.0)
            >>> whole = Tube.constant(box, Interval(onset_s=0.0, offset_s=4.0))
            >>> part = Tube.constant(half, Interval(onset_s=2.0, offset_s=4.0))
            >>> round(whole.viou(part), 6)  # half of the time at an IoU of one half
            0.25
            >>> round(whole.viou(whole), 6)
            1.0
        """
        return float(tube_viou([self], [other])[0])


def box_iou(a: Floats, b: Floats) -> Floats:
    """IoU (N,) in [0, 1] of corners `a` and `b`, both (..., 4) as x0, y0, x1, y1; NaN where a corner is NaN.

    Examples:
        >>> a = np.array([[0.0, 0.0, 0.5, 1.0], [0.0, 0.0, 0.5, 1.0]])
        >>> b = np.array([[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]])
        >>> box_iou(a, b).tolist()
        [1.0, 0.0]
    """
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])
    shared = np.clip(high - low, 0.0, None).prod(axis=-1)
    union = (a[..., 2:] - a[..., :2]).prod(axis=-1) + (b[..., 2:] - b[..., :2]).prod(axis=-1) - shared
    return np.asarray(np.minimum(shared / np.maximum(union, 1e-12), 1.0))


def center_distance(a: Floats, b: Floats) -> Floats:
    """Distance of the centres of ratio boxes (N, 4) over sqrt(2), in [0, 1] (paper, metric 6).

    Examples:
        >>> a, b = np.array([[0.0, 0.0, 0.2, 0.2]]), np.array([[0.8, 0.8, 1.0, 1.0]])
        >>> center_distance(a, b).round(6).tolist()
        [0.8]
    """
    apart = (a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2
    return np.asarray(np.sqrt((apart**2).sum(axis=-1) / 2))


def temporal_iou(a: Floats, b: Floats) -> Floats:
    """Temporal IoU (N,) of half-open intervals `a` and `b`, both (N, 2) in seconds; two equal instants have 1.

    Examples:
        >>> a, b = np.array([[1.0, 3.0], [2.0, 2.0]]), np.array([[2.0, 6.0], [2.0, 2.0]])
        >>> temporal_iou(a, b).tolist()
        [0.2, 1.0]
    """
    shared = np.clip(np.minimum(a[:, 1], b[:, 1]) - np.maximum(a[:, 0], b[:, 0]), 0.0, None)
    union = (a[:, 1] - a[:, 0]) + (b[:, 1] - b[:, 0]) - shared
    equal = np.where(np.isnan(union), np.nan, (a[:, 0] == b[:, 0]) & (a[:, 1] == b[:, 1]))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(union > 0, np.minimum(shared / union, 1.0), equal))


def tube_viou(a: list[Tube], b: list[Tube]) -> Floats:
    """Volume IoU (N,) in [0, 1] of N pairs of tubes, see `Tube.viou`, in a few numpy calls.

    The integral is taken by the midpoint rule between keyframes.

    Examples:
        >>> whole = Tube.constant(Box(x0=0, y0=0, x1=1, y1=1), Interval(onset_s=0, offset_s=4))
        >>> part = Tube.constant(Box(x0=0, y0=0, x1=0.5, y1=1), Interval(onset_s=2, offset_s=4))
        >>> tube_viou([whole, whole], [whole, part]).round(6).tolist()
        [1.0, 0.25]
    """
    parts = [_viou_chunk(a[i : i + _CHUNK], b[i : i + _CHUNK]) for i in range(0, len(a), _CHUNK)]
    found = np.concatenate(parts) if parts else np.zeros(0)
    for i, (one, other) in enumerate(zip(a, b, strict=True)):
        if one.gaps or other.gaps:
            found[i] = _viou_with_gaps(one, other)
    return found


def _viou_with_gaps(a: Tube, b: Tube) -> float:
    """vIoU of two tubes that are off for a while, from their segments."""
    seen_a, seen_b = a.segments, b.segments
    shared = sum(one.overlap_s(other) for one in seen_a for other in seen_b)
    joint = sum(one.duration_s for one in (*seen_a, *seen_b)) - shared
    pairs = [(one, other) for one in seen_a for other in seen_b if one.overlap_s(other) > 0]
    if joint <= 0 or not pairs:
        return 0.0
    of = [
        [tube.model_copy(update=dict(one) | {"gaps": ()}) for one in part]
        for tube, part in zip((a, b), zip(*pairs, strict=True), strict=True)
    ]
    return min(float(_shared_volume(*of)[0].sum()) / joint, 1.0)


def segments_tiou(a: Sequence[Interval], b: Sequence[Interval]) -> float:
    """Temporal IoU of two sets of intervals, each in order and apart: seconds that both have over those either has.

    Examples:
        >>> whole = Interval(onset_s=0, offset_s=4)
        >>> segments_tiou([whole], whole.without([Interval(onset_s=1, offset_s=2)]))
        0.75
    """
    if len(a) == len(b) == 1:
        return a[0].tiou(b[0])
    shared = sum(one.overlap_s(other) for one in a for other in b)
    joint = sum(one.duration_s for one in (*a, *b)) - shared
    return min(shared / joint, 1.0) if joint > 0 else 0.0


def _viou_chunk(a: list[Tube], b: list[Tube]) -> Floats:
    total, joint = _shared_volume(a, b)
    out = np.minimum(total / np.where(joint > 0, joint, 1.0), 1.0)
    for i in np.flatnonzero(joint <= 0):  # two instants
        out[i] = a[i].box.iou(b[i].box) if a[i].interval == b[i].interval else 0.0
    return np.asarray(out)


def _shared_volume(a: list[Tube], b: list[Tube]) -> tuple[Floats, Floats]:
    """The integral of box IoU over the shared time of N pairs (N,), and their joint time (N,); gaps do not count."""
    spans_a = np.array([(tube.onset_s, tube.offset_s) for tube in a])
    spans_b = np.array([(tube.onset_s, tube.offset_s) for tube in b])
    keys_a, rows_a = _keyframes(a)
    keys_b, rows_b = _keyframes(b)
    start, end = np.maximum(spans_a[:, 0], spans_b[:, 0]), np.minimum(spans_a[:, 1], spans_b[:, 1])
    end = np.maximum(start, end)
    joint = np.ptp(spans_a, axis=1) + np.ptp(spans_b, axis=1) - (end - start)
    inner = np.concatenate([start[:, None], keys_a, keys_b, end[:, None]], axis=1)
    cuts = np.sort(np.clip(np.nan_to_num(inner, nan=np.inf), start[:, None], end[:, None]), axis=1)
    lengths = np.diff(cuts, axis=1)
    steps = (np.arange(_MIDPOINTS) + 0.5) / _MIDPOINTS
    times = (cuts[:, :-1, None] + lengths[:, :, None] * steps).reshape(len(a), -1)
    weights = np.repeat(lengths / _MIDPOINTS, _MIDPOINTS, axis=1)
    total = (box_iou(_corners_at(keys_a, rows_a, times), _corners_at(keys_b, rows_b, times)) * weights).sum(axis=1)
    return np.asarray(total), np.asarray(joint)


def _keyframes(tubes: list[Tube]) -> tuple[Floats, Floats]:
    """Keyframe times (N, K) and corners (N, K, 4), padded with NaN times and the last corners."""
    most = max(len(tube.keyframes) for tube in tubes)
    keys = np.full((len(tubes), most), np.nan)
    rows = np.zeros((len(tubes), most, 4))
    for i, tube in enumerate(tubes):
        count = len(tube.keyframes)
        keys[i, :count] = [key.time_s for key in tube.keyframes]
        rows[i, :count] = [key.box.as_tuple() for key in tube.keyframes]
        rows[i, count:] = rows[i, count - 1]
    return keys, rows


def _corners_at(keys: Floats, rows: Floats, times: Floats) -> Floats:
    """Corners (N, T, 4) at `times` (N, T): linear between keyframes, the nearest one outside them."""
    count = (~np.isnan(keys)).sum(axis=1, keepdims=True)
    after = np.zeros(times.shape, dtype=np.int64)
    for k in range(keys.shape[1]):  # few keyframes, many times: cheaper than a (N, T, K) comparison
        after += times >= keys[:, k : k + 1]
    low, high = np.clip(after - 1, 0, count - 1), np.clip(after, 0, count - 1)
    each = np.arange(len(keys))[:, None]
    t0, t1 = keys[each, low], keys[each, high]
    share = np.clip((times - t0) / np.where(t1 > t0, t1 - t0, 1.0), 0.0, 1.0)
    share = np.where(t1 > t0, share, 0.0)[..., None]
    return np.asarray(rows[each, low] * (1 - share) + rows[each, high] * share)


def _clip(value: float) -> float:
    return min(max(float(value), 0.0), 1.0)
