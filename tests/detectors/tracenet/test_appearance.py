from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tests.detectors.tracenet.clips import panning, textured, write_encoder

from deeptrace.detectors.tracenet import appearance
from deeptrace.detectors.tracenet.appearance import (
    BACKBONE_NAME,
    DIMENSIONS,
    SIDE,
    VIEWS,
    AppearanceNet,
    EncoderFacts,
    close_up,
    shipped_appearance,
    shipped_folder,
)
from deeptrace.detectors.tracenet.texture import central_square
from deeptrace.errors import ModelError


def test_statistics_are_finite_and_the_same_again() -> None:
    frames = list(panning(6, 256, 320))
    first, again = shipped_appearance()(frames), shipped_appearance()(frames)
    assert first.shape == (DIMENSIONS,)
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, again)


def test_the_middle_comes_first_and_the_whole_picture_after_it() -> None:
    frames = panning(6, 256, 400)
    assert central_square(frames[0]).shape == (SIDE, SIDE, 3)
    other = frames.copy()
    edge = (400 - SIDE) // 2
    other[:, :, :edge] = textured(5, 256, edge)
    was, now = shipped_appearance()(list(frames)), shipped_appearance()(list(other))
    (middle, whole, close), (other_middle, other_whole, _) = np.split(was, VIEWS), np.split(now, VIEWS)
    np.testing.assert_array_equal(other_middle, middle)
    np.testing.assert_array_equal(middle, shipped_appearance().of_middle(list(frames)))
    np.testing.assert_array_equal(close, middle)  # what stands for close looks where there are none
    assert np.abs(other_whole - whole).max() > 0.01


