"""The report of an evaluation: one HTML page that needs no script, server or other file, and the same as Markdown.

The page's plots are inline SVG: bars, the ROC curve, reliability.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from deeptrace.benchmark.result import EvaluationResult
from deeptrace.benchmark.run import Evaluation
from deeptrace.benchmark.tables import (
    Row,
    Table,
    frame_line,
    outcome_line,
    paper_notes,
    run_title,
    tables_of,
    training_note,
    unavailable,
)
from deeptrace.data import resolve_path
from deeptrace.io.atomic import atomic_path
from deeptrace.plural import plural
from deeptrace.reports.benchmark_clips import Clip, Shown, make_clip, worth_a_look
from deeptrace.reports.svg import Drawing
from deeptrace.reports.wording import headline, probability, trace_line
from deeptrace.schema import Category, Label, Trace

__all__ = ["bars", "reliability", "roc", "shown_table", "write_bench_report"]

HTML, MARKDOWN = "report.html", "report.md"
SHOWN_TRACES = 3
SHOWN_SOURCES = 20
Floats = NDArray[np.float64]
_INK, _MUTED, _GRID, _MAIN, _OTHER = "var(--ink)", "var(--muted)", "var(--line)", "var(--accent)", "var(--second)"
SIDE, EDGE = 300, 44
BINS = 10


def write_bench_report(
    found: Evaluation, folder: str | os.PathLike[str], *, on_clip: Callable[[], object] = lambda: None
) -> Path:
    """Write `report.html` and `report.md` into `folder`, each whole or not at all; returns the page's path.

    Args:
        found: the evaluation.
        folder: folder to write to.
        on_clip: called after each clip, for progress.

    Raises:
        DataError: the files cannot be written.
    """
    target = Path(folder) / HTML
    style = _resource("page.css")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_resource),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("page.html.j2").render(
        style=style,
        policy=_policy(style),
        plots=_plots(found),
        groups=_groups(found, on_clip),
        **_context(found.result),
    )
    with atomic_path(target) as scratch:
        scratch.write_text(page, encoding="utf-8")
    with atomic_path(target.with_name(MARKDOWN)) as scratch:
        scratch.write_text(markdown(found.result), encoding="utf-8")
    return target


def markdown(result: EvaluationResult) -> str:
    """The tables, breakdowns and manifest of an evaluation as GitHub-flavoured Markdown."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_resource), undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["cell"] = _cell
    return environment.get_template("report.md.j2").render(**_context(result))


def _context(result: EvaluationResult) -> dict[str, Any]:
    """What both templates need."""
    manifest = result.manifest
    return {
        "title": run_title(manifest),
        "data": manifest.data,
        "made": manifest.made,
        "counts": result.counts,
        "outcomes": outcome_line(result.outcomes),
        "tables": [shown_table(table, rows) for table, rows in tables_of(result)],
        "paper_notes": paper_notes(result),
        "plural": plural,
        "training_note": training_note(result),
        "frame_line": frame_line(result),
        "judge": result.judge,
        "latency": result.latency,
        "usage": result.usage,
        "ceiling": result.annotator_ceiling,
        "missing": unavailable(result),
        "generators": [(name, block) for name, block in result.by_generator.items()],
        "categories": [(_category(name), block) for name, block in result.by_category.items()],
        "manifest": json.dumps(manifest.as_json(), indent=2, ensure_ascii=False),
    }


def shown_table(table: Table, rows: list[Row]) -> dict[str, Any]:
    """A table in words: its heads, and of each row the cells as text, with interval and support where there are."""
    lines = []
    for row in rows:
        cells = []
        for column in table.columns:
            metric = column.of(row)
            limits = metric.interval if metric.value is not None and metric.interval is not None else ()
            cells.append(
                {
                    "text": column.text(metric.value),
                    "interval": "–".join(column.text(limit) for limit in limits),
                    "support": f"{metric.support:g}" if metric.support else "",
                }
            )
        lines.append({"title": row.title, "kind": row.kind, "note": row.note, "cells": cells})
    heads = [{"title": c.title, "arrow": "↑" if c.better == "up" else "↓", "meaning": c.meaning} for c in table.columns]
    return {"title": table.title, "unit": table.unit, "heads": heads, "rows": lines}


