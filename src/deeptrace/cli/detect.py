"""`deeptrace detect`: verdicts for files, folders, patterns and URLs."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from deeptrace.cli.terminal import (
    EXIT_FAILED_INPUTS,
    EXIT_INTERRUPTED,
    note,
    parse_settings,
    progress_bar,
)

if TYPE_CHECKING:
    from deeptrace.evaluate import DetectRun, Input, Judged
    from deeptrace.trace import Verdict

__all__ = ["detect"]

DEFAULT_OUT = Path("deeptrace-out")


def detect(
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help="Files, folders, patterns or URLs.")],
    detector: Annotated[str, typer.Option(help="See `deeptrace detectors`.")] = "tracenet",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the detector; may be repeated.")
    ] = None,
    json_lines: Annotated[bool, typer.Option("--json", help="One JSON line a video on stdout, nothing else.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep verdicts (and what follows) here.")] = None,
    overlay: Annotated[bool, typer.Option("--overlay", help="Write each video with its traces drawn in.")] = False,
    report: Annotated[bool, typer.Option("--report", help="Write one self-contained HTML page.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an earlier run in --out.")] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Worker processes; threads for a served model. [default: one a core; 1 for a single video; "
            "as many as questions in flight]",
        ),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="Longest time a video; 0 is no limit. [default: 600]")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what a language model would take: frames, tokens, memory, time.")
    ] = False,
) -> None:
    """Say of each video whether it looks AI-generated, and where, when, which and why.

    Exit code 0: all were judged; 1: some failed, each is recorded; 2: nothing could be done; 130: stopped by Ctrl-C.
    --overlay and --report without --out write to deeptrace-out/.
    """
    from deeptrace.evaluate import DetectRun, Job, expand_inputs
    from deeptrace.evaluate.pools import wants_processes

    out = DEFAULT_OUT if out is None and (overlay or report) else out
    inputs = expand_inputs(paths)
    if dry_run:
        _plan(inputs, detector, parse_settings(settings or []), json_lines=json_lines)
        return
    count, limit_s = workers, timeout or None
    if wants_processes(detector):
        count, limit_s = _processes(len(inputs), workers, timeout)
    stdout = sys.stdout
    # Whatever a detector prints in this process must not get between the JSON lines.
    with redirect_stdout(sys.stderr):
        run = DetectRun(
            inputs,
            detector=detector,
            settings=parse_settings(settings or []),
            workers=count,
            timeout_s=limit_s,
            job=Job(evidence=report, overlay_dir=str(out / "overlays") if overlay and out else None),
            out=out,
            resume=resume,
        )
        results, interrupted = _judge_all(run, stdout if json_lines else None)
    if interrupted:
        note(f"stopped: {run.done} of {len(inputs)} done" + (f", kept in {out}; --resume goes on" if out else ""))
    _show(results, json_lines=json_lines, out=out, overlay=overlay, report=report)
    failed = sum(judged.verdict.label is None for judged in results)
    if interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)
    if failed:
        note(f"{failed} of {len(results)} could not be judged")
        raise typer.Exit(EXIT_FAILED_INPUTS)


def _plan(inputs: list[Input], detector: str, settings: dict[str, Any], *, json_lines: bool) -> None:
    """Say what judging `inputs` would take."""
    from deeptrace.cli.plan_table import show_plan
    from deeptrace.detectors import load_planner
    from deeptrace.evaluate.dry_run import dry_run

    planner = load_planner(detector, **settings)
    if show_plan(dry_run(inputs, planner), planner.info, json_lines=json_lines):
        raise typer.Exit(EXIT_FAILED_INPUTS)


def _judge_all(run: DetectRun, lines: TextIO | None) -> tuple[list[Judged], bool]:
    """The run's results, each a JSON line on `lines` as it comes, and whether Ctrl-C ended it early."""
    results: list[Judged] = []
    with run, progress_bar() as bar:
        if run.kept:
            note(f"{run.kept} of {len(run)} were judged before")
        task = bar.add_task("judging", total=len(run))
        try:
            for judged in run.results():
                results.append(judged)
                bar.advance(task)
                if lines is not None:
                    print(judged.verdict.model_dump_json(), file=lines, flush=True)
        except KeyboardInterrupt:
            return results, True
    return results, False


def _processes(inputs: int, workers: int | None, timeout: float | None) -> tuple[int, float | None]:
    """How many processes, and the time limit in seconds: a single video without a limit is judged in this process."""
    from deeptrace.evaluate.detect_run import DEFAULT_TIMEOUT_S

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = min(inputs, cores) if workers is None else workers
    alone = workers == 1 or (workers is None and inputs == 1)
    if timeout is None:
        return max(count, 1), None if alone else DEFAULT_TIMEOUT_S
    return max(count, 1), timeout or None


def _show(results: list[Judged], *, json_lines: bool, out: Path | None, overlay: bool, report: bool) -> None:
    """The table for people, and where the files are."""
    from deeptrace.cli.verdict_table import print_verdicts

    if not json_lines:
        print_verdicts([judged.verdict for judged in results])
    if report and out is not None:
        from deeptrace.evaluate.report import write_report

        with progress_bar() as bar:
            task = bar.add_task("report", total=len(results))
            page = write_report(results, out / "report.html", on_clip=lambda: bar.advance(task))
        note(f"report: {page}")
    if overlay and out is not None:
        note(f"overlays: {out / 'overlays'}")
    if used := _usage([judged.verdict for judged in results]):
        note(used)
    if out is not None:
        note(f"verdicts: {out / 'verdicts.jsonl'}")


def _usage(verdicts: list[Verdict]) -> str:
    """What asking a language model took in all, as far as it is known; empty when none was asked."""
    used = [verdict.usage for verdict in verdicts if verdict.usage is not None]
    if not used:
        return ""
    asked, said = (sum(getattr(one, f"{kind}_tokens") or 0 for one in used) for kind in ("prompt", "completion"))
    costs = [one.cost for one in used if one.cost is not None]
    cost = f", cost {sum(costs):.4g}" if costs else ""
    return f"{len(used)} answers: {asked} tokens in, {said} out{cost}"
