"""Fixtures every test folder may use."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

# Times of single examples say nothing on a machine that others use too.
settings.register_profile("deeptrace", deadline=None)
settings.load_profile("deeptrace")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of shared data beside the checkout; the test is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("needs the shared data folder beside the checkout")
    return SHARED


@pytest.fixture(scope="session")
def corpus_dir(shared_dir: Path) -> Path:
    """Real and generated clips with a manifest; the test is skipped where they are absent."""
    corpus = shared_dir / "corpus"
    if not (corpus / "all_data.json").is_file():
        pytest.skip("needs the corpus of real and generated clips beside the checkout")
    return corpus
