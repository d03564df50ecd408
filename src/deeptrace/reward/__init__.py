"""Rewards: a verdict as a number to train and select video generators with."""

from __future__ import annotations

from deeptrace.reward.scalar import ScalarReward, explain_reward, scalar_reward

__all__ = ["ScalarReward", "explain_reward", "scalar_reward"]
