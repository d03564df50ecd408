"""CoordinateSpace: what the four numbers of a model's box mean, said aloud; View: what the model was shown.

Nothing here guesses. Whoever asks a model knows in which space it answers, and passes that space on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from deeptrace.errors import SettingsError
from deeptrace.geometry import Box
from deeptrace.schema import Media

__all__ = ["SPACES", "CoordinateSpace", "View", "coordinate_space"]

Unit = Literal["pixels", "resized_pixels", "fractions", "permille", "1024ths"]
Order = Literal["xyxy", "ltwh", "yxyx"]

_NAMES: dict[Order, tuple[str, str, str, str]] = {
    "xyxy": ("x0", "y0", "x1", "y1"),
    "ltwh": ("left", "top", "width", "height"),
    "yxyx": ("y0", "x0", "y1", "x1"),
}


@dataclass(frozen=True, slots=True)
class View:
    """What a model was shown of a video: the facts that its numbers refer to.

    Attributes:
        size: (width, height) of the original video in pixels; None when not known.
        resized: (width, height) of the frames as the model saw them, when they were resized.
        duration_s: length of the video in seconds; None when not known.
        fps: frames a second, by which a frame number is a time where `frame_times_s` is empty.
        frame_times_s: timestamps of the frames shown, by which "frame 3" is a time.
        shown: the part of the frame that the model saw, where its preprocessing cuts the sides off; None for all.
    """

    size: tuple[float, float] | None = None
    resized: tuple[float, float] | None = None
    duration_s: float | None = None
    fps: float | None = None
    frame_times_s: tuple[float, ...] = ()
    shown: Box | None = None

    @classmethod
    def of(cls, media: Media | None, *, resized: tuple[float, float] | None = None, shown: Box | None = None) -> View:
        """The view of a whole video of which `media` is known.

        Examples:
            >>> media = Media(width=1280, height=720, duration_s=5.0, fps=24.0)
            >>> View.of(media, resized=(644, 364)).resized
            (644, 364)
        """
        if media is None:
            return cls(resized=resized, shown=shown)
        return cls(
            size=(media.width, media.height),
            resized=resized,
            duration_s=media.duration_s,
            fps=media.fps,
            frame_times_s=media.sampled_times_s,
            shown=shown,
        )


@dataclass(frozen=True, slots=True)
class CoordinateSpace:
    """Unit and order of a box's four numbers.

    Attributes:
        unit: pixels of the original video, pixels of the frame as the model saw it, 0..1, 0..1000 or 0..1024. All but
            the first refer to the part of the frame that the model saw.
        order: corners x first, `left, top, width, height`, or corners y first.
    """

    unit: Unit = "pixels"
    order: Order = "xyxy"

    @property
    def names(self) -> tuple[str, str, str, str]:
        """What the four numbers are called, in their order: ("x0", "y0", "x1", "y1")."""
        return _NAMES[self.order]

    @property
    def wording(self) -> str:
        """How a question asks for it: "[x0, y0, x1, y1] format", with the range when it is not pixels.

        Examples:
            >>> coordinate_space("pixels").wording
            '[x0, y0, x1, y1] format'
            >>> coordinate_space("permille_yxyx").wording
            '[y0, x0, y1, x1] format with values from 0 to 1000'
        """
        frame = f"[{', '.join(self.names)}] format"
        ranges = {"fractions": "0 to 1", "permille": "0 to 1000", "1024ths": "0 to 1024"}
        return f"{frame} with values from {ranges[self.unit]}" if self.unit in ranges else frame

    def scale(self, view: View) -> tuple[float, float]:
        """How many units the frame is wide and high.

        Raises:
            SettingsError: a pixel space, and `view` does not know the frame's size.

        Examples:
            >>> coordinate_space("permille").scale(View())
            (1000.0, 1000.0)
            >>> coordinate_space("pixels").scale(View(size=(1280, 720)))
            (1280.0, 720.0)
        """
        fixed = {"fractions": 1.0, "permille": 1000.0, "1024ths": 1024.0}.get(self.unit)
        if fixed is not None:
            return fixed, fixed
        size = view.size if self.unit == "pixels" else view.resized or view.size
        if size is None or not (size[0] > 0 and size[1] > 0):
            raise SettingsError("coordinate space", f"{self.unit} need the size of the frame", "Pass it in the View.")
        return float(size[0]), float(size[1])

    def to_box(self, numbers: tuple[float, float, float, float], view: View) -> Box:
        """The box that four numbers mean, clipped to the frame; corners the wrong way round are put in order.

        Raises:
            SettingsError: as `scale`.
            ValueError: nothing of the box lies in the frame, or it has no area.

        Examples:
            >>> view = View(size=(1280, 720))
            >>> coordinate_space("pixels").to_box((320, 180, 960, 720), view).as_tuple()
            (0.25, 0.25, 0.75, 1.0)
            >>> coordinate_space("pixels_ltwh").to_box((320, 180, 640, 540), view).as_tuple()
            (0.25, 0.25, 0.75, 1.0)
            >>> coordinate_space("permille_yxyx").to_box((250, 250, 1000, 750), view).as_tuple()
            (0.25, 0.25, 0.75, 1.0)
        """
        wide, high = self.scale(view)
        a, b, c, d = numbers
        if self.order == "yxyx":
            a, b, c, d = b, a, d, c
        elif self.order == "ltwh":
            c, d = a + c, b + d
        x0, x1, y0, y1 = min(a, c), max(a, c), min(b, d), max(b, d)
        box = Box.from_pixels_xyxy(x0, y0, x1, y1, width=wide, height=high)
        return box if view.shown is None or self.unit == "pixels" else box.placed_in(view.shown)

    def to_numbers(self, box: Box, view: View) -> tuple[float, float, float, float]:
        """The four numbers, rounded as they are written: whole units, or 4 digits of a fraction.

        A box thinner than the rounding keeps a width and height of one unit, so that it can be read back.

        Raises:
            SettingsError: as `scale`.
            ValueError: the box lies outside of the part of the frame that the model saw.

        Examples:
            >>> box = Box(x0=0.25, y0=0.25, x1=0.75, y1=1.0)
            >>> coordinate_space("permille").to_numbers(box, View())
            (250.0, 250.0, 750.0, 1000.0)
            >>> coordinate_space("resized_pixels").to_numbers(box, View(size=(1280, 720), resized=(644, 364)))
            (161.0, 91.0, 483.0, 364.0)
        """
        if view.shown is not None and self.unit != "pixels":
            box = box.seen_in(view.shown)
        wide, high = self.scale(view)
        digits = 4 if self.unit == "fractions" else 0
        x0, x1 = _rounded(box.x0 * wide, box.x1 * wide, wide, digits)
        y0, y1 = _rounded(box.y0 * high, box.y1 * high, high, digits)
        if self.order == "yxyx":
            return y0, x0, y1, x1
        if self.order == "ltwh":
            return x0, y0, round(x1 - x0, digits), round(y1 - y0, digits)
        return x0, y0, x1, y1


def _rounded(low: float, high: float, limit: float, digits: int) -> tuple[float, float]:
    step = 10.0**-digits
    first, last = round(low, digits), round(high, digits)
    if last <= first:  # thinner than the rounding: the cell that holds its middle
        cell = math.floor((low + high) / 2 / step) * step
        first = round(min(cell, max(limit - step, 0.0)), digits)
        last = round(first + step, digits)
    return first, last


SPACES: dict[str, CoordinateSpace] = {
    "pixels": CoordinateSpace(),
    "pixels_ltwh": CoordinateSpace("pixels", "ltwh"),
    "pixels_yxyx": CoordinateSpace("pixels", "yxyx"),
    "resized_pixels": CoordinateSpace("resized_pixels"),
    "resized_pixels_ltwh": CoordinateSpace("resized_pixels", "ltwh"),
    "fractions": CoordinateSpace("fractions"),
    "fractions_ltwh": CoordinateSpace("fractions", "ltwh"),
    "fractions_yxyx": CoordinateSpace("fractions", "yxyx"),
    "permille": CoordinateSpace("permille"),
    "permille_ltwh": CoordinateSpace("permille", "ltwh"),
    "permille_yxyx": CoordinateSpace("permille", "yxyx"),
    "1024ths_yxyx": CoordinateSpace("1024ths", "yxyx"),
}
"""Spaces by name. Qwen2.5-VL answers in `resized_pixels`, Qwen3-VL in `permille`, Gemini in `permille_yxyx`,
PaliGemma in `1024ths_yxyx`, a checkpoint of the paper in `pixels`."""


def coordinate_space(name: str) -> CoordinateSpace:
    """The space of that name.

    Raises:
        SettingsError: no space has that name; the message lists those that exist.

    Examples:
        >>> coordinate_space("permille_yxyx").names
        ('y0', 'x0', 'y1', 'x1')
    """
    try:
        return SPACES[name]
    except KeyError:
        raise SettingsError(
            "coordinate space", f"there is none named {name!r}", f"Known: {', '.join(SPACES)}"
        ) from None
