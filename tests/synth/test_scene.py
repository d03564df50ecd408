from __future__ import annotations

import cv2
import numpy as np
import pytest
from tests.synth.conftest import texture

from deeptrace.synth.affine import about, apply, fit_similarity, invert, then
from deeptrace.synth.canvas import Stage
from deeptrace.synth.grain import Grain
from deeptrace.synth.inpainting import Backfill, push_pull
from deeptrace.synth.regions import Region, choose_region, follow, held
from deeptrace.synth.scene import Scene, Shot, find_shots
from deeptrace.synth.timing import Span

TIMES = np.arange(20) / 8
Disc = tuple[np.ndarray, np.ndarray, np.ndarray]


def disc_region(scene: Scene, centers: np.ndarray, anchor: int, radius: float = 20.0) -> Region:
    height, width = scene.gray[0].shape
    ys, xs = np.mgrid[0:height, 0:width]
    cx, cy = centers[anchor] * scene.scale
    mask = np.clip(radius * scene.scale + 0.5 - np.hypot(xs - cx, ys - cy), 0, 1).astype(np.float32)
    y, x = np.nonzero(mask > 0.5)
    bounds = (float(x.min()), float(y.min()), float(x.max() + 1), float(y.max() + 1))
    return Region(mask, anchor, follow(scene, mask, anchor, Shot(0, len(scene.times_s))), bounds)


def test_a_cut_is_found_and_motion_is_none(clip: np.ndarray) -> None:
    assert find_shots(clip) == [Shot(0, 20)]
    other = np.stack([texture(9, 128, 160)] * 8)
    assert find_shots(np.concatenate([clip[:7], other])) == [Shot(0, 7), Shot(7, 15)]


def test_the_cameras_motion_is_measured(clip: np.ndarray) -> None:
    scene = Scene.of(clip, TIMES)
    shifts = np.array([m[:, 2] for m in scene.camera])
    assert np.median(shifts, axis=0) == pytest.approx([-0.6, -0.3], abs=0.1)


def test_bars_are_no_picture(clip: np.ndarray) -> None:
    barred = np.array(clip)
    barred[:, :20] = 0
    barred[:, -20:] = 3
    picture = Scene.of(barred, TIMES).picture
    assert not picture[:19].any()
    assert not picture[-19:].any()
    assert picture[30:90].all()


def test_the_similarity_of_a_flow_is_found_among_outliers() -> None:
    rng = np.random.default_rng(0)
    truth = about((40, 30), turn=0.05, zoom=1.03, shift=(1.5, -2.0))
    points = rng.uniform(0, 100, (300, 2))
    flow = apply(truth, points) - points
    flow[:60] += rng.uniform(-20, 20, (60, 2))
    assert fit_similarity(points, flow) == pytest.approx(truth, abs=0.02)
    assert then(truth, invert(truth)) == pytest.approx(np.eye(3)[:2], abs=1e-9)


def test_a_region_follows_its_thing(disc: Disc) -> None:
    frames, _, centers = disc
    scene = Scene.of(frames, TIMES)
    for anchor in (2, 10):
        region = disc_region(scene, centers, anchor)
        for index in range(20):
            seen = np.array(region.center_at(index)) / scene.scale
            assert np.hypot(*(seen - centers[index])) < 5.0


def test_a_thing_that_goes_is_not_held(clip: np.ndarray) -> None:
    frames = np.array(clip)
    frames[12:] = texture(33, 128, 160)
    scene = Scene.of(frames, TIMES)
    mask = np.zeros(scene.gray[0].shape, np.float32)
    mask[40:80, 40:80] = 1
    region = Region(mask, 5, follow(scene, mask, 5, Shot(0, 20)), (40.0, 40.0, 80.0, 80.0))
    assert held(scene, region, 0, 20)[1] == 12


@pytest.mark.parametrize("want", ["moving", "still", "any"])
def test_regions_are_soft_connected_and_of_the_size_asked(clip: np.ndarray, want: str) -> None:
    scene = Scene.of(clip, TIMES)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        region = choose_region(scene, Shot(0, 20), 8, want, rng, area=0.1, feather=2.0)  # type: ignore[arg-type]
        assert region is not None
        assert region.mask.min() == 0.0
        assert region.mask.max() <= 1.0
        core = (region.mask > 0.5).astype(np.uint8)
        assert 0.03 < core.mean() < 0.2
        _, _, stats, _ = cv2.connectedComponentsWithStats(core)
        assert stats[1:, cv2.CC_STAT_AREA].max() > 0.9 * core.sum()


def test_moving_regions_are_on_what_moves(disc: Disc) -> None:
    frames, _, centers = disc
    scene = Scene.of(frames, TIMES)
    hits = 0
    for seed in range(10):
        region = choose_region(scene, Shot(0, 20), 8, "moving", np.random.default_rng(seed), area=0.06)
        assert region is not None
        hits += np.hypot(*(np.array(region.center_at(8)) / scene.scale - centers[8])) < 18
    assert hits >= 8


def test_push_pull_keeps_what_is_known_and_fills_smoothly() -> None:
    ramp = np.repeat(np.linspace(0, 200, 64, dtype=np.float32)[None, :, None], 48, axis=0).repeat(3, axis=2)
    known = np.ones((48, 64), np.float32)
    known[15:33, 20:44] = 0
    filled = push_pull(ramp * known[..., None], known)
    assert np.array_equal(filled[known == 1], ramp[known == 1])
    assert np.abs(filled - ramp).max() < 25


def test_the_background_comes_from_frames_that_show_it(disc: Disc) -> None:
    frames, empty, centers = disc
    scene = Scene.of(frames, TIMES)
    rng = np.random.default_rng(0)
    span = Span.whole(scene, Shot(0, 20))
    stage = Stage(scene, span, disc_region(scene, centers, 10), rng, Grain(frames, rng))
    fill = Backfill(stage)
    for index in (5, 10, 14):
        crop = fill.crop(index)
        assert crop is not None
        hole = fill.alpha(index, crop) > 0.5
        truth = empty[index][crop.slices].astype(float)
        gap = np.abs(fill.at(index, crop) - truth)[hole].mean()
        assert gap < 0.35 * np.abs(frames[index][crop.slices] - truth)[hole].mean()


def test_grain_measures_and_makes_noise() -> None:
    rng = np.random.default_rng(0)
    flat = np.full((4, 96, 96, 3), 120.0) + 4.0 * rng.standard_normal((4, 96, 96, 1))
    grain = Grain(np.rint(flat).astype(np.uint8), rng)
    assert grain.sigma == pytest.approx(4.0, rel=0.2)
    assert grain.like((200, 220, 3), 0.5).std() == pytest.approx(0.5 * grain.sigma, rel=0.05)
    assert Grain(np.full((2, 64, 64, 3), 80, np.uint8), rng).sigma == 0.0
