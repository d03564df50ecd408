"""`deeptrace score`: rewards of many clips, and what is chosen by them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from deeptrace.cli.console import (
    EXIT_FAILED_INPUTS,
    EXIT_INTERRUPTED,
    fail,
    note,
    parse_settings,
    progress_bar,
)
from deeptrace.cli.options import (
    DEFAULT_OUT,
    DetectorName,
    DetectorSettings,
    Inputs,
    Ray,
    RayActors,
    RayCpus,
    RayGpus,
    Resume,
    Timeout,
    Workers,
    note_rate,
    ray_runner,
)

if TYPE_CHECKING:
    from deeptrace.inference import Input
    from deeptrace.reward.best_of_n import Pick, Placed
    from deeptrace.reward.clips import ClipInfo, ScoredClip
    from deeptrace.reward.preference_pairs import PairSet
    from deeptrace.reward.ranking import Ranked

__all__ = ["score"]


class FolderIs(StrEnum):
    """What the name of a clip's folder stands for."""

    PROMPT = "prompt"
    GENERATOR = "generator"


class Margin(StrEnum):
    """What the margin of a pair is measured in; see `MarginKind`, which takes longer to import."""

    RELATIVE = "relative"
    ABSOLUTE = "absolute"


@dataclass(frozen=True)
class _Wanted:
    """What is to be chosen.

    Attributes:
        best_of: first clips of a prompt to pick the best of; None for no picks.
        top_k: clips to keep of each prompt; None to keep no list.
        pairs: settings of the pairs; None for none.
        rank: whether generators are ranked.
        seed: of intervals.
    """

    best_of: int | None
    top_k: int | None
    pairs: dict[str, Any] | None
    rank: bool
    seed: int


@dataclass(frozen=True)
class _Chosen:
    """What was chosen; None where it was not asked for."""

    picks: list[Pick] | None = None
    top: list[Placed] | None = None
    made: PairSet | None = None
    ranked: list[Ranked] | None = None


def score(
    paths: Inputs = None,
    clips: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Clips from a table: Parquet, CSV, JSON or JSONL with video, prompt, generator; or RewardData.",
        ),
    ] = None,
    folder_is: Annotated[
        FolderIs | None, typer.Option(help="What the name of a PATH's folder is: its prompt or its generator.")
    ] = None,
    detector: DetectorName = "tracenet",
    settings: DetectorSettings = None,
    best_of: Annotated[
        int | None,
        typer.Option(
            "--best-of",
            min=1,
            metavar="N",
            help="Pick the best of each prompt's first N clips; later ones are left out.",
        ),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(
            "--top-k", min=1, metavar="K", help="List the K best clips of each prompt, or of all without one."
        ),
    ] = None,
    pairs: Annotated[
        bool,
        typer.Option("--pairs", help="Make pairs of a better and a worse clip of a prompt: pairs.jsonl, pairs.csv."),
    ] = False,
    margin: Annotated[
        Margin,
        typer.Option(
            metavar="KIND",
            help="A pair's margin: relative, in standard deviations of its prompt's rewards, or absolute.",
        ),
    ] = Margin.RELATIVE,
    min_margin: Annotated[
        float | None,
        typer.Option(help="Smallest margin of a pair. [default: 1 relative, 0.05 absolute]"),
    ] = None,
    pairs_per_prompt: Annotated[int, typer.Option(min=1, help="Most pairs of a prompt, widest first.")] = 1,
    keep_duplicates: Annotated[
        bool, typer.Option("--keep-duplicates", help="Keep pairs of clips that look the same.")
    ] = False,
    rank: Annotated[bool, typer.Option("--rank", help="Rank generators by mean reward, with 95 % intervals.")] = False,
    json_lines: Annotated[
        bool, typer.Option("--json", help="JSON lines on stdout, and nothing else; `kind` says what each is.")
    ] = False,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep verdicts, rewards and choices here.")] = None,
    resume: Resume = False,
    workers: Workers = None,
    timeout: Timeout = None,
    ray: Ray = None,
    ray_actors: RayActors = None,
    ray_cpus: RayCpus = None,
    ray_gpus: RayGpus = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of intervals, and of A and B in pairs.csv.")] = 0,
) -> None:
    """Give each clip a reward from 0 to 1, higher is better, and choose by it.

    Examples: `deeptrace score clips/`, `deeptrace score samples/ --folder-is prompt --best-of 4 --pairs --out chosen`.

    Exit code 0: all were scored; 1: some failed, each is recorded; 2: nothing could be done; 130: stopped by Ctrl-C.
    --pairs without --out writes to deeptrace-out/. Stopped early, nothing is chosen.
    """
    inputs, infos = _inputs(paths or [], clips, folder_is)
    _check_choices(infos, prompts=best_of is not None or pairs, generators=rank)
    out = DEFAULT_OUT if out is None and pairs else out
    margins = {"margin": margin.value, "min_margin": min_margin, "most_per_prompt": pairs_per_prompt}
    margins |= {"keep_duplicates": keep_duplicates}
    wanted = _Wanted(best_of, top_k, margins if pairs else None, rank, seed)
    stdout = sys.stdout
    with redirect_stdout(sys.stderr):
        run: dict[str, Any] = {"detector": detector, "settings": parse_settings(settings or []), "workers": workers}
        run["timeout_s"] = timeout
        runner = ray_runner(ray, ray_actors, ray_cpus, ray_gpus, **run)
        run |= {"out": out, "resume": resume, "runner": runner}
        scored, interrupted = _score_all(inputs, infos, run)
        note_rate(runner)
        chosen = _Chosen() if interrupted else _choose(scored, wanted)
        if out is not None:
            _write(out, scored, chosen, seed=seed)
    if json_lines:
        _print_lines(stdout, scored, chosen)
    else:
        from deeptrace.cli.tables import print_scores

        print_scores(scored, picks=chosen.picks, top=chosen.top, made=chosen.made, ranked=chosen.ranked)
    failed = sum(not clip.scored for clip in scored)
    if interrupted:
        kept = (", kept in ", out, "; --resume goes on") if out else ()
        note(f"stopped: {len(scored)} of {len(inputs)} scored", *kept)
        raise typer.Exit(EXIT_INTERRUPTED)
    if failed:
        note(f"{failed} of {len(scored)} could not be scored")
        raise typer.Exit(EXIT_FAILED_INPUTS)


