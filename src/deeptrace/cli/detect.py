"""`deeptrace detect`: verdicts for files, folders, patterns and URLs."""

from __future__ import annotations

import sys
import time
from contextlib import redirect_stdout
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from deeptrace.cli.console import (
    EXIT_FAILED_INPUTS,
    EXIT_INTERRUPTED,
    counted,
    fail,
    note,
    parse_settings,
)
from deeptrace.cli.options import (
    DEFAULT_OUT,
    DetectorName,
    Inputs,
    JsonLines,
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
from deeptrace.urls import shown_name

if TYPE_CHECKING:
    from deeptrace.detectors import Analysis
    from deeptrace.inference import DetectRun, Input
    from deeptrace.schema import Verdict

__all__ = ["detect"]


class SortBy(StrEnum):
    """The order of the clips in what is printed."""

    INPUT = "input"
    P = "p"
    NAME = "name"


@dataclass(frozen=True)
class _Asked:
    """What is to be shown, and where."""

    json_lines: bool
    brief: bool
    csv: str | None
    sort: SortBy
    out: Path | None
    report: bool
    overlay: bool

    @property
    def stdout_is_for_programs(self) -> bool:
        """Whether stdout holds rows for a program, so that all that people read goes to stderr."""
        return self.json_lines or self.csv == "-"


def detect(
    paths: Inputs = None,
    clips: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Clips from a table with a column video: Parquet, CSV, JSON, JSONL; or RewardData."
        ),
    ] = None,
    detector: DetectorName = "tracenet",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A setting of the detector; may be repeated. tracenet has threshold (see --threshold), min_score "
            "(0.35: traces below it are left out, or called weak), prior (0.5: share of clips that are generated) and "
            "fast (true: skips frames that no other needs).",
        ),
    ] = None,
    threshold: Annotated[
        str | None,
        typer.Option(
            metavar="NAME_OR_P",
            help="From which p_fake on a clip is called AI-generated: fpr_1 or fpr_5 (1 or 5 of 100 real clips are "
            "called so too), balanced (both errors equally frequent), or a number from 0 to 1. "
            "[default: the detector's; tracenet's is fpr_5]",
        ),
    ] = None,
    brief: Annotated[
        bool, typer.Option("--brief", help="One line a clip: answer, p_fake, strongest trace, file name.")
    ] = False,
    json_lines: JsonLines = False,
    csv: Annotated[
        str | None,
        typer.Option(
            "--csv", metavar="FILE", help="Write one row a clip, with its SHA-256, for spreadsheets; - for stdout."
        ),
    ] = None,
    sort: Annotated[
        SortBy, typer.Option(help="Order of table and CSV: as given, by p_fake (highest first), or by name.")
    ] = SortBy.INPUT,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep verdicts, report and overlays here.")] = None,
    overlay: Annotated[
        bool, typer.Option("--overlay", help="Write each clip with its traces drawn in. [to: DIR/overlays]")
    ] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Write a page with all clips and traces. [to: DIR/report.html]")
    ] = False,
    resume: Resume = False,
    workers: Workers = None,
    timeout: Timeout = None,
    ray: Ray = None,
    ray_actors: RayActors = None,
    ray_cpus: RayCpus = None,
    ray_gpus: RayGpus = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what a language model would need: frames, tokens, memory, time.")
    ] = False,
) -> None:
    """Say of each clip whether it looks AI-generated, and where, when, which kind of trace and why.

    Examples: `deeptrace detect clip.mp4`, `deeptrace detect clips/ --brief --sort p`,
    `deeptrace detect clips/ --report`.

    p_fake is the probability that a clip is AI-generated, where half of all clips are. Where fewer are, it is too high:
    --set prior=0.01 says that one in a hundred is.

    Exit code 0: all have a verdict; 1: some failed, each is recorded; 2: nothing could be done; 130: stopped by Ctrl-C.
    --overlay and --report without --out write to deeptrace-out/.
    """
    if not dry_run and ray is None:
        from deeptrace.inference.executors.launch import prestart

        prestart()  # worker processes import what they need while this one does
    from deeptrace.inference import DetectRun, Job

    began = time.monotonic()
    asked = _Asked(
        json_lines, brief, csv, sort, DEFAULT_OUT if out is None and (overlay or report) else out, report, overlay
    )
    _check(asked)
    chosen = _settings(settings, threshold)
    inputs = _inputs(paths or [], clips)
    if dry_run:
        _plan(inputs, detector, chosen, json_lines=json_lines)
        return
    stdout = sys.stdout
    # Whatever a detector prints in this process must not get between the JSON lines.
    with redirect_stdout(sys.stderr):
        how: dict[str, Any] = {"detector": detector, "settings": chosen, "workers": workers, "timeout_s": timeout}
        runner = ray_runner(ray, ray_actors, ray_cpus, ray_gpus, **how)
        run = DetectRun(
            inputs,
            **how,
            job=Job(evidence=report, overlay_dir=str(asked.out / "overlays") if overlay and asked.out else None),
            out=asked.out,
            resume=resume,
            runner=runner,
        )
        results, interrupted = _detect_all(run, stdout if json_lines else None)
        note_rate(runner)
    if interrupted:
        kept = (", kept in ", asked.out, "; --resume goes on") if asked.out else ()
        note(f"stopped: {run.done} of {len(inputs)} done", *kept)
    _show(results, {shown_name(item.path): item.path for item in inputs}, asked, time.monotonic() - began)
    if interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)
    if any(found.verdict.label is None for found in results):
        raise typer.Exit(EXIT_FAILED_INPUTS)


