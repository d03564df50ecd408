"""The shipped weights were trained on these very numbers: whatever is made faster must give them again.

The reference holds what was measured of `clip` when the training began, every fourth cell of the evidence; the clip is
made of whole numbers only, so that it is the same everywhere.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.detectors.tracenet.clips import frames_of

from deeptrace.detectors.tracenet.evidence import evidence_of
from deeptrace.detectors.tracenet.texture import texture_statistics

REFERENCE = Path(__file__).with_name("reference.npz")


def clip() -> np.ndarray:
    """(6, 256, 320, 3) uint8: a wall that moves by whole pixels, a patch that moves otherwise, and grain."""
    rng = np.random.default_rng(7)
    coarse = rng.integers(40, 200, (40, 60, 3))
    wall = np.kron(coarse, np.ones((8, 8, 1), np.int64))
    for axis in (0, 1):
        wall = sum(np.roll(wall, k, axis) for k in range(-4, 5)) // 9
    frames = []
    for k in range(6):
        picture = wall[k : k + 256, 3 * k : 3 * k + 320].copy()
        picture[96:176, 60 + 7 * k : 160 + 7 * k] = wall[100:180, 300:400] + 15
        frames.append(np.clip(picture + rng.integers(-3, 4, picture.shape), 0, 255).astype(np.uint8))
    return np.stack(frames)


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    with np.load(REFERENCE) as data:
        return {name: data[name] for name in data.files}


def tolerance(reference: dict[str, np.ndarray]) -> float:
    """Other releases of OpenCV interpolate a little differently."""
    same = cv2.__version__.split(".")[0] == str(reference["opencv"]).split(".")[0]
    return 1e-4 if same else 5e-2


def test_the_evidence_is_what_the_weights_were_trained_on(reference: dict[str, np.ndarray]) -> None:
    maps = np.stack([evidence.maps for evidence in evidence_of(frames_of(clip()))])[:, :, 2::4, 2::4]
    np.testing.assert_allclose(maps, reference["evidence"], rtol=0, atol=tolerance(reference))


def test_the_texture_is_what_the_weights_were_trained_on(reference: dict[str, np.ndarray]) -> None:
    statistics = texture_statistics(list(clip()))
    np.testing.assert_allclose(statistics, reference["texture"], rtol=0, atol=tolerance(reference))
