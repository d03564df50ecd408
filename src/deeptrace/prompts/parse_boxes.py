"""Boxes as models write them (lists, objects, corner pairs, named numbers, text), to a Box of a space that is named."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from deeptrace.errors import SettingsError
from deeptrace.geometry import Box
from deeptrace.prompts.coordinates import CoordinateSpace, Order, View
from deeptrace.prompts.parse_box_text import (
    Written,
    find_boxes,
    loose_numbers,
    named_numbers,
    plain_name,
    unclosed,
    written,
)
from deeptrace.prompts.parse_numbers import number, plain

__all__ = ["BoxReader"]

_CORNER = re.compile(r"(?:top|upper|bottom|lower)(?:left|right)(?:corner)?|min|max|start|end|p[12]|point[12]")


class BoxReader:
    """Reads boxes of one space and view, and collects what was odd about them.

    Args:
        space: unit and order of the numbers. Numbers that are named (`left`, `ymin`) have the order of their names,
            in the same unit; numbers with a percent sign are hundredths of the frame.
        view: the frame they refer to.

    Examples:
        >>> from deeptrace.prompts.coordinates import coordinate_space
        >>> reader = BoxReader(coordinate_space("pixels"), View(size=(1280, 720)))
        >>> [box.as_tuple() for box in reader.read("at (320, 180), (960, 720)")]
        [(0.25, 0.25, 0.75, 1.0)]
        >>> [box.as_tuple() for box in reader.read({"left": 320, "top": 180, "width": 640, "height": 540})]
        [(0.25, 0.25, 0.75, 1.0)]
        >>> reader.read("[2000, 900, 2100, 950]"), len(reader.warnings)
        ([None], 1)
    """

    def __init__(self, space: CoordinateSpace, view: View) -> None:
        self.space, self.view = space, view
        self.warnings: list[str] = []

    def read(self, value: Any, *, order: Order | None = None) -> list[Box | None]:
        """All boxes of a JSON value: four numbers, an object, corner pairs, a list of any, or text.

        An unusable box is None in its place, with a warning; nothing there is an empty list.

        Args:
            value: of the field.
            order: of four numbers, where the name of their field states one ("bbox_xywh").
        """
        if (not value and not isinstance(value, (int, float))) or (isinstance(value, list) and value == [None] * 4):
            return []
        if isinstance(value, Mapping):
            return [self._object(value)]
        if isinstance(value, str):
            return self.read_text(value)
        if not isinstance(value, (list, tuple)):
            return self._unusable(f"box {value!r} is neither a list nor an object")
        if (four := written(list(value), order=order)) is not None:
            return [self.box(four)]
        if len(value) in (2, 4) and all(_point(part) for part in value):
            return [self._around([_point(part) for part in value])]
        if all(isinstance(part, (list, tuple, Mapping)) or (isinstance(part, str) and _is_box(part)) for part in value):
            return [box for part in value[:100] for box in self.read(part, order=order)]
        return self._unusable(f"box of {len(value)} values is not four numbers")

    def read_text(self, text: str) -> list[Box | None]:
        """All boxes of a text that stands in the place of one; text without a number is an empty list."""
        text = text[:4000]
        if boxes := find_boxes(text) or loose_numbers(text):
            return [self.box(found) for found in boxes]
        flat = plain(text)
        if re.search(r"\d", re.sub(r"[A-Za-z_]+[012]\b", "", flat)) is None:  # "[x0, y0, x1, y1]" has none
            return []
        why = "is cut off" if unclosed(flat) else "is not four numbers"
        return self._unusable(f"box {text.strip()[:60]!r} {why}")

    def box(self, found: Written) -> Box | None:
        """The box that four numbers mean; None, with a warning, where they mean none."""
        order = self.space.order if found.order is None else found.order
        if order == "corners":
            order = "yxyx" if self.space.order == "yxyx" else "xyxy"
        shown = f"box [{', '.join(f'{part:g}' for part in found.numbers)}]"
        unit = found.unit or self.space.unit
        if unit != "fractions" and max(found.numbers) <= 1 and any(part != int(part) for part in found.numbers):
            self._warn(f"{shown} would be one unit wide at most: read as fractions, not as {unit}")
            unit = "fractions"
        space = CoordinateSpace(unit, order)
        a, b, c, d = found.numbers
        try:
            wide, high = space.scale(self.view)
            box = space.to_box(found.numbers, self.view)
        except SettingsError:
            return self._unusable(f"{shown} left out: the size of the frame is not known")[0]
        except ValueError:
            return self._unusable(f"{shown} has no area in the frame")[0]
        if order != "ltwh" and (a > c or b > d):
            self._warn(f"{shown}: corners put in order")
        if space.unit == "resized_pixels" and self.view.resized is None:
            self._warn("the size of the frames shown is not known: boxes are read as pixels of the original")
        corners = (a, b, a + c, b + d) if order == "ltwh" else found.numbers
        xs, ys = (corners[1::2], corners[::2]) if order == "yxyx" else (corners[::2], corners[1::2])
        if min(corners) < 0 or max(xs) > 1.02 * wide or max(ys) > 1.02 * high:
            self._warn(f"{shown} reaches out of the frame: clipped")
        return box

    def _object(self, value: Mapping[Any, Any]) -> Box | None:
        fields = {plain_name(key): part for key, part in value.items()}
        if (found := named_numbers(fields)) is not None:
            return self.box(found)
        corners = [_point(part) for key, part in fields.items() if _CORNER.fullmatch(key) and _point(part)]
        if len(corners) == 2:
            return self._around(corners)
        if all(isinstance(fields.get(axis), list) and len(fields[axis]) == 2 for axis in "xy"):
            (x0, x1), (y0, y1) = fields["x"], fields["y"]
            if (found := written([x0, y0, x1, y1], order="xyxy")) is not None:
                return self.box(found)
        if len(fields) == 1 and isinstance(inner := next(iter(fields.values())), (Mapping, list)):
            return next(iter(self.read(inner)), None)
        if fields and all(part is None or part == "" for part in fields.values()):
            return None
        return self._unusable(f"box with the keys {sorted(fields)[:8]} is not readable")[0]

    def _around(self, points: list[tuple[float, ...]]) -> Box | None:
        """The box that two corners span or several points lie in; a point is as the space has it, x or y first."""
        first, last = zip(*points, strict=True)
        return self.box(Written((min(first), min(last), max(first), max(last)), "corners"))

    def _warn(self, line: str) -> None:
        if line not in self.warnings:
            self.warnings.append(line)

    def _unusable(self, why: str) -> list[Box | None]:
        self._warn(" ".join(why.split()))
        return [None]


def _point(value: Any) -> tuple[float, ...]:
    """The two numbers of a point, [1, 2] or {"x": 1, "y": 2}; empty where it is none."""
    parts = [value.get("x"), value.get("y")] if isinstance(value, Mapping) else value
    if not isinstance(parts, (list, tuple)) or len(parts) != 2:
        return ()
    found = [number(part) for part in parts]
    return () if None in found else tuple(float(part or 0.0) for part in found)


def _is_box(text: str) -> bool:
    return bool(find_boxes(text) or loose_numbers(text))
