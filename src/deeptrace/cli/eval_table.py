"""An evaluation's tables for people, on stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from deeptrace.cli.terminal import printable
from deeptrace.evaluate.table import Column, Row, Table, outcome_line, published_note, run_title, tables_of, unavailable

__all__ = ["print_evaluation"]

_STYLES = {"run": "bold", "ceiling": "cyan", "baseline": "", "published": "dim"}
PIPED_WIDTH = 100
PUBLISHED_SHOWN = ("reward model", "baseline")


def print_evaluation(result: Mapping[str, Any], console: Console | None = None) -> None:
    """The tables, with what each number of the run stands on below it; the report has the rest."""
    # Without a terminal rich takes 80 columns; whoever reads a file or a pipe is better served by whole lines.
    console = console or (Console() if sys.stdout.isatty() else Console(width=PIPED_WIDTH))
    data = result["manifest"]["data"]
    counts = result["counts"]
    console.print(
        Text(
            f"{printable(run_title(result))} on {printable(data['name'])}, split {printable(data['split'])}: "
            f"{counts['videos']} videos ({counts['fake_videos']} generated, {counts['real_videos']} real); "
            f"{outcome_line(result['outcomes'])}"
        )
    )
    for table, rows in tables_of(result):
        for part in _parts(table, rows, console):
            console.print(part)
    missing = [f"{title}: {why}" for title, why in unavailable(result)]
    if missing:
        console.print(Text(f"Not to be had: {'; '.join(missing)}.", style="dim"))
    console.print(Text(published_note(result), style="dim"))
    console.print(Text(_explanation_note(result), style="dim"))


def _parts(table: Table, rows: list[Row], console: Console) -> Iterator[RichTable]:
    """The table, its columns in as many parts as the console is narrow: a number cut short would be another one."""
    left, title = table.columns, f"{table.title} ({table.unit})"
    while left:
        taken = next(n for n in range(len(left), 0, -1) if n == 1 or _fits(_rich(title, left[:n], rows), console))
        yield _rich(title, left[:taken], rows)
        left, title = left[taken:], f"{table.title}, continued"


def _fits(shown: RichTable, console: Console) -> bool:
    return console.measure(shown, options=console.options.update(width=1000)).minimum <= console.width


def _rich(title: str, columns: Sequence[Column], rows: list[Row]) -> RichTable:
    shown = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), title_justify="left")
    shown.title = title
    shown.add_column("", overflow="fold", min_width=16, max_width=30)
    for column in columns:
        head = f"{column.title}{'↑' if column.better == 'up' else '↓'}"
        shown.add_column(head, justify="right", no_wrap=True, min_width=len(head))
    before = rows[0].kind
    for row in rows:
        if row.kind == "published" and row.note not in PUBLISHED_SHOWN:
            continue  # ablations: in the report
        if row.kind != before:
            shown.add_section()
            before = row.kind
        cells = [column.text(row.values.get(column.name)) for column in columns]
        shown.add_row(Text(printable(row.title)), *cells, style=_STYLES[row.kind])
        if row.kind == "run":
            if row.intervals:
                shown.add_row("  95 %", *(_interval(column, row) for column in columns), style="dim")
            shown.add_row("  stands on", *(_support(column, row) for column in columns), style="dim")
    return shown


def _interval(column: Column, row: Row) -> str:
    limits = row.intervals.get(column.name)
    if limits is None or row.values.get(column.name) is None:
        return ""
    return "\n".join(column.text(limit) for limit in limits)


def _support(column: Column, row: Row) -> str:
    count = row.support.get(column.name)
    return "" if not count else f"{count:g}"


def _explanation_note(result: Mapping[str, Any]) -> str:
    counts, judge = result["counts"], result["judge"]
    if judge is not None and judge["failed"]:
        return (
            f"The judge {judge['name']} failed on {judge['failed']} of {judge['rows']} rows: explanation and "
            "overall are not known. --resume asks again."
        )
    if judge is not None:
        return f"Explanations judged by {judge['name']}: {judge['scored']} rows, {judge['cached']} of them cached."
    if counts["explanation_unjudged"]:
        return (
            f"{counts['explanation_unjudged']} rows need a judge: explanation and overall are not known. Name one with "
            "--judge openai:MODEL[@URL]."
        )
    if not counts["explanation_rows"]:
        return "The data has no written explanations."
    return "No answer had an explanation to be judged: each of those rows scores 0, by the protocol."
