"""What `deeptrace detect` says of its clips: a table, one line a clip, CSV, and a line that sums them up.

Nothing is wider than the terminal, or than 80 columns where there is none. A file's name is the last thing on its
line, and is shortened in its folder only.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from deeptrace.cli.console import duration, printable
from deeptrace.cli.names import shortened
from deeptrace.io.csv_cells import csv_cell
from deeptrace.io.fingerprint import sha256_of
from deeptrace.plural import plural
from deeptrace.reports.wording import headline, trace_line, trace_phrase
from deeptrace.schema import CAVEAT, ContentCredentials, CredentialsState, Decision, Outcome, Trace, Verdict

__all__ = ["CSV_COLUMNS", "arranged", "print_brief", "print_table", "summary", "write_csv"]

TOLD_IN_FULL = 5
"""Up to so many clips have every trace with its explanation in the table; of more, each has its strongest."""
UNSIGNED = ContentCredentials(state=CredentialsState.ABSENT).summary
INDENT = 4
_PHRASE_WIDTH = 34
_STYLES = {Decision.GENERATED: "bold red", Decision.UNCLEAR: "yellow", Decision.REAL: "green", None: "yellow"}

# fmt: off
CSV_COLUMNS = (
    "video", "sha256", "outcome", "decision", "p_fake", "label", "kind", "onset_s", "offset_s", "x0", "y0", "x1", "y1",
    "traces", "detector", "content_credentials", "error",
)
# fmt: on
"""`kind` to `y1` are those of the strongest trace; `traces` is how many there are."""


def arranged(verdicts: Sequence[Verdict], sort: str) -> list[Verdict]:
    """The verdicts by "name", by "p" (highest `p_fake` first, those without one last), or as they came ("input")."""
    if sort == "name":
        return sorted(verdicts, key=lambda verdict: verdict.video)
    if sort == "p":
        return sorted(verdicts, key=lambda verdict: -1.0 if verdict.p_fake is None else verdict.p_fake, reverse=True)
    return list(verdicts)


def summary(verdicts: Sequence[Verdict], elapsed_s: float) -> str:
    """How many clips got which answer: "2 clips: 1 AI-generated, 0 unclear, 1 looks real, ...; 2.1 s"."""
    decided = Counter(verdict.decision for verdict in verdicts)
    undecidable = sum(verdict.outcome is Outcome.UNDECIDABLE for verdict in verdicts)
    counts = (
        f"{decided[Decision.GENERATED]} AI-generated",
        f"{decided[Decision.UNCLEAR]} unclear",
        f"{decided[Decision.REAL]} look{'s' if decided[Decision.REAL] == 1 else ''} real",
        f"{undecidable} cannot tell",
        f"{decided[None] - undecidable} failed",
    )
    return f"{plural(len(verdicts), 'clip')}: {', '.join(counts)}; {duration(elapsed_s)}"


def print_table(verdicts: Sequence[Verdict], elapsed_s: float, console: Console | None = None) -> None:
    """The answers, each with what gives its clip away: all traces of a few clips, the strongest of each of many."""
    console = console or Console()
    folder = _shared_folder([verdict.video for verdict in verdicts])
    full = len(verdicts) <= TOLD_IN_FULL
    width = max(len(answer) for answer in ("verdict", *map(headline, verdicts)))
    room = console.width - width - 10
    title = f"video, in {shortened(printable(folder), max(room - 10, 1))}" if folder else "video"
    _line(console, Text(f"{'verdict':<{width}}  p_fake  {title}", style="bold"))
    for verdict in verdicts:
        name = printable(verdict.video[len(folder) :])
        head = (
            Text()
            .append(f"{headline(verdict):<{width}}", style=_STYLES[verdict.decision])
            .append(f"  {_p(verdict):>6}")
        )
        # A file's own name is not cut while it fits on a line of its own.
        own_line = cell_len(name.rpartition("/")[2]) > room
        _line(console, head if own_line else head.append(f"  {shortened(name, room)}"))
        if own_line:
            _line(console, Text(" " * INDENT + shortened(name, console.width - INDENT)))
        for reason in _reasons(verdict) if full else _strongest(verdict):
            for line in reason.wrap(console, console.width - INDENT):
                _line(console, Text(" " * INDENT).append(line))
        if full:
            console.print()
    if not full:
        console.print()
    total = summary(verdicts, elapsed_s)
    console.print(Text(total if len(total) <= console.width else total.replace("; ", ";\n"), style="bold"))
    for remark in _remarks(verdicts, full=full):
        console.print(Text(printable(remark), style="dim"))


def print_brief(verdicts: Sequence[Verdict], console: Console | None = None) -> None:
    """One line a clip: answer, `p_fake`, strongest trace, name."""
    console = console or Console()
    folder = _shared_folder([verdict.video for verdict in verdicts])
    answers = [headline(verdict) for verdict in verdicts]
    phrases = [_brief_phrase(verdict) for verdict in verdicts]
    wide = max(map(len, answers), default=0)
    middle = min(max(map(len, phrases), default=0), _PHRASE_WIDTH)
    room = max(console.width - wide - middle - 10, 1)
    for verdict, answer, phrase in zip(verdicts, answers, phrases, strict=True):
        shown = Text().append(f"{answer:<{wide}}", style=_STYLES[verdict.decision])
        shown.append(f"  {_p(verdict):>4}  {_fitted(phrase, middle)}  ")
        _line(console, shown.append(shortened(printable(verdict.video[len(folder) :]), room)))


def write_csv(verdicts: Sequence[Verdict], addresses: Mapping[str, str], file: TextIO) -> None:
    """One row a clip (see `CSV_COLUMNS`), empty where something is not known; no cell is a formula.

    Args:
        verdicts: in the order of the rows.
        addresses: of each verdict's `video`, where the file is. Only files of this machine have a SHA-256.
        file: opened with `newline=""`.
    """
    table = csv.writer(file, lineterminator="\n")
    table.writerow(CSV_COLUMNS)
    for verdict in verdicts:
        table.writerow([csv_cell(cell) for cell in _csv_row(verdict, addresses.get(verdict.video, verdict.video))])


def _csv_row(verdict: Verdict, address: str) -> list[Any]:
    best = verdict.traces[0] if verdict.traces else Trace()
    box: Sequence[float | None] = (None,) * 4 if best.box is None else best.box.as_tuple()
    numbers = [*(_rounded(time, 3) for time in (best.onset_s, best.offset_s)), *(_rounded(side, 4) for side in box)]
    return [
        verdict.video,
        _sha256(address),
        verdict.outcome.value,
        verdict.decision and verdict.decision.value,
        _rounded(verdict.p_fake, 4),
        verdict.label and verdict.label.value,
        best.categories[0].value if best.categories else None,
        *numbers,
        len(verdict.traces),
        verdict.detector and verdict.detector.name,
        verdict.content_credentials and verdict.content_credentials.words,
        verdict.error,
    ]


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _sha256(address: str) -> str | None:
    try:
        return None if "://" in address else sha256_of(address)
    except (OSError, ValueError):
        return None


def _shared_folder(paths: Sequence[str]) -> str:
    """The folder all of several paths are in, with its slash; empty when there is none."""
    if len(paths) < 2 or any("://" in path for path in paths):
        return ""
    try:
        shared = os.path.commonpath([os.path.dirname(path) for path in paths])
    except ValueError:  # absolute and relative ones
        return ""
    prefix = os.path.join(shared, "")
    return prefix if shared and all(path.startswith(prefix) for path in paths) else ""


def _p(verdict: Verdict) -> str:
    return "" if verdict.p_fake is None else f"{verdict.p_fake:.2f}"


def _reasons(verdict: Verdict) -> list[Text]:
    """Everything there is to say of one clip."""
    signed = [Text(line, style="dim") for line in _credentials(verdict)]
    if verdict.error is not None:
        return [_error(verdict), *signed]
    lines = [] if verdict.traces else [Text("no trace found")]
    for trace in verdict.traces:
        lines.append(Text(trace_line(trace), style="bold"))
        if trace.explanation:
            lines.append(Text(printable(trace.explanation)))
    return lines + [Text(f"note: {printable(warning)}", style="dim") for warning in verdict.warnings] + signed


def _strongest(verdict: Verdict) -> list[Text]:
    """The strongest trace, and how many more there are; nothing of a clip that looks real and has none."""
    signed = [Text(line, style="dim") for line in _credentials(verdict) if line != UNSIGNED]
    if verdict.error is not None:
        return [_error(verdict), *signed]
    if not verdict.traces:
        return signed if verdict.decision is Decision.REAL else [Text("no trace found"), *signed]
    more = len(verdict.traces) - 1
    return [Text(trace_phrase(verdict.traces[0]) + (f"; {more} more" if more else "")), *signed]


def _credentials(verdict: Verdict) -> list[str]:
    """The line on what is signed into the file, where it was looked for."""
    return [] if verdict.content_credentials is None else [verdict.content_credentials.summary]


def _error(verdict: Verdict) -> Text:
    return Text(printable((verdict.error or "").removeprefix(f"{verdict.video}: ")), style="yellow")


def _brief_phrase(verdict: Verdict) -> str:
    """When and which kind, of the strongest trace."""
    if not verdict.traces:
        return ""
    trace = verdict.traces[0]
    return trace_phrase(trace.model_copy(update={"box": None} if trace.categories else {}))


def _fitted(text: str, width: int) -> str:
    """`text` in exactly so many columns, its end left out where it is longer."""
    return set_cell_size(text if cell_len(text) <= width else f"{text[: width - 1]}…", width)


def _remarks(verdicts: Sequence[Verdict], *, full: bool) -> list[str]:
    """What the numbers mean, what is not shown, and, where clips have no room for their notes, those."""
    lines = []
    limits = {verdict.detector.thresholds for verdict in verdicts if verdict.detector and verdict.p_fake is not None}
    if len(limits) == 1 and (pair := limits.pop()) is not None:
        low, high = (f"{limit:.2f}" if limit >= 0.05 else f"{limit:.2g}" for limit in pair)
        lines.append(f"p_fake: AI-generated from {high}, looks real below {low}, unclear between them.")
    if not full:
        notes: dict[str, list[str]] = {}
        for verdict in verdicts:
            for warning in verdict.warnings:
                notes.setdefault(warning, []).append(verdict.video.rpartition("/")[2])
        lines += [f"note, {at[0] if len(at) == 1 else f'{len(at)} clips'}: {text}" for text, at in notes.items()]
        unsigned = sum(UNSIGNED in _credentials(verdict) for verdict in verdicts)
        if unsigned:
            lines.append(f"{UNSIGNED} in {unsigned} of {len(verdicts)} clips, which says nothing of them.")
        if any(verdict.traces for verdict in verdicts):
            lines.append("Every trace, with its reasons: --report, or --json.")
    return [*lines, CAVEAT]


def _line(console: Console, text: Text) -> None:
    """One line, as it is: it has been made to fit."""
    text.rstrip()
    console.print(text, no_wrap=True, overflow="ignore", crop=False)
