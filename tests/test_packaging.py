"""What installers and other programs read of the project is true: its name, its extras, its pins, its own files."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from deeptrace.detectors import families
from deeptrace.errors import DISTRIBUTION

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
GROUPS: dict[str, list[str]] = PROJECT["dependency-groups"]
# For machines with a GPU; nothing here can run it.
UNPINNED = {"qlora"}
PINS = {
    canonicalize_name(name): Version(version)
    for name, _, version in (line.partition("==") for line in (ROOT / "constraints.txt").read_text().splitlines())
    if version
}


def named_extras() -> Iterator[tuple[str, str]]:
    """Each extra that a message of deeptrace names, with the file that does."""
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                at = {"MissingExtraError": 1, "install_command": 0, "_check_installed": 1}.get(node.func.id)
                if at is not None and len(node.args) > at and isinstance(node.args[at], ast.Constant):
                    yield node.args[at].value, path.name  # type: ignore[attr-defined]
    for family in families().values():
        if family.extra and family.origin == "deeptrace":
            yield family.extra, "registry.py"


def test_the_name_is_one() -> None:
    assert PROJECT["project"]["name"] == DISTRIBUTION
    example = tomllib.loads((ROOT / "examples" / "third_party_detector" / "pyproject.toml").read_text(encoding="utf-8"))
    assert example["project"]["dependencies"] == [DISTRIBUTION]


def test_every_extra_that_a_message_names_exists() -> None:
    named = list(named_extras())
    assert len(named) > 15
    assert [(extra, where) for extra, where in named if extra not in EXTRAS] == []


def test_nothing_tells_people_to_install_somebody_elses_package() -> None:
    wrong = re.compile(r"pip install\b[^\n]*[ '\"]deeptrace(\[|['\" ]|$)", re.MULTILINE)
    tracked = subprocess.run(
        ["git", "ls-files", "--", "*.py", "*.md", "*.toml", "*.yml", "Makefile"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    paths = tracked.stdout.split()
    if not paths:
        pytest.skip("needs a git checkout: git clone, then make test")
    found = [path for path in paths if wrong.search((ROOT / path).read_text(encoding="utf-8"))]
    assert found == []
    theirs = "deeptrace"
    assert wrong.search(f"pip install '{theirs}[hf]'")
    assert not wrong.search(f"pip install '{DISTRIBUTION}[hf]'")


@pytest.mark.parametrize("name", ["", *sorted(set(EXTRAS) - UNPINNED), *(f"group {group}" for group in GROUPS)])
def test_the_pins_fit(name: str) -> None:
    group = GROUPS.get(name.removeprefix("group "))
    wanted = [Requirement(line) for line in group or EXTRAS.get(name) or PROJECT["project"]["dependencies"]]
    pins = {need.name: PINS.get(canonicalize_name(need.name)) for need in wanted}
    assert [need.name for need in wanted if (pin := pins[need.name]) is None or pin not in need.specifier] == []


def test_the_pins_name_no_registry() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"#.*|[A-Za-z0-9._-]+==[0-9A-Za-z.]+", line)] == []
    assert not [path for path in ("uv.lock", "pylock.toml") if (ROOT / path).exists()]


def test_notebooks_are_kept_without_outputs() -> None:
    notebooks = sorted((ROOT / "docs").rglob("*.ipynb"))
    assert len(notebooks) >= 2
    for path in notebooks:
        cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
        assert [cell for cell in cells if cell["outputs"] or cell["execution_count"] is not None] == [], path.name


def test_the_citation_is_of_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == PROJECT["project"]["version"]
    assert cited["license"] == PROJECT["project"]["license"]
    assert cited["authors"]


def test_the_workflow_runs_what_the_project_says_it_supports() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    ran = workflow["jobs"]["readme"]["strategy"]["matrix"]["python"]
    stated = [line.rpartition(" ")[2] for line in PROJECT["project"]["classifiers"] if "Python :: 3." in line]
    assert ran == stated
    assert Version(ran[0]) in Requirement(f"python{PROJECT['project']['requires-python']}").specifier
    for form in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        yaml.safe_load(form.read_text(encoding="utf-8"))
