"""Fixtures every test folder may use."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

# Times of single examples say nothing on a machine that others use too.
settings.register_profile("deeptrace", deadline=None)
settings.load_profile("deeptrace")

SHARED = Path(__file__).resolve().parents[2] / "shared"
NOT_HERE = "needs data beside the checkout that may not be redistributed; no command brings it"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option that renews what tests of the command line compare with."""
    parser.addoption("--renew-golden", action="store_true", help="write what commands print to tests/cli/golden")


@pytest.fixture(scope="session")
def renew_golden(request: pytest.FixtureRequest) -> bool:
    """Whether the files of `tests/cli/golden` are to be written."""
    return bool(request.config.getoption("--renew-golden"))


def pytest_report_header() -> str:
    """Whether the tests on the project's own data run."""
    return f"tests on data that may not be redistributed: {'in' if SHARED.is_dir() else 'left out, it is not here'}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests on data that nobody else can have: no command would run them."""
    if not SHARED.is_dir():
        absent = [item for item in items if "shared_dir" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=absent)
        items[:] = [item for item in items if item not in absent]


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
