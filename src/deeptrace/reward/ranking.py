"""Generators ranked by the mean reward of their clips, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deeptrace.errors import DataError
from deeptrace.metrics.intervals import bootstrap_weights, percentile_interval, ratio
from deeptrace.reward.clips import ScoredClip

__all__ = ["FEWEST_PROMPTS", "Ranked", "rank_generators"]

FEWEST_PROMPTS = 6
"""With fewer, even a generator that is better on each of them is not told apart by a sign test (two-sided, 5 %); a
bootstrap would call its first place certain all the same."""


@dataclass(frozen=True)
class Ranked:
    """One generator.

    Attributes:
        generator: its name.
        mean_reward: over its scored clips; None when it has none.
        interval: 95 % bootstrap interval; None with fewer than two prompts (or clips, where prompts are not known).
        first_share: in how many of the resamples it has the highest mean, of those in which every generator has a clip;
            None where a generator has fewer than `FEWEST_PROMPTS`. It is no probability of being the best.
        clips: number of its clips.
        failed: number of them that could not be scored.
        prompts: number of prompts of which it has a scored clip (of clips, where prompts are not known).
        shared_prompts: number of prompts of which every generator has one. Where that is fewer, generators differ by
            their prompts, too.
    """

    generator: str
    mean_reward: float | None
    interval: tuple[float, float] | None
    first_share: float | None
    clips: int
    failed: int
    prompts: int = 0
    shared_prompts: int = 0

    def as_json(self) -> dict[str, Any]:
        """One row."""
        return {
            "generator": self.generator,
            "mean_reward": self.mean_reward,
            "interval": None if self.interval is None else list(self.interval),
            "first_share": self.first_share,
            "clips": self.clips,
            "failed": self.failed,
            "prompts": self.prompts,
            "shared_prompts": self.shared_prompts,
        }


def rank_generators(clips: Sequence[ScoredClip], *, resamples: int = 2000, seed: int = 0) -> list[Ranked]:
    """Best first. Prompts are drawn with all their clips, for all generators at once; a clip without one alone.

    Drawing prompts, not clips, keeps what generators have in common: a hard prompt is hard for each of them.

    Raises:
        DataError: no clip names its generator.

    Examples:
        >>> from deeptrace.reward.clips import ClipInfo
        >>> from deeptrace.reward.reward import reward_of
        >>> from deeptrace.schema import Verdict
        >>> def clip(generator, prompt, p_fake):
        ...     said = Verdict(video=f"{generator}.mp4", outcome="scored", label="REAL", p_fake=p_fake)
        ...     return ScoredClip(ClipInfo(said.video, prompt, generator), reward_of(said))

        >>> generators = (("old", 0.75), ("new", 0.25))
        >>> clips = [clip(name, prompt, p_fake) for name, p_fake in generators for prompt in "abcdef"]
        >>> [(row.generator, row.mean_reward, row.first_share) for row in rank_generators(clips)]
        [('new', 0.75, 1.0), ('old', 0.25, 0.0)]
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
    has = counts > 0
    firsts = _first_shares(drawn, has)
    ranked = []
    for column, name in enumerate(names):
        prompts = int(has[:, column].sum())
        values = drawn[:, column]
        ranked.append(
            Ranked(
                generator=name,
                mean_reward=None if np.isnan(means[column]) else float(means[column]),
                interval=percentile_interval(values[~np.isnan(values)]) if prompts > 1 else None,
                first_share=firsts.get(column),
                clips=total[name],
                failed=failed[name],
                prompts=prompts,
                shared_prompts=int(has.all(axis=1).sum()),
            )
        )
    return sorted(ranked, key=lambda row: -np.inf if row.mean_reward is None else row.mean_reward, reverse=True)


def _unit(clip: ScoredClip, index: int) -> tuple[str, str | int]:
    """What is drawn together: the prompt, or the clip alone."""
    return ("clip", index) if clip.info.prompt is None else ("prompt", clip.info.prompt)


def _first_shares(drawn: np.ndarray, has: np.ndarray) -> dict[int, float]:
    """In which share of the resamples each generator is first; ties are shared. Empty where too little is known.

    Args:
        drawn: (resamples, generators) means, NaN where a resample has no clip of a generator.
        has: (prompts, generators) bool, whether there is a scored clip.
    """
    columns = np.flatnonzero(has.any(axis=0))
    whole = drawn[:, columns][~np.isnan(drawn[:, columns]).any(axis=1)]
    if not len(columns) or not len(whole) or has[:, columns].sum(axis=0).min() < FEWEST_PROMPTS:
        return {}
    highest = whole == whole.max(axis=1, keepdims=True)
    shares = (highest / highest.sum(axis=1, keepdims=True)).mean(axis=0)
    return dict(zip(columns.tolist(), shares.tolist(), strict=True))
