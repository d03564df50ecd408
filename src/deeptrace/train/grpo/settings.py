"""LearnSettings: how the policy learns from its answers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from deeptrace.train.mllm.settings import Settings

__all__ = ["LearnSettings", "Lengths"]

Lengths = Literal["answer", "constant"]
"""What the sum over an answer's tokens is divided by, see `loss`."""


class LearnSettings(Settings):
    """How the policy learns.

    Attributes:
        group: answers sampled to each question.
        temperature: of sampling.
        max_tokens: longest answer.
        updates: optimizer steps on the same answers; beyond the first the ratio is clipped.
        clip_low, clip_high: see `loss.grpo_loss`.
        kl: weight of the KL to the model at the start; 0 needs no reference.
        normalise: divide advantages by the group's standard deviation.
        lengths: what an answer's sum over tokens is divided by, see `loss`.
        rows: answers in one forward pass.
        max_gradient: norm to which the gradient is clipped.
    """

    group: int = Field(default=8, ge=2)
    temperature: float = Field(default=1.0, gt=0)
    max_tokens: int = Field(default=256, ge=1)
    updates: int = Field(default=1, ge=1)
    clip_low: float = Field(default=0.2, gt=0, lt=1)
    clip_high: float = Field(default=0.28, gt=0)
    kl: float = Field(default=0.02, ge=0)
    normalise: bool = True
    lengths: Lengths = "answer"
    rows: int = Field(default=4, ge=1)
    max_gradient: float = Field(default=1.0, gt=0)
