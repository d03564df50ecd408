"""Inline SVG plots of an evaluation: bars, the ROC curve, reliability. All text in them is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

__all__ = ["bars", "reliability", "roc"]

Floats = NDArray[np.float64]
_INK, _MUTED, _GRID, _MAIN, _OTHER = "var(--ink)", "var(--muted)", "var(--line)", "var(--accent)", "var(--second)"
SIDE, EDGE = 300, 44
BINS = 10


def bars(title: str, rows: Sequence[tuple[str, float | None, str]], *, top: float) -> str:
    """Horizontal bars from 0 to `top`: (name, value, what stands behind it).

    A value of None is said to be none, never drawn as 0. "" without a row.
    """
    if not rows:
        return ""
    left, width, step = 170, 260, 24
    height = step * len(rows) + 26
    parts = [_open(left + width + 150, height, title)]
    for at in range(5):
        x = left + width * at / 4
        parts.append(f'<line x1="{x:.1f}" y1="2" x2="{x:.1f}" y2="{height - 20}" stroke="{_GRID}"/>')
        parts.append(_text(x, height - 5, f"{top * at / 4:g}", "middle", _MUTED))
    for at, (name, value, behind) in enumerate(rows):
        y = 4 + at * step
        parts.append(_text(left - 8, y + 13, name if len(name) <= 26 else name[:25] + "…", "end"))
        if value is None:
            parts.append(_text(left + 6, y + 13, f"not measured ({behind})", "start", _MUTED))
            continue
        wide = min(max(value / top, 0.0), 1.0) * width
        parts.append(f'<rect x="{left}" y="{y}" width="{wide:.1f}" height="17" rx="2" fill="{_MAIN}"/>')
        shown = f"{value:.2f}" if top <= 1 else f"{value:.1f}"
        parts.append(_text(left + wide + 6, y + 13, f"{shown} ({behind})", "start"))
    return "".join([*parts, "</svg>"])


def roc(fake: Floats, p_fake: Floats) -> str:
    """The ROC curve of probabilities (N,) against truth (N,), 1 for generated; "" without both classes."""
    if len(np.unique(fake)) < 2:
        return ""
    order = np.argsort(-p_fake, kind="stable")
    p, y = p_fake[order], fake[order]
    last = np.r_[p[1:] != p[:-1], True]
    tpr = np.r_[0.0, np.cumsum(y)[last] / y.sum()]
    fpr = np.r_[0.0, np.cumsum(1 - y)[last] / (1 - y).sum()]
    points = " ".join(f"{_x(a):.1f},{_y(b):.1f}" for a, b in zip(fpr, tpr, strict=True))
    line = f'<polyline points="{points}" fill="none" stroke="{_MAIN}" stroke-width="2"/>'
    return _square("ROC", "real videos accused", "generated found", [line])


def reliability(fake: Floats, p_fake: Floats) -> str:
    """Frequency of generated videos against the stated probability, in ten bins; a circle's area is its videos."""
    if not len(fake):
        return ""
    index = np.clip((p_fake * BINS).astype(int), 0, BINS - 1)
    parts = []
    for at in range(BINS):
        inside = index == at
        count = int(inside.sum())
        if count:
            stated, found = float(p_fake[inside].mean()), float(fake[inside].mean())
            radius = 3 + 15 * np.sqrt(count / len(fake))
            parts.append(
                f'<line x1="{_x(stated):.1f}" y1="{_y(stated):.1f}" x2="{_x(stated):.1f}" y2="{_y(found):.1f}" '
                f'stroke="{_OTHER}" stroke-width="2"/><circle cx="{_x(stated):.1f}" cy="{_y(found):.1f}" '
                f'r="{radius:.1f}" fill="{_MAIN}" fill-opacity=".65"><title>stated {stated:.2f}, {found:.2f} of '
                f"{count} videos are generated</title></circle>"
            )
    return _square("Reliability", "stated probability", "share that is generated", parts)


def _square(title: str, across: str, up: str, inside: Sequence[str]) -> str:
    parts = [_open(SIDE + EDGE + 14, SIDE + EDGE + 8, title)]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(f'<line x1="{_x(tick):.1f}" y1="{_y(0)}" x2="{_x(tick):.1f}" y2="{_y(1)}" stroke="{_GRID}"/>')
        parts.append(f'<line x1="{_x(0)}" y1="{_y(tick):.1f}" x2="{_x(1)}" y2="{_y(tick):.1f}" stroke="{_GRID}"/>')
        parts.append(_text(_x(tick), SIDE + 22, f"{tick:g}", "middle", _MUTED))
        parts.append(_text(EDGE - 6, _y(tick) + 4, f"{tick:g}", "end", _MUTED))
    parts.append(
        f'<line x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}" stroke="{_MUTED}" stroke-dasharray="4 4"/>'
    )
    parts += inside
    parts.append(_text(_x(0.5), SIDE + 40, across, "middle"))
    middle = _y(0.5)
    parts.append(
        f'<text x="12" y="{middle:.1f}" text-anchor="middle" fill="{_INK}" transform="rotate(-90 12 {middle:.1f})">'
        f"{escape(up)}</text>"
    )
    return "".join([*parts, "</svg>"])


def _x(share: float) -> float:
    return EDGE + share * SIDE


def _y(share: float) -> float:
    return 6 + (1 - share) * SIDE


def _open(width: int, height: int, title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(title, quote=True)}">'
    )


def _text(x: float, y: float, text: str, anchor: str, colour: str = _INK) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'
