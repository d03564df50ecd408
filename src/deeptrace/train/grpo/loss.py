"""The arithmetic of GRPO (Shao et al. 2024, with the corrections of Dr. GRPO and DAPO): advantages, loss, KL.

For one question with G answers, r_i their rewards and pi the policy:

    A_i     = (r_i - mean r) / (std r + 1e-4), or without the division (Dr. GRPO)
    rho_it  = pi(token) / pi_old(token)
    loss    = - mean_i [ 1/L_i sum_t ( min(rho A, clip(rho, 1 - low, 1 + high) A) - kl * KL_it ) ]
    KL_it   = exp(d) - d - 1, d = log pi_ref(token) - log pi(token)     (unbiased, never negative)

L_i is the length of the answer ("answer"), or the longest allowed ("constant", Dr. GRPO: long wrong answers are then
not favoured). `high` above `low` is DAPO's room for rare tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from deeptrace.train.grpo.settings import Lengths

__all__ = ["advantages", "grpo_loss", "kl_to_reference"]

_EPSILON = 1e-4


def advantages(rewards: Tensor, *, normalise: bool = True) -> Tensor:
    """Advantages (P, G) of rewards (P, G): G answers to each of P questions.

    A group whose rewards are all alike has advantage 0 throughout.

    Raises:
        ValueError: other shapes, or fewer than two answers.
    """
    if rewards.ndim != 2 or rewards.shape[1] < 2:
        raise ValueError(f"expected rewards of shape (P, G) with G >= 2 but got {tuple(rewards.shape)}")
    centred = rewards - rewards.mean(dim=1, keepdim=True)
    return centred / (rewards.std(dim=1, keepdim=True) + _EPSILON) if normalise else centred


def kl_to_reference(logps: Tensor, reference: Tensor) -> Tensor:
    """KL of each token by the estimator of Schulman's k3, at least 0; all of one shape."""
    gap = reference - logps
    return torch.exp(gap) - gap - 1.0


def grpo_loss(
    logps: Tensor,
    old_logps: Tensor,
    advantage: Tensor,
    mask: Tensor,
    *,
    reference: Tensor | None = None,
    clip: tuple[float, float] = (0.2, 0.2),
    kl: float = 0.0,
    lengths: Lengths = "answer",
    max_tokens: int,
) -> tuple[Tensor, dict[str, float]]:
    """The loss of a batch of answers, and figures of it.

    Args:
        logps: of the answers' tokens under the policy, (B, C), with gradient.
        old_logps: under the policy that sampled them, (B, C).
        advantage: of each answer, (B,).
        mask: 1 for tokens of the answers, their end token included, (B, C).
        reference: under the reference model, (B, C); needed when `kl` is not 0.
        clip: how far below and above 1 the ratio still moves the policy.
        kl: weight of the KL to the reference.
        lengths: what a sum over tokens is divided by, see the module.
        max_tokens: longest answer allowed.

    Returns:
        A scalar, the mean over the answers, and `kl` (None-free: only with a reference), `clipped`: the share of tokens
        whose ratio was clipped, `ratio`: its mean.
    """
    ratio = torch.exp(logps - old_logps)
    weight = advantage[:, None]
    bounded = torch.clamp(ratio, 1.0 - clip[0], 1.0 + clip[1])
    gain = torch.minimum(ratio * weight, bounded * weight)
    tokens = mask.sum()
    figures = {
        "ratio": float((ratio.detach() * mask).sum() / tokens),
        "clipped": float((((ratio * weight) > (bounded * weight)).detach() * mask).sum() / tokens),
    }
    if reference is not None:
        divergence = kl_to_reference(logps, reference)
        gain = gain - kl * divergence
        figures["kl"] = float((divergence.detach() * mask).sum() / tokens)
    each = (gain * mask).sum(dim=1)
    each = each / (mask.sum(dim=1) if lengths == "answer" else float(max_tokens))
    return -each.mean(), figures
