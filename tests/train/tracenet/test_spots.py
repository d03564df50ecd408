from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch (pip install 'deeptrace[train]')")

from tests.train.tracenet.made import BOX, evidence, write_measured  # noqa: E402

from deeptrace.detectors.tracenet.lives import coverage  # noqa: E402
from deeptrace.train.tracenet.config import TraceNetConfig  # noqa: E402
from deeptrace.train.tracenet.nets import POOLED, pooled_maps  # noqa: E402
from deeptrace.train.tracenet.spots import SpotExamples, fit_spot_net, spot_loss  # noqa: E402


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TraceNetConfig:
    root: Path = tmp_path_factory.mktemp("spots")
    return TraceNetConfig(data=root, out=root, variants=2, spot_steps=40, spot_batch=8)


@pytest.fixture(scope="module")
def examples(config: TraceNetConfig) -> SpotExamples:
    return SpotExamples(write_measured(config), config)


def test_only_marked_clips_are_examples(examples: SpotExamples) -> None:
    assert len(examples.maps) == len(examples.heat) == len(examples.chances) == 2 * 2  # clips, variants
    assert examples.maps.shape[1] == POOLED
    np.testing.assert_allclose(examples.heat[0], coverage(BOX), atol=1e-6)
    assert examples.chances.sum() == pytest.approx(1.0)


def test_a_spot_net_learns_where_marks_lie_and_says_so_again(examples: SpotExamples, config: TraceNetConfig) -> None:
    told: list[dict[str, object]] = []
    net, again = (fit_spot_net(examples, config, seed=1, log=told.append) for _ in range(2))
    maps = pooled_maps(torch.from_numpy(evidence().astype(np.float32))[None])
    with torch.no_grad():
        chance = net(maps)[0].sigmoid().numpy()
        assert torch.equal(net(maps), again(maps))
    inside = coverage(BOX) > 0.5
    assert chance[inside].mean() > 2 * chance[~inside].mean()
    assert told[0]["step"] == config.spot_steps


def test_the_true_heat_costs_less_than_its_opposite() -> None:
    heat = torch.from_numpy(coverage(BOX))[None]
    assert spot_loss(12 * (2 * heat - 1), heat) < 0.1 * spot_loss(-12 * (2 * heat - 1), heat)
