"""Many videos at once: order, bounded work, failures as values."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.video.odd_files import Expectation

from deeptrace.errors import DeeptraceError, SettingsError
from deeptrace.video.base import Video
from deeptrace.video.many import map_videos, read_many

Odd = tuple[Path, dict[str, Expectation]]


def test_order_is_kept_and_failures_are_values(odd_files: Odd) -> None:
    folder, expectations = odd_files
    names = sorted(expectations)
    results = list(read_many([str(folder / name) for name in names], max_fps=4, size=(32, 24), workers=3))
    assert [Path(result.path).name for result in results] == names
    for name, result in zip(names, results, strict=True):
        assert (result.value is None) == (result.error is not None)
        assert (expectations[name].error is not None) == isinstance(result.error, DeeptraceError), name
        if result.value is not None:
            assert {frame.image.shape for frame in result.value.frames} == {(24, 32, 3)}


def test_work_is_bounded_and_lazy(odd_files: Odd) -> None:
    path = str(odd_files[0] / "plain.mp4")
    given = 0

    def endless() -> Iterator[str]:
        nonlocal given
        while True:
            given += 1
            yield path

    running, most, lock = 0, 0, threading.Lock()

    def work(video: Video) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        count = len(list(video.frames()))
        with lock:
            running -= 1
        return count

    results = map_videos(endless(), work, workers=2, ahead=1)
    assert [next(results).value for _ in range(5)] == [10] * 5
    assert given <= 5 + 3
    results.close()  # type: ignore[attr-defined]
    assert most <= 2


def test_mistakes_in_the_work_are_not_swallowed(odd_files: Odd) -> None:
    def work(video: Video) -> int:
        raise ZeroDivisionError(video.path)

    with pytest.raises(ZeroDivisionError):
        list(map_videos([str(odd_files[0] / "plain.mp4")], work))
    with pytest.raises(SettingsError):
        map_videos([], work, workers=0)
