"""What commands share: printable text, errors, settings and progress."""

from __future__ import annotations

import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self, TextIO

from deeptrace.errors import DeeptraceError, SettingsError
from deeptrace.urls import public_text

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = [
    "LiveLine",
    "Whole",
    "counted",
    "duration",
    "fail",
    "interrupted",
    "note",
    "parse_settings",
    "parts_of",
    "printable",
    "progress_bar",
    "stage_bars",
    "wrapped",
]

EXIT_FAILED_INPUTS, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130
_NO_TERMINAL = 80
"""Columns where there is no terminal to ask."""


def printable(text: str) -> str:
    """`text` with control characters and terminal escapes made visible, for a file name is not to be trusted, and
    without the secrets of URLs.
    """
    shown = public_text(text)
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in shown)


def duration(seconds: float) -> str:
    """Seconds for people.

    Examples:
        >>> [duration(seconds) for seconds in (0.42, 95, 720, 11_500)]
        ['0.4 s', '95 s', '12 min', '3.2 h']
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


class Whole(str):
    """Text that is not broken into lines, such as the name of a file."""

    __slots__ = ()


def wrapped(*parts: str | Path, width: int | None = None) -> str:
    """Text for people in lines no wider than the terminal, later lines indented; one word may be wider than it.

    Args:
        parts: what is said, in its order; paths are whole, too.
        width: columns. None: those of the terminal that stderr is, 80 where it is none.

    Examples:
        >>> print(wrapped("left out: ", Path("take 7 of 9.mp4"), ": has no picture at all", width=30))
        left out: take 7 of 9.mp4: has
          no picture at all
    """
    from rich.cells import cell_len

    width = width or _columns()
    # No text is left with a line break after `printable`, so that one can stand for a path's spaces.
    whole = "".join(
        printable(str(part)).replace(" ", "\n") if isinstance(part, (Path, Whole)) else printable(part)
        for part in parts
    )
    lines, line = [], ""
    for word in whole.split(" "):
        if line.strip() and cell_len(f"{line} {word}".replace("\n", " ")) > width:
            lines.append(line)
            line = f"  {word}"
        else:
            line = f"{line} {word}" if line else word
    return "\n".join(shown.replace("\n", " ") for shown in [*lines, line])


def _columns() -> int:
    """How wide stderr is."""
    if (asked := os.environ.get("COLUMNS", "")).isdecimal() and int(asked):
        return int(asked)
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or _NO_TERMINAL
    except (OSError, ValueError):  # a file, a pipe, a stream without a number
        return _NO_TERMINAL


def note(*parts: str | Path) -> None:
    """A remark for people, on stderr; see `wrapped`."""
    sys.stderr.write(wrapped(*parts) + "\n")


def fail(*faults: str | DeeptraceError, code: int = EXIT_USAGE) -> NoReturn:
    """Say what is wrong on stderr, each fault from a line of its own, and leave."""
    for fault in faults:
        note("error: ", *(parts_of(fault) if isinstance(fault, DeeptraceError) else (fault,)))
    sys.exit(code)


def parts_of(error: DeeptraceError) -> tuple[str | Path, ...]:
    """An error's line, with what it is about in one piece."""
    subject, line = " ".join(error.subject.split()), str(error)
    return (Whole(subject), line.removeprefix(subject)) if subject and line.startswith(subject) else (line,)


def interrupted(*parts: str | Path) -> NoReturn:
    """After Ctrl-C: say what is kept and how to go on, and leave."""
    note("stopped: ", *parts)
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


@contextmanager
def counted(what: str, total: int) -> Iterator[Callable[[], None]]:
    """How far a job over `total` things is; what is given is to be called after each.

    A bar on a terminal. Elsewhere a job of a few seconds says nothing, a longer one writes a line every ten seconds.
    """
    if sys.stderr.isatty():
        with progress_bar() as bar:
            task = bar.add_task(what, total=total)
            yield lambda: bar.advance(task)
        return
    with LiveLine(every_s=_PLAIN_EVERY_S, patient=True) as line:
        line(what, 0, total)
        numbers = itertools.count(1)
        yield lambda: line(what, next(numbers), total)


_WIDTH = 79
_LOOK_S = 0.25
_PLAIN_EVERY_S = 9.0  # with the time between two looks never more than ten


