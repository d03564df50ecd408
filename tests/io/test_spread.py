"""Results with their places, whoever worked on them; an end, too, is passed on."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from deeptrace.errors import SettingsError
from deeptrace.io.spread import Processes, Spread, Threads


def square(value: int) -> int:
    return value * value


def refused(value: int) -> int:
    if value == 3:
        raise KeyError("three")
    return value


def killed(value: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return value


@pytest.mark.parametrize("spread", [Threads(3), Processes(1), Processes(2)])
def test_every_item_comes_once_with_its_place(spread: Spread) -> None:
    found = list(spread.over(square, range(20)))
    assert sorted(found) == [(value, value * value) for value in range(20)]
    assert list(spread.over(square, [])) == []


@pytest.mark.parametrize("spread", [Threads(2), Processes(1), Processes(2)])
def test_the_first_error_ends_it(spread: Spread) -> None:
    with pytest.raises(KeyError, match="three"):
        list(spread.over(refused, range(200)))


def test_what_has_not_begun_is_left_undone_when_nobody_listens_any_more() -> None:
    begun: list[int] = []
    go = threading.Event()

    def work(value: int) -> int:
        begun.append(value)
        if value:
            go.wait(10)
        return value

    running = Threads(2).over(work, range(100))
    assert next(running) == (0, 0)
    threading.Timer(0.2, go.set).start()
    running.close()  # type: ignore[attr-defined]
    assert len(begun) < 10


def test_a_process_that_dies_is_one_line_with_a_mend() -> None:
    with pytest.raises(SettingsError, match=r"one of 2 processes died.*Use fewer"):
        list(Processes(2).over(killed, range(4)))
