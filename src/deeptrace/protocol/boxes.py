"""Boxes as models write them: a list, an object, text; to a Box in a space that the caller names."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from deeptrace.errors import SettingsError
from deeptrace.geometry import Box
from deeptrace.protocol.spaces import CoordinateSpace, Order, View

__all__ = ["BoxReader", "number"]

# A number that is no part of a name ("x0") and no second half of another number.
_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d{1,3})?", re.I)
_GROUP = re.compile(r"[\[({]([^\[\](){}]{1,400})[\])}]")

_OBJECT_KEYS: tuple[tuple[Order, tuple[str, str, str, str]], ...] = (
    ("ltwh", ("left", "top", "width", "height")),
    ("ltwh", ("x", "y", "width", "height")),
    ("ltwh", ("x", "y", "w", "h")),
    ("xyxy", ("x0", "y0", "x1", "y1")),
    ("xyxy", ("x1", "y1", "x2", "y2")),
    ("xyxy", ("xmin", "ymin", "xmax", "ymax")),
    ("xyxy", ("x_min", "y_min", "x_max", "y_max")),
    ("xyxy", ("left", "top", "right", "bottom")),
)


class BoxReader:
    """Reads boxes of one space and view, and collects what was odd about them.

    Args:
        space: unit and order of the numbers. An object that names its numbers (`left`, `x0`) has its own order, in
            the same unit.
        view: the frame they refer to.
    """

    def __init__(self, space: CoordinateSpace, view: View) -> None:
        self.space, self.view = space, view
        self.warnings: list[str] = []

    def read(self, value: Any) -> list[Box | None]:
        """All boxes of a JSON value: four numbers, an object, a list of either, or text with any.

        An unusable box is None in its place, with a warning; nothing there is an empty list.
        """
        if value is None:
            return []
        if isinstance(value, Mapping):
            return [self._object(value)]
        if isinstance(value, str):
            return self.read_text(value)
        if not isinstance(value, (list, tuple)):
            return self._unusable(f"box {value!r} is neither a list nor an object")
        if len(value) == 4 and all(number(part) is not None for part in value):
            return [self._four([float(number(part) or 0.0) for part in value], self.space)]
        if value and all(isinstance(part, (list, tuple, Mapping)) for part in value):
            return [box for part in value[:100] for box in self.read(part)]
        if not value:
            return []
        return self._unusable(f"box of {len(value)} values is not four numbers")

    def read_text(self, text: str) -> list[Box | None]:
        """All boxes that `text` writes: groups of four numbers in brackets, or four numbers in all."""
        groups = [_floats(group.group(1)) for group in _GROUP.finditer(text)]
        fours = [group for group in groups if len(group) == 4]
        if not fours:
            loose = _floats(text)
            if len(loose) % 4:
                return self._unusable(f"box {text.strip()[:60]!r} is not four numbers")
            fours = [loose[i : i + 4] for i in range(0, min(len(loose), 400), 4)]
        named = re.search(r"\bleft\b.*\bwidth\b", text[:1000], re.I | re.S)
        space = replace(self.space, order="ltwh") if named else self.space
        return [self._four(four, space) for four in fours[:100]]

    def _object(self, value: Mapping[Any, Any]) -> Box | None:
        fields = {str(key).strip().lower(): part for key, part in value.items()}
        for order, keys in _OBJECT_KEYS:
            if all(key in fields for key in keys):
                numbers = [number(fields[key]) for key in keys]
                if all(part is None for part in numbers):
                    return None
                if any(part is None for part in numbers):
                    break
                space = replace(self.space, order=order)
                return self._four([float(part or 0.0) for part in numbers], space)
        return self._unusable(f"box with the keys {sorted(fields)[:8]} is not readable")[0]

    def _four(self, numbers: list[float], space: CoordinateSpace) -> Box | None:
        shown = f"box [{', '.join(f'{part:g}' for part in numbers)}]"
        try:
            wide, high = space.scale(self.view)
            box = space.to_box((numbers[0], numbers[1], numbers[2], numbers[3]), self.view)
        except SettingsError:
            return self._unusable(f"{shown} left out: the size of the frame is not known")[0]
        except ValueError:
            return self._unusable(f"{shown} has no area in the frame")[0]
        if space.order != "ltwh" and (numbers[0] > numbers[2] or numbers[1] > numbers[3]):
            self.warnings.append(f"{shown}: corners put in order")
        if space.unit != "fractions" and max(numbers) <= 1 and any(part != int(part) for part in numbers):
            self.warnings.append(f"{shown} looks like fractions but was read as {space.unit}")
        corners = numbers if space.order != "ltwh" else [*numbers[:2], numbers[0] + numbers[2], numbers[1] + numbers[3]]
        xs, ys = (corners[1::2], corners[::2]) if space.order == "yxyx" else (corners[::2], corners[1::2])
        if min(corners) < 0 or max(xs) > 1.02 * wide or max(ys) > 1.02 * high:
            self.warnings.append(f"{shown} reaches out of the frame: clipped")
        return box

    def _unusable(self, why: str) -> list[Box | None]:
        self.warnings.append(" ".join(why.split()))
        return [None]


def number(value: Any) -> float | None:
    """A finite number of a JSON value: 3, "3", "3px", "45%" (as 0.45); None when it is none."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str):
        found = _NUMBER.match(value.strip()[:60])
        if found is None:
            return None
        parsed = float(found.group(0))
        value = parsed / 100 if value.strip()[found.end() :].lstrip().startswith("%") else parsed
    if not isinstance(value, (int, float)):
        return None
    try:
        parsed = float(value)
    except OverflowError:
        return None
    return parsed if math.isfinite(parsed) else None


def _floats(text: str) -> list[float]:
    return [part for part in (float(found.group(0)) for found in _NUMBER.finditer(text[:4000])) if math.isfinite(part)]
