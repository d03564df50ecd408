"""`deeptrace collect`: from raw clips to a dataset, in one command."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from deeptrace.cli.audit import picture_size, show_audit
from deeptrace.cli.console import EXIT_FAILED_INPUTS, interrupted, note, stage_bars
from deeptrace.cli.options import JsonObject, Resume
from deeptrace.plural import plural

if TYPE_CHECKING:
    from deeptrace.collect import Candidate, Collected, Recipe

__all__ = ["collect"]

_FILTERS, _MATCH, _COPY, _ABOUT = "Filters", "Matching and splits", "What is written", "Metadata"


def collect(
    generated: Annotated[
        list[str],
        typer.Option(
            metavar="DIR_OR_TABLE",
            help="Generators' clips: a folder with a folder for each generator, or a table (CSV, JSON, JSONL, Parquet) "
            "with the columns path, generator, prompt, pair; may be repeated.",
        ),
    ],
    real: Annotated[
        list[str],
        typer.Option(metavar="DIR_OR_TABLE", help="Camera footage: the same, with the column source; may be repeated."),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write the dataset to.")],
    min_seconds: Annotated[float, typer.Option(min=0, help="Shortest shot.", rich_help_panel=_FILTERS)] = 1.0,
    min_side: Annotated[int, typer.Option(min=1, help="Least short side, in pixels.", rich_help_panel=_FILTERS)] = 256,
    min_fps: Annotated[float, typer.Option(min=0, help="Least frames a second.", rich_help_panel=_FILTERS)] = 6.0,
    cuts: Annotated[
        Literal["longest", "refuse", "ignore"],
        typer.Option(
            help="Of a clip with scene cuts: keep the longest shot, nothing, or all.", rich_help_panel=_FILTERS
        ),
    ] = "longest",
    max_flat: Annotated[
        float, typer.Option(min=0, max=1, help="Most frames that are black or of one colour.", rich_help_panel=_FILTERS)
    ] = 0.1,
    max_still: Annotated[
        float, typer.Option(min=0, max=1, help="Most steps without any change: frozen.", rich_help_panel=_FILTERS)
    ] = 0.5,
    min_moving: Annotated[
        float, typer.Option(min=0, max=1, help="Fewest steps in which something moves.", rich_help_panel=_FILTERS)
    ] = 0.2,
    min_sharpness: Annotated[
        float, typer.Option(min=0, help="Least variance of the Laplacian.", rich_help_panel=_FILTERS)
    ] = 30.0,
    max_blockiness: Annotated[
        float, typer.Option(min=1, help="Most visible 8 x 8 blocks; 1 is none.", rich_help_panel=_FILTERS)
    ] = 1.4,
    scan_seconds: Annotated[
        float, typer.Option(min=1, help="Look at the first seconds of each file.", rich_help_panel=_FILTERS)
    ] = 60.0,
    ratio: Annotated[float, typer.Option(help="Camera clips for each generated one.", rich_help_panel=_MATCH)] = 1.0,
    max_distance: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Match no clips further apart; two at random are 1 apart. [default: any]",
            rich_help_panel=_MATCH,
        ),
    ] = None,
    split: Annotated[
        Literal["source", "video", "none"],
        typer.Option(help="Train, val and test by whole sources, by video, or none.", rich_help_panel=_MATCH),
    ] = "source",
    seed: Annotated[int, typer.Option(min=0, help="Of splits and the audit.", rich_help_panel=_MATCH)] = 0,
    max_seconds: Annotated[float, typer.Option(min=0.5, help="Longest clip.", rich_help_panel=_COPY)] = 10.0,
    size: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="Of every clip. [default: what nearly all have]", rich_help_panel=_COPY),
    ] = None,
    fps: Annotated[
        int | None, typer.Option(min=1, help="Of every clip. [default: what nearly all have]", rich_help_panel=_COPY)
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Of the dataset. [default: that of --out]", rich_help_panel=_ABOUT)
    ] = None,
    license: Annotated[
        str | None, typer.Option(help="Licence of the dataset: a URL or an SPDX name.", rich_help_panel=_ABOUT)
    ] = None,
    creator: Annotated[str | None, typer.Option(help="Who made it.", rich_help_panel=_ABOUT)] = None,
    url: Annotated[str | None, typer.Option(help="Where it is to be found.", rich_help_panel=_ABOUT)] = None,
    description: Annotated[str | None, typer.Option(help="What it is.", rich_help_panel=_ABOUT)] = None,
    shuffles: Annotated[int, typer.Option(min=1, help="Of labels, in the audit.")] = 100,
    workers: Annotated[int | None, typer.Option(min=1, help="Clips at a time. [default: one a core]")] = None,
    resume: Resume = False,
    json_output: JsonObject = False,
) -> None:
    """Make a dataset out of raw clips: filter, remove duplicates, match, split, audit.

    Keeps camera clips that are like the generated ones, encodes all alike, and says in left_out.csv why a clip is not
    kept. Example: `deeptrace collect --generated outputs/ --real footage/ --out dataset`.

    Exit code 0: done, and the audit finds no shortcut; 1: it finds one, or an error; 2: nothing could be done; 130:
    stopped, what was done is kept.
    """
    from deeptrace.collect import Limits, Recipe, read_candidates
    from deeptrace.io.folders import refuse_within

    recipe = Recipe(
        limits=Limits(
            min_s=min_seconds,
            min_side=min_side,
            min_fps=min_fps,
            max_cuts=0 if cuts == "refuse" else None,
            max_flat=max_flat,
            max_still=max_still,
            min_moving=min_moving,
            min_sharpness=min_sharpness,
            max_blockiness=max_blockiness,
        ),
        cuts=cuts != "ignore",
        max_s=max_seconds,
        scan_s=scan_seconds,
        ratio=ratio,
        max_distance=max_distance,
        size=picture_size(size),
        fps=fps,
        split=split,
        seed=seed,
        shuffles=shuffles,
        name=name,
        about={"license": license, "creator": creator, "url": url, "description": description},
    )
    refuse_within(out, [*generated, *real])
    result = _collect(read_candidates(generated, real), out, recipe, resume, workers or os.cpu_count() or 1)
    if json_output:
        typer.echo(json.dumps(result.as_json()))
    else:
        _show(result)
    if result.audit.errors or result.audit.shortcuts.found:
        raise typer.Exit(EXIT_FAILED_INPUTS)


def _collect(candidates: list[Candidate], out: Path, recipe: Recipe, resume: bool, workers: int) -> Collected:
    """The dataset; Ctrl-C keeps what is done."""
    from deeptrace.collect import collect as run_collect

    with stage_bars() as show:

        def on_step(step: str, done: int, total: int | None) -> None:
            show(step, done, total)
            if step == "auditing" and done == total:
                show("looking for shortcuts", 0, None)

        try:
            return run_collect(candidates, out, recipe, resume=resume, workers=workers, on_step=on_step)
        except KeyboardInterrupt:
            interrupted("what is done is kept in ", out, "; go on with --resume")


def _show(result: Collected) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console()
    kept = result.as_json()["kept"]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="Which clips are kept", title_justify="left")
    for column, justify in (("step", "left"), ("generated", "right"), ("camera", "right")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    rows = [("given", result.given), *((f"- {step}", counts) for step, counts in result.steps.items()), ("kept", kept)]
    for step, counts in rows:
        if step == "kept":
            table.add_section()
        table.add_row(step, str(counts.get("FAKE", 0)), str(counts.get("REAL", 0)))
    console.print(table)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="How far the classes are apart", title_justify="left")
    for column, justify in (("in standard deviations", "left"), ("before", "right"), ("matched", "right")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for name, (before, after) in result.balance.items():
        table.add_row(name, _signed(before), _signed(after))
    console.print(table)
    show_audit(result.audit)
    before = result.before.joint_auc
    if before is not None:
        console.print(f"Before, metadata alone separated the classes with an AUC of {before:.2f}.")
    plan = result.plan
    note(
        f"{plural(result.written, 'clip')} written, {result.kept} kept from before: {plan.width} x {plan.height}, "
        f"{plan.fps} frames/s, {plan.bit_rate // 1000} kbit/s, no sound"
    )
    if result.left_out:
        note(
            f"left out: {plural(len(result.left_out), 'clip')}, each with its reason in ",
            result.folder / "left_out.csv",
        )
    note("dataset: ", result.folder)


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.2f}"
