"""The report of an evaluation: one HTML page that needs no script, server or other file, and the same as Markdown."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from deeptrace.data import resolve_path
from deeptrace.data.jsonio import atomic_path
from deeptrace.evaluate.bench_clips import Clip, make_clip
from deeptrace.evaluate.bench_plots import bars, reliability, roc
from deeptrace.evaluate.bench_samples import Shown, worth_a_look
from deeptrace.evaluate.run import Evaluation
from deeptrace.evaluate.table import Row, Table, outcome_line, published_note, run_title, tables_of, unavailable
from deeptrace.evaluate.wording import headline, probability, trace_line
from deeptrace.trace import Category, Label, Trace

__all__ = ["write_bench_report"]

HTML, MARKDOWN = "report.html", "report.md"
SHOWN_TRACES = 3
SHOWN_SOURCES = 20


def write_bench_report(
    found: Evaluation, folder: str | os.PathLike[str], *, on_clip: Callable[[], object] = lambda: None
) -> Path:
    """Write `report.html` and `report.md` into `folder`, each whole or not at all; returns the page's path.

    Args:
        found: the evaluation.
        folder: where to.
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


def markdown(result: Mapping[str, Any]) -> str:
    """The tables, breakdowns and manifest of an evaluation JSON as GitHub-flavoured Markdown."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_resource), undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["cell"] = _cell
    return environment.get_template("report.md.j2").render(**_context(result))


def _context(result: Mapping[str, Any]) -> dict[str, Any]:
    """What both templates need."""
    manifest = result["manifest"]
    return {
        "title": run_title(result),
        "data": manifest["data"],
        "made": manifest["made"],
        "counts": result["counts"],
        "outcomes": outcome_line(result["outcomes"]),
        "tables": [_shown_table(table, rows) for table, rows in tables_of(result)],
        "published_note": published_note(result),
        "judge": result["judge"],
        "latency": result["latency"],
        "usage": result["usage"],
        "ceiling": result["annotator_ceiling"],
        "missing": unavailable(result),
        "generators": [(name, block) for name, block in result["by_generator"].items()],
        "categories": [(_category(name), block) for name, block in result["by_category"].items()],
        "manifest": json.dumps(manifest, indent=2, ensure_ascii=False),
    }


def _shown_table(table: Table, rows: list[Row]) -> dict[str, Any]:
    """A table in words: cells as text, with interval and support of the run's."""
    lines = []
    for row in rows:
        cells = []
        for column in table.columns:
            value = row.values.get(column.name)
            limits, count = row.intervals.get(column.name), row.support.get(column.name)
            cells.append(
                {
                    "text": column.text(value),
                    "interval": "" if value is None or not limits else "–".join(column.text(v) for v in limits),
                    "support": f"{count:g}" if count else "",
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
        (_category(name), block["viou"], f"{block['traces']} traces")
        for name, block in result["by_category"].items()
        if block["traces"]
    ]
    sources = [(n, b) for n, b in result["by_generator"].items() if n != "macro" and b["accuracy"] is not None]
    sources.sort(key=lambda pair: (pair[1]["label"] != "FAKE", -pair[1]["videos"], pair[0]))
    generators = [
        (name, block["accuracy"], f"{block['videos']} {'generated' if block['label'] == 'FAKE' else 'real'}")
        for name, block in sources[:SHOWN_SOURCES]
    ]
    plots = [
        ("ROC", roc(fake, p_fake), f"{len(pairs)} videos with a stated probability."),
        ("Reliability", reliability(fake, p_fake), "On the diagonal, a stated 0.7 is right in seven of ten videos."),
        (
            "By category",
            bars("vIoU by category", categories, top=1.0) if categories else "",
            "Mean vIoU of true traces.",
        ),
        (
            "By source",
            bars("Accuracy by source", generators, top=100.0) if generators else "",
            f"Right labels, by video; {len(generators)} of {len(sources)} sources.",
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
    clip = make_clip(path, truth=sample.traces, predicted=asserted) if known else Clip(note="The media is not at hand.")
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
    return (files("deeptrace.evaluate") / "bench_page" / name).read_text(encoding="utf-8")
