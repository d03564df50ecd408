"""Rewards: verdicts as numbers to train and select video generators with.

`Reward` scores clips, `Reward.dense` maps them, `RewardClient` has a server do it; `metrics.reward` holds the formula,
`groups` compares the samples of a prompt, `best_of_n`, `preference_pairs` and `ranking` choose, and `adapters` holds
one module for each trainer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeptrace.lazy import lazy_names

if TYPE_CHECKING:
    from deeptrace.metrics.reward import ScalarReward, explain_reward, scalar_reward, unrewarded
    from deeptrace.reward.client import AsyncRewardClient, RewardClient
    from deeptrace.reward.dense import DenseReward, LatentReward
    from deeptrace.reward.groups import group_centred, group_ranks, group_rewards, group_weighed
    from deeptrace.reward.result import RewardResult
    from deeptrace.reward.reward import Reward

__all__ = [
    "AsyncRewardClient",
    "DenseReward",
    "LatentReward",
    "Reward",
    "RewardClient",
    "RewardResult",
    "ScalarReward",
    "explain_reward",
    "group_centred",
    "group_ranks",
    "group_rewards",
    "group_weighed",
    "scalar_reward",
    "unrewarded",
]

__getattr__ = lazy_names(  # the detectors behind them take a second to import
    __name__,
    {
        "deeptrace.metrics.reward": ("ScalarReward", "explain_reward", "scalar_reward", "unrewarded"),
        "deeptrace.reward.client": ("AsyncRewardClient", "RewardClient"),
        "deeptrace.reward.dense": ("DenseReward", "LatentReward"),
        "deeptrace.reward.groups": ("group_centred", "group_ranks", "group_rewards", "group_weighed"),
        "deeptrace.reward.result": ("RewardResult",),
        "deeptrace.reward.reward": ("Reward",),
    },
)
