"""`deeptrace score`: rewards of many clips, and what is chosen by them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deeptrace.cli.terminal import (
    EXIT_FAILED_INPUTS,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    fail,
    note,
    parse_settings,
    progress_bar,
)

if TYPE_CHECKING:
    from deeptrace.evaluate import Input
    from deeptrace.reward.clips import ClipInfo, ScoredClip
    from deeptrace.reward.pairs import PairSet
    from deeptrace.reward.ranking import Ranked
    from deeptrace.reward.select import Pick

__all__ = ["score"]

DEFAULT_OUT = Path("deeptrace-out")


class FolderIs(StrEnum):
    """What the name of a clip's folder stands for."""

    PROMPT = "prompt"
    GENERATOR = "generator"


def score(
    paths: Annotated[list[str] | None, typer.Argument(metavar="PATH", help="Files, folders, patterns or URLs.")] = None,
    clips: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="CSV, JSON or JSONL with video, prompt, generator; or a RewardData folder."),
    ] = None,
    folder_is: Annotated[FolderIs | None, typer.Option(help="What a PATH's folder name stands for.")] = None,
    detector: Annotated[str, typer.Option(help="See `deeptrace detectors`.")] = "tracenet",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the detector; may be repeated.")
    ] = None,
    best_of: Annotated[
        int | None, typer.Option("--best-of", min=1, metavar="N", help="Pick the best of each prompt's first N clips.")
    ] = None,
    pairs: Annotated[bool, typer.Option("--pairs", help="Write preference pairs: pairs.jsonl, pairs.csv.")] = False,
    min_margin: Annotated[float, typer.Option(help="Least difference of rewards in a pair.")] = 0.05,
    pairs_per_prompt: Annotated[int, typer.Option(min=1, help="At most so many, widest first.")] = 1,
    keep_duplicates: Annotated[
        bool, typer.Option("--keep-duplicates", help="Keep pairs of clips that look the same.")
    ] = False,
    rank: Annotated[bool, typer.Option("--rank", help="Rank generators, with 95 % intervals.")] = False,
    json_lines: Annotated[bool, typer.Option("--json", help="JSON lines on stdout, nothing else.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep verdicts, rewards and choices here.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an earlier run in --out.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 1,
    timeout: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="Longest time a video. [default: none]")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of intervals, and of A and B in pairs.csv.")] = 0,
) -> None:
    """Reward each clip from 0 to 1, higher is better, and choose by it.

    Exit code 0: all were scored; 1: some failed, each is recorded; 2: nothing could be done; 130: stopped by Ctrl-C.
    --pairs without --out writes to deeptrace-out/. Stopped early, nothing is chosen.
    """
    inputs, infos = _inputs(paths or [], clips, folder_is)
    _check_choices(infos, prompts=best_of is not None or pairs, generators=rank)
    out = DEFAULT_OUT if out is None and pairs else out
    stdout = sys.stdout
    with redirect_stdout(sys.stderr):
        run: dict[str, Any] = {"detector": detector, "settings": parse_settings(settings or []), "workers": workers}
        run |= {"timeout_s": timeout or None, "out": out, "resume": resume}
        scored, interrupted = _score_all(inputs, infos, run)
        picks, made, ranked = _choose(
            scored,
            best_of=None if interrupted else best_of,
            pairs={"min_margin": min_margin, "most_per_prompt": pairs_per_prompt, "keep_duplicates": keep_duplicates}
            if pairs and not interrupted
            else None,
            rank_seed=seed if rank and not interrupted else None,
        )
        if out is not None:
            _write(out, scored, picks, made, ranked, min_margin=min_margin, seed=seed)
    if json_lines:
        _print_lines(stdout, scored, picks, made, ranked)
    else:
        from deeptrace.cli.score_tables import print_scores

        print_scores(scored, picks, made, ranked)
    failed = sum(not clip.scored for clip in scored)
    if interrupted:
        note(f"stopped: {len(scored)} of {len(inputs)} scored" + (f", kept in {out}; --resume goes on" if out else ""))
        raise typer.Exit(EXIT_INTERRUPTED)
    if failed:
        note(f"{failed} of {len(scored)} could not be scored")
        raise typer.Exit(EXIT_FAILED_INPUTS)