def _plots(found: Evaluation) -> list[dict[str, str]]:
    """Plots with what there is to show; each with a caption."""
    samples, verdicts, result = found.truth.samples, found.verdicts, found.result
    pairs = [
        (float(sample.label is Label.FAKE), verdict.p_fake)
        for sample, verdict in zip(samples, verdicts, strict=True)
        if sample.label is not None and verdict is not None and verdict.p_fake is not None
    ]
    fake, p_fake = np.array([y for y, _ in pairs], dtype=float), np.array([p for _, p in pairs], dtype=float)
    categories = [
        (_category(name), block.viou, f"{plural(block.traces, 'trace')}")
        for name, block in result.by_category.items()
        if block.traces
    ]
    sources = [(n, b) for n, b in result.by_generator.items() if n != "macro" and b.accuracy is not None]
    sources.sort(key=lambda pair: (pair[1].label != "FAKE", -pair[1].videos, pair[0]))
    generators = [
        (name, block.accuracy, f"{block.videos} {'generated' if block.label == 'FAKE' else 'real'}")
        for name, block in sources[:SHOWN_SOURCES]
    ]
    plots = [
        ("ROC", roc(fake, p_fake), f"{plural(len(pairs), 'video')} with a stated probability."),
        ("Reliability", reliability(fake, p_fake), "On the diagonal, a stated 0.7 is right in seven of ten videos."),
        (
            "By category",
            bars("vIoU by category", categories, top=1.0) if categories else "",
            "Mean vIoU of true traces.",
        ),
        (
            "By source",
            bars("Accuracy by source", generators, top=100.0) if generators else "",
            f"Right labels, by video; {len(generators)} of {plural(len(sources), 'source')}.",
        ),
    ]
    return [{"title": title, "svg": svg, "caption": caption} for title, svg, caption in plots if svg]


