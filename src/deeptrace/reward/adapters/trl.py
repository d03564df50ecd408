"""A reward function for TRL's GRPOTrainer.

    GRPOTrainer(model, reward_funcs=reward_function(column="video"), ...)

TRL calls `fn(prompts=..., completions=..., completion_ids=..., **columns)` with every column of the dataset as a list
and takes a list of floats, None for a completion without a reward. What is scored is the video each completion led to:
give `render`, which makes it (a prompt rewriter is trained this way), or the column that holds it (see
`columns.clips_from`). A clip without a reward is logged with its reason.

Source: huggingface/trl trl/trainer/grpo_trainer.py (_calculate_rewards).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from deeptrace.detectors import DEFAULT_DETECTOR
from deeptrace.reward.adapters.columns import Render, clips_from
from deeptrace.reward.adapters.failures import numbers_or_none
from deeptrace.reward.groups import GroupForm, group_rewards
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
    **settings: Any,
) -> Callable[..., list[float | None]]:
    """A function for `reward_funcs`.

    Args:
        column: which column holds the video of each completion.
        render: makes the videos instead; see `columns.Render`.
        fps: of videos given as arrays.
        detector, workers, settings: see `Reward`.
        group: "relative" or "rank" for the completions of a prompt against each other, see `group_rewards`; None for
            each by itself. TRL hands over a batch that holds whole groups.
    """
    reward = Reward(detector, workers=workers, **settings)

    def deeptrace_reward(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        with clips_from(completions, {"prompts": prompts, **columns}, column, render, "TRL") as clips:
            results = reward.score(clips, fps=fps)
        alone = numbers_or_none(results, "TRL")
        if group is None:
            return alone
        found = group_rewards(results, [repr(prompt) for prompt in prompts], form=group)
        return [None if math.isnan(value) else value for value in found]

    return deeptrace_reward
