from __future__ import annotations

import numpy as np
import pytest
from tests.detectors.tracenet.clips import flickering, panning

from deeptrace.detectors.tracenet.texture import MIN_FRAMES, texture_names, texture_statistics


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    return panning(6, 256, 300, seed=3)


def blocks_of(statistics: np.ndarray) -> dict[str, np.ndarray]:
    """The statistics by block."""
    names = [name.rpartition(".")[0] for name in texture_names()]
    assert len(names) == len(statistics)
    return {name: statistics[[other == name for other in names]] for name in dict.fromkeys(names)}


def test_the_same_frames_give_the_same_numbers(clip: np.ndarray) -> None:
    np.testing.assert_array_equal(texture_statistics(list(clip)), texture_statistics(list(clip.copy())))


def test_frequencies_sum_to_one_before_their_roots(clip: np.ndarray) -> None:
    for name, block in blocks_of(texture_statistics(list(clip))).items():
        shares = block.astype(np.float64) ** 2
        if name.endswith(("_in_time", "_carried")):  # a code and its negative share one place, with their mean
            assert 2 * shares.sum() - shares[-1] == pytest.approx(1.0, abs=1e-5), name
        else:
            assert shares.sum() == pytest.approx(1.0, abs=1e-5), name


@pytest.mark.parametrize("shape", [(4, 256, 256), (9, 256, 454), (24, 454, 256), (5, 256, 256)])
def test_there_are_as_many_numbers_whatever_the_size_and_length(shape: tuple[int, int, int]) -> None:
    statistics = texture_statistics(list(panning(*shape)))
    assert statistics.shape == (len(texture_names()),)
    assert statistics.dtype == np.float32
    assert np.isfinite(statistics).all()


def test_names_are_unique() -> None:
    assert len(set(texture_names())) == len(texture_names())


def test_too_few_frames_are_refused(clip: np.ndarray) -> None:
    with pytest.raises(ValueError, match=f"at least {MIN_FRAMES} frames but got {MIN_FRAMES - 1}"):
        texture_statistics(list(clip[: MIN_FRAMES - 1]))


def test_only_the_middle_of_the_picture_is_read(clip: np.ndarray) -> None:
    framed = clip.copy()
    framed[:, :16] = framed[:, -16:] = 255
    framed[:, :, :36] = framed[:, :, -36:] = 0
    np.testing.assert_array_equal(texture_statistics(list(framed)), texture_statistics(list(clip)))


def test_a_still_clip_is_certain_in_time(clip: np.ndarray) -> None:
    blocks = blocks_of(texture_statistics([clip[0]] * 5))
    for name in ("step", "step_change", "step_fine", "unexplained", "red_step", "blue_unexplained"):
        assert blocks[name].max() == pytest.approx(1.0), name
        assert (blocks[name] > 0).sum() == 1


def test_flicker_is_seen_between_frames_and_not_within_them(clip: np.ndarray) -> None:
    calm = blocks_of(texture_statistics(list(clip)))
    wild = blocks_of(texture_statistics(list(flickering(clip, slice(64, 192), slice(80, 208), slice(0, 6)))))
    moved = {name: float(np.linalg.norm(wild[name] - calm[name])) for name in calm}
    assert moved["unexplained"] > 0.3
    assert moved["unexplained"] > 3 * moved["first_1_1"]
