"""`deeptrace detect --dry-run`: what a run would take, as a table or as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deeptrace.cli.terminal import printable

if TYPE_CHECKING:
    from deeptrace.evaluate.dry_run import Planned
    from deeptrace.trace import DetectorInfo

__all__ = ["show_plan"]


def show_plan(planned: Iterable[Planned], info: DetectorInfo, *, json_lines: bool) -> int:
    """Print what each clip would take; returns how many clips cannot be judged."""
    rows = list(planned)
    if json_lines:
        for row in rows:
            estimate = None if row.estimate is None else asdict(row.estimate)
            line = {"video": row.path, "detector": info.name, "estimate": estimate, "error": row.error}
            typer.echo(json.dumps(line, ensure_ascii=False))
    else:
        _print_table(rows, info)
    return sum(row.estimate is None for row in rows)


def _print_table(rows: list[Planned], info: DetectorInfo) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=Text(printable(info.name)))
    table.caption = Text("Nothing was loaded or sent. Memory and time are estimates, for one clip at a time.")
    table.add_column("video", overflow="fold", min_width=16)
    for name in ("frames", "size", "visual\ntokens", "prompt\ntokens", "memory", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(_named(row), *_cells(row))
    table.add_section()
    known = [row.estimate for row in rows if row.estimate is not None]
    seconds = [estimate.seconds for estimate in known if estimate.seconds is not None]
    memory = [estimate.memory_gib for estimate in known if estimate.memory_gib is not None]
    tokens = [estimate.visual_tokens for estimate in known if estimate.visual_tokens is not None]
    prompts = [estimate.prompt_tokens for estimate in known if estimate.prompt_tokens is not None]
    table.add_row(
        f"{len(known)} of {len(rows)} clips",
        str(sum(estimate.frames for estimate in known)),
        "",
        str(sum(tokens)) if tokens else "",
        str(sum(prompts)) if prompts else "",
        f"{max(memory):.1f} GiB" if memory else "",
        _duration(sum(seconds)) if seconds else "",
    )
    Console().print(table)


def _named(row: Planned) -> Text:
    """The clip, and below it what the reader should know of it."""
    why = row.error or "" if row.estimate is None else "; ".join(row.estimate.warnings)
    text = Text(printable(row.path))
    return text.append(f"\n{printable(why)}", style="yellow" if row.estimate is None else "dim") if why else text


def _cells(row: Planned) -> list[str]:
    if row.estimate is None:
        return []
    found = row.estimate
    return [
        str(found.frames),
        f"{found.size[0]}x{found.size[1]}",
        "" if found.visual_tokens is None else str(found.visual_tokens),
        "" if found.prompt_tokens is None else str(found.prompt_tokens),
        "" if found.memory_gib is None else f"{found.memory_gib:.1f} GiB",
        "" if found.seconds is None else _duration(found.seconds),
    ]


def _duration(seconds: float) -> str:
    """Seconds for people: "0.4 s", "95 s", "12 min", "3.2 h"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
