"""A reward function for TRL's GRPOTrainer.

    GRPOTrainer(model, reward_funcs=reward_function(column="video"), ...)

TRL calls `fn(prompts=..., completions=..., completion_ids=..., **columns)` with every column of the dataset as a list
and takes a list of floats, None for a completion without a reward. What is scored is the video each completion led to:
give `render`, which makes it (a prompt rewriter is trained this way), or the column that holds it (see
`columns.clips_from`). A clip without a reward is logged with its reason.

With `group=` the completions of a prompt are compared with each other. TRL calls once in each process, with that
process's part of the batch, and gathers afterwards: groups are whole where per_device_train_batch_size times
steps_per_generation is a multiple of num_generations, and a batch where they are not is an error.

Source: huggingface/trl trl/trainer/grpo_trainer.py (_calculate_rewards, _get_train_sampler) at f2cd577.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from deeptrace.detectors import DEFAULT_DETECTOR
from deeptrace.reward.adapters.columns import Render, clips_from
from deeptrace.reward.adapters.failures import checked_group_size, numbers_or_none
from deeptrace.reward.groups import GroupForm, check_whole_groups, group_rewards
from deeptrace.reward.reward import Reward

__all__ = ["reward_function"]


def reward_function(
    *,
    column: str = "video",
    render: Render | None = None,
    fps: float | None = None,
    detector: str = DEFAULT_DETECTOR,
    workers: int = 1,
    group: GroupForm | None = None,
    group_size: int | None = None,
    **settings: Any,
) -> Callable[..., list[float | None]]:
    """A function for `reward_funcs`.

    Args:
        column: which column holds the video of each completion.
        render: makes the videos instead; see `columns.Render`.
        fps: of videos given as arrays.
        detector, workers, settings: see `Reward`.
        group: "relative", "rank" or "centred" for the completions of a prompt against each other, see `group_rewards`;
            None for each by itself.
        group_size: with `group`, TRL's num_generations.

    Raises:
        SettingsError: `group` without `group_size`; from the function, a batch that does not hold whole groups.
    """
    size = checked_group_size(group, group_size, "TRL")
    reward = Reward(detector, workers=workers, **settings)

    def deeptrace_reward(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        names = [repr(prompt) for prompt in prompts]
        if group is not None:
            check_whole_groups(names, size, "TRL")
        with clips_from(completions, {"prompts": prompts, **columns}, column, render, "TRL") as clips:
            results = reward.score(clips, fps=fps)
        alone = numbers_or_none(results, "TRL")
        if group is None:
            return alone
        found = group_rewards(results, names, form=group)
        return [None if math.isnan(value) else value for value in found]

    return deeptrace_reward
