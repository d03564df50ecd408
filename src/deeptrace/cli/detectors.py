"""`deeptrace detectors`: what is installed, and what each needs."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["detectors"]


def detectors(
    json_output: Annotated[bool, typer.Option("--json", help="A JSON list on stdout, nothing else.")] = False,
) -> None:
    """List the detectors that can be asked for by name, and what each still needs here."""
    import json

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from deeptrace.cli.terminal import printable
    from deeptrace.detectors import DEFAULT_DETECTOR, families

    rows = []
    for family in families().values():
        for name, summary in (family.names or {f"{family.prefix}:...": family.summary}).items():
            extra = f"pip install 'deeptrace[{family.extra}]'" if family.missing and family.extra else None
            rows.append(
                {
                    "name": name,
                    "default": name == DEFAULT_DETECTOR,
                    "summary": summary,
                    "ready": not family.missing,
                    "needs": list(family.missing),
                    "install": extra,
                    "origin": family.origin,
                }
            )
    if json_output:
        typer.echo(json.dumps(rows))
        return
    table = Table()
    table.add_column("detector", no_wrap=True)
    table.add_column("what it is")
    table.add_column("state")
    for row in rows:
        state = "default" if row["default"] else "ready" if row["ready"] else f"needs: {row['install'] or row['needs']}"
        table.add_row(*(Text(printable(str(text))) for text in (row["name"], row["summary"], state)))
    Console().print(table)
