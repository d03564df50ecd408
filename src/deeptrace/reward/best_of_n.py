"""Best-of-N and top-K: the clips with the highest rewards of each prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deeptrace.errors import DataError, SettingsError
from deeptrace.reward.clips import ScoredClip, by_prompt
from deeptrace.urls import shown_name

__all__ = ["Pick", "Placed", "best_of", "top_k"]


@dataclass(frozen=True)
class Pick:
    """What was picked for one prompt.

    Attributes:
        prompt: the prompt.
        best: the pick; None when not one candidate could be scored.
        candidates: how many there were to pick from, failed ones included.
        scored: number of them that have a reward.
        mean_reward: of those; what a random pick would expect.
        left_out: number of the prompt's clips beyond the first N, which were not candidates.
    """

    prompt: str
    best: ScoredClip | None
    candidates: int
    scored: int
    mean_reward: float | None
    left_out: int = 0

    def as_json(self) -> dict[str, Any]:
        """One row; None where nothing could be picked."""
        return {
            "prompt": self.prompt,
            "best": None if self.best is None else shown_name(self.best.info.path),
            "reward": None if self.best is None else self.best.result.reward,
            "mean_reward": self.mean_reward,
            "candidates": self.candidates,
            "scored": self.scored,
            "left_out": self.left_out,
        }


@dataclass(frozen=True)
class Placed:
    """One of the best clips of a prompt.

    Attributes:
        prompt: the prompt; None for clips without one, which are compared with each other.
        place: 1 for the best.
        clip: the clip, which has a reward.
    """

    prompt: str | None
    place: int
    clip: ScoredClip

    def as_json(self) -> dict[str, Any]:
        """One row."""
        reward, name = self.clip.result.reward, shown_name(self.clip.info.path)
        return {"prompt": self.prompt, "place": self.place, "video": name, "reward": reward}


def best_of(clips: Sequence[ScoredClip], count: int) -> list[Pick]:
    """Pick the best of each prompt's first `count` clips; of equal ones the first.

    A failed clip is never picked, and not replaced by a later one: it used up its try.

    Raises:
        SettingsError: `count` is below 1.
        DataError: no clip has a prompt.

    Examples:
        >>> from deeptrace.reward.clips import ClipInfo
        >>> from deeptrace.reward.reward import reward_of
        >>> from deeptrace.schema import Verdict
        >>> def clip(path, p_fake):
        ...     said = Verdict(video=path, outcome="scored", label="REAL", p_fake=p_fake)
        ...     return ScoredClip(ClipInfo(path, prompt="a cup"), reward_of(said))

        >>> pick = best_of([clip("a.mp4", 0.75), clip("b.mp4", 0.25), clip("c.mp4", 0.0)], count=2)[0]
        >>> pick.best.info.path, pick.mean_reward  # the third was never looked at
        ('b.mp4', 0.5)
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
        picks.append(Pick(prompt, best, len(candidates), len(scored), mean, len(group) - len(candidates)))
    return picks


def top_k(clips: Sequence[ScoredClip], count: int) -> list[Placed]:
    """The `count` best clips of each prompt, best first; of equal ones the first. Failed clips have no place.

    Prompts come in order of first mention, clips without a prompt last.

    Raises:
        SettingsError: `count` is below 1.

    Examples:
        >>> from deeptrace.reward.clips import ClipInfo
        >>> from deeptrace.reward.reward import reward_of
        >>> from deeptrace.schema import Verdict
        >>> said = [Verdict(video=f"{p}.mp4", outcome="scored", label="REAL", p_fake=p) for p in (0.75, 0.25, 0.5)]
        >>> clips = [ScoredClip(ClipInfo(verdict.video), reward_of(verdict)) for verdict in said]
        >>> [(placed.place, placed.clip.info.path) for placed in top_k(clips, 2)]
        [(1, '0.25.mp4'), (2, '0.5.mp4')]
    """
    if count < 1:
        raise SettingsError("top-k", f"expected at least 1 but got {count}")
    unnamed = [clip for clip in clips if clip.info.prompt is None]
    groups: list[tuple[str | None, list[ScoredClip]]] = [*by_prompt(clips).items(), (None, unnamed)]
    found = []
    for prompt, group in groups:
        best = sorted((clip for clip in group if clip.scored), key=lambda clip: clip.result.reward, reverse=True)
        found += [Placed(prompt, place, clip) for place, clip in enumerate(best[:count], 1)]
    return found
