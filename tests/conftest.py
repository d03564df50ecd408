"""Fixtures every test folder may use."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import settings

# Each of pytest's workers, and each command that it runs, has its share of the cores. With a thread a core in each,
# torch's threads wait for one another: a training of a minute took more than five.
if (workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))) > 1:
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))

# The examples of a property are the same in every run, so that a change fails for what it changed; `make properties`
# looks for new ones. Times of single examples say nothing on a machine that others use too.
settings.register_profile("deeptrace", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, derandomize=False)
settings.load_profile("deeptrace")

SHARED = Path(__file__).resolve().parents[2] / "shared"
NOT_HERE = "needs data beside the checkout that may not be redistributed; no command brings it"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of this suite."""
    parser.addoption("--renew-golden", action="store_true", help="write what commands print to tests/cli/golden")
    parser.addoption("--passed-to", metavar="FILE", help="write the names of the tests that passed to FILE")
    parser.addoption("--but-for", metavar="FILE", help="leave out the tests that FILE names")


@pytest.fixture(scope="session")
def renew_golden(request: pytest.FixtureRequest) -> bool:
    """Whether the files of `tests/cli/golden` are to be written."""
    return bool(request.config.getoption("--renew-golden"))


def pytest_report_header() -> str:
    """Whether the tests on the project's own data run."""
    return f"tests on data that may not be redistributed: {'in' if SHARED.is_dir() else 'left out, it is not here'}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name what passed, so that a fuller environment can go on with the rest."""
    if (wanted := config.getoption("--passed-to")) is not None:
        names = sorted(report.nodeid for report in terminalreporter.stats.get("passed", []))
        Path(wanted).write_text("".join(f"{json.dumps(name)}\n" for name in names), encoding="utf-8")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what has passed already, and the tests on data that nobody else can have: no command would run them.

    Slow tests get the time they need on a machine that others use too.
    """
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(1200))
    passed: set[str] = set()
    if (given := config.getoption("--but-for")) is not None:
        passed = set(map(json.loads, Path(given).read_text(encoding="utf-8").splitlines()))
    absent = [
        item
        for item in items
        if item.nodeid in passed or (not SHARED.is_dir() and "shared_dir" in getattr(item, "fixturenames", ()))
    ]
    if absent:
        config.hook.pytest_deselected(items=absent)
        left_out = set(absent)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of shared data beside the checkout; where it is absent, tests that use this are left out."""
    return SHARED


@pytest.fixture(scope="session")
def corpus_dir(shared_dir: Path) -> Path:
    """Real and generated clips with a manifest; the test is skipped where they are absent."""
    corpus = shared_dir / "corpus"
    if not (corpus / "all_data.json").is_file():
        pytest.skip(NOT_HERE)
    return corpus
