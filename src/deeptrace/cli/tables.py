"""What the commands print for people: evaluations, rewards, and what a run would take."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer
from rich import box
from rich.console import Console, Group
from rich.table import Table as RichTable
from rich.text import Text

from deeptrace.cli.console import duration, printable
from deeptrace.cli.names import PathCell
from deeptrace.plural import plural

if TYPE_CHECKING:
    from deeptrace.benchmark.result import ColumnGroups, EvaluationResult, Metric
    from deeptrace.benchmark.tables import Column, Row, Table
    from deeptrace.inference.dry_run import Planned
    from deeptrace.reward.best_of_n import Pick, Placed
    from deeptrace.reward.clips import ScoredClip
    from deeptrace.reward.preference_pairs import PairSet
    from deeptrace.reward.ranking import Ranked
    from deeptrace.schema import DetectorInfo

__all__ = ["print_evaluation", "print_scores", "show_plan"]

_ROW_STYLES = {"run": "bold", "ceiling": "cyan", "baseline": "", "published": "dim"}
PUBLISHED_SHOWN = ("reward model", "baseline")


def print_evaluation(result: EvaluationResult, console: Console | None = None) -> None:
    """The tables, with what each number of the run rests on below it; the report has the rest."""
    from deeptrace.benchmark.tables import (
        frame_line,
        outcome_line,
        paper_notes,
        run_title,
        tables_of,
        training_note,
        unavailable,
    )

    console = console or Console()
    data, counts = result.manifest.data, result.counts
    console.print(
        Text(
            f"{printable(run_title(result.manifest))} on {printable(data.name)}, split {printable(data.split)}: "
            f"{plural(counts.videos, 'video')} ({counts.fake_videos} generated, {counts.real_videos} real); "
            f"{outcome_line(result.outcomes)}"
        )
    )
    if note := training_note(result):
        console.print(Text(note, style="bold yellow"))
    for table, rows in tables_of(result):
        for part in _parts(table, rows, console):
            console.print(part)
    if said := frame_line(result):
        console.print(Text(said))
    for name, column in (result.by_group or {}).items():
        console.print(_by_group(name, column))
        if said := _gaps(column):
            console.print(Text(said))
    missing = [f"{title}: {why}" for title, why in unavailable(result)]
    if missing:
        console.print(Text(f"Not available: {'; '.join(missing)}.", style="dim"))
    for remark in paper_notes(result):
        console.print(Text(remark, style="dim"))
    console.print(Text(_explanation_note(result), style="dim"))


def _by_group(name: str, column: ColumnGroups) -> RichTable:
    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(f"by {printable(name)}", overflow="fold")
    for title in ("videos", "accuracy", "95 %", "real accused", "found", "AUROC"):
        table.add_column(title, justify="right", no_wrap=True)
    for group, one in column.groups.items():
        limits = "-" if one.accuracy.interval is None else "{:.0f}-{:.0f}".format(*one.accuracy.interval)
        shares = (_rounded(metric, 1) for metric in (one.accuracy, one.accused, one.found))
        accuracy, accused, found = shares
        cells = (str(one.videos), accuracy, limits, accused, found, _rounded(one.auroc, 3))
        table.add_row(_text(group), *cells)
    return table


def _gaps(column: ColumnGroups) -> str:
    """Which group fares worst, and by how much."""
    said = []
    for what, group, gap in (
        ("lowest accuracy", column.worst, column.worst_gap),
        ("most accused", column.most_accused, column.most_accused_gap),
    ):
        if group is not None and gap is not None and gap.value is not None:
            limits = "" if gap.interval is None else " ({:+.1f} to {:+.1f})".format(*gap.interval)
            said.append(f"{what}: {printable(group)}, {gap.value:+.1f} points{limits} against all others")
    if column.without:
        said.append(f"{plural(column.without, 'video')} in no group")
    return "; ".join(said)


def _rounded(metric: Metric, digits: int) -> str:
    return "-" if metric.value is None else f"{metric.value:.{digits}f}"


def _parts(table: Table, rows: list[Row], console: Console) -> Iterator[RichTable]:
    """The table, its columns in as many parts as the console is narrow: a number cut short would be another one."""
    left, title = table.columns, f"{table.title} ({table.unit})"
    while left:
        taken = next(n for n in range(len(left), 0, -1) if n == 1 or _fits(_rich(title, left[:n], rows), console))
        yield _rich(title, left[:taken], rows)
        left, title = left[taken:], f"{table.title}, continued"


def _fits(shown: RichTable, console: Console) -> bool:
    return console.measure(shown, options=console.options.update(width=1000)).minimum <= console.width


def _rich(title: str, columns: Sequence[Column], rows: list[Row]) -> RichTable:
    shown = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), title_justify="left")
    shown.title = title
    shown.add_column("", overflow="fold", min_width=16, max_width=30)
    for column in columns:
        head = f"{column.title}{'↑' if column.better == 'up' else '↓'}"
        shown.add_column(head, justify="right", no_wrap=True, min_width=len(head))
    before = rows[0].kind
    for row in rows:
        if row.kind == "published" and row.note not in PUBLISHED_SHOWN:
            continue  # ablations: in the report
        if row.kind != before:
            shown.add_section()
            before = row.kind
        cells = [column.text(column.of(row).value) for column in columns]
        shown.add_row(Text(printable(row.title)), *cells, style=_ROW_STYLES[row.kind])
        if row.kind == "run":
            if any(column.of(row).interval for column in columns):
                shown.add_row("  95 %", *(_interval(column, row) for column in columns), style="dim")
            shown.add_row("  based on", *(_support(column, row) for column in columns), style="dim")
    return shown


def _interval(column: Column, row: Row) -> str:
    metric = column.of(row)
    if metric.interval is None or metric.value is None:
        return ""
    return "\n".join(column.text(limit) for limit in metric.interval)


def _support(column: Column, row: Row) -> str:
    count = column.of(row).support
    return "" if not count else f"{count:g}"


def _explanation_note(result: EvaluationResult) -> str:
    counts, judge = result.counts, result.judge
    if judge is not None and judge.failed:
        return (
            f"The judge {judge.name} failed on {judge.failed} of {plural(judge.rows, 'row')}: explanation and "
            "overall are not known. --resume asks again."
        )
    if judge is not None:
        return f"Explanations judged by {judge.name}: {plural(judge.scored, 'row')}, {judge.cached} of them cached."
    if counts.explanation_unjudged:
        rows = plural(counts.explanation_unjudged, "row needs", "rows need")
        return f"{rows} a judge: explanation and overall are not known. Name one with --judge openai:MODEL[@URL]."
    if not counts.explanation_rows:
        return "The data has no written explanations."
    return "No answer had an explanation to be judged: each of those rows scores 0, by the protocol."


def print_scores(
    scored: Sequence[ScoredClip],
    *,
    picks: Sequence[Pick] | None,
    top: Sequence[Placed] | None,
    made: PairSet | None,
    ranked: Sequence[Ranked] | None,
) -> None:
    """What was asked for, on stdout, each with what is to be known of it; the clips where nothing was chosen."""
    console = Console()
    if picks is None and made is None and ranked is None and top is None:
        _print_with(console, _clips(scored), _REWARD_NOTE)
    if picks is not None:
        _print_with(console, _picks(picks), _left_out(scored, picks))
    if top is not None:
        _print_with(console, _top(top), "The best clips by reward; equal ones in the order given.")
    if made is not None:
        _print_with(console, _pairs(made), _pairs_left_out(made))
    if ranked is not None:
        _print_with(console, _ranks(ranked), _rank_note(ranked))


_REWARD_NOTE = (
    "reward from 0 to 1, higher is better: authenticity (to its weight) x the factors of traces and of flaws."
)


def _print_with(console: Console, table: RichTable, remark: str) -> None:
    if table.row_count:
        console.print(table)
    if remark:
        console.print(Text(remark, style="dim"))


def _left_out(scored: Sequence[ScoredClip], picks: Sequence[Pick]) -> str:
    """What was no candidate, and why."""
    later = sum(pick.left_out for pick in picks)
    unnamed = sum(clip.info.prompt is None for clip in scored)
    parts = [f"{later} beyond the first N of their prompt"] if later else []
    parts += [f"{unnamed} without a prompt"] if unnamed else []
    return f"Clips left out: {', '.join(parts)}." if parts else "No clip was left out."


def _pairs_left_out(made: PairSet) -> str:
    """How many pairs there are, and how many pairs and clips were left out, each with the reason."""
    counts = {
        "too close": made.too_close,
        "no further apart than re-encoding moves a reward": made.within_noise,
        "that look the same": made.duplicates,
        "surplus": made.surplus,
    }
    clips = {
        "without a reward": made.clips_failed,
        "alone in their prompt": made.clips_alone,
        "without a prompt": made.clips_unnamed,
    }
    pairs = ", ".join(f"{count} {why}" for why, count in counts.items() if count) or "none"
    said = f"{plural(len(made.pairs), 'pair')}; left out: {pairs}."
    lone = ", ".join(f"{count} {why}" for why, count in clips.items() if count)
    return f"{said} Clips in no pair: {lone}." if lone else said


def _clips(scored: Sequence[ScoredClip]) -> RichTable:
    table = _table("reward", "authenticity", "traces", "flaws", "costs most", "video")
    for clip in scored:
        parts = clip.result.parts
        if parts is None:
            error = (clip.result.error or "").removeprefix(f"{clip.result.verdict.video}: ")
            table.add_row("", "", "", "", Text(printable(error), style="yellow"), PathCell(clip.info.path))
            continue
        worst = max(parts.cost_by_category.items(), key=lambda pair: pair[1], default=None)
        table.add_row(
            f"{parts.reward:.3f}",
            f"{parts.authenticity:.3f}",
            f"{parts.trace_factor:.3f}",
            "" if parts.flaw_severity is None else f"{parts.flaw_factor:.3f}",
            "" if worst is None else f"{worst[0].replace('_', ' ')} ({worst[1]:.3f})",
            PathCell(clip.info.path),
        )
    return table


def _picks(picks: Sequence[Pick]) -> RichTable:
    table = _table("reward", "mean", "of", "prompt", "best")
    for pick in picks:
        if pick.best is None or pick.mean_reward is None:
            table.add_row(
                "", "", str(pick.candidates), _text(pick.prompt), Text("none could be scored", style="yellow")
            )
        else:
            of = str(pick.candidates) if pick.scored == pick.candidates else f"{pick.scored} of {pick.candidates}"
            rewards = (f"{pick.best.result.reward:.3f}", f"{pick.mean_reward:.3f}")
            table.add_row(*rewards, of, _text(pick.prompt), PathCell(pick.best.info.path))
    return table


def _top(placed: Sequence[Placed]) -> RichTable:
    table = _table("place", "reward", "prompt", "video")
    for one in placed:
        cells = (str(one.place), f"{one.clip.result.reward:.3f}", _text(one.prompt or ""))
        table.add_row(*cells, PathCell(one.clip.info.path))
    return table


def _pairs(made: PairSet) -> RichTable:
    table = _table("margin", "in sd", "prompt", "chosen", "rejected")
    for pair in made.pairs:
        names = (PathCell(pair.chosen.info.path), PathCell(pair.rejected.info.path))
        table.add_row(f"{pair.margin:.3f}", f"{pair.relative_margin:.1f}", _text(pair.chosen.info.prompt or ""), *names)
    return table


def _ranks(ranked: Sequence[Ranked]) -> RichTable:
    table = _table("reward", "95 %", "first in", "clips", "generator")
    for row in ranked:
        clips = str(row.clips) if not row.failed else f"{row.clips} ({row.failed} failed)"
        limits = "" if row.interval is None else f"{row.interval[0]:.3f} to {row.interval[1]:.3f}"
        mean = "" if row.mean_reward is None else f"{row.mean_reward:.3f}"
        first = "" if row.first_share is None else f"{row.first_share:.0%}"
        table.add_row(mean, limits, first, clips, _text(row.generator))
    return table


def _rank_note(ranked: Sequence[Ranked]) -> str:
    """What "first in" says and does not, and whether the generators had the same prompts."""
    from deeptrace.reward.ranking import FEWEST_PROMPTS

    if all(row.first_share is None for row in ranked):
        said = f"Who is first is not said: that takes {FEWEST_PROMPTS} prompts or more of each generator."
    else:
        said = (
            "first in: share of resamples of the prompts in which a generator is first; no probability of being best."
        )
    apart = [row for row in ranked if row.prompts > row.shared_prompts]
    if not apart:
        return said
    shared = (
        "No prompt is"
        if not (common := apart[0].shared_prompts)
        else f"Only {plural(common, 'prompt is', 'prompts are')}"
    )
    return f"{said} {shared} shared by all generators: they differ by their prompts, too."


def _table(*columns: str) -> RichTable:
    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        numeric = name in ("reward", "authenticity", "traces", "flaws", "mean", "margin", "in sd", "first in", "place")
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    return table


def _text(text: str) -> Text:
    return Text(printable(text))


def show_plan(planned: Iterable[Planned], info: DetectorInfo, *, json_lines: bool) -> int:
    """Print what each clip would take; returns how many clips cannot be analysed."""
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
    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, title=Text(printable(info.name)), title_justify="left")
    for name in ("frames", "size", "visual\ntokens", "prompt\ntokens", "memory", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("video")
    for row in rows:
        table.add_row(*_cells(row), _named(row))
    table.add_section()
    known = [row.estimate for row in rows if row.estimate is not None]
    seconds = [estimate.seconds for estimate in known if estimate.seconds is not None]
    memory = [estimate.memory_gib for estimate in known if estimate.memory_gib is not None]
    tokens = [estimate.visual_tokens for estimate in known if estimate.visual_tokens is not None]
    prompts = [estimate.prompt_tokens for estimate in known if estimate.prompt_tokens is not None]
    table.add_row(
        str(sum(estimate.frames for estimate in known)),
        "",
        str(sum(tokens)) if tokens else "",
        str(sum(prompts)) if prompts else "",
        f"{max(memory):.1f} GiB" if memory else "",
        duration(sum(seconds)) if seconds else "",
        f"{len(known)} of {plural(len(rows), 'clip')}",
    )
    console = Console()
    console.print(table)
    console.print(Text("Nothing was loaded or sent. Memory and time are estimates, one clip at a time.", style="dim"))


def _named(row: Planned) -> Group:
    """The clip, and below it what the reader should know of it."""
    why = row.error or "" if row.estimate is None else "; ".join(row.estimate.warnings)
    remark = Text(printable(why), style="yellow" if row.estimate is None else "dim")
    return Group(PathCell(row.path), remark) if why else Group(PathCell(row.path))


def _cells(row: Planned) -> list[str]:
    if row.estimate is None:
        return [""] * 6
    found = row.estimate
    return [
        str(found.frames),
        f"{found.size[0]}x{found.size[1]}",
        "" if found.visual_tokens is None else str(found.visual_tokens),
        "" if found.prompt_tokens is None else str(found.prompt_tokens),
        "" if found.memory_gib is None else f"{found.memory_gib:.1f} GiB",
        "" if found.seconds is None else duration(found.seconds),
    ]
