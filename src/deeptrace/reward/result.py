"""The reward of one clip, as `Reward` and the client of the reward server give it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deeptrace.reward.scalar import ScalarReward
from deeptrace.trace import Verdict

__all__ = ["RewardResult"]


@dataclass(frozen=True)
class RewardResult:
    """The reward of one clip.

    Attributes:
        reward: in [0, 1], higher is better; NaN when the clip could not be scored.
        parts: what it is made of; None when the clip could not be scored.
        verdict: what the detector said.
    """

    reward: float
    parts: ScalarReward | None
    verdict: Verdict

    @property
    def error(self) -> str | None:
        """Why there is no reward, one line; None when there is one."""
        return self.verdict.error

    def as_json(self) -> dict[str, Any]:
        """The numbers, without the verdict; None where there is no number."""
        row: dict[str, Any] = {"video": self.verdict.video, "outcome": self.verdict.outcome.value}
        if self.parts is None:
            return row | {"reward": None, "error": self.error}
        return row | {
            "reward": self.reward,
            "authenticity": self.parts.authenticity,
            "trace_factor": self.parts.trace_factor,
            "trace_cost": self.parts.trace_cost,
            "cost_by_category": self.parts.cost_by_category,
            "error": None,
        }
