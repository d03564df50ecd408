from __future__ import annotations

import numpy as np
import pytest

from deeptrace.errors import SettingsError
from deeptrace.schema import Category
from deeptrace.synth import AFTER, BEFORE, HARD_NEGATIVES, REGION, hard_negative, negative, positive

TIMES = np.arange(20) / 8


def one(clip: np.ndarray, kind: str, seed: int = 0, strength: float = 0.8) -> np.ndarray:
    return hard_negative(clip, TIMES, np.random.default_rng(seed), kinds=[kind], count=1, strength=strength).frames


def test_the_three_groups_are_all_there_are() -> None:
    assert sorted((*BEFORE, *AFTER, *REGION)) == sorted(HARD_NEGATIVES)
    assert len(set(HARD_NEGATIVES)) == len(BEFORE) + len(AFTER) + len(REGION)


@pytest.mark.parametrize("kind", HARD_NEGATIVES)
def test_each_changes_the_clip_the_same_way_each_time(clip: np.ndarray, kind: str) -> None:
    before = clip.tobytes()
    made = [one(clip, kind, seed) for seed in (0, 1, 2)]
    assert clip.tobytes() == before
    assert all(frames.shape == clip.shape and frames.dtype == np.uint8 for frames in made)
    assert sum(not np.array_equal(frames, clip) for frames in made) >= 2
    assert made[1].tobytes() == one(clip, kind, 1).tobytes()


@pytest.mark.parametrize("kind", REGION)
def test_region_decoys_leave_the_rest_alone(clip: np.ndarray, kind: str) -> None:
    touched = (one(clip, kind, 3) != clip).any(axis=-1)
    assert 0.001 < touched.mean() < 0.6


@pytest.mark.parametrize("kind", ["region_blur", "region_warp"])
def test_a_standing_flaw_lasts_from_first_to_last_frame(clip: np.ndarray, kind: str) -> None:
    for seed in range(4):
        touched = (one(clip, kind, seed) != clip).any(axis=(1, 2, 3))
        assert touched[0]
        assert touched[-1]
        assert touched.mean() > 0.8


def test_resampled_regions_show_what_they_showed(clip: np.ndarray) -> None:
    for seed in range(4):
        made = one(clip, "region_resample", seed)
        touched = (made != clip).any(axis=-1)
        assert np.abs(made.astype(int) - clip)[touched].mean() < 6


def test_what_comes_after_traces_moves_no_pixel(ruler: np.ndarray) -> None:
    """A bright point stays where it is."""
    marked = np.array(ruler)
    marked[:, 88:93, 98:103] = 255
    times = np.arange(len(marked)) / 8
    for kind in ("resample", "global_blur", "sharpen", "noise", "recompress"):
        made = hard_negative(marked, times, np.random.default_rng(1), kinds=[kind], count=1, strength=0.7).frames
        for frame in made[::5]:
            light = np.clip(frame[70:110, 80:120].astype(float).min(axis=-1) - 150, 0, None)
            ys, xs = np.mgrid[70:110, 80:120]
            assert (light * ys).sum() / light.sum() == pytest.approx(90, abs=0.7)
            assert (light * xs).sum() / light.sum() == pytest.approx(100, abs=0.7)


def test_unknown_kinds_and_strengths_are_named(clip: np.ndarray) -> None:
    with pytest.raises(SettingsError, match="'melt'"):
        hard_negative(clip, TIMES, np.random.default_rng(0), kinds=["melt"])
    with pytest.raises(SettingsError, match="strength"):
        hard_negative(clip, TIMES, np.random.default_rng(0), strength=2)


def test_a_positive_holds_traces_that_do_not_overlap(clip: np.ndarray) -> None:
    for seed in range(5):
        made = positive(clip, TIMES, np.random.default_rng(seed), traces=(1, 3), severity=(0.6, 0.9))
        assert 1 <= len(made.traces) == len(made.masks) == len(made.severities) <= 3
        assert np.sum(made.masks, axis=0).max() == 1
        assert all(0.6 <= severity <= 0.9 for severity in made.severities)
        again = positive(clip, TIMES, np.random.default_rng(seed), traces=(1, 3), severity=(0.6, 0.9))
        assert again.frames.tobytes() == made.frames.tobytes()
        assert again.traces == made.traces


def test_without_decoys_only_the_traces_differ(clip: np.ndarray) -> None:
    made = positive(
        clip, TIMES, np.random.default_rng(3), categories=[Category.OBJECT_DISTORTION], hard_negatives=False
    )
    assert made.hard_negatives == ()
    assert np.array_equal(made.base, clip)
    assert np.array_equal(made.frames[~made.masks[0]], clip[~made.masks[0]]) or len(made.masks) > 1
    assert {trace.categories for trace in made.traces} == {(Category.OBJECT_DISTORTION,)}


def test_a_negative_has_decoys_and_no_trace(clip: np.ndarray) -> None:
    made = [negative(clip, TIMES, np.random.default_rng(seed)) for seed in range(6)]
    assert all(one.traces == () for one in made)
    assert any(set(one.hard_negatives) & set(REGION) for one in made)
    assert np.array_equal(negative(clip, TIMES, np.random.default_rng(0), hard_negatives=False).frames, clip)
