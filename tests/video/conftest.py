"""Clips for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.video.odd_files import Expectation, make_odd_files


@pytest.fixture(scope="session")
def odd_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Expectation]]:
    """A folder of odd files and what each must give."""
    folder = tmp_path_factory.mktemp("odd")
    return folder, make_odd_files(folder)
