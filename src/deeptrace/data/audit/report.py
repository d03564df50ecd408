"""The audit as one self-contained page, and as text for a terminal."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

import jinja2

from deeptrace.data.audit.features import FEATURES
from deeptrace.data.audit.integrity import Finding
from deeptrace.data.audit.plots import auc_bars, distribution
from deeptrace.data.audit.run import Audit
from deeptrace.data.jsonio import atomic_path
from deeptrace.trace import Label

__all__ = ["write_html"]

SHOWN_OF_A_KIND = 12


def write_html(result: Audit, path: str | os.PathLike[str]) -> None:
    """Write the page: no script, no outside file, prints as it looks.

    Raises:
        DataError: the file cannot be written.
    """
    template = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        Path(__file__).with_name("report.html.j2").read_text(encoding="utf-8")
    )
    shortcuts = result.shortcuts
    bars = [(f.name, f.auc, f.auc_by_source, f.shortcut) for f in shortcuts.features]
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
