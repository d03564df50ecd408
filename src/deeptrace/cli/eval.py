"""`deeptrace eval`: a detector or a file of predictions against RewardData."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deeptrace.cli.console import interrupted, note, parse_settings, stage_bars
from deeptrace.cli.options import (
    DetectorSettings,
    JsonObject,
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
from deeptrace.errors import SettingsError
from deeptrace.plural import plural

if TYPE_CHECKING:
    from deeptrace.benchmark.run import Evaluation

__all__ = ["evaluate"]

UNMATCHED_SHOWN = 3


def evaluate(
    data: Annotated[
        str, typer.Option(metavar="DIR_OR_JSON", help="Annotated clips: a RewardData folder, or its annotation file.")
    ],
    split: Annotated[str, typer.Option(help="Which part of them; 'all' for everything.")] = "test",
    detector: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Which detector; `deeptrace detectors` lists them. [default: tracenet]"),
    ] = None,
    settings: DetectorSettings = None,
    predictions: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Measure the answers in this file, instead of running a detector."),
    ] = None,
    answer_space: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Unit of the file's boxes: pixels, fractions, permille, ... [default: pixels]"
        ),
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(
            metavar="openai:MODEL[@URL]",
            help="Model that scores explanations; docs/benchmark.md says where its key comes from.",
        ),
    ] = None,
    judge_cache: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the judge's answers are kept. [default: user cache]")
    ] = None,
    rounds: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Marks of every annotator, for the human ceiling. [default: passes.jsonl beside the rows]",
        ),
    ] = None,
    groups: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="CSV with a group of each video in a column, as age or lighting: figures by group."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep run, numbers and report here.")] = None,
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="With --out: write report.html and report.md.")
    ] = True,
    json_output: JsonObject = False,
    resume: Resume = False,
    workers: Workers = None,
    timeout: Timeout = None,
    ray: Ray = None,
    ray_actors: RayActors = None,
    ray_cpus: RayCpus = None,
    ray_gpus: RayGpus = None,
    bootstrap: Annotated[int, typer.Option(min=0, help="Resamples of videos for the 95 % intervals.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of bootstrap and baselines.")] = 0,
) -> None:
    """Measure a detector, or a file of answers, on annotated clips, by the paper's protocol and by ours.

    Published results stand beside it. Examples: `deeptrace eval --data RewardData/ --out runs/tracenet`,
    `deeptrace eval --data RewardData/ --predictions answers.jsonl`.

    Exit code 0: measured, whatever the numbers and outcomes; 2: nothing could be done; 130: stopped, what was done is
    kept in --out and --resume goes on.
    """
    from deeptrace.benchmark.run import evaluate as run
    from deeptrace.detectors import DEFAULT_DETECTOR

    if ray is not None and predictions is not None:
        raise SettingsError("--ray", "runs a detector, and --predictions are there already", "Leave one of them out.")
    with redirect_stdout(sys.stderr), stage_bars() as show:
        try:
            how: dict[str, Any] = {"settings": parse_settings(settings or []), "workers": workers, "timeout_s": timeout}
            runner = ray_runner(ray, ray_actors, ray_cpus, ray_gpus, detector=detector or DEFAULT_DETECTOR, **how)
            found = run(
                data,
                split=split,
                detector=detector,
                **how,
                predictions=predictions,
                answer_space=answer_space,
                judge=judge,
                judge_cache=judge_cache,
                rounds=rounds,
                groups=groups,
                out=out,
                resume=resume,
                bootstrap=bootstrap,
                seed=seed,
                runner=runner,
                on_done=show,
            )
        except KeyboardInterrupt:
            interrupted(
                *(
                    ("what was done is kept in ", out, "; --resume goes on")
                    if out
                    else ("nothing is kept without --out",)
                )
            )
        note_rate(runner)
        if out is not None and report:
            from deeptrace.reports.benchmark import write_bench_report

            clips = count(1)
            write_bench_report(found, out, on_clip=lambda: show("report", next(clips), None))
    _show(found, json_output=json_output, out=out, report=report)


def _show(found: Evaluation, *, json_output: bool, out: Path | None, report: bool) -> None:
    if found.kept:
        note(plural(found.kept, "result was kept from before", "results were kept from before"))
    if found.unmatched:
        shown = ", ".join(found.unmatched[:UNMATCHED_SHOWN])
        count = plural(len(found.unmatched), "prediction belongs", "predictions belong")
        note(f"{count} to no video of the split, such as {shown}")
    if found.repeated:
        shown = ", ".join(found.repeated[:UNMATCHED_SHOWN])
        count = plural(len(found.repeated), "video has", "videos have")
        note(f"{count} several predictions, such as {shown}: the last of each counts")
    if json_output:
        typer.echo(json.dumps(found.result.as_json(), ensure_ascii=False, allow_nan=False))
    else:
        from deeptrace.cli.tables import print_evaluation

        print_evaluation(found.result)
    if out is not None:
        note("evaluation: ", out / "evaluation.json")
        if report:
            note("report: ", out / "report.html", " and report.md")
