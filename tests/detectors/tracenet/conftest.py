"""Fixtures for the tests of TraceNet."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.detectors.tracenet.clips import make_model


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See `make_model`."""
    return make_model(tmp_path_factory.mktemp("model"))
