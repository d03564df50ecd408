"""One line that says what and how to mend it; the tree at the head of the module is the tree of the classes."""

from __future__ import annotations

import pickle
import re

import pytest

from deeptrace import errors
from deeptrace.errors import DeeptraceError, MissingExtraError, VideoNotFoundError

CLASSES = [kind for name in errors.__all__ if isinstance(kind := getattr(errors, name), type)]


def test_one_line_with_subject_problem_and_mend() -> None:
    error = VideoNotFoundError("a.mp4", "there is no such\nfile.", "Check the path.")
    assert str(error) == "a.mp4: there is no such file. Check the path."
    assert str(DeeptraceError("", "alone")) == "alone"


def test_a_missing_extra_names_the_command() -> None:
    assert "pip install 'deeptrace-video[bench]'" in str(MissingExtraError("text scores", "bench"))


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_crosses_a_process_border(kind: type[DeeptraceError]) -> None:
    error = kind("subject", "bench") if kind is MissingExtraError else kind("subject", "problem", "Mend it.")
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is kind
    assert str(back) == str(error)


def test_the_tree_in_the_docstring_is_true() -> None:
    lines = [line for line in (errors.__doc__ or "").splitlines() if re.search(r"\w+Error\b", line)]
    drawn: dict[str, str] = {}
    path: list[str] = []
    for line in lines:
        name = re.search(r"\w+Error\b", line)
        assert name is not None
        depth = name.start() // 4
        path = [*path[:depth], name.group(0)]
        drawn[name.group(0)] = path[depth - 1] if depth else "Exception"
    assert drawn == {kind.__name__: kind.__base__.__name__ for kind in CLASSES}
