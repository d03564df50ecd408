"""The installed command line, run as a person runs it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.video.odd_files import Expectation, make_odd_files


@pytest.fixture(scope="session")
def command() -> str:
    """The `deeptrace` script of the environment that runs the tests."""
    beside = Path(sys.executable).with_name("deeptrace")
    found = str(beside) if beside.exists() else shutil.which("deeptrace")
    if not found:
        pytest.skip("needs the command deeptrace: make test")
    return found


@pytest.fixture
def deeptrace(command: str, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `deeptrace ARGS...` in an empty folder."""

    def run(*args: object) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "COLUMNS": "160", "OMP_NUM_THREADS": "1"}
        line = [command, *map(str, args)]
        return subprocess.run(line, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=240)

    return run


@pytest.fixture(scope="session")
def odd_folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Expectation]]:
    """More than 25 odd and broken files, each with its right answer."""
    folder = tmp_path_factory.mktemp("odd")
    return folder, make_odd_files(folder)
