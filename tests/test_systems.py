"""docs/systems.md says of every neighbouring system what works here, and what it names exists."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import click
import pytest
import typer

from deeptrace.benchmark.robustness.changes import PARTS
from deeptrace.cli.main import app
from deeptrace.detectors.baselines.recipes import RECIPES
from deeptrace.detectors.baselines.untrained import UNTRAINED

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "systems.md").read_text(encoding="utf-8")
SHARED = ROOT.parent / "shared" / "spec" / "systems.md"
QUOTED = re.findall(r"`([^`]+)`", PAGE)
ROWS = [line.split("|")[1:3] for line in PAGE.splitlines() if line.startswith("|") and not line.startswith("|---")]


def command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that words name, and what is left of them."""
    found: click.Command = typer.main.get_command(app)
    while words and words[0] in getattr(found, "commands", {}):
        found, words = found.commands[words[0]], words[1:]  # type: ignore[attr-defined]
    return found, words


@pytest.mark.parametrize("quoted", sorted({one for one in QUOTED if one.startswith("deeptrace ")}))
def test_every_command_and_option_exists(quoted: str) -> None:
    command, rest = command_of(quoted.split()[1:])
    assert not hasattr(command, "commands"), f"{quoted}: no such command"
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert set(rest) <= options


@pytest.mark.parametrize("quoted", sorted({one for one in QUOTED if not one.startswith("deeptrace ")}))
def test_everything_else_that_is_named_exists(quoted: str) -> None:
    if quoted.startswith("deeptrace."):
        assert importlib.util.find_spec(quoted) is not None
    elif "/" in quoted:
        assert (ROOT / quoted).is_file()
    else:
        name = quoted.removeprefix("baseline:")
        assert name in RECIPES or name in PARTS or (quoted.startswith("baseline:") and name in UNTRAINED)


def test_every_baseline_that_learns_is_on_the_page_or_in_the_other_table() -> None:
    other = (ROOT / "docs" / "detectors.md").read_text(encoding="utf-8")
    assert all(f"| `{name}`" in other for name in RECIPES)


def test_every_row_says_something() -> None:
    assert len(ROWS) > 40
    assert all(system.strip() and here.strip() for system, here in ROWS)


def test_linked_pages_exist() -> None:
    for link in re.findall(r"\]\(([^)#]+\.md)", PAGE):
        assert (ROOT / "docs" / link).is_file()


@pytest.mark.skipif(not SHARED.is_file(), reason="needs the list beside the checkout")
def test_every_system_of_the_list_is_named() -> None:
    listed = [line.split("|")[1] for line in SHARED.read_text(encoding="utf-8").splitlines() if line.startswith("| ")][
        1:
    ]
    names = [part.strip() for row in listed for part in re.split(r",| / ", re.sub(r"\([^)]*\)", "", row))]
    page = PAGE.lower()
    assert len(names) > 46
    assert not [name for name in names if name.lower() not in page]
