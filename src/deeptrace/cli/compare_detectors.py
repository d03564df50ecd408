"""`deeptrace compare-detectors`: every detector that learns, on the same clips, by ever harder protocols."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deeptrace.cli.console import LiveLine, Whole, interrupted, note, printable
from deeptrace.cli.options import Backbone, JsonObject
from deeptrace.errors import MissingExtraError

if TYPE_CHECKING:
    from deeptrace.train.baselines.comparison import Comparison, Row
    from deeptrace.train.tracenet.protocol import Figures

__all__ = ["compare_detectors"]


def compare_detectors(
    data: Annotated[
        list[Path],
        typer.Option(metavar="DIR", help="RewardData folder; with several, each is also judged by what others teach."),
    ],
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Baselines, as npr or stall; all when none is named."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Keep what was measured, and the figures, here.")] = Path(
        "deeptrace-out/baselines"
    ),
    tracenet: Annotated[
        Path | None, typer.Option(metavar="DIR", help="TraceNet whose card is read, instead of the shipped one.")
    ] = None,
    edited: Annotated[
        str, typer.Option(metavar="NAME", help="Folder of matched pairs below each DIR; '' for none.")
    ] = "matched",
    degraded_clips: Annotated[int, typer.Option(min=0, help="Clips under each degradation; 0 for none.")] = 120,
    seed: Annotated[int, typer.Option(min=0, help="Draws folds and degraded clips.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Number of processes that measure.")] = 1,
    backbone: Backbone = None,
    json_output: JsonObject = False,
) -> None:
    """Set detectors side by side on clips that they did not learn from: the same clips, folds and eras for all.

    Example: `deeptrace compare-detectors --data corpus --data corpus2`.

    Baselines are trained anew for each fold. TraceNet's figures are its card's, by the same protocols. Run it again
    after an interruption, or with another TraceNet: what is done is not done twice.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise MissingExtraError("compare-detectors", "train")
    from deeptrace.train.baselines.comparison import compare_detectors as compared
    from deeptrace.train.baselines.run import recipe_names

    recipe_names(names or [], backbone)
    try:
        with LiveLine() as line:
            line("reading data")
            found = compared(
                names or [], data, out, line, tracenet=tracenet, edited=edited, degraded_clips=degraded_clips,
                seed=seed, workers=workers, backbone=backbone,
            )  # fmt: skip
    except KeyboardInterrupt:
        interrupted("run the same command to go on")
    for remark in found.notes:
        note("", Whole(remark))
    if json_output:
        typer.echo(json.dumps(found.model_dump(mode="json"), allow_nan=False))
    else:
        typer.echo("\n".join(printable(one) for one in _lines(found)))
    note("all figures are in ", out / "comparison.json")


_NAME = 29


def _lines(found: Comparison) -> Iterator[str]:
    """The table, in at most 80 columns: parts under each other, each with every detector."""
    counts = ", ".join(f"{count} {name}" for name, count in found.clips.items())
    yield f"{' and '.join(found.data)}: {counts}; every clip in one encoding"
    yield ""
    yield "Generators and sources held out (folds)"
    yield _folds_line("", "AUROC", "95 %", "by gen.", "at 5 %", "at 1 %")
    for row in found.rows:
        yield _folds_line(row.name, *_cells(row.folds))
    for era in found.rows[0].eras if found.rows else ():
        yield ""
        yield f"{era}, by what the rest teaches"
        yield _folds_line("", "AUROC", "95 %", "by gen.", "at 5 %", "at 1 %")
        for row in found.rows:
            if era in row.eras:
                yield _folds_line(row.name, *_cells(row.eras[era]))
    yield ""
    yield "One generator taught, AUROC on all others; of single frames (folds); seconds"
    yield f"{'':{_NAME}}{'mean':>7}{'worst':>7}{'best':>7}{'frames':>9}{'fit s':>9}{'clip s':>9}"
    for row in found.rows:
        frames = _number(row.frames[0] if row.frames else None, 9, 3)
        yield f"{row.name:{_NAME}}{_single(row)}{frames}{_number(row.train_s, 9, 1)}{_number(row.clip_s, 9, 2)}"
    changes = next((list(row.degraded) for row in found.rows if row.degraded), [])
    if changes:
        yield ""
        yield "Degraded, AUROC of the folds' models on the same clips"
        short = {"untouched": "as is", "h264_crf35": "crf 35", "down_up_2x": "half", "platform": "site"}
        yield f"{'':{_NAME}}" + "".join(f"{short.get(change, change):>8}" for change in changes)
        for row in found.rows:
            cells = (row.degraded.get(change, (None, None))[0] for change in changes)
            yield f"{row.name:{_NAME}}" + "".join(_number(cell, 8, 3) for cell in cells)


def _folds_line(name: str, *cells: str) -> str:
    return f"{name:{_NAME}}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, (7, 13, 9, 8, 8), strict=True))


def _cells(figures: Figures) -> tuple[str, ...]:
    limits = "-" if figures.interval is None else "{:.2f}-{:.2f}".format(*figures.interval)
    shares = (figures.macro, figures.found_5, figures.found_1)
    return (f"{figures.auroc:.3f}", limits, f"{shares[0]:.3f}", f"{shares[1]:.2f}", f"{shares[2]:.2f}")


def _single(row: Row) -> str:
    values = [value for value, _ in row.one_generator.values()]
    if not values:
        return f"{'-':>7}" * 3
    return "".join(f"{value:7.3f}" for value in (sum(values) / len(values), min(values), max(values)))


def _number(value: float | None, width: int, digits: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:{width}.{digits}f}"
