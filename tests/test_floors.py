"""Imports go down only, and every package's __all__ is sorted and true."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.needs import needs

import deeptrace
from deeptrace.errors import MissingExtraError

ROOT = Path(deeptrace.__file__).parent
FLOORS = [
    {"lazy", "plural", "urls"},
    {"errors", "geometry"},
    {"schema", "io", "net"},
    {"video", "prompts", "metrics"},
    {"data"},
    {"synth", "detectors", "audit"},
    {"inference", "collect"},
    {"benchmark", "reward"},
    {"train", "reports", "server"},
    {"studio", "scale"},
    {"cli"},
]
"""From the ground up. What stands on one floor may import from the floors below it, and from itself, and from nothing
else: two packages of one floor that need each other share something that belongs below both."""

FLOOR = {name: height for height, names in enumerate(FLOORS) for name in names}
MODULE_NAME = re.compile(r"deeptrace(\.\w+)+(:\w+)?")
PACKAGES = sorted(path.parent for path in ROOT.rglob("__init__.py") if path.parent != ROOT)


def part_of(path: Path) -> str:
    """The first name below deeptrace: "video" of src/deeptrace/video/reader.py."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> Iterator[str]:
    """The modules that a file imports: at its top, inside its functions, and by a name in a string."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
            yield from ([f"deeptrace.{a.name}" for a in node.names] if node.module == "deeptrace" else [node.module])
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and MODULE_NAME.fullmatch(node.value):
            yield node.value.partition(":")[0]


def climbs(own: str, tree: ast.AST) -> list[str]:
    """The imports of a file in part `own` that do not go down."""
    parts = [(name, name.split(".")[1]) for name in imported(tree) if name.startswith("deeptrace.")]
    return [name for name, part in parts if part != own and part in FLOOR and FLOOR[part] >= FLOOR[own]]


def test_imports_go_down_only() -> None:
    wrong = []
    for path in sorted(ROOT.rglob("*.py")):
        if (own := part_of(path)) in FLOOR:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            wrong += [f"{path.relative_to(ROOT)} imports {name}" for name in climbs(own, tree)]
    assert not wrong


def test_imports_are_absolute() -> None:
    relative = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted(ROOT.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert not relative


def test_the_architecture_page_shows_these_floors() -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (.*?) \|", page, re.MULTILINE)
    assert {int(floor): set(re.findall(r"`(\w+)`", names)) for floor, names in rows} == dict(enumerate(FLOORS))


def test_every_part_has_a_floor() -> None:
    parts = {part_of(path) for path in ROOT.rglob("*.py")} - {"__init__", "__main__"}
    assert parts <= set(FLOOR)


@pytest.mark.parametrize(
    "line",
    [
        "from deeptrace.reward import Reward",
        "from deeptrace import reward",
        "def f():\n    from deeptrace.cli.main import main",
        "import deeptrace.server.app",
        "HOMES = {'Reward': 'deeptrace.reward.reward'}",
        "importlib.import_module('deeptrace.train.sft:run')",
    ],
)
def test_the_check_sees_an_import_that_climbs_or_crosses(line: str) -> None:
    assert climbs("benchmark", ast.parse(line))
    assert not climbs("cli", ast.parse(line)) or "cli" in line


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_all_is_sorted_and_true(package: Path) -> None:
    name = ".".join(("deeptrace", *package.relative_to(ROOT).parts))
    try:
        module = importlib.import_module(name)
    except MissingExtraError as error:
        pytest.skip(str(error))
    except ModuleNotFoundError as error:
        needs(str(error.name))
        raise
    stated = getattr(module, "__all__", [])
    # Constants first, then classes, then functions, each by the alphabet: the order ruff (RUF022) keeps.
    assert list(stated) == sorted(stated, key=lambda n: (not n.isupper(), not n[0].isupper(), n))
    assert len(set(stated)) == len(stated)
    assert [n for n in stated if not hasattr(module, n)] == []
