from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch (pip install 'deeptrace[train]')")

from deeptrace.detectors.tracenet.appearance import DIMENSIONS  # noqa: E402
from deeptrace.detectors.tracenet.evidence import CHANNELS, GRID  # noqa: E402
from deeptrace.detectors.tracenet.texture import texture_names  # noqa: E402
from deeptrace.geometry import Box  # noqa: E402
from deeptrace.trace import Category, Trace  # noqa: E402
from deeptrace.train.tracenet.batches import PLANTED, Batches, target_heat  # noqa: E402
from deeptrace.train.tracenet.clips import Clip, Kind  # noqa: E402
from deeptrace.train.tracenet.config import TraceNetConfig  # noqa: E402
from deeptrace.train.tracenet.measure import coverage  # noqa: E402

FRAMES = 20
BOX = Box(x0=6 / GRID, y0=10 / GRID, x1=18 / GRID, y1=24 / GRID)
RESIDUAL, MOTION_X = CHANNELS.index("residual"), CHANNELS.index("motion_x")
TRACE = Trace(categories=(Category.OBJECT_MERGING,), box=BOX, onset_s=0.0, offset_s=9.0, score=1.0, explanation="x")


def evidence() -> np.ndarray:
    """(FRAMES, channels, GRID, GRID): a residual of 6 in BOX, luma and motion that point to the right."""
    maps = np.random.default_rng(0).normal(0, 0.05, (FRAMES, len(CHANNELS), GRID, GRID))
    maps[:, RESIDUAL] += 6 * coverage(BOX)
    maps[:, 0] += np.linspace(-0.5, 0.5, GRID)
    maps[:, MOTION_X] += 2.0
    return maps.astype(np.float16)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TraceNetConfig:
    root = tmp_path_factory.mktemp("batches")
    return TraceNetConfig(data=root, out=root, variants=2, planted_variants=1, frames=8)


@pytest.fixture(scope="module")
def clips(config: TraceNetConfig) -> list[Clip]:
    """Clips of every kind with what was measured of them, written as `measure` writes it."""
    folder = config.out / "measured"
    folder.mkdir()
    times = np.arange(FRAMES) / 8
    clips = []
    for kind, name in ((Kind.GENERATED, "g1"), (Kind.GENERATED, "g2"), (Kind.REAL, "r1"), (Kind.EDITED, "e1")):
        clips.append(Clip(name, Path(name), kind, name, "", (TRACE,) if kind is Kind.GENERATED else ()))
        traits = {
            "texture": np.zeros((1, len(texture_names())), np.float32),
            "appearance": np.zeros((1, DIMENSIONS), np.float32),
        }
        for variant in range(config.variants):
            np.savez(folder / f"{name}.v{variant}.npz", times_s=times, evidence=evidence(), **traits)
    planted = {
        f"{Category.SUDDEN_BLURRING}.evidence": evidence(),
        f"{Category.SUDDEN_BLURRING}.target": np.repeat(np.round(255 * coverage(BOX))[None], FRAMES, 0).astype(
            np.uint8
        ),
        f"{Category.SUDDEN_BLURRING}.severity": np.array(0.5),
        f"{Category.SUDDEN_BLURRING}.trace": np.array([0.0, 9.0, *BOX.as_tuple()]),
    }
    np.savez(folder / "r1.v0.planted.npz", times_s=times, **planted)
    return clips


@pytest.fixture
def batches(clips: list[Clip], config: TraceNetConfig) -> Batches:
    return Batches(clips, config, seed=3)


FILLER = torch.full((len(CHANNELS),), -77.0)


def test_a_batch_has_what_was_asked_for(batches: Batches, config: TraceNetConfig) -> None:
    batch = batches.draw(FILLER)
    count = config.generated + config.real + config.planted
    assert batch.evidence.shape == (count, config.frames, len(CHANNELS), GRID, GRID)
    assert batch.heat.shape == (count, config.frames, GRID, GRID)
    kinds = batch.kind.tolist()
    assert kinds.count(int(Kind.REAL)) == config.real
    assert kinds.count(PLANTED) == config.planted
    assert set(kinds[: config.generated]) <= {int(Kind.GENERATED), int(Kind.EDITED)}
    assert batch.evidence.dtype == batch.heat.dtype == torch.float32


