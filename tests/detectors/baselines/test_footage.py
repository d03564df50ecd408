"""What baselines are shown, and what they measure, on clips of known motion and known pixels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from deeptrace.detectors.baselines.footage import Footage, encoded_again, read_footage
from deeptrace.detectors.baselines.measures import MEASURES, measure
from deeptrace.errors import UndecidableError
from deeptrace.video import open_video, video_from_array, write_video

SIDE = 256


def scene(height: int, width: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((height, width, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    return np.clip(128 + 45 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def pan(across: int, down: int = 0, count: int = 12, seed: int = 0) -> np.ndarray:
    """Frames (count, SIDE, SIDE, 3) whose content moves by `across` and `down` pixels a frame."""
    room = count * max(abs(across), abs(down))
    wall = scene(SIDE + 2 * room, SIDE + 2 * room, seed)
    tops = [(room - down * k, room - across * k) for k in range(count)]
    return np.stack([wall[top : top + SIDE, left : left + SIDE] for top, left in tops])


@pytest.fixture(scope="module")
def right() -> Footage:
    return read_footage(video_from_array(pan(4), fps=8.0))


def test_frames_are_the_central_square_at_one_size(right: Footage) -> None:
    assert right.frames.shape == (12, 216, 216, 3)
    frame = pan(4)[5].astype(float)
    # in brightness: the encoding halves the colours' resolution
    away = [np.abs((right.frames[5] - frame[a : a + 216, a : a + 216]).mean(axis=2)).mean() for a in (20, 16, 24)]
    assert away[0] < 5.0
    assert away[0] < min(away[1:]) / 2


@pytest.mark.parametrize(("across", "down"), [(4, 0), (-4, 0), (0, 4), (3, -2)])
def test_the_codecs_vectors_and_the_flow_are_the_motion(across: int, down: int) -> None:
    footage = read_footage(video_from_array(pan(across, down), fps=8.0))
    found = np.concatenate(footage.vectors[2:])
    assert np.median(found[:, 2:4], axis=0) == pytest.approx([across, down], abs=0.5)
    inner = footage.flows[2:, 20:-20, 20:-20].reshape(-1, 2) * 216 / 112
    assert np.median(inner, axis=0) == pytest.approx([across, down], abs=0.5)


def test_the_same_pictures_in_any_file_are_measured_alike(tmp_path, right: Footage) -> None:  # type: ignore[no-untyped-def]
    """Codec and container leave little; what a file is called or made with leaves nothing."""
    write_video(tmp_path / "a.mp4", iter(pan(4)), fps=8.0, crf=12)
    write_video(tmp_path / "b.mkv", iter(pan(4)), fps=8.0, crf=12, codec="libx265")
    vectors = [right]
    for name in ("a.mp4", "b.mkv"):
        with open_video(tmp_path / name) as video:
            vectors.append(read_footage(video))
    a, b, c = (MEASURES["relations"](one) for one in vectors)
    other = MEASURES["relations"](
        read_footage(video_from_array(pan(4).repeat(2, 1).repeat(2, 2)[:, :SIDE, :SIDE], fps=8.0))
    )
    assert max(np.abs(a - b).max(), np.abs(a - c).max()) < np.abs(a - other).max() / 2


def test_too_few_frames_cannot_be_told() -> None:
    with pytest.raises(UndecidableError, match="only 3 frames"):
        read_footage(video_from_array(pan(4, count=3), fps=8.0))


def test_every_measure_is_finite_and_of_one_shape(right: Footage) -> None:
    still = read_footage(video_from_array(np.full((4, 64, 64, 3), 128, np.uint8), fps=8.0))
    for name in MEASURES:
        one, other = (measure(footage, (name,))[name] for footage in (right, still))
        assert np.isfinite(one).all(), name
        assert np.isfinite(other).all(), name
        assert one.shape[1:] == other.shape[1:], name


def test_relations_of_doubled_pixels_are_nothing() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (4, 108, 108, 3), np.uint8)
    doubled = noise.repeat(2, axis=1).repeat(2, axis=2)
    footage = Footage(doubled, (np.zeros((0, 5)),) * 4, np.ones(4), np.arange(4.0))
    fresh = Footage(
        np.random.default_rng(1).integers(0, 256, doubled.shape, np.uint8), footage.vectors, *[np.ones(4)] * 2
    )
    whole, none = (MEASURES["local_relations"](one) for one in (footage, fresh))
    assert whole.max(axis=1) == pytest.approx(1.0)  # every cell in one class: no difference anywhere
    assert none.max(axis=1).max() < 0.9


def test_texture_contrast_sees_what_only_poor_regions_have() -> None:
    """Noise in flat regions alone, as a generator without a sensor's noise lacks, changes the contrast."""
    picture = np.full((4, 216, 216, 3), 120, np.uint8)
    picture[:, :, 108:] = scene(216, 108)
    grain = np.random.default_rng(0).integers(-2, 3, picture.shape)
    grain[:, :, 108:] = 0
    plain, grainy = (
        MEASURES["patches"](Footage(one.astype(np.uint8), (np.zeros((0, 5)),) * 4, np.ones(4), np.arange(4.0)))
        for one in (picture, picture + grain)
    )
    assert np.abs(plain - grainy).max() > 0.1


def test_one_rigid_plane_is_told_from_things_that_move_apart() -> None:
    apart = pan(4)
    apart[:, 128:] = pan(-5, seed=3)[:, 128:]
    flat, torn = (MEASURES["geometry"](read_footage(video_from_array(one, fps=8.0)))[0] for one in (pan(4), apart))
    assert flat > 0.9
    assert torn < 0.75


def test_even_motion_is_foreseen_and_uneven_is_not() -> None:
    uneven = pan(1, count=24)[np.cumsum([0, 1, 6, 1, 1, 5, 1, 0, 4, 1])]
    even = pan(2, count=10)
    error = [MEASURES["prediction"](read_footage(video_from_array(one, fps=8.0)))[10] for one in (even, uneven)]
    assert error[0] < error[1]


def test_encoding_again_loses_more_at_a_lower_quality() -> None:
    pictures = [scene(96, 96, seed) for seed in range(4)]
    errors = [np.abs(encoded_again(pictures, crf)[0].astype(float) - np.stack(pictures)).mean() for crf in (18, 40)]
    assert errors[0] < errors[1] / 2
