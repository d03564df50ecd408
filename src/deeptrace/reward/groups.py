"""Rewards within a group: the samples of one prompt, or of one generator, against each other.

Trainers of the GRPO family compare the samples of a group. Three forms, each a pure function over the samples of all
groups at once:

- `group_ranks`: the place in the group, whatever the distances;
- `group_centred`: the difference from the group's mean, which is what all of the group have in common (of a generator's
  samples: its fingerprint);
- `group_weighed`: of rewards that are made of parts, each part as its difference from the group's mean, weighed down
  where it is saturated in the group.

The last is after TaRoS (Li et al. 2025, arXiv 2511.19356, "adaptively downweights components that exhibit saturation"):
a part on which all of a group agree (a detector that is sure that every sample is generated) has no say in which is
better, but its last decimals still add noise to the advantage. Their weights also follow the training's progress, which
a reward cannot see; ours depend on the group alone. `group_rewards` is what the adapters use: the three for results of
`Reward.score`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from deeptrace.errors import SettingsError
from deeptrace.plural import plural
from deeptrace.reward.result import RewardResult

__all__ = [
    "GroupForm",
    "check_whole_groups",
    "group_centred",
    "group_ranks",
    "group_rewards",
    "group_weighed",
]

GroupForm = Literal["relative", "rank", "centred"]

_SPREAD = 0.02
_LEAST = 1e-6


def group_ranks(values: Sequence[float | None] | NDArray[np.floating], groups: Sequence[Hashable]) -> list[float]:
    """The place of each value in its group, from 0 (lowest) to 1 (highest); ties share theirs, alone it is 0.5.

    Args:
        values: (N,) rewards, higher is better; NaN and None are none, and count for nothing in their group.
        groups: (N,) of each value, its prompt or whatever names its group.

    Returns:
        (N,) in the order of `values`; NaN where there is no value.

    Raises:
        SettingsError: values that are infinite or not (N,), or not one group for each.

    Examples:
        >>> group_ranks([0.1, 0.3, 0.2, 0.9, None], ["a", "a", "a", "b", "b"])
        [0.0, 1.0, 0.5, 0.5, nan]
    """
    return _of_groups(_column(values), groups, lambda rows: _places(rows[:, 0]))


def group_centred(values: Sequence[float | None] | NDArray[np.floating], groups: Sequence[Hashable]) -> list[float]:
    """Each value less the mean of its group: 0 on average in each group, and alone.

    Args, Returns, Raises: as `group_ranks`.

    Examples:
        >>> group_centred([0.25, 0.75, 0.5, None], ["a", "a", "b", "b"])
        [-0.25, 0.25, 0.0, nan]
    """
    return _of_groups(_column(values), groups, lambda rows: rows[:, 0] - rows[:, 0].mean())


def group_weighed(parts: ArrayLike, groups: Sequence[Hashable]) -> list[float]:
    """The parts of a reward, each against its group's mean and weighed down where it is saturated there, as one sum.

    For each part f: ln f less its mean over the group, times s / (s + 0.02), where s is the standard deviation of f
    itself in the group. A part that is near 0 or near 1 for all has hardly a say, however its logarithm scatters. The
    sum has mean 0 in each group, and a sample that is worse in no part is never below one that is.

    Args:
        parts: (N, K) factors in [0, 1] whose product is a reward; a row with NaN is a sample without a reward.
        groups: (N,) as `group_ranks`.

    Returns:
        (N,) in the order of `parts`; NaN for samples without a reward, which count for nothing in their group.

    Raises:
        SettingsError: parts outside [0, 1] or not (N, K), or not one group for each.

    Examples:
        >>> [round(value, 3) for value in group_weighed([[1e-5, 0.2], [1e-6, 0.4]], ["a", "a"])]  # the first: saturated
        [-0.289, 0.289]
    """
    rows = np.asarray(parts, np.float64)
    if rows.ndim != 2:
        raise SettingsError("parts", f"expected shape (N, K) but got {rows.shape}")
    if ((rows < 0) | (rows > 1)).any():
        raise SettingsError("parts", f"expected factors in [0, 1] but got {np.nanmin(rows)} to {np.nanmax(rows)}")
    return _of_groups(rows, groups, _weighed)


def group_rewards(
    results: Sequence[RewardResult], groups: Sequence[Hashable], *, form: GroupForm = "relative"
) -> list[float]:
    """The reward of each clip against the others of its group, in the order of the clips.

    `relative` is `group_weighed` of the factors of the reward: authenticity to its weight, traces, flaws. `rank` is
    `group_ranks` of that. `centred` is `group_centred` of the reward itself.

    Args:
        results: of `Reward.score`.
        groups: of each clip, its prompt or whatever names its group.
        form: "relative", "rank" or "centred".

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
    if form not in get_args(GroupForm):
        raise SettingsError("form", f"expected one of {', '.join(get_args(GroupForm))} but got {form!r}")
    if form == "centred":
        return group_centred([result.reward for result in results], groups)
    relative = group_weighed(np.reshape([_factors(result) for result in results], (-1, 3)), groups)
    return relative if form == "relative" else group_ranks(relative, groups)


