"""Best-of-N: the clip with the highest reward for each prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deeptrace.errors import DataError, SettingsError
from deeptrace.reward.clips import ScoredClip, by_prompt

__all__ = ["Pick", "best_of"]


@dataclass(frozen=True)
class Pick:
    """What was picked for one prompt.

    Attributes:
        prompt: the prompt.
        best: the pick; None when not one candidate could be scored.
        candidates: how many there were to pick from, failed ones included.
        scored: how many of them have a reward.
        mean_reward: of those; what a random pick would expect.
    """

    prompt: str
    best: ScoredClip | None
    candidates: int
    scored: int
    mean_reward: float | None

    def as_json(self) -> dict[str, Any]:
        """One row; None where nothing could be picked."""
        return {
            "prompt": self.prompt,
            "best": None if self.best is None else self.best.info.path,
            "reward": None if self.best is None else self.best.result.reward,
            "mean_reward": self.mean_reward,
            "candidates": self.candidates,
            "scored": self.scored,
        }


def best_of(clips: Sequence[ScoredClip], count: int) -> list[Pick]:
    """Pick the best of each prompt's first `count` clips; of equal ones the first.

    A failed clip is never picked, and not replaced by a later one: it used up its try.

    Raises:
        SettingsError: `count` is below 1.
        DataError: no clip has a prompt.
    """
    if count < 1:
        raise SettingsError("best-of", f"expected at least 1 but got {count}")
    groups = by_prompt(clips)
    if not groups:
        raise DataError("best-of", "no clip has a prompt to group by", "Name prompts in a table, or by folder.")
    picks = []
    for prompt, group in groups.items():
        candidates = group[:count]
        scored = [clip for clip in candidates if clip.scored]
        best = max(scored, key=lambda clip: clip.result.reward) if scored else None
        mean = sum(clip.result.reward for clip in scored) / len(scored) if scored else None
        picks.append(Pick(prompt, best, len(candidates), len(scored), mean))
    return picks
