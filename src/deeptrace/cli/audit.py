"""`deeptrace audit`: is a dataset what it says it is, and does its metadata alone give the label away."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deeptrace.cli.console import EXIT_FAILED_INPUTS, interrupted, note, printable, stage_bars
from deeptrace.cli.options import JsonObject, Ray, RayActors, RayCpus, ray_map
from deeptrace.errors import SettingsError
from deeptrace.plural import plural

if TYPE_CHECKING:
    from deeptrace.audit import Audit
    from deeptrace.audit.fix import Fixed

__all__ = ["audit", "picture_size", "show_audit"]

SHOWN = 5


def audit(
    path: Annotated[str, typer.Argument(metavar="DIR_OR_JSON", help="The dataset's folder or annotation file.")],
    root: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder that paths are relative to. [default: the file's own]")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Look at this split only. [default: all]")] = None,
    decode: Annotated[
        bool, typer.Option("--decode/--no-decode", help="Decode every file in full, or read headers only.")
    ] = True,
    json_output: JsonObject = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write audit.html and audit.json here; with --fix, the copy.")
    ] = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Write a copy in which metadata gives nothing away, and audit that.")
    ] = False,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="With --fix: size of every clip.")] = None,
    fps: Annotated[int | None, typer.Option(min=1, help="With --fix: frames a second of every clip.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="With --fix: go on with an earlier copy in --out.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with code 1 also where metadata gives the label away.")
    ] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Files at a time. [default: one a core]")] = None,
    ray: Ray = None,
    ray_actors: RayActors = None,
    ray_cpus: RayCpus = None,
    shuffles: Annotated[
        int, typer.Option(min=1, help="How often labels are shuffled, to learn what chance does.")
    ] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Seed of folds, models and shuffles.")] = 0,
) -> None:
    """Check that a dataset is what it says, and whether its metadata alone tell real clips from generated ones.

    A detector that is trained where they do learns frame rates and bit rates. Example: `deeptrace audit RewardData/`.

    Exit code 0: no errors found; 1: rows or files are wrong (or, with --strict, metadata gives the label away);
    2: nothing could be done.
    """
    from deeptrace.io.jsonl import write_json
    from deeptrace.reports.audit import write_html

    if fix and out is None:
        raise SettingsError("--fix", "needs a folder for the copy", "Name it with --out.")
    if not fix and (size or fps or resume):
        raise SettingsError("--size, --fps and --resume", "apply only to the copy that --fix writes")
    count = workers or os.cpu_count() or 1
    if fix and out is not None:
        _tell(_fix(path, out, root=root, size=picture_size(size), fps=fps, resume=resume, workers=count))
        path, root = str(out), None
    asked = {"root": root, "split": split, "decode": decode, "shuffles": shuffles, "seed": seed}
    with ray_map(ray, ray_actors, ray_cpus, [root or path]) as spread:
        result = _audit(path, workers=count, spread=spread, kept=out if fix else None, **asked)
    found = result.as_json()
    if out is not None:
        write_html(result, out / "audit.html")
        write_json(found, out / "audit.json")
        note("wrote ", out / "audit.html", " and audit.json")
    if json_output:
        typer.echo(json.dumps(found))
    else:
        show_audit(result)
    if result.errors or (strict and result.shortcuts.found):
        raise typer.Exit(EXIT_FAILED_INPUTS)


def _audit(path: str, *, kept: Path | None, **asked: Any) -> Audit:
    """The audit of `path`; Ctrl-C keeps nothing of it but the copy in `kept`, if any."""
    from deeptrace.audit import audit as run_audit

    stage = "decoded" if asked["decode"] else "read"
    with stage_bars() as show:

        def on_file(done: int, total: int) -> None:
            show(stage, done, total)
            if done == total:
                show("looking for shortcuts", 0, None)

        try:
            return run_audit(path, on_file=on_file, **asked)
        except KeyboardInterrupt:
            again = "run the same command again"
            if kept is not None:
                again = f"the copy in {kept} is complete; run the same command with --resume"
            interrupted(f"half an audit says nothing, so nothing of it is kept; {again}")


def _fix(path: str, out: Path, **asked: Any) -> Fixed:
    from deeptrace.audit.fix import fix_dataset

    with stage_bars() as show:
        try:
            return fix_dataset(path, out, on_file=show, **asked)
        except KeyboardInterrupt:
            interrupted("the clips written are kept in ", out, "; go on with --resume")


def picture_size(text: str | None) -> tuple[int, int] | None:
    """ "512x288" as two numbers.

    Raises:
        SettingsError: it is not of that form.
    """
    if text is None:
        return None
    width, _, height = text.lower().partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise SettingsError(f"--size {text}", "expected WIDTHxHEIGHT, such as 512x288")
    return int(width), int(height)


def _tell(fixed: Fixed) -> None:
    plan = fixed.plan
    note(
        f"{plural(fixed.written, 'clip')} written, {fixed.kept} kept from before: {plan.width} x {plan.height}, "
        f"{plan.fps} frames/s, {plan.bit_rate // 1000} kbit/s, no sound"
    )
    if plan.left_out:
        counts = ", ".join(f"{count} {label.lower()}" for label, count in sorted(fixed.left_out.items()))
        note(f"left out: {counts} (each with its reason in ", fixed.folder / "fix.json", ")")
    if fixed.traces_lost:
        note(
            f"{fixed.traces_lost} of {plural(fixed.traces + fixed.traces_lost, 'trace')} outside the crop or the cut; "
            + plural(fixed.fakes_without_trace, "fake clip has none left", "fake clips have none left")
        )


def show_audit(result: Audit) -> None:
    """What an audit found, for people, on stdout."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    shortcuts = result.shortcuts
    title = f"What metadata gives away ({shortcuts.fakes} generated, {plural(shortcuts.reals, 'real clip')})"
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    for name, justify in (("feature", "left"), ("AUC", "right"), ("by source", "right"), ("verdict", "left")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    table.add_column("the most telling rule")
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
        console.print("Integrity: no problems found.")
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
