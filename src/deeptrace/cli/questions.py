"""`deeptrace questions`: hallucination checks, counterfactuals and anomaly questions for language models."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deeptrace.cli.console import interrupted, note, parse_settings, printable, stage_bars
from deeptrace.cli.options import DetectorSettings, JsonObject, Resume, Workers
from deeptrace.plural import plural

if TYPE_CHECKING:
    from deeptrace.benchmark.questions import QuestionTable

__all__ = ["questions"]


def questions(
    data: Annotated[
        str, typer.Option(metavar="DIR_OR_JSON", help="Annotated clips: a RewardData folder, or its annotation file.")
    ],
    kinds: Annotated[
        list[str] | None,
        typer.Argument(metavar="KIND", help="pairs, counterfactual, anomaly, all when none is named; or features."),
    ] = None,
    split: Annotated[str, typer.Option(help="Which part of them; 'all' for everything.")] = "test",
    detector: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Language model that is asked: hf:... or openai:...; else none is."),
    ] = None,
    settings: DetectorSettings = None,
    videos: Annotated[int | None, typer.Option(min=1, help="Most videos that are asked about. [default: all]")] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Write questions, answers and table here.")] = Path(
        "deeptrace-out/questions"
    ),
    json_output: JsonObject = False,
    resume: Resume = False,
    workers: Workers = None,
    bootstrap: Annotated[int, typer.Option(min=20, help="Resamples for the 95 % intervals.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Draws videos and resamples.")] = 0,
) -> None:
    """Ask a language model what is and what is not in annotated clips; or only write the questions.

    Examples: `deeptrace questions --data RewardData/`,
    `deeptrace questions pairs --data RewardData/ --detector openai:MODEL@URL`.

    `features` says which kinds of trace a model knows: those that it does not are what an expert should be fused for.

    Exit code 0: asked, whatever the answers; 1: some questions were not answered; 2: nothing could be done.
    """
    from deeptrace.benchmark.questions import QUESTIONS, ask_questions, make_questions

    if detector is None:
        from deeptrace.io.jsonl import write_lines

        made = make_questions(data, split=split, kinds=kinds or (), most=videos, seed=seed)
        rows = [question.model_dump(mode="json") for question in made.questions]
        out.mkdir(parents=True, exist_ok=True)
        write_lines(rows, out / QUESTIONS)
        if json_output:
            typer.echo(json.dumps({"questions": len(rows), "file": str(out / QUESTIONS)}))
        note(f"{plural(len(rows), 'question')}: ", out / QUESTIONS)
        return
    with redirect_stdout(sys.stderr), stage_bars() as show:
        try:
            found = ask_questions(
                data, detector, parse_settings(settings or []), out=out, split=split, kinds=kinds or (), most=videos,
                resume=resume, workers=workers, resamples=bootstrap, seed=seed, on_done=show,
            )  # fmt: skip
        except KeyboardInterrupt:
            interrupted("what was answered is kept in ", out, "; --resume goes on")
    if json_output:
        typer.echo(json.dumps(found.model_dump(mode="json"), ensure_ascii=False, allow_nan=False))
    else:
        typer.echo("\n".join(printable(line) for line in _lines(found)))
    note("every question and answer: ", out / "answers.jsonl")
    unanswered = sum(count for outcome, count in found.outcomes.items() if outcome not in ("scored", "parse_failed"))
    if unanswered:
        note(
            f"{plural(unanswered, 'question')} without an answer: see ", out / "answers.jsonl", "; --resume asks again"
        )
        raise typer.Exit(1)


def _lines(found: QuestionTable) -> Iterator[str]:
    yield f"{found.detector.name} on {found.data}, {found.split}"
    yield ""
    if found.rows:
        yield from _question_lines(found)
    if found.features:
        yield from _feature_lines(found)


def _question_lines(found: QuestionTable) -> Iterator[str]:
    yield f"{'':18}{'asked':>6}{'failed':>7}{'unread':>7}{'right':>8}{'95 %':>12}{'chance':>8}{'says yes':>10}"
    for row in found.rows:
        limits = "-" if row.right.interval is None else "{:.0f}-{:.0f} %".format(*row.right.interval)
        yes, right = _share(row.yes), _share(row.right.value)
        counts = f"{row.asked:6}{row.unanswered:7}{row.unread:7}"
        yield f"{row.name:18}{counts}{right:>8}{limits:>12}{row.chance:6.0f} %{yes:>10}"
    if any(row.right.value is None for row in found.rows):
        yield "-: cannot tell, because nothing was answered."


def _share(value: float | None) -> str:
    """A share, 0 to 100, as the table has it."""
    return "-" if value is None else f"{value:.0f} %"


def _feature_lines(found: QuestionTable) -> Iterator[str]:
    """The kinds, weakest first, and what to do about those that are not known."""
    yield f"{'':24}{'marked':>7}{'seen':>7}{'real':>6}{'quiet':>7}{'balanced':>10}{'95 %':>10}  known"
    for row in found.features:
        limits = "-" if row.balanced.interval is None else "{:.0f}-{:.0f}".format(*row.balanced.interval)
        word = {True: "yes", False: "no", None: "-"}[row.known]
        yield (
            f"{row.kind.display_name:24}{row.marked:7}{_share(row.found):>7}{row.clean:6}{_share(row.quiet):>7}"
            f"{_share(row.balanced.value):>10}{limits:>10}  {word}"
        )
    weak = [row.kind.display_name.lower() for row in found.features if row.known is False]
    yield ""
    if weak:
        yield "Not shown to beat a guess, so an expert should be fused (--set findings=true,"
        yield "--set verify=true):"
        yield from (f"  {name}" for name in weak)
    unsure = sum(row.known is None for row in found.features)
    if unsure:
        yield f"Too few clips, generators or answers to tell: {unsure} of {len(found.features)} kinds."
    if failed := sum(row.unanswered for row in found.features):
        yield f"Without an answer, and in no share: {plural(failed, 'question')}."
