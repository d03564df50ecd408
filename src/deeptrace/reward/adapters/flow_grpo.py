"""A score function for flow_grpo.

    # flow_grpo/rewards.py, in `score_functions` of multi_score:
    "deeptrace": deeptrace.reward.adapters.flow_grpo.score_factory(fps=16),

flow_grpo calls the factory once with the device and the function it returns from a pool of eight threads, with videos
(B, T, C, H, W), floats in [0, 1], as diffusers' `output_type="pt"` gives them. The factory must be a plain function:
its code object is looked into for an argument called `device`.

flow_grpo deals a prompt's samples out over cards and batches (DistributedKRepeatSampler), so a batch holds whole groups
only where all of them fit one batch of one card. `group=` is for that case; else compare them where flow_grpo gathers
them, before `stat_tracker.update` in train_wan2_1.py:

    own = gathered_rewards["ori_avg"]
    gathered_rewards["avg"] += (group_ranks(own, prompts) - own)[:, None]     # from deeptrace.reward

Source: yifan123/flow_grpo flow_grpo/rewards.py (multi_score), scripts/train_wan2_1.py (executor.submit,
DistributedKRepeatSampler, gathered_rewards) at 32b48fd, flow_grpo/stat_tracking.py (PerPromptStatTracker) at 94e23ee.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from deeptrace.detectors import DEFAULT_DETECTOR
from deeptrace.reward.adapters.failures import checked_group_size, checked_stand_in, fps_from, numbers
from deeptrace.reward.groups import GroupForm, check_whole_groups, group_rewards
from deeptrace.reward.reward import Reward
from deeptrace.reward.tensors import frames_of_batch

__all__ = ["ScoreFunction", "score_factory"]

CALLER = "flow_grpo"

ScoreFunction = Callable[[Any, Sequence[str], Any], tuple[list[float], dict[str, Any]]]


def score_factory(
    *,
    fps: float | None = None,
    detector: str = DEFAULT_DETECTOR,
    workers: int = 1,
    failed: float | None = None,
    group: GroupForm | None = None,
    group_size: int | None = None,
    **settings: Any,
) -> Callable[[Any], ScoreFunction]:
    """A factory as flow_grpo's `score_functions` holds them.

    Args:
        fps: how fast the generator's frames are shown; `metadata[i]["fps"]` goes before it.
        detector, workers, settings: see `Reward`.
        failed: the number for a clip that cannot be scored (NaN pixels of a diverged generator); None to raise.
        group: "relative", "rank" or "centred" for the samples of a prompt in the batch against each other, see
            `group_rewards`; None for each by itself. The rewards of each by itself are in the second answer.
        group_size: with `group`, samples of a prompt (flow_grpo's sample.num_image_per_prompt).

    Raises:
        SettingsError: `group` without `group_size`; from the function, a batch that does not hold whole groups.
    """
    size = checked_group_size(group, group_size, CALLER)
    stand_in = checked_stand_in(failed, CALLER)

    def score(device: Any) -> ScoreFunction:  # noqa: ARG001 - the detector runs on the CPU
        reward = Reward(detector, workers=workers, **settings)

        def fn(images: Any, prompts: Sequence[str], metadata: Any) -> tuple[list[float], dict[str, Any]]:
            if group is not None:
                check_whole_groups(prompts, size, CALLER)
            clips = frames_of_batch(images, layout="BTCHW", value_range=(0, 1), caller=CALLER)
            rates = fps_from(metadata, "fps", len(clips), fps, CALLER)
            results = reward.score(clips, fps=rates)
            alone = numbers(results, stand_in, CALLER)
            if group is None:
                return alone, {}
            found = group_rewards(results, list(prompts), form=group)
            return [own if math.isnan(value) else value for own, value in zip(alone, found, strict=True)], {
                "alone": alone
            }

        return fn

    return score
