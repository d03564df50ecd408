"""GRPO's arithmetic against TRL's words for it, by hand, and by gradients."""

from __future__ import annotations

import pytest
from tests.needs import needs

torch = needs("torch")

from deeptrace.train.grpo.trainer import advantages, grpo_loss, kl_to_reference  # noqa: E402


def test_advantages_are_centred_by_group_and_of_unit_size() -> None:
    rewards = torch.tensor([[1.0, 0.0, 0.5, 0.5], [-1.0, -1.0, -1.0, -1.0], [10.0, 20.0, 30.0, 40.0]])
    found = advantages(rewards)
    assert found.mean(dim=1).tolist() == pytest.approx([0.0, 0.0, 0.0], abs=1e-6)
    assert found.std(dim=1).tolist() == pytest.approx([1.0, 0.0, 1.0], abs=1e-3)
    assert found[1].tolist() == [0.0] * 4
    assert advantages(rewards, normalise=False)[0].tolist() == pytest.approx([0.5, -0.5, 0.0, 0.0])


@pytest.mark.parametrize("shape", [(4,), (2, 1)])
def test_one_answer_is_no_group(shape) -> None:
    with pytest.raises(ValueError, match="G >= 2"):
        advantages(torch.zeros(shape))


def test_the_kl_is_never_negative_and_nought_where_both_agree() -> None:
    a, b = torch.randn(50, 7), torch.randn(50, 7)
    assert kl_to_reference(a, b).min() >= 0
    assert kl_to_reference(a, a).abs().max() == 0


def loss_of(logps, old, advantage, mask, **settings):
    return grpo_loss(logps, old, advantage, mask, max_tokens=settings.pop("max_tokens", 4), **settings)


def test_the_loss_by_hand() -> None:
    old = torch.log(torch.tensor([[0.5, 0.5, 0.5, 0.5], [0.4, 0.4, 0.4, 0.4]]))
    new = torch.log(torch.tensor([[0.7, 0.5, 0.3, 0.9], [0.2, 0.4, 0.8, 0.9]]))
    mask = torch.tensor([[1.0, 1.0, 1.0, 0.0], [1.0, 1.0, 1.0, 0.0]])
    loss, figures = loss_of(new, old, torch.tensor([1.0, -2.0]), mask)
    first = (1.2 + 1.0 + 0.6) / 3  # 1.4 is clipped to 1.2
    second = -2 * (0.8 + 1.0 + 2.0) / 3  # 0.5 is clipped to 0.8: the smaller gain; 2.0 is not
    assert loss.item() == pytest.approx(-(first + second) / 2)
    assert figures["clipped"] == pytest.approx(2 / 6)
    assert figures["ratio"] == pytest.approx((1.4 + 1.0 + 0.6 + 0.5 + 1.0 + 2.0) / 6)
    constant, _ = loss_of(new, old, torch.tensor([1.0, -2.0]), mask, lengths="constant", max_tokens=10)
    assert constant.item() == pytest.approx(-(first * 3 / 10 + second * 3 / 10) / 2)


def test_the_kl_pulls_to_the_reference() -> None:
    start = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    reference = torch.tensor([[-0.5, -2.5]])
    loss, figures = loss_of(start, start.detach(), torch.zeros(1), torch.ones(1, 2), reference=reference, kl=0.1)
    loss.backward()
    assert figures["kl"] > 0
    assert start.grad[0, 0] < 0 < start.grad[0, 1]  # a step down the gradient brings both nearer


def test_the_gradient_raises_good_answers_and_lowers_bad_ones() -> None:
    logps = torch.full((2, 3), -1.0, requires_grad=True)
    loss, _ = loss_of(logps, logps.detach(), torch.tensor([1.0, -1.0]), torch.ones(2, 3))
    loss.backward()
    assert (logps.grad[0] < 0).all()
    assert (logps.grad[1] > 0).all()


def test_a_ratio_beyond_its_bounds_moves_nothing() -> None:
    logps = torch.tensor([[0.5]], requires_grad=True)
    loss, figures = loss_of(logps, torch.zeros(1, 1), torch.ones(1), torch.ones(1, 1), clip=(0.2, 0.3))
    loss.backward()
    assert loss.item() == pytest.approx(-1.3)
    assert logps.grad.item() == 0.0
    assert figures["clipped"] == 1.0
