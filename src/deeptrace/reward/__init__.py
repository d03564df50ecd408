"""Rewards: verdicts as numbers to train and select video generators with.

`Reward` scores clips, `Reward.dense` maps them, `RewardClient` has a server do it; `scalar` holds the formula,
`select`, `pairs` and `ranking` choose by it, and `adapters` holds one module for each trainer.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from deeptrace.reward.scalar import ScalarReward, explain_reward, scalar_reward, unrewarded

if TYPE_CHECKING:
    from deeptrace.reward.client import AsyncRewardClient, RewardClient
    from deeptrace.reward.dense import DenseReward
    from deeptrace.reward.result import RewardResult
    from deeptrace.reward.rewarder import Reward

__all__ = [
    "AsyncRewardClient",
    "DenseReward",
    "Reward",
    "RewardClient",
    "RewardResult",
    "ScalarReward",
    "explain_reward",
    "scalar_reward",
    "unrewarded",
]

# Loaded when first used: these need the detectors, and what runs detectors needs `scalar_reward`.
_HOMES = {
    "AsyncRewardClient": "deeptrace.reward.client",
    "DenseReward": "deeptrace.reward.dense",
    "Reward": "deeptrace.reward.rewarder",
    "RewardClient": "deeptrace.reward.client",
    "RewardResult": "deeptrace.reward.result",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'deeptrace.reward' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