def check_whole_groups(groups: Sequence[Hashable], size: int, caller: str) -> None:
    """Check that a batch holds every sample of each of its groups: a mean or a rank of a part of them is another one.

    Args:
        groups: of each sample of the batch.
        size: samples that a trainer makes of a prompt; a prompt that comes twice has twice as many.
        caller: the adapter.

    Raises:
        SettingsError: a group is not whole.
    """
    for group, count in Counter(groups).items():
        if count % size:
            raise SettingsError(
                caller,
                f"this batch has {count} samples of {str(group)[:80]!r}, not {size} or a multiple: groups are spread "
                "over batches or processes, and their rewards cannot be compared here",
                "Leave out group=, or see 'Within a group' in docs/reward.md.",
            )


def _column(values: Sequence[float | None] | NDArray[np.floating]) -> NDArray[np.float64]:
    """(N, 1) of the values, NaN for None."""
    column = np.array([math.nan if value is None else value for value in values], np.float64)
    if column.ndim != 1 or np.isinf(column).any():
        raise SettingsError("values", "expected one finite number, NaN or None for each sample")
    return column[:, None]


def _of_groups(
    rows: NDArray[np.float64],
    groups: Sequence[Hashable],
    of_group: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> list[float]:
    """`of_group` for the rows (n, K) of each group that hold no NaN; NaN for the others."""
    if len(groups) != len(rows):
        raise SettingsError("groups", f"expected one for each of {plural(len(rows), 'clip')} but got {len(groups)}")
    members: dict[Hashable, list[int]] = {}
    for index in np.flatnonzero(~np.isnan(rows).any(axis=1)).tolist():
        members.setdefault(groups[index], []).append(index)
    found = np.full(len(rows), math.nan)
    for indices in members.values():
        found[indices] = of_group(rows[indices])
    return [float(value) for value in found]


def _factors(result: RewardResult) -> tuple[float, float, float]:
    parts = result.parts
    if parts is None:
        return math.nan, math.nan, math.nan
    return parts.authenticity**parts.authenticity_weight, parts.trace_factor, parts.flaw_factor


def _weighed(factors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums (N,) for the factors (N, K) of a group."""
    logs = np.log(np.maximum(factors, _LEAST))
    spread = factors.std(axis=0)
    return np.asarray(((logs - logs.mean(axis=0)) * spread / (spread + _SPREAD)).sum(axis=1))


def _places(values: NDArray[np.float64]) -> NDArray[np.float64]:
    if len(values) == 1:
        return np.array([0.5])
    return np.asarray((rankdata(values) - 1) / (len(values) - 1))
