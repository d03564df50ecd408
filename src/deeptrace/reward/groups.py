"""Rewards within a group: the samples of one prompt, or of one generator, against each other.

Trainers of the GRPO family compare the samples of a group. A part of the reward on which all of a group agree (a
detector that is sure that every sample is generated) has no say in which is better, but its last decimals still add
noise to the advantage. So here each part is taken as its difference from the group's mean, in logarithms, and weighed
down where it is saturated in the group, after TaRoS (Li et al. 2025, arXiv 2511.19356, "adaptively downweights
components that exhibit saturation"). Their weights also follow the training's progress, which a reward cannot see; ours
depend on the group alone."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from deeptrace.errors import SettingsError
from deeptrace.plural import plural
from deeptrace.reward.result import RewardResult

__all__ = ["GroupForm", "group_rewards"]

GroupForm = Literal["relative", "rank"]

_SPREAD = 0.02
_LEAST = 1e-6


def group_rewards(
    results: Sequence[RewardResult], groups: Sequence[Hashable], *, form: GroupForm = "relative"
) -> list[float]:
    """The reward of each clip against the others of its group, in the order of the clips.

    For each factor f of the reward (authenticity to its weight, traces, flaws), ln f less its mean over the group,
    times s / (s + 0.02), where s is the standard deviation of f itself in the group: a factor that is near 0 or near 1
    for all has hardly a say, however its logarithm scatters. `relative` is their sum: it has mean 0 in each group, and
    a clip that is worse in nothing is never below one that is. `rank` is the place in the group by that sum, from 0
    (worst) to 1 (best), ties sharing theirs; alone in a group, 0.5.

    Args:
        results: of `Reward.score`.
        groups: of each clip, its prompt or whatever names its group.
        form: "relative" or "rank".

    Returns:
        NaN for clips without a reward; they count for nothing in their group.

    Raises:
        SettingsError: not one group for each clip, or an unknown form.

    Examples:
        >>> from deeptrace.reward.reward import reward_of
        >>> from deeptrace.schema import Verdict
        >>> said = [Verdict(video="a.mp4", outcome="scored", label="FAKE", p_fake=p) for p in (0.9, 0.5, 0.8)]
        >>> scored = [reward_of(verdict) for verdict in said]
        >>> group_rewards(scored, ["a cup"] * 3, form="rank")
        [0.0, 1.0, 0.5]
    """
    if len(groups) != len(results):
        raise SettingsError("groups", f"expected one for each of {plural(len(results), 'clip')} but got {len(groups)}")
    if form not in get_args(GroupForm):
        raise SettingsError("form", f"expected one of {', '.join(get_args(GroupForm))} but got {form!r}")
    members: dict[Hashable, list[int]] = {}
    for index, (result, group) in enumerate(zip(results, groups, strict=True)):
        if result.parts is not None:
            members.setdefault(group, []).append(index)
    found = [math.nan] * len(results)
    for indices in members.values():
        relative = _relative(np.array([_factors(results[index]) for index in indices]))
        values = relative if form == "relative" else _places(relative)
        for index, value in zip(indices, values.tolist(), strict=True):
            found[index] = value
    return found


def _factors(result: RewardResult) -> tuple[float, float, float]:
    parts = result.parts
    assert parts is not None
    return parts.authenticity**parts.authenticity_weight, parts.trace_factor, parts.flaw_factor


def _relative(factors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums (N,) for the factors (N, 3) of a group."""
    logs = np.log(np.maximum(factors, _LEAST))
    spread = factors.std(axis=0)
    return np.asarray(((logs - logs.mean(axis=0)) * spread / (spread + _SPREAD)).sum(axis=1))


def _places(values: NDArray[np.float64]) -> NDArray[np.float64]:
    if len(values) == 1:
        return np.array([0.5])
    return np.asarray((rankdata(values) - 1) / (len(values) - 1))
