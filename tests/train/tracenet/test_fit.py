from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs torch (pip install 'deeptrace[train]')")

from deeptrace.detectors.tracenet.evidence import CHANNELS, GRID  # noqa: E402
from deeptrace.train.tracenet.batches import PLANTED, Batch  # noqa: E402
from deeptrace.train.tracenet.clips import Kind  # noqa: E402
from deeptrace.train.tracenet.fit import losses_of  # noqa: E402
from deeptrace.train.tracenet.nets import TraceNet  # noqa: E402

KINDS = (int(Kind.REAL), int(Kind.GENERATED), int(Kind.EDITED), PLANTED)
REAL, GENERATED, EDITED, PLANT = range(4)
FRAMES = 3


def example() -> tuple[tuple[torch.Tensor, ...], Batch]:
    """One example of each kind; the generated and the planted one have heat and a category."""
    torch.manual_seed(0)
    heads = tuple(
        torch.randn(shape, requires_grad=True)
        for shape in (
            (4,), (4, FRAMES, GRID, GRID), (4, FRAMES, GRID, GRID), (4, FRAMES, 9, GRID // 2, GRID // 2),
        )
    )  # fmt: skip
    heat, categories = torch.zeros(4, FRAMES, GRID, GRID), torch.zeros(4, 9)
    for index in (GENERATED, PLANT):
        heat[index, :, 4:12, 4:12] = 1.0
        categories[index, index] = 1.0
    evidence = torch.zeros(4, FRAMES, len(CHANNELS), GRID, GRID)
    return heads, Batch(evidence, heat, torch.tensor(KINDS), categories)


# which head each loss teaches, and from which examples
TEACHES = {
    "generated": (0, {REAL, GENERATED, EDITED}),
    "where": (1, {GENERATED, PLANT}),
    "overlap": (1, {GENERATED, PLANT}),
    "present": (2, {REAL, GENERATED, PLANT}),
    "kinds": (3, {GENERATED, PLANT}),
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
        assert {index for index in range(4) if gradient[index].any()} == known


def test_there_are_five_losses_and_all_are_finite() -> None:
    losses = losses_of(*example())
    assert set(losses) == set(TEACHES)
    assert all(torch.isfinite(loss) and loss >= 0 for loss in losses.values())


def test_edited_clips_count_as_generated() -> None:
    heads, batch = example()
    (gradient,) = torch.autograd.grad(losses_of(heads, batch)["generated"], heads[:1])
    assert gradient[REAL] > 0  # its logit must fall
    assert gradient[GENERATED] < 0
    assert gradient[EDITED] < 0


def test_a_batch_without_traces_costs_nothing_for_them() -> None:
    heads, batch = example()
    only_real = Batch(
        batch.evidence, torch.zeros_like(batch.heat), torch.zeros(4, dtype=torch.long), batch.categories * 0
    )
    losses = losses_of(heads, only_real)
    assert losses["where"] == losses["overlap"] == losses["kinds"] == 0
    assert losses["present"] > 0


def test_a_perfect_answer_costs_less_than_its_opposite() -> None:
    _, batch = example()
    right = 12 * (2 * batch.heat - 1)
    kinds = (12 * (2 * batch.categories - 1))[:, None, :, None, None].expand(4, FRAMES, 9, GRID // 2, GRID // 2)
    clip = torch.tensor([-4.0, 4.0, 4.0, 0.0])
    good, bad = losses_of((clip, right, right, kinds), batch), losses_of((-clip, -right, -right, -kinds), batch)
    for name in TEACHES:
        assert good[name] < 0.3 * bad[name], name


@pytest.mark.parametrize("frames", [1, 2, 7])
def test_the_net_takes_any_number_of_frames(frames: int) -> None:
    torch.manual_seed(0)
    net = TraceNet().eval()
    with torch.no_grad():
        generated, where, present, kinds = net(torch.randn(2, frames, len(CHANNELS), GRID, GRID))
    assert generated.shape == (2,)
    assert where.shape == present.shape == (2, frames, GRID, GRID)
    assert kinds.shape == (2, frames, 9, GRID // 2, GRID // 2)
    assert all(torch.isfinite(head).all() for head in (generated, where, present, kinds))


def test_neighbouring_frames_inform_each_other_and_clips_do_not() -> None:
    torch.manual_seed(0)
    net = TraceNet().eval()
    evidence = torch.randn(2, 6, len(CHANNELS), GRID, GRID)
    changed = evidence.clone()
    changed[0, 3] += 3.0
    with torch.no_grad():
        before, after = net(evidence), net(changed)
    moved = (before[1] - after[1]).abs().amax((2, 3))
    assert moved[0, 2] > 0
    assert moved[0, 4] > 0
    assert not moved[1].any()
    assert before[0][1] == after[0][1]
