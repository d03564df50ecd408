"""A line chart as SVG, for the curves that the benchmarks leave in their output folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

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
_TEXT = 'font-family="system-ui, sans-serif" font-size="12" fill="#44403c"'
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

    def place(at: float, value: float) -> str:
        across = _LEFT + (at - low_x) / (high_x - low_x) * _WIDTH
        return f"{across:.1f},{bottom - (value - low_y) / (high_y - low_y) * _HEIGHT:.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {right + 200} {bottom + 44}" role="img" '
        f'aria-label="{escape(title, quote=True)}"><rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="{_LEFT}" y="20" {_TEXT}>{escape(title)}</text>',
        f'<text x="{_LEFT + _WIDTH / 2}" y="{bottom + 36}" text-anchor="middle" {_TEXT}>{escape(x)}</text>',
        f'<text transform="translate(14 {_TOP + _HEIGHT / 2}) rotate(-90)" text-anchor="middle" {_TEXT}>'
        f"{escape(y)}</text>",
    ]
    for share in np.linspace(0, 1, 5):
        down, across = bottom - share * _HEIGHT, _LEFT + share * _WIDTH
        parts.append(f'<line x1="{_LEFT}" y1="{down:.1f}" x2="{right}" y2="{down:.1f}" stroke="#e7e5e4"/>')
        tick = f"{low_y + share * (high_y - low_y):.3g}"
        parts.append(f'<text x="{_LEFT - 6}" y="{down + 4:.1f}" text-anchor="end" {_TEXT}>{tick}</text>')
        tick = f"{low_x + share * (high_x - low_x):.3g}"
        parts.append(f'<text x="{across:.1f}" y="{bottom + 18}" text-anchor="middle" {_TEXT}>{tick}</text>')
    for number, one in enumerate(series):
        colour = _COLOURS[number % len(_COLOURS)]
        points = " ".join(place(at, value) for at, value in zip(one.x, one.y, strict=True))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        at = _TOP + 12 + 18 * number
        parts.append(f'<rect x="{right + 12}" y="{at - 9}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{right + 28}" y="{at}" {_TEXT}>{escape(one.name)}</text>')
    return "".join([*parts, "</svg>\n"])


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = float(min(values)), float(max(values))
    return (low, high) if high > low else (low - 0.5, high + 0.5)