def _inputs(paths: list[str], table: str | None, folder_is: FolderIs | None) -> tuple[list[Input], dict[str, ClipInfo]]:
    """The clips to score, and where each comes from; for a path that both name the table counts."""
    from deeptrace.inference import Input, expand_inputs
    from deeptrace.reward.clips import clips_of_paths, read_clips

    if not paths and table is None:
        fail("name clips: PATH... or --clips FILE")
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
    from deeptrace.inference import DetectRun
    from deeptrace.reward.clips import ScoredClip
    from deeptrace.reward.reward import reward_of

    scored: list[ScoredClip] = []
    with DetectRun(inputs, **run_args) as run, progress_bar() as bar:
        if run.kept:
            note(f"{run.kept} of {len(run)} were analysed before")
        task = bar.add_task("scoring", total=len(run))
        try:
            for item, found in zip(inputs, run.results(), strict=True):
                scored.append(ScoredClip(infos[item.path], reward_of(found.verdict)))
                bar.advance(task)
        except KeyboardInterrupt:
            return scored, True
    return scored, False


def _choose(scored: list[ScoredClip], wanted: _Wanted) -> _Chosen:
    from deeptrace.reward.best_of_n import best_of, top_k
    from deeptrace.reward.preference_pairs import make_pairs
    from deeptrace.reward.ranking import rank_generators

    return _Chosen(
        picks=None if wanted.best_of is None else best_of(scored, wanted.best_of),
        top=None if wanted.top_k is None else top_k(scored, wanted.top_k),
        made=None if wanted.pairs is None else make_pairs(scored, **wanted.pairs),
        ranked=rank_generators(scored, seed=wanted.seed) if wanted.rank else None,
    )


def _write(out: Path, scored: list[ScoredClip], chosen: _Chosen, *, seed: int) -> None:
    from deeptrace.io.jsonl import write_lines
    from deeptrace.reward.preference_pairs import write_pairs_csv, write_pairs_jsonl

    write_lines((clip.as_json() for clip in scored), out / "rewards.jsonl")
    if chosen.picks is not None:
        write_lines((pick.as_json() for pick in chosen.picks), out / "best.jsonl")
    if chosen.top is not None:
        write_lines((placed.as_json() for placed in chosen.top), out / "top.jsonl")
    if chosen.made is not None:
        write_pairs_jsonl(chosen.made.pairs, out / "pairs.jsonl")
        write_pairs_csv(chosen.made.pairs, out / "pairs.csv", seed=seed)
    if chosen.ranked is not None:
        write_lines((row.as_json() for row in chosen.ranked), out / "ranking.jsonl")
    note("rewards: ", out / "rewards.jsonl")


def _print_lines(stdout: TextIO, scored: list[ScoredClip], chosen: _Chosen) -> None:
    """Every row as a JSON line whose `kind` says what it is: clip, best, top, pair or rank."""
    groups: dict[str, Sequence[Any]] = {
        "clip": scored,
        "best": chosen.picks or [],
        "top": chosen.top or [],
        "rank": chosen.ranked or [],
        "pair": chosen.made.pairs if chosen.made else [],
    }
    for kind, rows in groups.items():
        for row in rows:
            print(json.dumps({"kind": kind} | row.as_json(), ensure_ascii=False, allow_nan=False), file=stdout)
    stdout.flush()