def _inputs(paths: list[str], table: str | None) -> list[Input]:
    """The clips to look at, those of the table first; what both name counts once."""
    from deeptrace.inference import Input, expand_inputs

    if not paths and table is None:
        fail("name clips: PATH... or --clips FILE")
    if table is None:
        return expand_inputs(paths)
    from deeptrace.reward.clips import read_clips

    found = {item.path: item for item in [*(Input(clip.path) for clip in read_clips(table)), *expand_inputs(paths)]}
    return list(found.values())


def _check(asked: _Asked) -> None:
    """Refuse what cannot be had together, before any work."""
    if asked.csv is not None:
        _check_table(asked.csv)
    rows = [name for name, wanted in (("--json", asked.json_lines), ("--csv -", asked.csv == "-")) if wanted]
    if len(rows) == 2:
        raise SettingsError("--json and --csv -", "both want stdout", "Name a file for --csv.")
    if rows and asked.brief:
        raise SettingsError(f"--brief and {rows[0]}", "both want stdout", "Leave one of them out.")
    if asked.json_lines and asked.csv is None and asked.sort is not SortBy.INPUT:
        raise SettingsError(
            "--sort", "does not apply to --json", "Its lines come as they are done, in the order given."
        )


def _check_table(name: str) -> None:
    """Refuse a table's name that cannot be meant: `--csv *.mp4` would replace the first clip."""
    from deeptrace.inference.inputs import VIDEO_SUFFIXES

    path = Path(name)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        raise SettingsError(f"--csv {name}", "is the name of a video", "Write --csv table.csv.")
    if path.is_dir():
        raise SettingsError(f"--csv {name}", "is a folder", "Name a file in it.")


def _settings(pairs: list[str] | None, threshold: str | None) -> dict[str, Any]:
    """The detector's settings, `--threshold` among them."""
    chosen = parse_settings(pairs or [])
    if threshold is None:
        return chosen
    if "threshold" in chosen:
        raise SettingsError("--threshold", "is given by --set, too", "Leave one of them out.")
    return chosen | parse_settings([f"threshold={threshold}"])


def _plan(inputs: list[Input], detector: str, settings: dict[str, Any], *, json_lines: bool) -> None:
    """Print what analysing `inputs` would take."""
    from deeptrace.cli.tables import show_plan
    from deeptrace.detectors import load_planner
    from deeptrace.inference.dry_run import dry_run

    planner = load_planner(detector, **settings)
    if show_plan(dry_run(inputs, planner), planner.info, json_lines=json_lines):
        raise typer.Exit(EXIT_FAILED_INPUTS)


def _detect_all(run: DetectRun, lines: TextIO | None) -> tuple[list[Analysis], bool]:
    """The run's results, each a JSON line on `lines` as it comes, and whether Ctrl-C ended it early."""
    results: list[Analysis] = []
    with run, counted("detecting", len(run)) as advance:
        if run.kept:
            note(f"{run.kept} of {len(run)} were analysed before")
        try:
            for found in run.results():
                results.append(found)
                advance()
                if lines is not None:
                    print(found.verdict.model_dump_json(), file=lines, flush=True)
        except KeyboardInterrupt:
            return results, True
    return results, False


def _show(results: list[Analysis], addresses: dict[str, str], asked: _Asked, elapsed_s: float) -> None:
    """Table or rows, the files that were asked for, and where they are."""
    verdicts = [found.verdict for found in results]
    _print(verdicts, addresses, asked, elapsed_s)
    if asked.report and asked.out is not None:
        from deeptrace.reports.detection import write_report

        with counted("writing the report", len(results)) as advance:
            page = write_report(results, asked.out / "report.html", addresses=addresses, on_clip=advance)
        note("report: ", page)
    if asked.overlay and asked.out is not None:
        note("overlays: ", asked.out / "overlays")
    if used := _usage(verdicts):
        note(used)
    if asked.out is not None:
        note("verdicts: ", asked.out / "verdicts.jsonl")


def _print(verdicts: list[Verdict], addresses: dict[str, str], asked: _Asked, elapsed_s: float) -> None:
    """The table, or lines, or rows for programs with the summary on stderr."""
    from deeptrace.cli import verdicts as shown
    from deeptrace.io.atomic import atomic_path

    ordered = shown.arranged(verdicts, asked.sort)
    tabled = not asked.brief and not asked.stdout_is_for_programs
    if asked.csv == "-":
        shown.write_csv(ordered, addresses, sys.stdout)
    if asked.brief:
        shown.print_brief(ordered)
    elif tabled:
        shown.print_table(ordered, elapsed_s)
    if not tabled:
        note(shown.summary(verdicts, elapsed_s))
    # Last: where the disk refuses, people have at least seen the answers.
    if asked.csv is not None and asked.csv != "-":
        with atomic_path(asked.csv) as scratch, scratch.open("w", encoding="utf-8", newline="") as file:
            shown.write_csv(ordered, addresses, file)
        note("table: ", Path(asked.csv))


def _usage(verdicts: list[Verdict]) -> str:
    """What asking a language model took in all, as far as it is known; empty when none was asked."""
    used = [verdict.usage for verdict in verdicts if verdict.usage is not None]
    if not used:
        return ""
    asked, said = (sum(getattr(one, f"{kind}_tokens") or 0 for one in used) for kind in ("prompt", "completion"))
    costs = [one.cost for one in used if one.cost is not None]
    cost = f", cost {sum(costs):.4g}" if costs else ""
    return f"{plural(len(used), 'answer')}: {asked} tokens in, {said} out{cost}"