def _groups(found: Evaluation, on_clip: Callable[[], object]) -> list[dict[str, Any]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for shown in worth_a_look(found.truth.samples, found.verdicts):
        groups.setdefault(shown.title, []).append(_shown_sample(shown, found.truth.root))
        on_clip()
    return [{"title": title, "clips": clips} for title, clips in groups.items()]


def _shown_sample(shown: Shown, root: str) -> dict[str, Any]:
    sample, verdict = shown.sample, shown.verdict
    path = resolve_path(sample, root)
    asserted = verdict.traces[:SHOWN_TRACES] if verdict is not None and verdict.label is Label.FAKE else ()
    known = "://" in path or os.path.isfile(path)
    clip = (
        make_clip(path, truth=sample.traces, predicted=asserted) if known else Clip(note="The video is not available.")
    )
    return {
        "name": sample.video_id,
        "source": sample.source or "unknown source",
        "truth": [_trace_words(trace) for trace in sample.traces],
        "label": sample.label.value if sample.label else "?",
        "said": headline(verdict) if verdict is not None else "no prediction",
        "probability": probability(verdict) if verdict is not None else "",
        "error": "" if verdict is None else verdict.error or "",
        "predicted": [_trace_words(trace) for trace in asserted],
        "quality": shown.quality,
        "mp4": base64.b64encode(clip.mp4).decode() if clip.mp4 else "",
        "poster": base64.b64encode(clip.poster).decode() if clip.poster else "",
        "width": clip.width,
        "height": clip.height,
        "note": clip.note,
    }


def _trace_words(trace: Trace) -> dict[str, str]:
    return {"line": trace_line(trace), "why": trace.explanation}


def _category(name: str) -> str:
    return "Mean of the categories" if name == "macro" else Category(name).display_name


def _cell(value: object) -> str:
    """Text that cannot leave a cell of a Markdown table, nor be markup."""
    if value is None:
        return "–"
    text = f"{value:.2f}" if isinstance(value, float) else str(value)
    text = "".join(f"\\{char}" if char in "|\\`*_<>[]" else char for char in text)
    return " ".join(text.split())


def _policy(style: str) -> str:
    """A content security policy for exactly this style, and media inside the page."""
    hashed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{hashed}'; media-src data:; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


def _resource(name: str) -> str:
    return (files("deeptrace.reports") / "benchmark_page" / name).read_text(encoding="utf-8")


def bars(title: str, rows: Sequence[tuple[str, float | None, str]], *, top: float) -> str:
    """Horizontal bars from 0 to `top`: (name, value, what stands behind it).

    A value of None is said to be none, never drawn as 0. "" without a row.
    """
    if not rows:
        return ""
    left, width, step = 170, 260, 24
    height = step * len(rows) + 26
    drawn = _drawing(left + width + 150, height, title)
    for at in range(5):
        x = left + width * at / 4
        drawn.line((x, 2), (x, height - 20), _GRID)
        drawn.text(x, height - 5, f"{top * at / 4:g}", "middle", colour=_MUTED)
    for at, (name, value, behind) in enumerate(rows):
        y = 4 + at * step
        drawn.text(left - 8, y + 13, name if len(name) <= 26 else name[:25] + "…", "end")
        if value is None:
            drawn.text(left + 6, y + 13, f"not measured ({behind})", colour=_MUTED)
            continue
        wide = min(max(value / top, 0.0), 1.0) * width
        drawn.rect(left, y, wide, 17, _MAIN, radius=2)
        shown = f"{value:.2f}" if top <= 1 else f"{value:.1f}"
        drawn.text(left + wide + 6, y + 13, f"{shown} ({behind})")
    return str(drawn)


def roc(fake: Floats, p_fake: Floats) -> str:
    """The ROC curve of probabilities (N,) against ground truth (N,), 1 for generated; "" without both classes."""
    if len(np.unique(fake)) < 2:
        return ""
    order = np.argsort(-p_fake, kind="stable")
    p, y = p_fake[order], fake[order]
    last = np.r_[p[1:] != p[:-1], True]
    tpr = np.r_[0.0, np.cumsum(y)[last] / y.sum()]
    fpr = np.r_[0.0, np.cumsum(1 - y)[last] / (1 - y).sum()]
    drawn = _square("ROC", "real videos accused", "generated found")
    drawn.polyline([(_x(a), _y(b)) for a, b in zip(fpr, tpr, strict=True)], _MAIN)
    return str(drawn)


def reliability(fake: Floats, p_fake: Floats) -> str:
    """Frequency of generated videos against the stated probability, in ten bins; a circle's area is its videos."""
    if not len(fake):
        return ""
    index = np.clip((p_fake * BINS).astype(int), 0, BINS - 1)
    drawn = _square("Reliability", "stated probability", "share that is generated")
    for at in range(BINS):
        inside = index == at
        count = int(inside.sum())
        if count:
            stated, found = float(p_fake[inside].mean()), float(fake[inside].mean())
            x, y = _x(stated), _y(found)
            drawn.line((x, _y(stated)), (x, y), _OTHER, width=2)
            hint = f"stated {stated:.2f}, {found:.2f} of {plural(count, 'video')} generated"
            radius = 3 + 15 * float(np.sqrt(count / len(fake)))
            drawn.circle(x, y, radius, _MAIN, more='fill-opacity=".65"', hint=hint)
    return str(drawn)


def _drawing(width: float, height: float, title: str) -> Drawing:
    """A drawing in the page's own colours and font."""
    return Drawing(width, height, title, ink=_INK, font="")


def _square(title: str, across: str, up: str) -> Drawing:
    """Axes from 0 to 1 both ways, with the diagonal."""
    drawn = _drawing(SIDE + EDGE + 14, SIDE + EDGE + 8, title)
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        drawn.line((_x(tick), _y(0)), (_x(tick), _y(1)), _GRID)
        drawn.line((_x(0), _y(tick)), (_x(1), _y(tick)), _GRID)
        drawn.text(_x(tick), SIDE + 22, f"{tick:g}", "middle", colour=_MUTED)
        drawn.text(EDGE - 6, _y(tick) + 4, f"{tick:g}", "end", colour=_MUTED)
    drawn.line((_x(0), _y(0)), (_x(1), _y(1)), _MUTED, dashes="4 4")
    drawn.text(_x(0.5), SIDE + 40, across, "middle")
    drawn.text(12, _y(0.5), up, "middle", turned=-90)
    return drawn


def _x(share: float) -> float:
    return EDGE + share * SIDE


def _y(share: float) -> float:
    return 6 + (1 - share) * SIDE
