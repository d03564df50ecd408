"""`deeptrace audit`: is a dataset what it says, and what gives the label away without looking at a picture."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deeptrace.cli.terminal import EXIT_FAILED_INPUTS, interrupted, note, printable, stage_bars
from deeptrace.errors import SettingsError

if TYPE_CHECKING:
    from deeptrace.data.audit import Audit
    from deeptrace.data.audit.fix import Fixed

__all__ = ["audit"]

SHOWN = 5


def audit(
    path: Annotated[str, typer.Argument(metavar="DIR_OR_JSON", help="The dataset's folder or annotation file.")],
    root: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder that paths are relative to. [default: the file's own]")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Look at this split only.")] = None,
    decode: Annotated[
        bool, typer.Option("--decode/--no-decode", help="Decode every file in full, or read headers only.")
    ] = True,
    json_output: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write audit.html and audit.json here; with --fix, the copy.")
    ] = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Write a copy that metadata cannot tell apart, audit that.")
    ] = False,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="With --fix: size of every clip.")] = None,
    fps: Annotated[int | None, typer.Option(min=1, help="With --fix: frames a second of every clip.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="A shortcut makes exit code 1, as errors do.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Files at a time. [default: one a core]")] = None,
    shuffles: Annotated[int, typer.Option(min=1, help="Label shuffles for the floors.")] = 100,
    seed: Annotated[int, typer.Option(help="Of folds, models and shuffles.")] = 0,
) -> None:
    """Check a dataset's integrity, and how well metadata alone separates real from fake.

    Exit code 0: no errors found; 1: rows or files are wrong (or, with --strict, metadata gives the label away);
    2: nothing could be done.
    """
    from deeptrace.data.audit import write_html

    if fix and out is None:
        raise SettingsError("--fix", "needs a folder for the copy", "Name it with --out.")
    if not fix and (size or fps):
        raise SettingsError("--size and --fps", "are about the copy that --fix writes")
    count = workers or os.cpu_count() or 1
    if fix and out is not None:
        _tell(_fix(path, out, root, size, fps, count))
        path, root = str(out), None
    asked = {"root": root, "split": split, "decode": decode, "shuffles": shuffles, "seed": seed}
    result = _audit(path, workers=count, kept=out if fix else None, **asked)
    found = result.as_json()
    if out is not None:
        write_html(result, out / "audit.html")
        (out / "audit.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        note(f"wrote {out / 'audit.html'} and audit.json")
    if json_output:
        typer.echo(json.dumps(found))
    else:
        _show(result)
    if result.errors or (strict and result.shortcuts.found):
        raise typer.Exit(EXIT_FAILED_INPUTS)


def _audit(path: str, *, kept: Path | None, **asked: Any) -> Audit:
    """The audit of `path`; stopped by Ctrl-C, nothing of it is kept, but the copy in `kept`, where there is one, is."""
    from deeptrace.data.audit import audit as run_audit

    stage = "decoded" if asked["decode"] else "read"
    with stage_bars() as show:

        def on_file(done: int, total: int) -> None:
            show(stage, done, total)
            if done == total:
                show("looking for shortcuts", 0, None)

        try:
            return run_audit(path, on_file=on_file, **asked)
        except KeyboardInterrupt:
            copy = "" if kept is None else f"; the copy in {kept} is whole"
            interrupted(f"half an audit says nothing, so none is kept{copy}; run the same command again")


def _fix(path: str, out: Path, root: Path | None, size: str | None, fps: int | None, workers: int) -> Fixed:
    from deeptrace.data.audit.fix import fix_dataset

    with stage_bars() as show:
        try:
            return fix_dataset(path, out, root=root, size=_size(size), fps=fps, workers=workers, on_file=show)
        except KeyboardInterrupt:
            interrupted(f"the clips written are kept in {out}; run the same command to go on")


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    width, _, height = text.lower().partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise SettingsError(f"--size {text}", "expected WIDTHxHEIGHT, as 512x288")
    return int(width), int(height)


def _tell(fixed: Fixed) -> None:
    plan = fixed.plan
    note(
        f"{fixed.written} clips written, {fixed.kept} kept from before: {plan.width} x {plan.height}, "
        f"{plan.fps} frames/s, {plan.bit_rate // 1000} kbit/s, no sound"
    )
    if plan.left_out:
        counts = ", ".join(f"{count} {label.lower()}" for label, count in sorted(fixed.left_out.items()))
        note(f"left out: {counts} (each with its reason in {fixed.folder / 'fix.json'})")
    if fixed.traces_lost:
        note(
            f"{fixed.traces_lost} of {fixed.traces + fixed.traces_lost} traces lie outside the crop or the cut; "
            f"{fixed.fakes_without_trace} fake clips have none left"
        )


def _show(result: Audit) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    shortcuts = result.shortcuts
    table = Table(title=f"What metadata gives away ({shortcuts.fakes} fake, {shortcuts.reals} real clips)")
    for name, justify in (("feature", "left"), ("AUC", "right"), ("by source", "right"), ("verdict", "left")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    table.add_column("the rule that tells most")
    for feature in shortcuts.features:
        rule = feature.rule.words if feature.rule is not None and not feature.constant else ""
        cells = (feature.name, _number(feature.auc), _number(feature.auc_by_source), feature.verdict, printable(rule))
        table.add_row(*(Text(cell, style="bold red" if feature.shortcut else "") for cell in cells))
    joint = ("all together", _number(shortcuts.joint_auc), _number(shortcuts.joint_auc_by_source))
    floor = f"shuffled labels: up to {_number(shortcuts.shuffled)}" if shortcuts.shuffled is not None else ""
    table.add_section()
    table.add_row(*(Text(cell) for cell in (*joint, "", floor)))
    console.print(table)
    console.print(Text(shortcuts.summary))
    if not result.findings:
        console.print("Integrity: nothing found.")
    for kind, count in result.counts.items():
        findings = [finding for finding in result.findings if finding.kind == kind]
        style = {"error": "bold red", "warning": "yellow"}.get(findings[0].severity, "")
        console.print(Text(f"{findings[0].severity}: {kind.replace('_', ' ')} ({count})", style=style))
        for finding in findings[:SHOWN]:
            console.print(Text(printable(f"  {finding.subject}: {finding.detail}")))
        if count > SHOWN:
            console.print(Text(f"  and {count - SHOWN} more", style="dim"))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