def test_heat_stays_over_what_is_hot_through_mirror_and_zoom(batches: Batches) -> None:
    seen = mirrored = zoomed = 0
    for _ in range(6):
        batch = batches.draw(FILLER)
        for maps, heat in zip(batch.evidence.numpy(), batch.heat.numpy(), strict=True):
            if heat.max() < 0.5 or maps[:, RESIDUAL].std() == 0:
                continue  # no trace, or its channel was dropped
            hot, true = maps[:, RESIDUAL] > 3.0, heat > 0.5
            assert (hot & true).sum() / (hot | true).sum() > 0.75
            seen += 1
            mirrored += bool(true[0, :, : GRID // 2].sum() < true[0, :, GRID // 2 :].sum())
            zoomed += bool(true[0].sum() > 1.1 * 12 * 14)
    assert seen > 40
    assert mirrored > 5
    assert zoomed > 5


def test_a_mirrored_picture_moves_the_other_way(batches: Batches) -> None:
    directions = set()
    for _ in range(4):
        for maps in batches.draw(FILLER).evidence.numpy():
            if maps[:, MOTION_X].std() == 0 or maps[:, 0].std() == 0:
                continue
            slope = np.sign(maps[:, 0, :, -4:].mean() - maps[:, 0, :, :4].mean())
            assert np.sign(maps[:, MOTION_X].mean()) == slope
            directions.add(float(slope))
    assert directions == {-1.0, 1.0}


def test_dropped_channels_hold_the_filler_as_whole_groups(batches: Batches) -> None:
    dropped = 0
    for _ in range(6):
        gone = (batches.draw(FILLER).evidence == -77.0).flatten(3).all(-1).all(1).numpy()
        for together in ((0, 1, 2), (4, 5), (8, 9, 10), (13, 14)):
            assert (gone[:, together].all(axis=1) == gone[:, together].any(axis=1)).all()
        dropped += int(gone.sum())
    assert dropped > 20


def test_one_seed_one_sequence(clips: list[Clip], config: TraceNetConfig) -> None:
    one, same, other = (Batches(clips, config, seed=seed) for seed in (5, 5, 6))
    for _ in range(2):
        first, again, different = (b.draw(FILLER).evidence for b in (one, same, other))
        assert torch.equal(first, again)
        assert not torch.equal(first, different)


def test_real_clips_have_no_heat_and_no_categories(batches: Batches) -> None:
    batch = batches.draw(FILLER)
    real = batch.kind == int(Kind.REAL)
    assert not batch.heat[real].any()
    assert not batch.categories[real].any()
    assert batch.categories[batch.kind == PLANTED][:, list(Category).index(Category.SUDDEN_BLURRING)].all()
    assert batch.categories[batch.kind == int(Kind.GENERATED)][:, list(Category).index(Category.OBJECT_MERGING)].all()


def test_statistics_are_those_of_the_clips(batches: Batches) -> None:
    mean, spread = batches.channel_statistics()
    assert mean[MOTION_X] == pytest.approx(2.0, abs=0.05)
    assert mean[RESIDUAL] == pytest.approx(6 * BOX.area, rel=0.2)
    assert (spread > 0).all()


def test_heat_lives_as_long_as_its_trace_and_weighs_its_votes() -> None:
    half = TRACE.model_copy(update={"onset_s": 1.0, "offset_s": 2.0, "score": 0.5})
    times = np.arange(24) / 8
    heat = target_heat((half,), times)
    alive = heat.any(axis=(1, 2))
    np.testing.assert_array_equal(alive, (times >= 1.0) & (times <= 2.0))
    assert heat.max() == 0.5
    np.testing.assert_allclose(heat[alive].mean(axis=0), 0.5 * coverage(BOX))
    assert not target_heat((TRACE.model_copy(update={"box": None, "keyframes": ()}),), times).any()
