"""Generators ranked by the mean reward of their clips, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deeptrace.errors import DataError
from deeptrace.metrics.intervals import bootstrap_weights, percentile_interval, ratio
from deeptrace.reward.clips import ScoredClip

__all__ = ["Ranked", "rank_generators"]


@dataclass(frozen=True)
class Ranked:
    """One generator.

    Attributes:
        generator: its name.
        mean_reward: over its scored clips; None when it has none.
        interval: 95 % bootstrap interval; None with fewer than two prompts (or clips, where prompts are not known).
        first_share: in how many of the resamples it has the highest mean: how sure its first place is.
        clips: how many there are.
        failed: how many of them could not be scored.
    """

    generator: str
    mean_reward: float | None
    interval: tuple[float, float] | None
    first_share: float | None
    clips: int
    failed: int

    def as_json(self) -> dict[str, Any]:
        """One row."""
        return {
            "generator": self.generator,
            "mean_reward": self.mean_reward,
            "interval": None if self.interval is None else list(self.interval),
            "first_share": self.first_share,
            "clips": self.clips,
            "failed": self.failed,
        }


def rank_generators(clips: Sequence[ScoredClip], *, resamples: int = 2000, seed: int = 0) -> list[Ranked]:
    """Best first. Prompts are drawn with all their clips, for all generators at once; a clip without one alone.

    Drawing prompts, not clips, keeps what generators have in common: a hard prompt is hard for each of them.

    Raises:
        DataError: no clip names its generator.
    """
    known = [clip for clip in clips if clip.info.generator is not None]
    if not known:
        raise DataError("rank", "no clip names its generator", "Name generators in a table, or by folder.")
    names = list(dict.fromkeys(str(clip.info.generator) for clip in known))
    units = {unit: row for row, unit in enumerate(dict.fromkeys(_unit(clip, i) for i, clip in enumerate(known)))}
    sums, counts = np.zeros((len(units), len(names))), np.zeros((len(units), len(names)))
    total, failed = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    for index, clip in enumerate(known):
        name = str(clip.info.generator)
        total[name] += 1
        if not clip.scored:
            failed[name] += 1
            continue
        sums[units[_unit(clip, index)], names.index(name)] += clip.result.reward
        counts[units[_unit(clip, index)], names.index(name)] += 1
    means = ratio(sums.sum(axis=0), counts.sum(axis=0))
    drawn = np.concatenate(
        [ratio(w @ sums, w @ counts) for w in bootstrap_weights(len(units), resamples=resamples, seed=seed)]
    )
    firsts = _first_shares(drawn)
    ranked = []
    for column, name in enumerate(names):
        enough = int((counts[:, column] > 0).sum()) > 1
        values = drawn[:, column]
        ranked.append(
            Ranked(
                generator=name,
                mean_reward=None if np.isnan(means[column]) else float(means[column]),
                interval=percentile_interval(values[~np.isnan(values)]) if enough else None,
                first_share=None if np.isnan(means[column]) else float(firsts[column]),
                clips=total[name],
                failed=failed[name],
            )
        )
    return sorted(ranked, key=lambda row: -np.inf if row.mean_reward is None else row.mean_reward, reverse=True)


def _unit(clip: ScoredClip, index: int) -> tuple[str, str | int]:
    """What is drawn together: the prompt, or the clip alone."""
    return ("clip", index) if clip.info.prompt is None else ("prompt", clip.info.prompt)


def _first_shares(drawn: np.ndarray) -> np.ndarray:
    """Share of the resamples (R, G) in which each column is the highest; ties are shared."""
    filled = np.where(np.isnan(drawn), -np.inf, drawn)
    highest = filled == filled.max(axis=1, keepdims=True)
    return np.asarray((highest / highest.sum(axis=1, keepdims=True)).mean(axis=0))
