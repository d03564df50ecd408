"""`deeptrace robustness`: what changes to clips do to a detector."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deeptrace.cli.console import Whole, interrupted, note, parse_settings, printable, stage_bars
from deeptrace.cli.options import DetectorName, DetectorSettings, JsonObject, Resume, Timeout, Workers
from deeptrace.plural import plural

if TYPE_CHECKING:
    from deeptrace.benchmark.robustness.figures import Figure, Row
    from deeptrace.benchmark.robustness.needle import Needle
    from deeptrace.benchmark.robustness.pasted import Pasted
    from deeptrace.benchmark.robustness.run import Robustness

__all__ = ["robustness"]


def robustness(
    data: Annotated[
        str, typer.Option(metavar="DIR_OR_JSON", help="Clips of both labels: a RewardData folder, or its file.")
    ],
    only: Annotated[
        list[str] | None,
        typer.Argument(metavar="WHAT", help="Parts of the table, or single changes; all when none is named."),
    ] = None,
    split: Annotated[str, typer.Option(help="Which part of the data; 'all' for everything.")] = "test",
    detector: DetectorName = "tracenet",
    settings: DetectorSettings = None,
    clips: Annotated[
        int, typer.Option(min=2, help="Most clips of each label, from as many sources as there are.")
    ] = 40,
    seconds: Annotated[float, typer.Option(min=0.5, max=3600, help="So much of each clip, from its start.")] = 4.0,
    max_fps: Annotated[float, typer.Option(min=1, max=1000, help="Most frames a second of each clip.")] = 8.0,
    attacked: Annotated[int, typer.Option(min=1, help="Most clips of each label that are attacked.")] = 8,
    questions: Annotated[int, typer.Option(min=5, help="Questions that an attacker may ask about a clip.")] = 50,
    epsilon: Annotated[int, typer.Option(min=1, max=64, help="Most grey levels that an attacker may add.")] = 8,
    hay: Annotated[int, typer.Option(min=1, help="Long videos with a needle, and as many without.")] = 10,
    hay_seconds: Annotated[float, typer.Option(min=10, max=36000, help="Length of each, needle aside.")] = 30.0,
    face_model: Annotated[
        Path | None, typer.Option(metavar="FILE", help="YuNet's ONNX file, to find faces. [default: what is installed]")
    ] = None,
    autoencoder: Annotated[
        Path | None, typer.Option(metavar="FILE", help="ONNX file of `deeptrace train autoencoder`, to launder clips.")
    ] = None,
    vae: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A generator's autoencoder as an ONNX file, pictures in [-1, 1]."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Keep answers and table here.")] = Path(
        "deeptrace-out/robustness"
    ),
    json_output: JsonObject = False,
    resume: Resume = False,
    workers: Workers = None,
    timeout: Timeout = None,
    bootstrap: Annotated[int, typer.Option(min=20, help="Resamples for the 95 % intervals.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Draws clips, changes and resamples.")] = 0,
) -> None:
    """Measure what a detector stands: encodings, blurred faces, laundering, restyling, disturbed motion, attacks, hay.

    Example: `deeptrace robustness --data RewardData/ --detector baseline:npr --set weights=npr.npz`.

    Every clip is first brought into one form, so that only what is done to it differs. Intervals draw whole generators
    and sources. Exit code 0: measured; 1: some clips could not be asked about; 2: nothing could be done.
    """
    from deeptrace.benchmark.robustness.attack import Attack
    from deeptrace.benchmark.robustness.changes import Tools
    from deeptrace.benchmark.robustness.clips import Form
    from deeptrace.benchmark.robustness.needle import Hay
    from deeptrace.benchmark.robustness.run import measure_robustness

    tools = Tools(*(None if path is None else str(path) for path in (face_model, autoencoder, vae)))
    budgets = (questions // 5, questions // 2, questions)
    with redirect_stdout(sys.stderr), stage_bars() as show:
        try:
            found = measure_robustness(
                data, split=split, detector=detector, settings=parse_settings(settings or []), only=only or (),
                clips=clips, form=Form(seconds, max_fps), tools=tools, out=out,
                attack=Attack(epsilon, budgets), attacked=attacked, hay=Hay(hay, hay_seconds),
                resume=resume, workers=workers, timeout_s=timeout,
                resamples=bootstrap, seed=seed, on_done=show,
            )  # fmt: skip
        except KeyboardInterrupt:
            interrupted("what was done is kept in ", out, "; --resume goes on")
    for line in found.failed:
        path, _, reason = line.partition(": ")
        note("not asked about: ", Whole(path), f": {reason}")
    if json_output:
        typer.echo(json.dumps(found.model_dump(mode="json"), ensure_ascii=False, allow_nan=False))
    else:
        typer.echo("\n".join(printable(line) for line in _lines(found)))
    note("all figures are in ", out / "robustness.json")
    if found.failed:
        raise typer.Exit(1)


_NAME = 18


def _lines(found: Robustness) -> Iterator[str]:
    """The table, in at most 80 columns."""
    first = found.rows[0]
    asked = f"{first.real} real and {first.generated} generated clips"
    yield f"{found.detector.name} on {found.data}, {found.split}: {asked}"
    if found.learned_from:
        yield f"its weights have learned from {found.learned_from} of them: unseen clips do worse"
    yield ""
    yield _line("", "AUROC", "95 %", "change", "95 %", "accused", "found", "lost")
    part = None
    for row in found.rows:
        if row.part != part and part is not None:
            yield f"- {row.part}"
        part = row.part
        if not row.reference and not row.changed and row.real + row.generated:
            yield f"{row.name:{_NAME}}  there is nothing to change in any clip"
        else:
            yield _line(row.name, *_cells(row))
    yield from _boxes(found)
    if found.needle is not None:
        yield from _needle(found.needle)
    if found.pasted is not None:
        yield from _pasted(found.pasted)
    if found.left:
        yield ""
        yield "AUROC above chance that is left"
        for name, figure in found.left.items():
            yield f"{name:{_NAME}}{_percent(figure):>7}{_limits(figure, 100, 0):>13}"
    if any(row.name.endswith("*") for row in found.rows):
        yield ""
        yield "* the clips in which there was something to change"
    for row in found.rows:
        if row.failed:
            listed = ", ".join(f"{plural(count, 'clip')} {outcome}" for outcome, count in row.failed.items())
            yield f"{row.name}: without {listed}"


def _boxes(found: Robustness) -> Iterator[str]:
    """Where boxes are named; a row in which none was, before or after, says nothing of them."""
    rows = [row for row in found.rows if row.box.value is not None]
    if not rows:
        return
    yield ""
    yield f"{'box IoU':{_NAME}}{'true':>7}{'95 %':>13}{'change':>8}{'95 %':>15}{'own':>7}"
    for row in rows:
        change, own = _signed(row.box_change), _number(row.own_box)
        yield (
            f"{row.name:{_NAME}}{_number(row.box):>7}{_limits(row.box):>13}{change:>8}"
            f"{_limits(row.box_change, signed=True):>15}{own:>7}"
        )


def _needle(found: Needle) -> Iterator[str]:
    yield ""
    yield f"{plural(found.videos, 'long video')} of {found.seconds:g} s, and each with {found.needle_s:g} s generated"
    yield _line("needle", *_cells(found.row))
    shown = {
        "the highest window lies in it": (found.window_hit, found.window_by_chance),
        "its chance, with against without": (found.peak, None),
        "windows in it, AUROC": (found.windows, None),
        "the surest trace begins in it": (found.trace_hit, None),
    }
    yield from _figure_lines(shown)


def _pasted(found: Pasted) -> Iterator[str]:
    yield ""
    yield f"{plural(found.videos, 'long video')} of {found.seconds:g} s, a region pasted in: of a camera, generated"
    yield _line("pasted", *_cells(found.row))
    shown = {
        "box IoU of the surest trace": (found.box, found.box_by_chance),
        "the same, region of a camera": (found.seam, None),
        "the surest trace begins in it": (found.trace_hit, None),
    }
    yield from _figure_lines(shown)


def _figure_lines(shown: Mapping[str, tuple[Figure, float | None]]) -> Iterator[str]:
    for title, (figure, chance) in shown.items():
        if figure.value is not None:
            more = "" if chance is None else f"; {chance:.2f} by chance"
            yield f"{title:33}{figure.value:6.2f}{_limits(figure):>12}{more}"


def _line(name: str, *cells: str) -> str:
    widths = (7, 12, 8, 13, 8, 7, 6)
    return f"{name:{_NAME}}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


def _cells(row: Row) -> tuple[str, ...]:
    return (
        _number(row.auroc),
        _limits(row.auroc),
        _signed(row.auroc_change),
        _limits(row.auroc_change, signed=True),
        _percent(row.accused),
        _percent(row.found),
        _percent(row.lost),
    )


def _number(figure: Figure) -> str:
    return "-" if figure.value is None else f"{figure.value:.3f}"


def _signed(figure: Figure) -> str:
    return "-" if figure.value is None else f"{figure.value:+.3f}"


def _percent(figure: Figure) -> str:
    return "-" if figure.value is None else f"{100 * figure.value:.0f} %"


def _limits(figure: Figure, scale: float = 1.0, digits: int = 2, *, signed: bool = False) -> str:
    if figure.interval is None:
        return "-"
    low, high = (scale * limit for limit in figure.interval)
    return f"{low:+.{digits}f} {high:+.{digits}f}" if signed else f"{low:.{digits}f}-{high:.{digits}f}"
