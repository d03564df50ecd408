"""A reward function for verl.

    custom_reward_function:
      path: pkg://deeptrace.reward.adapters.verl
      name: compute_score
      reward_kwargs: {video_key: video}

verl calls it for one sample at a time, `compute_score(data_source=, solution_str=, ground_truth=, extra_info=)`, from
threads of its own, and takes a float or a dict with "score". The video is `extra_info[video_key]`: a path.

Source: volcengine/verl verl/trainer/ppo/reward.py (get_custom_reward_fn), verl/workers/reward_manager/naive.py,
verl/experimental/reward_loop/reward_manager/naive.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deeptrace.detectors import DEFAULT_DETECTOR
from deeptrace.errors import SettingsError
from deeptrace.reward.adapters.columns import clips_from
from deeptrace.reward.adapters.failures import checked_stand_in, numbers
from deeptrace.reward.reward import shared_reward

__all__ = ["compute_score"]

CALLER = "verl"


def compute_score(
    data_source: str,  # noqa: ARG001 - verl's signature
    solution_str: str,
    ground_truth: Any,  # noqa: ARG001 - verl's signature
    extra_info: Mapping[str, Any] | None = None,
    *,
    video_key: str = "video",
    detector: str = DEFAULT_DETECTOR,
    workers: int = 1,
    failed: float | None = None,
    settings: Mapping[str, Any] | None = None,
    **kwargs: Any,  # noqa: ARG001 - verl adds the address of its reward model where there is one
) -> dict[str, float]:
    """The reward of one sample's video, as `score`, with its parts.

    Args:
        data_source, solution_str, ground_truth, extra_info: from verl.
        video_key: where `extra_info` holds the video's path.
        detector, workers, settings: see `Reward`; one is shared by all calls of the process.
        failed: the number for a video that cannot be scored; None to raise.

    Raises:
        SettingsError: `extra_info` does not name a video.
        ModelError: the video could not be scored and no number was chosen for that.
    """
    stand_in = checked_stand_in(failed, CALLER)
    columns = {name: [value] for name, value in (extra_info or {}).items()}
    if not isinstance(workers, int):
        raise SettingsError(CALLER, f"expected a number of workers but got {workers!r}")
    with clips_from([solution_str], columns, video_key, None, CALLER) as clips:
        results = shared_reward(detector, workers=workers, **dict(settings or {})).score(clips)
    score = numbers(results, stand_in, CALLER)[0]
    parts = results[0].parts
    # The same keys for every sample: verl puts them into one table.
    return {
        "score": score,
        "authenticity": score if parts is None else parts.authenticity,
        "trace_factor": score if parts is None else parts.trace_factor,
        "scored": float(parts is not None),
    }
