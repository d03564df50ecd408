"""`deeptrace compare-rewards`: scores of other reward models beside ours and beside what people marked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deeptrace.cli.console import EXIT_FAILED_INPUTS, Whole, note, printable
from deeptrace.cli.options import JsonObject

if TYPE_CHECKING:
    from deeptrace.metrics.correlation import Correlation
    from deeptrace.reward.other_models import Agreement

__all__ = ["compare_rewards"]


def compare_rewards(
    scores: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            help="Scores, the reference first: rewards.jsonl of `deeptrace score --out`, results of VideoScore2 or "
            "VideoAlign, or any table with a clip and numbers a row.",
        ),
    ],
    data: Annotated[
        str, typer.Option(metavar="DIR_OR_JSON", help="Dataset whose clips are scored, with the traces marked in them.")
    ],
    json_output: JsonObject = False,
    bootstrap: Annotated[int, typer.Option(min=1, help="Draws of generators for the 95 % intervals.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws.")] = 0,
) -> None:
    """Say how scores of generated clips agree with what people marked in them, and with the first score.

    Example: `deeptrace compare-rewards rewards.jsonl out_single.csv --data corpus2`.

    Rank correlation (Kendall's tau-b, Spearman's rho) within each generator's clips, and over all: 1 is the same
    order, 0 is chance. Beside marks, it is positive where clips with fewer marks score higher. Intervals draw
    generators. Exit code 1 where nothing can be set beside anything.
    """
    from deeptrace.data import read_reward_data
    from deeptrace.reward.other_models import compare_scores, read_scores

    columns = [column for path in scores for column in read_scores(path)]
    found, remarks = compare_scores(read_reward_data(data), columns, resamples=bootstrap, seed=seed)
    for remark in remarks:
        note("", Whole(remark))
    if json_output:
        rows = {"agreements": [one.as_json() for one in found], "notes": remarks}
        typer.echo(json.dumps(rows, ensure_ascii=False, allow_nan=False))
    else:
        for line in _lines(found):
            typer.echo(printable(line))
    if not found:
        raise typer.Exit(EXIT_FAILED_INPUTS)


_NAME, _CELL = 34, 22


def _lines(found: list[Agreement]) -> Iterator[str]:
    """The tables, one for each thing that scores are set beside, in at most 80 columns."""
    by_other = sorted(found, key=lambda one: list(dict.fromkeys(row.other for row in found)).index(one.other))
    for number, (other, rows) in enumerate(groupby(by_other, key=lambda one: one.other)):
        if number:
            yield ""
        yield f"Beside {other}"
        yield f"{'':{_NAME}}{'within a generator':>{_CELL}}{'over all':>{_CELL}}"
        for row in rows:
            name = row.score if len(row.score) < _NAME - 3 else f"{row.score[: _NAME - 7]}..."
            yield f"{name:{_NAME - 2}}" + f"{row.clips:>4} clips"
            for at, stat in enumerate(("Kendall", "Spearman")):
                yield f"  {stat:{_NAME - 2}}" + _cell(row.within[at]) + _cell(row.overall[at])


def _cell(found: Correlation) -> str:
    if found.value is None:
        return f"{'-':>{_CELL}}"
    limits = "" if found.interval is None else " [{:.2f}, {:.2f}]".format(*found.interval)
    return f"{found.value:.2f}{limits}".rjust(_CELL)
