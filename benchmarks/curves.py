"""A line chart as SVG, for the curves that the benchmarks leave in their output folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deeptrace.reports.svg import Drawing

__all__ = ["Series", "chart"]

_COLOURS = (
    "#111827",
    "#c2410c",
    "#0f766e",
    "#1d4ed8",
    "#a16207",
    "#7e22ce",
    "#be123c",
    "#4d7c0f",
    "#0e7490",
    "#78716c",
)
_LEFT, _TOP, _WIDTH, _HEIGHT = 62, 34, 420, 240


@dataclass(frozen=True)
class Series:
    """One line: its name and its points, x rising."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


def chart(title: str, series: Sequence[Series], *, x: str, y: str) -> str:
    """Lines over common axes, whose ranges are those of the points; the legend stands on the right."""
    low_x, high_x = _range([value for one in series for value in one.x])
    low_y, high_y = _range([value for one in series for value in one.y])
    right, bottom = _LEFT + _WIDTH, _TOP + _HEIGHT

    def place(at: float, value: float) -> tuple[float, float]:
        across = _LEFT + (at - low_x) / (high_x - low_x) * _WIDTH
        return across, bottom - (value - low_y) / (high_y - low_y) * _HEIGHT

    drawn = Drawing(right + 200, bottom + 44, title, ink="#44403c", ground="#fff")
    drawn.text(_LEFT, 20, title)
    drawn.text(_LEFT + _WIDTH / 2, bottom + 36, x, "middle")
    drawn.text(14, _TOP + _HEIGHT / 2, y, "middle", turned=-90)
    for share in np.linspace(0, 1, 5):
        down, across = bottom - share * _HEIGHT, _LEFT + share * _WIDTH
        drawn.line((_LEFT, down), (right, down), "#e7e5e4")
        drawn.text(_LEFT - 6, down + 4, f"{low_y + share * (high_y - low_y):.3g}", "end")
        drawn.text(across, bottom + 18, f"{low_x + share * (high_x - low_x):.3g}", "middle")
    for number, one in enumerate(series):
        colour = _COLOURS[number % len(_COLOURS)]
        drawn.polyline([place(at, value) for at, value in zip(one.x, one.y, strict=True)], colour)
        at = _TOP + 12 + 18 * number
        drawn.rect(right + 12, at - 9, 10, 10, colour)
        drawn.text(right + 28, at, one.name)
    return f"{drawn}\n"


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = float(min(values)), float(max(values))
    return (low, high) if high > low else (low - 0.5, high + 0.5)
