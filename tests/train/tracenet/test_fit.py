"""The nets are fitted: the losses, the heat-map heads, the presence net."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.needs import needs

torch = needs("torch")
from tests.train.tracenet.made import BOX, evidence, write_measured  # noqa: E402

from deeptrace.detectors.tracenet.evidence import CHANNELS, GRID  # noqa: E402
from deeptrace.detectors.tracenet.temporal_extent import coverage  # noqa: E402
from deeptrace.train.tracenet.batches import ROLES, Batch, Role  # noqa: E402
from deeptrace.train.tracenet.config import TraceNetConfig  # noqa: E402
from deeptrace.train.tracenet.fit import HeatExamples, fit_heat_map_head, fit_trace_net, heat_loss, losses_of  # noqa: E402
from deeptrace.train.tracenet.nets import POOLED, TraceNet, pooled_maps  # noqa: E402

KINDS = (*ROLES, Role.FOOTAGE, Role.MARKED)
BASE, SYNTHETIC, HARD_NEGATIVE, FOOTAGE, MARKED = range(5)
FRAMES = 3


def example() -> tuple[tuple[torch.Tensor, ...], Batch]:
    """One set, one clip of footage and a marked one; the planted and the marked example have heat and a category."""
    torch.manual_seed(0)
    heads = tuple(
        torch.randn(shape, requires_grad=True)
        for shape in ((5,), (5, FRAMES, GRID, GRID), (5, FRAMES, 9, GRID // 2, GRID // 2))
    )
    heat, categories = torch.zeros(5, FRAMES, GRID, GRID), torch.zeros(5, 9)
    for index in (SYNTHETIC, MARKED):
        heat[index, :, 4:12, 4:12] = 1.0
        categories[index, index] = 1.0
    evidence = torch.zeros(5, FRAMES, len(CHANNELS), GRID, GRID)
    severity = torch.tensor([0.0, 0.8, 0.0, 0.0, 0.0])
    return heads, Batch(evidence, heat, torch.tensor([int(kind) for kind in KINDS]), categories, severity)


# which head each loss teaches, and from which examples
TEACHES = {
    "cells": (1, {BASE, SYNTHETIC, HARD_NEGATIVE, FOOTAGE}),
    "overlap": (1, {SYNTHETIC}),
    "done": (0, {BASE, SYNTHETIC, HARD_NEGATIVE, FOOTAGE}),
    "rise": (0, {BASE, SYNTHETIC, HARD_NEGATIVE}),
    "kinds": (2, {SYNTHETIC, MARKED}),
}


@pytest.mark.parametrize("name", TEACHES)
def test_a_loss_teaches_its_head_from_the_examples_whose_truth_is_known(name: str) -> None:
    heads, batch = example()
    gradients = torch.autograd.grad(losses_of(heads, batch)[name], heads, allow_unused=True)
    taught, known = TEACHES[name]
    for head, gradient in enumerate(gradients):
        if head != taught:
            assert gradient is None or not gradient.any()
            continue
        assert {index for index in range(5) if gradient[index].any()} == known


def test_there_are_five_losses_and_all_are_finite() -> None:
    losses = losses_of(*example())
    assert set(losses) == set(TEACHES)
    assert all(torch.isfinite(loss) and loss >= 0 for loss in losses.values())


def test_the_pooled_logit_rises_with_the_trace_alone() -> None:
    heads, batch = example()
    (gradient,) = torch.autograd.grad(losses_of(heads, batch)["done"], heads[:1])
    assert gradient[SYNTHETIC] < 0  # its logit must rise
    assert all(gradient[index] > 0 for index in (BASE, HARD_NEGATIVE, FOOTAGE))


def test_a_decoy_costs_as_far_as_it_moves_the_logit() -> None:
    (_, present, kinds), batch = example()
    still, moved = (torch.tensor([-4.0, 4.0, hard_negative, 0.0, 0.0]) for hard_negative in (-4.0, 2.0))
    costs = [losses_of((pooled, present, kinds), batch)["rise"] for pooled in (still, moved)]
    assert costs[1] > costs[0] + 0.5


def test_a_batch_without_traces_costs_nothing_for_them() -> None:
    heads, batch = example()
    footage = torch.full((5,), int(Role.FOOTAGE))
    nothing = Batch(batch.evidence, batch.heat * 0, footage, batch.categories * 0, batch.severity * 0)
    losses = losses_of(heads, nothing)
    assert losses["overlap"] == losses["rise"] == losses["kinds"] == 0
    assert losses["cells"] > 0


def test_a_perfect_answer_costs_less_than_its_opposite() -> None:
    _, batch = example()
    right = 12 * (2 * batch.heat - 1)
    kinds = (12 * (2 * batch.categories - 1))[:, None, :, None, None].expand(5, FRAMES, 9, GRID // 2, GRID // 2)
    pooled = torch.tensor([-4.0, 4.0, -4.0, -4.0, 0.0])
    good, bad = losses_of((pooled, right, kinds), batch), losses_of((-pooled, -right, -kinds), batch)
    for name in TEACHES:
        assert good[name] < 0.3 * bad[name], name


@pytest.mark.parametrize("frames", [1, 2, 7])
def test_the_net_takes_any_number_of_frames(frames: int) -> None:
    torch.manual_seed(0)
    net = TraceNet(2).eval()
    with torch.no_grad():
        generated, where, present, kinds = net(torch.randn(2, frames, len(CHANNELS), GRID, GRID))
    assert generated.shape == (2,)
    assert where.shape == present.shape == (2, frames, GRID, GRID)
    assert kinds.shape == (2, frames, 9, GRID // 2, GRID // 2)
    assert torch.equal(where[:, 0], where[:, -1])  # it does not depend on the moment
    assert all(torch.isfinite(head).all() for head in (generated, where, present, kinds))


def test_neighbouring_frames_inform_each_other_and_clips_do_not() -> None:
    torch.manual_seed(0)
    net = TraceNet(2).eval()
    evidence = torch.randn(2, 6, len(CHANNELS), GRID, GRID)
    changed = evidence.clone()
    changed[0, 3] += 3.0
    with torch.no_grad():
        before, after = net(evidence), net(changed)
    moved = (before[2] - after[2]).abs().amax((2, 3))
    assert moved[0, 2] > 0
    assert moved[0, 4] > 0
    assert not moved[1].any()
    assert before[0][1] == after[0][1]


def test_where_no_clip_is_marked_no_place_is_named(tmp_path: Path) -> None:
    config = TraceNetConfig(
        data=tmp_path,
        out=tmp_path,
        variants=2,
        synthetic_variants=(0,),
        heads=2,
        steps=2,
        synthetic=1,
        real=1,
        frames=4,
    )
    clips = [replace(clip, traces=()) for clip in write_measured(config)]
    net = fit_trace_net(clips, config, seed=0, log=lambda _: None)
    with torch.no_grad():
        _, where, present, _ = net(torch.randn(1, 6, len(CHANNELS), GRID, GRID))
    assert where.sigmoid().max() < 1e-7
    assert present.sigmoid().max() > 1e-3


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TraceNetConfig:
    root: Path = tmp_path_factory.mktemp("spots")
    return TraceNetConfig(data=root, out=root, variants=2, head_steps=40, head_batch=8)


@pytest.fixture(scope="module")
def examples(config: TraceNetConfig) -> HeatExamples:
    return HeatExamples(write_measured(config), config)


def test_only_marked_clips_are_examples(examples: HeatExamples) -> None:
    assert len(examples.maps) == len(examples.heat) == len(examples.chances) == 2 * 2  # clips, variants
    assert examples.maps.shape[1] == POOLED
    np.testing.assert_allclose(examples.heat[0], coverage(BOX), atol=1e-6)
    assert examples.chances.sum() == pytest.approx(1.0)


def test_a_spot_net_learns_where_marks_lie_and_says_so_again(examples: HeatExamples, config: TraceNetConfig) -> None:
    told: list[dict[str, object]] = []
    net, again = (fit_heat_map_head(examples, config, seed=1, log=told.append) for _ in range(2))
    maps = pooled_maps(torch.from_numpy(evidence().astype(np.float32))[None])
    with torch.no_grad():
        chance = net(maps)[0].sigmoid().numpy()
        assert torch.equal(net(maps), again(maps))
    inside = coverage(BOX) > 0.5
    assert chance[inside].mean() > 2 * chance[~inside].mean()
    assert told[0]["step"] == config.head_steps


def test_the_true_heat_costs_less_than_its_opposite() -> None:
    heat = torch.from_numpy(coverage(BOX))[None]
    assert heat_loss(12 * (2 * heat - 1), heat) < 0.1 * heat_loss(-12 * (2 * heat - 1), heat)
