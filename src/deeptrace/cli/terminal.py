"""What commands share: printable text, errors, settings and progress."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from deeptrace.errors import SettingsError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["fail", "interrupted", "note", "parse_settings", "printable", "progress_bar", "stage_bars"]

EXIT_FAILED_INPUTS, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


def printable(text: str) -> str:
    """`text` with control characters and terminal escapes made visible: a file name is not to be trusted."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def note(text: str) -> None:
    """One line for people, on stderr."""
    sys.stderr.write(printable(text) + "\n")


def fail(text: str, code: int = EXIT_USAGE) -> NoReturn:
    """Say what is wrong in one line on stderr and leave."""
    note(f"error: {text}")
    sys.exit(code)


def interrupted(text: str) -> NoReturn:
    """After Ctrl-C: say in one line what is kept and how to go on, and leave."""
    note(f"stopped: {text}")
    sys.exit(EXIT_INTERRUPTED)


def parse_settings(pairs: Iterable[str]) -> dict[str, Any]:
    """Detector settings from `KEY=VALUE`; a value that is JSON (0.4, true, [1, 2]) is read as such, else as text.

    Raises:
        SettingsError: no `=`, or no key.
    """
    settings: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.isidentifier():
            raise SettingsError(f"--set {pair}", "expected KEY=VALUE")
        try:
            settings[key] = json.loads(text)
        except ValueError:
            settings[key] = text
    return settings


def progress_bar(*, quiet: bool = False) -> Progress:
    """A progress bar on stderr; nothing of it is shown when stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    )


@contextmanager
def stage_bars(*, quiet: bool = False) -> Iterator[Callable[[str, int, int | None], None]]:
    """A progress bar a stage: what is given is to be called with (stage, how many are done, how many there are)."""
    with progress_bar(quiet=quiet) as bar:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, done: int, total: int | None) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done, total=total)

        yield show
