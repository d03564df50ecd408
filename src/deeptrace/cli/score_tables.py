"""Rewards, picks, pairs and ranks as tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deeptrace.cli.terminal import printable

if TYPE_CHECKING:
    from deeptrace.reward.clips import ScoredClip
    from deeptrace.reward.pairs import PairSet
    from deeptrace.reward.ranking import Ranked
    from deeptrace.reward.select import Pick

__all__ = ["print_scores"]


def print_scores(
    scored: Sequence[ScoredClip],
    picks: Sequence[Pick] | None,
    made: PairSet | None,
    ranked: Sequence[Ranked] | None,
    console: Console | None = None,
) -> None:
    """What was asked for, on stdout; the clips themselves where nothing was chosen."""
    console = console or Console()
    if picks is None and made is None and ranked is None:
        console.print(_clips(scored))
    if picks is not None:
        console.print(_picks(picks))
    if made is not None:
        console.print(_pairs(made))
    if ranked is not None:
        console.print(_ranks(ranked))


def _clips(scored: Sequence[ScoredClip]) -> Table:
    table = _table("video", "reward", "authenticity", "trace factor", "costs most")
    table.caption = "reward = authenticity x trace factor, from 0 to 1; higher is better"
    for clip in scored:
        parts = clip.result.parts
        if parts is None:
            table.add_row(_text(clip.info.path), "", "", "", Text(printable(clip.result.error or ""), style="yellow"))
            continue
        worst = max(parts.cost_by_category.items(), key=lambda pair: pair[1], default=None)
        table.add_row(
            _text(clip.info.path),
            f"{parts.reward:.3f}",
            f"{parts.authenticity:.3f}",
            f"{parts.trace_factor:.3f}",
            "" if worst is None else f"{worst[0].replace('_', ' ')} ({worst[1]:.3f})",
        )
    return table


def _picks(picks: Sequence[Pick]) -> Table:
    table = _table("prompt", "reward", "mean", "of", "best")
    for pick in picks:
        if pick.best is None or pick.mean_reward is None:
            table.add_row(
                _text(pick.prompt), "", "", str(pick.candidates), Text("none could be scored", style="yellow")
            )
        else:
            of = str(pick.candidates) if pick.scored == pick.candidates else f"{pick.scored} of {pick.candidates}"
            rewards = (f"{pick.best.result.reward:.3f}", f"{pick.mean_reward:.3f}")
            table.add_row(_text(pick.prompt), *rewards, of, _text(pick.best.info.path))
    return table


def _pairs(made: PairSet) -> Table:
    table = _table("prompt", "margin", "chosen", "rejected")
    left_out = f"{made.too_close} too close, {made.duplicates} that look the same, {made.surplus} surplus"
    table.caption = f"{len(made.pairs)} pairs; left out: {left_out}"
    for pair in made.pairs:
        names = (_text(pair.chosen.info.path), _text(pair.rejected.info.path))
        table.add_row(_text(pair.chosen.info.prompt or ""), f"{pair.margin:.3f}", *names)
    return table


def _ranks(ranked: Sequence[Ranked]) -> Table:
    table = _table("generator", "reward", "95 %", "first in", "clips")
    for row in ranked:
        clips = str(row.clips) if not row.failed else f"{row.clips} ({row.failed} failed)"
        limits = "" if row.interval is None else f"{row.interval[0]:.3f} to {row.interval[1]:.3f}"
        mean = "" if row.mean_reward is None else f"{row.mean_reward:.3f}"
        first = "" if row.first_share is None else f"{row.first_share:.0%}"
        table.add_row(_text(row.generator), mean, limits, first, clips)
    return table


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        numeric = name in ("reward", "authenticity", "trace factor", "mean", "margin", "first in")
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    return table


def _text(text: str) -> Text:
    return Text(printable(text))
