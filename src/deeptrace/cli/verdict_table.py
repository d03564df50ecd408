"""Verdicts as a table for people."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deeptrace.cli.terminal import printable
from deeptrace.evaluate.wording import headline, probability, trace_line

if TYPE_CHECKING:
    from deeptrace.trace import Verdict

__all__ = ["print_verdicts"]

_STYLES = {"FAKE": "bold red", "REAL": "green", None: "yellow"}


def print_verdicts(verdicts: Sequence[Verdict], console: Console | None = None) -> None:
    """A table on stdout: one row a video, its traces with when, where, which and why in the last column."""
    folder = _shared_folder([verdict.video for verdict in verdicts])
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 1, 0), expand=True)
    table.title = Text(f"in {printable(folder)}") if folder else None
    table.caption = Text("A score is evidence, not proof.")
    table.add_column("video", overflow="fold", ratio=2)
    table.add_column("verdict", min_width=18, no_wrap=True)
    table.add_column("what gives it away", ratio=4)
    for verdict in verdicts:
        table.add_row(Text(printable(verdict.video[len(folder) :])), _answer(verdict), _reasons(verdict))
    (console or Console()).print(table)


def _shared_folder(paths: Sequence[str]) -> str:
    """The folder all of several paths are in, with its slash; empty when there is none."""
    if len(paths) < 2 or any("://" in path for path in paths):
        return ""
    try:
        shared = os.path.commonpath([os.path.dirname(path) for path in paths])
    except ValueError:  # absolute and relative ones
        return ""
    prefix = os.path.join(shared, "")
    return prefix if shared and all(path.startswith(prefix) for path in paths) else ""


def _answer(verdict: Verdict) -> Text:
    text = Text(headline(verdict), style=_STYLES[verdict.label])
    if verdict.p_fake is not None:
        text.append(f"\np = {probability(verdict)}", style="default")
    return text


def _reasons(verdict: Verdict) -> Text:
    if verdict.error is not None:
        return Text(printable(verdict.error), style="yellow")
    lines = [] if verdict.traces else [Text("no trace found")]
    for trace in verdict.traces:
        lines.append(Text(trace_line(trace), style="bold"))
        if trace.explanation:
            lines.append(Text(printable(trace.explanation)))
    lines += [Text(f"note: {printable(warning)}", style="dim") for warning in verdict.warnings]
    return Text("\n").join(lines)