class LiveLine:
    """What a long job is doing, in one line on stderr that is never more than a few seconds old; a context manager.

    A terminal shows one line, written over. Elsewhere (a file, a pipe, a scheduler's log) every line stays: one when
    something begins, and one every few seconds. A thread of its own writes them, so they come while torch is imported
    and while a single step takes minutes.

    Args:
        quiet: say nothing.
        every_s: most seconds between two lines.
        patient: say nothing before `every_s` have passed, as for a job that is mostly done by then.

    Examples:
        What it looks like: the time since the start, the step with what is done in it, the time left, figures.

        >>> line = LiveLine(quiet=True)
        >>> line("loading torch and the model")
        >>> line.text()
        '[0:00] loading torch and the model'
        >>> line("step", 2, 8, reward=0.4625, lr=5e-4)
        >>> line("sampling", 1, 4)
        >>> line.text()
        '[0:00] step 2/8, sampling 1/4  reward 0.463  lr 0.0005'
    """

    def __init__(self, *, quiet: bool = False, every_s: float = 2.0, patient: bool = False) -> None:
        self._quiet, self._every_s, self._patient = quiet, every_s, patient
        self._began = self._first_s = self._last_s = time.monotonic()
        self._stage: tuple[str, int, int | None] = ("starting", 0, None)
        self._step: tuple[int, int] | None = None
        self._first = 0
        self._figures: dict[str, float] = {}
        self._seen: set[str] = set()
        self._written, self._written_s = "", time.monotonic() if patient else -every_s
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._stream: TextIO = sys.stderr
        self._thread = threading.Thread(target=self._keep_writing, name="deeptrace-live-line", daemon=True)

    def __enter__(self) -> Self:
        self._stream = sys.stderr
        if not self._quiet:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._quiet:
            return
        self._thread.join()
        terminal = self._stream.isatty()
        if terminal:
            self._stream.write("\r\x1b[K")
        if self._step is not None and (terminal or self.text() != self._written):
            self._stream.write(self.text() + "\n")
        self._stream.flush()

    def __call__(self, what: str, done: int = 0, total: int | None = None, /, **figures: float | None) -> None:
        """Take note; what begins for the first time is said at once."""
        with self._lock:
            self._stage = (what, done, total)
            if what == "step" and total is not None:
                self._last_s = time.monotonic()
                if self._step is None:
                    self._first, self._first_s = done, self._last_s
                self._step = (done, total)
                self._figures = {name: value for name, value in figures.items() if value is not None}
            new = what not in self._seen and self._step is None
            self._seen.add(what)
        if new and not self._quiet and not self._patient:
            self._write()

    def text(self) -> str:
        """The line, of at most 79 characters."""
        what, done, total = self._stage
        now = f"{what} {done}/{total}" if total is not None else what
        if self._step is not None and what != "step":
            now = f"step {self._step[0]}/{self._step[1]}, {now}"
        if (left := self._left_s()) is not None:
            now += f", {_clock(left)} left"
        line = printable(f"[{_clock(time.monotonic() - self._began)}] {now}")
        for name, value in self._figures.items():
            longer = f"{line}  {name} {value:.3g}"
            if len(longer) <= _WIDTH:
                line = longer
        return line[:_WIDTH]

    def _left_s(self) -> float | None:
        """Seconds until the last step, as fast as the steps so far; None before the first."""
        if self._step is None or not self._first < self._step[0] < self._step[1]:
            return None
        done, total = self._step
        left = (self._last_s - self._first_s) / (done - self._first) * (total - done)
        return max(left - (time.monotonic() - self._last_s), 0.0)

    def _keep_writing(self) -> None:
        while not self._ended.wait(_LOOK_S):
            if self._stream.isatty() or time.monotonic() - self._written_s >= self._every_s:
                self._write()

    def _write(self) -> None:
        with self._lock:
            line = self.text()
            self._stream.write(f"\r\x1b[K{line}" if self._stream.isatty() else f"{line}\n")
            self._stream.flush()
            self._written, self._written_s = line, time.monotonic()


def _clock(seconds: float) -> str:
    """Minutes and seconds, with hours where there are any: "1:05", "2:00:07"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
