"""Small inline SVG plots for the report: bars of AUC against their floors, and distributions by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape

import numpy as np

from deeptrace.data.audit.facts import FileFacts
from deeptrace.data.audit.features import Column

__all__ = ["auc_bars", "distribution"]

FAKE, REAL, GRID, TEXT = "#c2410c", "#0f766e", "#d6d3d1", "#44403c"
_FONT = 'font-family="system-ui, sans-serif" font-size="12"'


def auc_bars(rows: Sequence[tuple[str, float | None, float | None, bool]], floor: float | None) -> str:
    """Horizontal bars from 0.5 to 1: (name, AUC by clip, AUC by source, whether a shortcut); `floor` as a line."""
    left, width, step = 130, 640, 26
    height = step * len(rows) + 34

    def x(value: float) -> float:
        return left + (min(max(value, 0.5), 1.0) - 0.5) / 0.5 * width

    parts = [_open(left + width + 60, height, "AUC of each feature")]
    for tick in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
        parts.append(f'<line x1="{x(tick):.1f}" y1="6" x2="{x(tick):.1f}" y2="{height - 24}" stroke="{GRID}"/>')
        parts.append(_label(x(tick), height - 8, f"{tick:.1f}", "middle"))
    for at, (name, by_clip, by_source, found) in enumerate(rows):
        y = 10 + at * step
        parts.append(_label(left - 8, y + 13, name, "end"))
        if by_clip is None:
            parts.append(_label(left + 6, y + 13, "the same in every clip", "start", "#a8a29e"))
            continue
        colour = FAKE if found else "#a8a29e"
        parts.append(f'<rect x="{left}" y="{y}" width="{x(by_clip) - left:.1f}" height="18" rx="2" fill="{colour}"/>')
        parts.append(_label(x(by_clip) + 6, y + 13, f"{by_clip:.2f}", "start"))
        if by_source is not None:
            parts.append(
                f'<circle cx="{x(by_source):.1f}" cy="{y + 9}" r="5" fill="#fff" stroke="{TEXT}" stroke-width="2">'
                f"<title>on unseen sources: {by_source:.2f}</title></circle>"
            )
    if floor is not None:
        parts.append(
            f'<line x1="{x(floor):.1f}" y1="6" x2="{x(floor):.1f}" y2="{height - 24}" stroke="{TEXT}"'
            f' stroke-dasharray="4 3"><title>95 % of shuffles stay below {floor:.2f}</title></line>'
        )
    return "".join([*parts, "</svg>"])


def distribution(column: Column, facts: Sequence[FileFacts], fake: Sequence[bool]) -> str:
    """Shares of each class by value: a histogram of numbers, or bars of the most frequent words. "" if none varies."""
    values = [column.of(item) for item in facts]
    if any(isinstance(value, str) for value in values):
        counts = Counter(str(value) for value in values)
        names = [name for name, _ in counts.most_common(7)]
        names += ["other"] if len(counts) > 7 else []
        index = [names.index(str(value)) if str(value) in names else len(names) - 1 for value in values]
        labels = [name or "none" for name in names]
    else:
        numbers = np.array([np.nan if value is None else float(value) for value in values])
        known = numbers[~np.isnan(numbers)]
        if not known.size or known.min() == known.max():
            return ""
        low, high = np.quantile(known, [0.01, 0.99])
        edges = np.linspace(low, high if high > low else low + 1, 13)
        index = np.clip(np.digitize(np.nan_to_num(numbers, nan=low), edges) - 1, 0, 11).tolist()
        labels = [_short(edge) for edge in edges[:-1]]
    return _bars(column.name + (f" ({column.unit})" if column.unit else ""), labels, index, fake)


def _bars(title: str, labels: Sequence[str], index: Sequence[int], fake: Sequence[bool]) -> str:
    shares = np.zeros((2, len(labels)))
    for at, is_fake in zip(index, fake, strict=True):
        shares[int(is_fake), at] += 1
    shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1)
    width, height, left, foot = 320, 150, 42, 38
    slot = (width - left - 8) / len(labels)
    top = max(float(shares.max()), 1e-9)
    parts = [_open(width, height, title)]
    for tick in (0.0, 0.5, 1.0):
        y = height - foot - tick * (height - foot - 22)
        parts.append(f'<line x1="{left}" y1="{y:.1f}" x2="{width - 8}" y2="{y:.1f}" stroke="{GRID}"/>')
        parts.append(_label(left - 4, y + 4, f"{tick * top:.0%}", "end"))
    parts.append(_label(left, 13, title, "start"))
    for at, name in enumerate(labels):
        for row, colour in ((1, FAKE), (0, REAL)):
            tall = float(shares[row, at]) / top * (height - foot - 22)
            x = left + at * slot + (2 if row else slot / 2)
            parts.append(
                f'<rect x="{x:.1f}" y="{height - foot - tall:.1f}" width="{max(slot / 2 - 2, 1):.1f}"'
                f' height="{tall:.1f}" fill="{colour}"><title>{escape(name)}: {shares[row, at]:.0%}'
                f" of {'fake' if row else 'real'}</title></rect>"
            )
        if len(labels) <= 8 or at % 3 == 0:
            shown = name if len(name) <= 10 else name[:9] + "…"
            tilt = f' transform="rotate(-20 {left + (at + 0.5) * slot:.1f} {height - 20})"' if len(labels) > 4 else ""
            parts.append(
                f'<text x="{left + (at + 0.5) * slot:.1f}" y="{height - 20}" text-anchor="middle" {_FONT}'
                f' fill="{TEXT}"{tilt}>{escape(shown)}</text>'
            )
    return "".join([*parts, "</svg>"])


def _open(width: int, height: int, title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' role="img" aria-label="{escape(title, quote=True)}">'
    )


def _label(x: float, y: float, text: str, anchor: str, colour: str = TEXT) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {_FONT} fill="{colour}">{escape(text)}</text>'


def _short(value: float) -> str:
    for size, sign in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{sign}"
    return f"{value:.3g}"
