from __future__ import annotations

import numpy as np
import pytest
from tests.detectors.tracenet.clips import frames_of, panning, textured

from deeptrace.detectors.tracenet.evidence import CHANNELS, GRID, EvidenceExtractor, evidence_of

EPS = 0.05
MOTION = CHANNELS[CHANNELS.index("residual") :]
RATES = ("residual", "motion", "camera_motion", "inconsistency", "divergence", "curl", "acceleration", "colour_change")


def maps_of(pictures: np.ndarray, step_s: float = 0.125) -> dict[str, np.ndarray]:
    """(T, GRID, GRID) by channel; rates come without their logarithm."""
    stacked = np.stack([evidence.maps for evidence in evidence_of(frames_of(pictures, step_s))])
    maps = {name: stacked[:, index] for index, name in enumerate(CHANNELS)}
    return maps | {name: np.exp(maps[name]) - EPS for name in RATES}


@pytest.mark.parametrize("size", [(16, 16), (80, 640), (640, 80), (256, 256), (257, 333)])
def test_maps_are_finite_and_of_one_shape_whatever_the_size(size: tuple[int, int]) -> None:
    for evidence in evidence_of(frames_of(panning(3, *size))):
        assert evidence.maps.shape == (len(CHANNELS), GRID, GRID)
        assert evidence.maps.dtype == np.float32
        assert np.isfinite(evidence.maps).all()


def test_a_still_clip_shows_no_motion_and_no_change() -> None:
    maps = maps_of(np.repeat(textured(1, 144, 192)[None], 4, axis=0))
    for name in RATES:
        assert np.abs(maps[name][2:]).max() < 1e-3, name
    assert np.abs(maps["sharpness_change"][1:]).max() < 1e-4
    assert np.abs(maps["motion_x"]).max() == np.abs(maps["motion_y"]).max() == 0.0


def test_a_patch_that_moves_is_seen_in_its_cells_and_with_its_direction() -> None:
    back, patch = textured(1, 256, 256), textured(2, 64, 64)
    pictures = np.repeat(back[None], 4, axis=0)
    for k in range(4):
        pictures[k, 96:160, 80 + 5 * k : 144 + 5 * k] = patch
    maps = maps_of(pictures)
    inside = maps["motion"][3, 13:19, 13:18]  # well inside rows 96..160, columns 95..159, 8 pixels a cell
    outside = np.concatenate([maps["motion"][3, :8].ravel(), maps["motion"][3, 24:].ravel()])
    assert inside.mean() > 10 * outside.mean()
    assert 0.5 < inside.mean() < 1.1 * 5 * 112 / 256  # the flow is read coarsely, so that edges take from it
    assert maps["motion_x"][3, 13:19, 13:18].mean() < -0.5  # it was further left before
    assert abs(maps["motion_y"][3, 13:19, 13:18].mean()) < 0.2
    assert maps["camera_motion"][3].max() < 0.2


def test_a_camera_move_is_the_cameras_and_not_the_things() -> None:
    maps = maps_of(panning(3, 256, 256, step=4.0))
    assert np.median(maps["camera_motion"][1:]) == pytest.approx(4.0 * 112 / 256, rel=0.15)
    assert np.median(maps["motion"][1:]) < 0.1 * np.median(maps["camera_motion"][1:])


def test_a_step_of_brightness_is_a_residual_of_its_height_and_no_motion() -> None:
    dark = textured(3, 256, 256)
    maps = maps_of(np.stack([dark, dark, dark + 20, dark + 20]))
    assert np.median(maps["residual"][2]) == pytest.approx(20, abs=2)
    assert maps["residual"][3].max() < 1e-3
    assert (maps["luma"][2] - maps["luma"][1]).mean() == pytest.approx(20 / 128, abs=0.02)
    assert np.median(maps["camera_motion"][2]) < 0.2
    assert np.median(maps["acceleration"][2]) == pytest.approx(20, abs=2)


def test_half_the_rate_reads_as_the_same_speed() -> None:
    pictures = panning(9, 256, 256, step=2.0)
    full, half = maps_of(pictures), maps_of(pictures[::2], 0.25)
    assert np.median(half["camera_motion"][1:]) == pytest.approx(np.median(full["camera_motion"][1:]), rel=0.1)


def test_the_first_frame_and_a_repeated_time_have_no_motion() -> None:
    extractor = EvidenceExtractor()
    first, second = frames_of(panning(2))
    begin = CHANNELS.index("residual")
    assert len(MOTION) == len(CHANNELS) - begin
    assert not extractor.feed(first).maps[begin:].any()
    assert extractor.feed(second).maps[begin:].any()
    assert not extractor.feed(second).maps[begin:].any()


def test_blurring_is_a_fall_of_sharpness() -> None:
    import cv2

    sharp = textured(4, 256, 256, 1.0)
    maps = maps_of(np.stack([sharp, sharp, cv2.GaussianBlur(sharp, (0, 0), 3)]))
    assert (maps["sharpness_change"][2] < -1).mean() > 0.95
    assert (maps["sharpness_fine"][2] < maps["sharpness_fine"][1] - 1).mean() > 0.95


def test_the_evidence_does_not_depend_on_what_was_measured_before() -> None:
    frames = frames_of(panning(4))
    list(evidence_of(frames_of(panning(3, 64, 300, seed=5))))
    again = [evidence.maps for evidence in evidence_of(frames)]
    for one, other in zip(again, evidence_of(frames), strict=True):
        np.testing.assert_array_equal(one, other.maps)