def _inputs(paths: list[str], table: str | None, folder_is: FolderIs | None) -> tuple[list[Input], dict[str, ClipInfo]]:
    """What to judge, and where each comes from; a path that both name is as the table says."""
    from deeptrace.evaluate import Input, expand_inputs
    from deeptrace.reward.clips import clips_of_paths, read_clips

    if not paths and table is None:
        fail("name clips: PATH... or --clips FILE", EXIT_USAGE)
    listed = read_clips(table) if table is not None else []
    found = {item.path: item for item in [*(Input(clip.path) for clip in listed), *expand_inputs(paths)]}
    infos = {clip.path: clip for clip in clips_of_paths(found, folder_is=folder_is)}
    infos |= {clip.path: clip for clip in listed}
    return list(found.values()), infos


def _check_choices(infos: dict[str, ClipInfo], *, prompts: bool, generators: bool) -> None:
    """Say before the long work what cannot be chosen after it."""
    from deeptrace.errors import DataError

    mend = "Name it in a table (--clips FILE), or let folders stand for it (--folder-is)."
    if prompts and all(clip.prompt is None for clip in infos.values()):
        raise DataError("score", "no clip has a prompt to group by", mend)
    if generators and all(clip.generator is None for clip in infos.values()):
        raise DataError("score", "no clip names its generator", mend)


def _score_all(
    inputs: list[Input], infos: dict[str, ClipInfo], run_args: dict[str, Any]
) -> tuple[list[ScoredClip], bool]:
    """Every clip scored, in order, and whether Ctrl-C ended it early."""
    from deeptrace.evaluate import DetectRun
    from deeptrace.reward.clips import ScoredClip
    from deeptrace.reward.rewarder import reward_of

    scored: list[ScoredClip] = []
    with DetectRun(inputs, **run_args) as run, progress_bar() as bar:
        if run.kept:
            note(f"{run.kept} of {len(run)} were judged before")
        task = bar.add_task("scoring", total=len(run))
        try:
            for item, judged in zip(inputs, run.results(), strict=True):
                scored.append(ScoredClip(infos[item.path], reward_of(judged.verdict)))
                bar.advance(task)
        except KeyboardInterrupt:
            return scored, True
    return scored, False


def _choose(
    scored: list[ScoredClip], *, best_of: int | None, pairs: dict[str, Any] | None, rank_seed: int | None
) -> tuple[list[Pick] | None, PairSet | None, list[Ranked] | None]:
    from deeptrace.reward.pairs import make_pairs
    from deeptrace.reward.ranking import rank_generators
    from deeptrace.reward.select import best_of as pick_best

    return (
        None if best_of is None else pick_best(scored, best_of),
        None if pairs is None else make_pairs(scored, **pairs),
        None if rank_seed is None else rank_generators(scored, seed=rank_seed),
    )


def _write(
    out: Path,
    scored: list[ScoredClip],
    picks: list[Pick] | None,
    made: PairSet | None,
    ranked: list[Ranked] | None,
    *,
    min_margin: float,
    seed: int,
) -> None:
    from deeptrace.data.jsonio import write_lines
    from deeptrace.reward.pairs import write_pairs_csv, write_pairs_jsonl

    write_lines((clip.as_json() for clip in scored), out / "rewards.jsonl")
    if picks is not None:
        write_lines((pick.as_json() for pick in picks), out / "best.jsonl")
    if made is not None:
        write_pairs_jsonl(made.pairs, out / "pairs.jsonl")
        write_pairs_csv(made.pairs, out / "pairs.csv", same_below=min_margin, seed=seed)
    if ranked is not None:
        write_lines((row.as_json() for row in ranked), out / "ranking.jsonl")
    note(f"rewards: {out / 'rewards.jsonl'}")


def _print_lines(
    stdout: Any,
    scored: list[ScoredClip],
    picks: list[Pick] | None,
    made: PairSet | None,
    ranked: list[Ranked] | None,
) -> None:
    """Every row as a JSON line whose `kind` says what it is: clip, best, pair or rank."""
    groups: dict[str, Sequence[Any]] = {"clip": scored, "best": picks or [], "rank": ranked or []}
    groups["pair"] = made.pairs if made else []
    for kind, rows in groups.items():
        for row in rows:
            print(json.dumps({"kind": kind} | row.as_json(), ensure_ascii=False, allow_nan=False), file=stdout)
    stdout.flush()