def test_close_looks_come_last_and_one_counts_as_two() -> None:
    frames, cut = list(panning(6, 256, 400)), textured(3, SIDE, SIDE)
    once, twice = (shipped_appearance()(frames, cuts) for cuts in ([cut], [cut, cut, textured(4, SIDE, SIDE)]))
    np.testing.assert_array_equal(once, twice)
    plain = shipped_appearance()(frames)
    np.testing.assert_array_equal(once[: 2 * DIMENSIONS // VIEWS], plain[: 2 * DIMENSIONS // VIEWS])
    assert np.abs(once - plain).max() > 0.01


@pytest.mark.parametrize("at", [(0, 0), (500, 900), (130, 333)])
def test_a_close_look_is_where_most_changes(at: tuple[int, int]) -> None:
    picture = textured(7, 720, 1280)
    small = cv2.resize(picture, (456, 256), interpolation=cv2.INTER_AREA)
    following = picture.copy()
    y, x = at[0] + SIDE // 2, at[1] + SIDE // 2
    following[y - 60 : y + 60, x - 60 : x + 60] ^= 255
    then = cv2.resize(following, (456, 256), interpolation=cv2.INTER_AREA)
    cut = close_up(picture, np.asarray(small), np.asarray(then))
    assert cut.shape == (SIDE, SIDE, 3)
    (top, left) = place_of(cut, picture)
    assert top - 4 <= y - 60
    assert y + 60 <= top + SIDE + 4
    assert left - 4 <= x - 60
    assert x + 60 <= left + SIDE + 4


def test_a_close_look_at_what_stands_still_is_at_the_middle() -> None:
    picture = textured(7, 400, 600)
    small = np.asarray(cv2.resize(picture, (384, 256), interpolation=cv2.INTER_AREA))
    cut = close_up(picture, small, small)
    assert place_of(cut, picture) == pytest.approx(((400 - SIDE) / 2, (600 - SIDE) / 2), abs=3)


def place_of(cut: np.ndarray, picture: np.ndarray) -> tuple[int, int]:
    """Row and column at which `cut` was cut out of a picture, at the picture's own size."""
    starts = np.argwhere((picture[: -SIDE + 1, : -SIDE + 1] == cut[0, 0]).all(axis=-1))
    (found,) = [p for p in starts if np.array_equal(picture[p[0] : p[0] + SIDE, p[1] : p[1] + SIDE], cut)]
    return int(found[0]), int(found[1])


def test_two_moments_are_looked_at() -> None:
    frames = panning(24, 256, 256)
    changed = frames.copy()
    changed[4] = textured(9, 256, 256)
    ignored = frames.copy()
    ignored[10] = textured(9, 256, 256)
    wanted = shipped_appearance()(list(frames))
    assert np.abs(shipped_appearance()(list(changed)) - wanted).max() > 0.01
    np.testing.assert_array_equal(shipped_appearance()(list(ignored)), wanted)


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
    shipped_appearance.cache_clear()
    try:
        with pytest.raises(ModelError, match=BACKBONE_NAME) as caught:
            shipped_appearance()
        assert "Reinstall deeptrace." in str(caught.value)
    finally:
        shipped_appearance.cache_clear()


# -- encoders of one's own ---------------------------------------------------------------------------------------------


def reference(frames: np.ndarray, side: int, mean: float, std: float) -> np.ndarray:
    """Mean of red, green and blue of the two squares, and of the whole pictures, after normalisation."""
    wholes = [frames[at] for at in (round((len(frames) - 2) * share) for share in (0.2, 0.8))]
    middles = [central_square(whole) for whole in wholes]
    both = [[view.mean(axis=(0, 1)) for view in views] for views in (middles, wholes, middles)]
    return (np.mean(both, axis=1).ravel() / 255 - mean) / std  # resizing by area keeps means


@pytest.mark.parametrize("batch", ["n", 2, 1])
@pytest.mark.parametrize("output", ["map", "tokens", "vector"])
def test_encoders_of_every_shape_are_read(batch: int | str, output: str, tmp_path: Path) -> None:
    path = write_encoder(tmp_path / "encoder.onnx", batch=batch, output=output)
    net = AppearanceNet(path, EncoderFacts(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)))
    frames = panning(24, 256, 320)
    assert net.dimensions == 3 * VIEWS
    np.testing.assert_allclose(net(list(frames)), reference(frames, 54, 0.5, 0.25), atol=0.01)


def test_an_encoder_of_bytes_and_free_size_is_read(tmp_path: Path) -> None:
    path = write_encoder(tmp_path / "bytes.onnx", batch="n", output="map", side="s", of_bytes=True)
    frames = panning(24, 256, 320)
    said = AppearanceNet(path)(list(frames))
    np.testing.assert_allclose(said, reference(frames, 224, 0.0, 1.0) * 255, atol=2.0)


def test_the_file_is_the_one_that_its_card_describes(tmp_path: Path) -> None:
    path = write_encoder(tmp_path / "encoder.onnx")
    with pytest.raises(ModelError, match="not the one that its card describes"):
        AppearanceNet(path, EncoderFacts(sha256="0" * 64))


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"channels": 1}, "three colours"),
        ({"batch": 7}, "1 or 2 at a time"),
        ({"wide": 60}, "square pictures"),
        ({"second_input": True}, "expected one input"),
    ],
)
def test_what_is_no_image_encoder_is_refused_by_name(changes: dict[str, Any], wanted: str, tmp_path: Path) -> None:
    path = write_encoder(tmp_path / "encoder.onnx", **changes)
    with pytest.raises(ModelError, match=wanted) as caught:
        AppearanceNet(path)
    assert "encoder.onnx" in str(caught.value)


def test_an_encoder_that_says_no_number_is_refused(tmp_path: Path) -> None:
    path = write_encoder(tmp_path / "encoder.onnx")
    net = AppearanceNet(path, EncoderFacts(std=(0.0, 1.0, 1.0)))
    with pytest.raises(ModelError, match="no number"), np.errstate(divide="ignore", invalid="ignore"):
        net(list(panning(4, 256, 256)))
