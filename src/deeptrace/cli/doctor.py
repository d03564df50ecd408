"""`deeptrace doctor`: what this machine can run, and why not."""

from __future__ import annotations

from typing import Annotated

import typer

from deeptrace.cli.terminal import EXIT_FAILED_INPUTS

__all__ = ["doctor"]

_STYLES = {"ok": "green", "optional": "dim", "problem": "bold red"}


def doctor(
    json_output: Annotated[bool, typer.Option("--json", help="A JSON list on stdout, nothing else.")] = False,
) -> None:
    """Check Python, the codecs, the runtime, the default model, the extras and the disk.

    Exit code 0: the default detector can run here; 1: something it needs is missing.
    """
    import json
    from dataclasses import asdict

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from deeptrace.cli.doctor_checks import run_checks

    checks = run_checks()
    if json_output:
        typer.echo(json.dumps([asdict(check) for check in checks]))
    else:
        table = Table()
        for title in ("check", "state", "detail"):
            table.add_column(title)
        for check in checks:
            detail = f"{check.detail}\n{check.mend}" if check.mend else check.detail
            table.add_row(check.name, Text(check.state, style=_STYLES[check.state]), Text(detail))
        Console().print(table)
    if any(check.state == "problem" for check in checks):
        raise typer.Exit(EXIT_FAILED_INPUTS)
