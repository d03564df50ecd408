"""The reward of one clip, as `Reward` and the client of the reward server give it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deeptrace.metrics.reward import ScalarReward
from deeptrace.schema import Verdict

__all__ = ["RewardResult"]


@dataclass(frozen=True)
class RewardResult:
    """The reward of one clip.

    Attributes:
        reward: in [0, 1], higher is better; NaN when the clip could not be scored.
        parts: its factors and costs; None when the clip could not be scored.
        verdict: the detector's verdict.
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
        return row | self.parts.as_json() | {"error": None}
