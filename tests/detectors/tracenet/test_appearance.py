from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.detectors.tracenet.clips import panning, textured

from deeptrace.detectors.tracenet import appearance
from deeptrace.detectors.tracenet.appearance import (
    BACKBONE_NAME,
    DIMENSIONS,
    SIDE,
    appearance_statistics,
    shipped_folder,
)
from deeptrace.detectors.tracenet.texture import central_square
from deeptrace.errors import ModelError


def test_statistics_are_finite_and_the_same_again() -> None:
    frames = list(panning(6, 256, 320))
    first, again = appearance_statistics(frames), appearance_statistics(frames)
    assert first.shape == (DIMENSIONS,)
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, again)


def test_only_the_central_square_counts() -> None:
    frames = panning(6, 256, 400)
    assert central_square(frames[0]).shape == (SIDE, SIDE, 3)
    other = frames.copy()
    edge = (400 - SIDE) // 2
    other[:, :, :edge] = textured(5, 256, edge)
    np.testing.assert_array_equal(appearance_statistics(list(other)), appearance_statistics(list(frames)))


def test_two_moments_are_looked_at() -> None:
    frames = panning(24, 256, 256)
    changed = frames.copy()
    changed[4] = textured(9, 256, 256)
    ignored = frames.copy()
    ignored[10] = textured(9, 256, 256)
    wanted = appearance_statistics(list(frames))
    assert np.abs(appearance_statistics(list(changed)) - wanted).max() > 0.01
    np.testing.assert_array_equal(appearance_statistics(list(ignored)), wanted)


def test_the_net_and_its_licence_are_shipped_together() -> None:
    assert (shipped_folder() / BACKBONE_NAME).stat().st_size < 4 * 2**20
    assert "Apache License, Version 2.0" in (shipped_folder() / "NOTICE").read_text()


@pytest.mark.parametrize("content", [None, b"not a network"])
def test_a_missing_or_damaged_net_is_named(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if content is not None:
        (tmp_path / BACKBONE_NAME).write_bytes(content)
    monkeypatch.setattr(appearance, "shipped_folder", lambda: tmp_path)
    appearance._backbone.cache_clear()
    try:
        with pytest.raises(ModelError, match=BACKBONE_NAME):
            appearance_statistics(list(panning(4, 256, 256)))
    finally:
        appearance._backbone.cache_clear()
