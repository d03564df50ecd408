"""`deeptrace compare`: finished evaluations side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deeptrace.cli.console import note, printable
from deeptrace.cli.options import JsonObject
from deeptrace.plural import plural

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from deeptrace.benchmark.compare import Comparison
    from deeptrace.benchmark.tables import Table

__all__ = ["compare"]


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN", help="Folders of `deeptrace eval --out RUN`; the first is the reference."),
    ],
    common: Annotated[
        bool, typer.Option("--common", help="Compare runs on different videos by those they share.")
    ] = False,
    json_output: JsonObject = False,
    bootstrap: Annotated[int, typer.Option(min=1, help="Resamples of videos for the 95 % intervals.")] = 2000,
    permutations: Annotated[int, typer.Option(min=1, help="Random swaps for the p-values.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of resamples and swaps.")] = 0,
) -> None:
    """Set evaluations of the same clips side by side: differences, with 95 % intervals and p-values.

    Example: `deeptrace compare runs/tracenet runs/mine`.

    Each run is set against the first. A p-value is of one metric on its own: of twenty equal ones, one is below 0.05.
    """
    from deeptrace.benchmark.compare import compare_runs

    found = compare_runs(runs, common=common, resamples=bootstrap, permutations=permutations, seed=seed)
    if any(found.left_out):
        listed = ", ".join(f"{count} of {title}" for title, count in zip(found.titles, found.left_out, strict=True))
        note(f"compared on {plural(found.videos, 'video')}; left out: {listed}")
    if json_output:
        typer.echo(json.dumps(found.as_json(), ensure_ascii=False, allow_nan=False))
    else:
        _show(found)


def _show(found: Comparison) -> None:
    from rich.console import Console
    from rich.text import Text

    from deeptrace.benchmark.tables import TABLES, outcome_line

    console = Console()
    console.print(Text(f"{plural(found.videos, 'video')}; reference: {printable(found.titles[0])}"))
    for title in found.titles:
        console.print(Text(f"  {printable(title)}: {outcome_line(found.outcomes[title])}"))
    for title in found.titles[1:]:
        for table in TABLES[:-1]:
            shown = _table(found, title, table)
            if shown.row_count:
                console.print(shown)


def _table(found: Comparison, title: str, table: Table) -> RichTable:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    shown.title = f"{table.title}: {printable(title)}"
    for name in ("metric", "reference", "this run", "difference", "95 %", "p"):
        shown.add_column(name, justify="left" if name == "metric" else "right", no_wrap=True)
    for column in table.columns:
        one = found.differences[title].get(column.name)
        if one is None:
            continue
        better = (one.difference > 0) == (column.better == "up")
        style = "" if one.p_value >= 0.05 or not one.difference else "green" if better else "red"
        sign = "+" if one.difference > 0 else ""
        limits = "" if one.interval is None else " to ".join(column.text(limit) for limit in one.interval)
        arrow = "↑" if column.better == "up" else "↓"
        cells = (column.text(one.a), column.text(one.b), f"{sign}{column.text(one.difference)}", limits)
        if column.name == "per_video.auroc" and found.with_probability[title] < found.videos:
            shown.caption = (
                f"AUROC, AP: the {plural(found.with_probability[title], 'video')} for which both state a probability"
            )
        shown.add_row(f"{column.title}{arrow}", *(Text(cell, style=style) for cell in cells), f"{one.p_value:.4f}")
    return shown
