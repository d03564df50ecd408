"""The grounded reward for TRL's GRPOTrainer.

    rows = [{"prompt": ..., "truth": Truth.of(sample, form=form, view=view).to_json()}, ...]
    GRPOTrainer(model, reward_funcs=grounded_reward_function(), ...)

TRL calls `fn(prompts=, completions=, completion_ids=, trainer_state=, log_extra=, log_metric=, **columns)` with every
column of the dataset as a list, takes a list of floats, and logs each function's mean under its name. Through
`log_metric` the signs of reward hacking stand beside TRL's own figures as `grounded/NAME`.

Source: huggingface/trl 1.16 trl/trainer/grpo_trainer.py (_calculate_rewards).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from deeptrace.errors import SettingsError
from deeptrace.metrics.text import rouge_l
from deeptrace.train.grpo.adapters.columns import batch_truths, score_batch
from deeptrace.train.grpo.diagnostics import diagnose
from deeptrace.train.grpo.reward import DEFAULT_WEIGHTS, PARTS, RewardWeights, Similarity

__all__ = ["grounded_reward_function", "part_reward_function"]


def grounded_reward_function(
    *, column: str = "truth", weights: RewardWeights = DEFAULT_WEIGHTS, similarity: Similarity = rouge_l
) -> Callable[..., list[float]]:
    """The whole reward, for `reward_funcs`.

    Args:
        column: the dataset's column of ground truth.
        weights, similarity: see `reward.score_answer`.
    """

    def grounded_reward(
        prompts: Sequence[Any],  # noqa: ARG001 - TRL's signature
        completions: Sequence[Any],
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float]:
        truths = batch_truths(columns, column, len(completions), "TRL")
        scored = score_batch(completions, truths, weights, similarity)
        if log_metric is not None:
            figures = diagnose(scored, truths, [truth.sample.video_id for truth in truths])
            for name, value in figures.items():
                if value is not None:
                    log_metric(f"grounded/{name}", value)
        return [one.reward for one in scored]

    return grounded_reward


def part_reward_function(
    part: str, *, column: str = "truth", weights: RewardWeights = DEFAULT_WEIGHTS, similarity: Similarity = rouge_l
) -> Callable[..., list[float | None]]:
    """One part of the reward alone, for `reward_funcs` with `reward_weights` of your own; None where it does not apply.

    A sum of parts does not have the whole reward's safeguards: the label decides nothing about the others.

    Args:
        part: one of `rewards.PARTS`.
        column, weights, similarity: as for `grounded_reward_function`.

    Raises:
        SettingsError: there is no such part.
    """
    if part not in PARTS:
        raise SettingsError("part", f"there is none named {part!r}", f"Known: {', '.join(PARTS)}")

    def reward(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:  # noqa: ARG001
        truths = batch_truths(columns, column, len(completions), "TRL")
        return [one.parts[part] for one in score_batch(completions, truths, weights, similarity)]

    reward.__name__ = f"{part}_reward"
    return reward
