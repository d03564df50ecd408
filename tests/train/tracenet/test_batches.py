from __future__ import annotations

import numpy as np
import pytest
from tests.needs import needs

torch = needs("torch")

from tests.train.tracenet.made import BOX, TRACE, write_measured  # noqa: E402

from deeptrace.detectors.tracenet.evidence import CHANNELS, GRID  # noqa: E402
from deeptrace.detectors.tracenet.temporal_extent import coverage  # noqa: E402
from deeptrace.schema import Category  # noqa: E402
from deeptrace.train.tracenet.batches import ROLES, Batches, Role, target_heat  # noqa: E402
from deeptrace.train.tracenet.clips import Clip  # noqa: E402
from deeptrace.train.tracenet.config import TraceNetConfig  # noqa: E402

RESIDUAL, MOTION_X = CHANNELS.index("residual"), CHANNELS.index("motion_x")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TraceNetConfig:
    root = tmp_path_factory.mktemp("batches")
    return TraceNetConfig(data=root, out=root, variants=2, synthetic_variants=(0,), frames=8)


@pytest.fixture(scope="module")
def clips(config: TraceNetConfig) -> list[Clip]:
    return write_measured(config)


@pytest.fixture
def batches(clips: list[Clip], config: TraceNetConfig) -> Batches:
    return Batches(clips, config, seed=3)


FILLER = torch.full((len(CHANNELS),), -77.0)


def test_a_batch_has_what_was_asked_for(batches: Batches, config: TraceNetConfig) -> None:
    batch = batches.draw(FILLER)
    count = len(ROLES) * config.synthetic + config.real + config.generated
    assert batch.evidence.shape == (count, config.frames, len(CHANNELS), GRID, GRID)
    assert batch.heat.shape == (count, config.frames, GRID, GRID)
    plain = [Role.FOOTAGE] * config.real + [Role.MARKED] * config.generated
    assert batch.role.tolist() == [*ROLES] * config.synthetic + plain
    assert batch.evidence.dtype == batch.heat.dtype == torch.float32


def test_heat_stays_over_what_is_hot_through_mirror_and_zoom(batches: Batches) -> None:
    seen = mirrored = zoomed = 0
    for _ in range(9):
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


def test_only_planted_and_marked_examples_have_heat_and_categories(batches: Batches) -> None:
    batch = batches.draw(FILLER)
    known = (batch.role == Role.SYNTHETIC) | (batch.role == Role.MARKED)
    assert not batch.heat[~known].any()
    assert not batch.categories[~known].any()
    for role, category in ((Role.SYNTHETIC, Category.SUDDEN_BLURRING), (Role.MARKED, Category.OBJECT_MERGING)):
        assert batch.categories[batch.role == role][:, list(Category).index(category)].all()
    severities = {round(value, 3) for value in batch.severity.tolist()}
    assert severities <= {0.0, 0.3, 0.8}
    assert ((batch.severity > 0) == (batch.role == Role.SYNTHETIC)).all()


def test_within_a_set_nothing_differs_but_the_trace(batches: Batches, config: TraceNetConfig) -> None:
    batch = batches.draw(FILLER)
    others = [channel for channel in range(len(CHANNELS)) if channel != RESIDUAL]
    told = 0
    for first in range(0, len(ROLES) * config.synthetic, len(ROLES)):
        base, synthetic, hard_negative = batch.evidence[first : first + len(ROLES)]
        assert torch.equal(base, hard_negative)
        assert torch.equal(base[:, others], synthetic[:, others])
        told += int((synthetic - base)[:, RESIDUAL].max() > 3.0)
    assert told >= config.synthetic - 2  # the channel may be dropped


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
