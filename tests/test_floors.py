"""Imports go down only, and every package's __all__ is sorted and true."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import deeptrace
from deeptrace.errors import MissingExtraError

ROOT = Path(deeptrace.__file__).parent
FLOORS = [
    {"errors", "folder_lock", "geometry", "trace"},
    {"video", "protocol", "metrics"},
    {"synth", "data", "detectors"},
    {"evaluate", "reward", "train"},
    {"studio", "scale"},
    {"cli"},
]
FLOOR = {name: height for height, names in enumerate(FLOORS) for name in names}
PACKAGES = sorted(path.parent for path in ROOT.rglob("__init__.py") if path.parent != ROOT)


def part_of(path: Path) -> str:
    """The first name below deeptrace: "video" of src/deeptrace/video/reader.py."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
            yield from ([f"deeptrace.{a.name}" for a in node.names] if node.module == "deeptrace" else [node.module])


def test_imports_go_down_only() -> None:
    wrong = []
    for path in sorted(ROOT.rglob("*.py")):
        if (own := FLOOR.get(part_of(path))) is None:
            continue
        for name in imported(ast.parse(path.read_text(encoding="utf-8"))):
            other = name.split(".")[1] if name.startswith("deeptrace.") else None
            if other in FLOOR and FLOOR[other] > own:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong


def test_every_part_has_a_floor() -> None:
    parts = {part_of(path) for path in ROOT.rglob("*.py")} - {"__init__", "__main__"}
    assert parts <= set(FLOOR)


def test_the_check_sees_an_import_that_goes_up() -> None:
    names = list(imported(ast.parse("def f():\n    from deeptrace.cli import main\n    from deeptrace import studio")))
    assert names == ["deeptrace.cli", "deeptrace.studio"]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_all_is_sorted_and_true(package: Path) -> None:
    name = ".".join(("deeptrace", *package.relative_to(ROOT).parts))
    try:
        module = importlib.import_module(name)
    except MissingExtraError as error:
        pytest.skip(str(error))
    stated = getattr(module, "__all__", [])
    # Constants first, then classes, then functions, each by the alphabet: the order ruff (RUF022) keeps.
    assert list(stated) == sorted(stated, key=lambda n: (not n.isupper(), not n[0].isupper(), n))
    assert len(set(stated)) == len(stated)
    assert [n for n in stated if not hasattr(module, n)] == []
