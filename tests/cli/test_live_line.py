"""The live line of a training: never silent for long, on a terminal and elsewhere, whatever the main thread does."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from deeptrace.cli.console import LiveLine, Whole, wrapped

BUSY = """
import time
from deeptrace.cli.console import LiveLine
with LiveLine(every_s=0.5) as line:
    line("loading torch")
    time.sleep(1.6)  # as an import that takes its time
    line("step", 10, 20)
    began = time.monotonic()
    while time.monotonic() - began < 1.6:  # a main thread that never rests
        line("sampling", 1, 4)
    line("step", 11, 20, reward=0.25, lr=1e-5, kl=None)
    time.sleep(0.8)
"""


COUNTED = """
import time
from deeptrace.cli import console
console._PLAIN_EVERY_S = 0.5
with console.counted("writing the report", 3) as advance:
    for seconds in ({pauses}):
        time.sleep(seconds)
        advance()
"""


def timed_lines(code: str) -> tuple[list[float], list[str]]:
    """When each line on stderr came, in seconds from the first; and the lines."""
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    came = [(time.monotonic(), line.rstrip("\n")) for line in process.stderr]
    assert process.wait() == 0
    return [at - came[0][0] for at, _ in came], [line for _, line in came]


def on_a_terminal(code: str) -> str:
    """All that a program writes to stderr where that is a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", code], stderr=theirs)
    os.close(theirs)
    shown = b""
    while select.select([ours], [], [], 10)[0]:
        try:
            shown += os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
    os.close(ours)
    assert process.wait() == 0
    return shown.decode()


def longest_silence(times: Sequence[float]) -> float:
    return max(later - earlier for earlier, later in pairwise(times))


def test_without_a_terminal_a_line_comes_every_so_often_while_the_main_thread_sleeps_or_works() -> None:
    times, lines = timed_lines(BUSY)
    assert len(lines) >= 6
    assert longest_silence(times) < 2.0  # 0.5 s are asked for; the rest is for a machine that others use too
    assert lines[0] == "[0:00] loading torch"
    assert any(re.fullmatch(r"\[0:0\d\] step 10/20, sampling 1/4", line) for line in lines)
    assert re.fullmatch(r"\[0:0\d\] step 11/20, 0:\d\d left  reward 0.25  lr 1e-05", lines[-1]), lines[-1]


def test_on_a_terminal_one_line_is_written_over() -> None:
    text = on_a_terminal(BUSY)
    assert text.count("\n") == 1  # of the last line, which stays
    assert text.count("\r\x1b[K") > 8
    assert "step 11/20" in text.rpartition("\x1b[K")[2]


def test_the_line_fits_and_leaves_out_whole_figures() -> None:
    line = LiveLine(quiet=True)
    line("step", 12_000, 50_000)
    line("step", 12_001, 50_000, **{f"a_figure_with_a_name_{k}": k / 7 for k in range(6)})
    line("measuring", 120, 128)
    text = line.text()
    assert len(text) <= 79
    assert text.startswith("[0:00] step 12001/50000, measuring 120/128, ")
    assert "a_figure_with_a_name_0 0" in text
    assert not text.endswith("_name_1")


@given(
    st.lists(
        st.one_of(st.text("ab c:動é", max_size=20), st.text("x y/z", min_size=1, max_size=60).map(Whole)), max_size=6
    ),
    st.integers(20, 100),
)
def test_what_is_said_is_wrapped_between_words_and_never_inside_a_name(parts: list[str], width: int) -> None:
    text = wrapped(*parts, width=width)
    lines = text.split("\n")
    assert " ".join([lines[0], *(line.removeprefix("  ") for line in lines[1:])]).split() == "".join(parts).split()
    for name in (part for part in parts if isinstance(part, Whole)):
        assert any(str(name).strip(" ") in line for line in lines)
    for line in lines:
        if cell_len(line) > width:  # one word, or a name with what stands close to it
            assert (
                any(isinstance(part, Whole) and str(part).strip() in line for part in parts) or " " not in line.strip()
            )


def test_errors_fit_eighty_columns_where_there_is_no_terminal(tmp_path: Path) -> None:
    name = "renders of the week/" + "take 7 of many " * 6 + ".json"
    done = subprocess.run(
        [sys.executable, "-m", "deeptrace.cli.main", "eval", "--data", name],
        capture_output=True, text=True, env={key: value for key, value in os.environ.items() if key != "COLUMNS"},
    )  # fmt: skip
    assert done.stderr == f"error:\n  {name}:\n  no such file\n"
    far = [sys.executable, "-m", "deeptrace.cli.main", "studio", str(tmp_path), "--host", "0.0.0.0"]
    for columns in (80, 44):
        said = subprocess.run(far, capture_output=True, text=True, env=os.environ | {"COLUMNS": str(columns)}).stderr
        assert said.startswith("error: host 0.0.0.0: ")
        assert columns // 2 < max(map(len, said.splitlines())) <= columns


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with LiveLine(quiet=True) as line:
        line("loading torch")
        line("step", 1, 2)
    assert capsys.readouterr() == ("", "")


def test_a_counted_job_is_silent_while_short_and_never_when_long() -> None:
    _, lines = timed_lines("print('x', file=__import__('sys').stderr)" + COUNTED.format(pauses="0.05, 0.05, 0.05"))
    assert lines == ["x"]
    times, lines = timed_lines(COUNTED.format(pauses="1.2, 1.2, 0.2"))
    assert len(lines) >= 3
    assert longest_silence(times) < 2.0
    assert re.fullmatch(r"\[0:0\d\] writing the report 0/3", lines[0])
    assert re.fullmatch(r"\[0:0\d\] writing the report [12]/3", lines[-1])


def test_a_counted_job_is_a_bar_on_a_terminal() -> None:
    text = on_a_terminal(COUNTED.format(pauses="0.3, 0.3, 0.3"))
    assert "writing the report" in text
    assert "2/3" in text
