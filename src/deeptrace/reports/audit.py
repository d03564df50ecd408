"""The audit as one self-contained page, with bars of AUC against their floors and distributions by class."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import jinja2
import numpy as np

from deeptrace.audit.features import FEATURES, Column
from deeptrace.audit.file_facts import FileFacts
from deeptrace.audit.integrity import Finding
from deeptrace.audit.run import Audit
from deeptrace.io.atomic import atomic_path
from deeptrace.reports.svg import Drawing
from deeptrace.schema import Label

__all__ = ["write_html"]

FAKE, REAL, GRID, TEXT = "#c2410c", "#0f766e", "#d6d3d1", "#44403c"
FAINT = "#a8a29e"


SHOWN_OF_A_KIND = 12


def write_html(result: Audit, path: str | os.PathLike[str]) -> None:
    """Write the page: no script, no outside file, prints as it looks.

    Raises:
        DataError: the file cannot be written.
    """
    template = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        (files("deeptrace.reports") / "audit_page" / "page.html.j2").read_text(encoding="utf-8")
    )
    shortcuts = result.shortcuts
    bars = [(f.name, f.auc, f.auc_by_source, f.shortcut, f.verdict) for f in shortcuts.features]
    groups: dict[str, list[Finding]] = defaultdict(list)
    for finding in result.findings:
        groups[finding.kind].append(finding)
    page = template.render(
        audit=result,
        name=Path(result.name).name or result.name,
        shortcuts=shortcuts,
        bars=auc_bars(bars, shortcuts.best_shuffled),
        plots=_plots(result),
        groups=dict(groups),
        shown=SHOWN_OF_A_KIND,
        traces=sum(len(sample.traces) for sample in result.samples),
        real_floor=sum(shortcuts.real_versus_real.values()) / max(len(shortcuts.real_versus_real), 1),
    )
    with atomic_path(path) as scratch:
        scratch.write_text(page, encoding="utf-8")


def _plots(result: Audit) -> list[str]:
    """Distributions of the columns of features that are shortcuts, or of the main ones when none is."""
    usable = [s for s in result.samples if s.label is not None and s.video_id in result.facts]
    facts = [result.facts[sample.video_id] for sample in usable]
    fake = [sample.label is Label.FAKE for sample in usable]
    by_name = {feature.name: feature for feature in result.shortcuts.features}
    found = {name for name, feature in by_name.items() if feature.shortcut}
    plots = []
    for feature in FEATURES:
        if feature.name in (found or {"resolution", "frame rate", "duration"}):
            rule = by_name[feature.name].rule
            column = next(
                (c for c in feature.columns if rule is not None and c.name == rule.column), feature.columns[0]
            )
            plots.append(distribution(column, facts, fake))
    return [plot for plot in plots if plot]


def auc_bars(rows: Sequence[tuple[str, float | None, float | None, bool, str]], floor: float | None) -> str:
    """Horizontal bars from 0.5 to 1, `floor` as a line.

    Args:
        rows: (name, AUC by clip, AUC by source, whether a shortcut, verdict in words, which stands where no AUC is).
        floor: what shuffled labels reach.
    """
    left, width, step = 130, 640, 26
    height = step * len(rows) + 34

    def x(value: float) -> float:
        return left + (min(max(value, 0.5), 1.0) - 0.5) / 0.5 * width

    drawn = Drawing(left + width + 60, height, "AUC of each feature", ink=TEXT)
    for tick in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
        drawn.line((x(tick), 6), (x(tick), height - 24), GRID)
        drawn.text(x(tick), height - 8, f"{tick:.1f}", "middle")
    for at, (name, by_clip, by_source, found, verdict) in enumerate(rows):
        y = 10 + at * step
        drawn.text(left - 8, y + 13, name, "end")
        if by_clip is None:
            drawn.text(left + 6, y + 13, verdict, colour=FAINT)
            continue
        drawn.rect(left, y, x(by_clip) - left, 18, FAKE if found else FAINT, radius=2)
        drawn.text(x(by_clip) + 6, y + 13, f"{by_clip:.2f}")
        if by_source is not None:
            rim = f'stroke="{TEXT}" stroke-width="2"'
            drawn.circle(x(by_source), y + 9, 5, "#fff", more=rim, hint=f"on unseen sources: {by_source:.2f}")
    if floor is not None:
        hint = f"95 % of shuffles stay below {floor:.2f}"
        drawn.line((x(floor), 6), (x(floor), height - 24), TEXT, dashes="4 3", hint=hint)
    return str(drawn)


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
    slot, room = (width - left - 8) / len(labels), height - foot - 22
    top = max(float(shares.max()), 1e-9)
    drawn = Drawing(width, height, title, ink=TEXT)
    for tick in (0.0, 0.5, 1.0):
        y = height - foot - tick * room
        drawn.line((left, y), (width - 8, y), GRID)
        drawn.text(left - 4, y + 4, f"{tick * top:.0%}", "end")
    drawn.text(left, 13, title)
    for at, name in enumerate(labels):
        for row, colour, offset in ((1, FAKE, 2.0), (0, REAL, slot / 2)):
            tall = float(shares[row, at]) / top * room
            hint = f"{name}: {shares[row, at]:.0%} of {'fake' if row else 'real'}"
            x = left + at * slot + offset
            drawn.rect(x, height - foot - tall, max(slot / 2 - 2, 1), tall, colour, hint=hint)
        if len(labels) <= 8 or at % 3 == 0:
            shown = name if len(name) <= 10 else name[:9] + "…"
            turned = -20.0 if len(labels) > 4 else 0.0
            drawn.text(left + (at + 0.5) * slot, height - 20, shown, "middle", turned=turned)
    return str(drawn)


def _short(value: float) -> str:
    for size, sign in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{sign}"
    return f"{value:.3g}"
