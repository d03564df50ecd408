"""The grounded reward for verl: `compute_score`.

    custom_reward_function.path=.../deeptrace/train/grpo/adapters/verl.py
    custom_reward_function.name=compute_score
    +custom_reward_function.reward_kwargs.weights.false_alarm=0.75

verl calls `compute_score(data_source=, solution_str=, ground_truth=, extra_info=)` for each sample with the rows'
`reward_model.ground_truth`: `Truth.to_json`. The keys of the dict become columns of one table, so that every sample has
the same ones, and all are numbers.

Source: volcengine/verl verl/trainer/ppo/reward.py (get_custom_reward_fn), verl/workers/reward_manager/naive.py,
verl/experimental/reward_loop/reward_manager/naive.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from deeptrace.errors import SettingsError
from deeptrace.schema import Label
from deeptrace.train.grpo.adapters.columns import truth_of
from deeptrace.train.grpo.diagnostics import FULL_FRAME
from deeptrace.train.grpo.reward import RewardWeights, score_answer

__all__ = ["compute_score"]


def compute_score(
    data_source: str,  # noqa: ARG001 - verl's signature
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,  # noqa: ARG001 - verl's signature
    *,
    weights: Mapping[str, float] | None = None,
    **kwargs: Any,  # noqa: ARG001 - verl adds the address of its reward model where there is one
) -> dict[str, float]:
    """The reward of one answer, as `score`, with what it can be watched by.

    Args:
        data_source, solution_str, ground_truth, extra_info: from verl.
        weights: changes to `RewardWeights`.

    Raises:
        DataError, SettingsError: the ground truth or the weights are invalid.
    """
    try:
        chosen = RewardWeights(**dict(weights or {}))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"verl, weights {field}".rstrip(), first["msg"]) from None
    scored = score_answer(solution_str, truth_of(ground_truth), weights=chosen)
    says_fake = scored.answer is not None and scored.answer.label is Label.FAKE
    return {
        "score": scored.reward,
        "label": scored.parts["label"] or 0.0,
        "format": scored.parts["format"] or 0.0,
        "readable": float(scored.answer is not None),
        "says_fake": float(says_fake),
        "traces": float(len(scored.traces)),
        "full_frame_boxes": float(
            sum(trace.box.area >= FULL_FRAME for trace in scored.traces if trace.box is not None)
        ),
    }
