"""`deeptrace eval`: a detector or a file of predictions against RewardData."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deeptrace.cli.terminal import interrupted, note, parse_settings, stage_bars

if TYPE_CHECKING:
    from deeptrace.evaluate.run import Evaluation

__all__ = ["evaluate"]

UNMATCHED_SHOWN = 3


def evaluate(
    data: Annotated[str, typer.Option(metavar="DIR_OR_JSON", help="RewardData folder or annotation file.")],
    split: Annotated[str, typer.Option(help="Which split; 'all' for everything.")] = "test",
    detector: Annotated[str | None, typer.Option(help="See `deeptrace detectors`. [default: tracenet]")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the detector; may be repeated.")
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Answers that are there already, instead of a detector.")
    ] = None,
    judge: Annotated[
        str | None, typer.Option(metavar="openai:MODEL[@URL]", help="Judge of explanations; its key: environment.")
    ] = None,
    judge_cache: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the judge's answers are kept. [default: user cache]")
    ] = None,
    passes: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Annotation passes. [default: passes.jsonl beside the rows]")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep run, numbers and report here.")] = None,
    report: Annotated[bool, typer.Option("--report/--no-report", help="With --out: report.html and .md.")] = True,
    json_output: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 1,
    timeout: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="Longest time a video; needs a detector by name.")
    ] = None,
    bootstrap: Annotated[int, typer.Option(min=0, help="Resamples of videos for the 95 % intervals.")] = 2000,
    seed: Annotated[int, typer.Option(help="Of bootstrap and baselines.")] = 0,
) -> None:
    """Measure a detector or a predictions file by the paper's protocol and by ours, beside published rows.

    Exit code 0: measured, whatever the numbers and outcomes; 2: nothing could be done; 130: stopped, what was done is
    kept in --out and --resume goes on.
    """
    from deeptrace.evaluate.run import evaluate as run

    with redirect_stdout(sys.stderr), stage_bars() as show:
        try:
            found = run(
                data,
                split=split,
                detector=detector,
                settings=parse_settings(settings or []),
                predictions=predictions,
                judge=judge,
                judge_cache=judge_cache,
                passes=passes,
                out=out,
                resume=resume,
                workers=workers,
                timeout_s=timeout or None,
                bootstrap=bootstrap,
                seed=seed,
                on_done=show,
            )
        except KeyboardInterrupt:
            interrupted(f"what was done is kept in {out}; --resume goes on" if out else "nothing is kept without --out")
        if out is not None and report:
            from deeptrace.evaluate.bench_report import write_bench_report

            clips = count(1)
            write_bench_report(found, out, on_clip=lambda: show("report", next(clips), None))
    _show(found, json_output=json_output, out=out, report=report)


def _show(found: Evaluation, *, json_output: bool, out: Path | None, report: bool) -> None:
    if found.kept:
        note(f"{found.kept} results were there before")
    if found.unmatched:
        shown = ", ".join(found.unmatched[:UNMATCHED_SHOWN])
        note(f"{len(found.unmatched)} predictions belong to no video of the split, as {shown}")
    if json_output:
        typer.echo(json.dumps(found.result, ensure_ascii=False, allow_nan=False))
    else:
        from deeptrace.cli.eval_table import print_evaluation

        print_evaluation(found.result)
    if out is not None:
        note(f"evaluation: {out / 'evaluation.json'}")
        if report:
            note(f"report: {out / 'report.html'} and report.md")
