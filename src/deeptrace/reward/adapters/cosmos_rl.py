"""A registered reward for cosmos-rl's reward service.

    # cosmos_rl_reward/model/__init__.py
    import deeptrace.reward.adapters.cosmos_rl  # noqa: F401  registers "deeptrace"
    # rewards.toml
    [[reward_args]]
    reward_type = "deeptrace"

The service makes one instance in a process of its own, calls `set_up()` once and `calculate_reward(images, metadata)`
with (B, C, T, H, W) uint8, the batch's prompts and, for each clip, `metadata["video_infos"][i]["video_fps"]`.

Source: nvidia-cosmos/cosmos-rl reward_service/cosmos_rl_reward: handler/reward_base.py, handler/registry.py,
handler/decode.py (uint8), model/dance_grpo.py (`video_infos`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar

from deeptrace.detectors import DEFAULT_DETECTOR
from deeptrace.errors import SettingsError
from deeptrace.reward.adapters.failures import fps_from, numbers
from deeptrace.reward.reward import Reward
from deeptrace.reward.tensors import frames_of_batch

try:
    from cosmos_rl_reward.handler.registry import RewardRegistry
    from cosmos_rl_reward.handler.reward_base import BaseRewardHandler
except ImportError as error:
    raise SettingsError(
        "deeptrace.reward.adapters.cosmos_rl", f"needs cosmos-rl's reward service: {error}", "Install cosmos_rl_reward."
    ) from error

__all__ = ["DeeptraceReward"]

CALLER = "cosmos-rl"


@RewardRegistry.register()
class DeeptraceReward(BaseRewardHandler):  # type: ignore[misc]  # the base is untyped
    """deeptrace as a cosmos-rl reward handler.

    Args:
        model_path: a folder of TraceNet weights; empty for the shipped ones.
        detector: another detector, by name.
        workers: clips analysed at once.
        fps: for clips whose `video_infos` do not say it.
        kwargs: what the service passes to every handler (device, dtype, download_path, endpoint); without effect.

    Attributes:
        failed: the reward of a clip that cannot be scored.
    """

    failed: ClassVar[float] = 0.0

    reward_name = "deeptrace"
    NEEDS_LATENT_DECODER = True

    def __init__(
        self,
        model_path: str = "",
        detector: str = DEFAULT_DETECTOR,
        workers: int = 1,
        fps: float | None = None,
        **kwargs: Any,  # noqa: ARG002 - see above
    ) -> None:
        super().__init__()
        self._detector = f"{DEFAULT_DETECTOR}:{model_path}" if model_path else detector
        self._workers, self._fps = workers, fps
        self._reward: Reward | None = None

    def set_up(self) -> None:
        """Load the detector."""
        self._reward = Reward(self._detector, workers=self._workers)

    def calculate_reward(self, images: Any, metadata: dict[str, Any]) -> dict[str, Any]:
        """Score a batch.

        A clip that could not be scored has `failed` for a reward, because the service's JSON carries no NaN and loses
        the whole batch to an exception; 0.0 in the list `scored`, its reason in `input_info["deeptrace_errors"]`.

        Args:
            images: (B, C, T, H, W) uint8.
            metadata: `video_infos` and what the service adds.

        Raises:
            SettingsError: another shape or dtype, or a clip without fps.
        """
        started = time.time()
        if self._reward is None:
            raise SettingsError(CALLER, "calculate_reward came before set_up")
        clips = frames_of_batch(images, layout="BCTHW", value_range=(0, 255), caller=CALLER)
        rates = fps_from(metadata.get("video_infos"), "video_fps", len(clips), self._fps, CALLER)
        results = self._reward.score(clips, fps=rates)
        rewards = numbers(results, self.failed, CALLER)
        parts = [result.parts for result in results]
        info: Mapping[str, Any] = metadata.get("input_info") or {}
        errors = {index: result.error for index, result in enumerate(results) if result.error is not None}
        return {
            "scores": {
                "reward": rewards,
                "authenticity": [self.failed if part is None else part.authenticity for part in parts],
                "trace_factor": [self.failed if part is None else part.trace_factor for part in parts],
                "scored": [float(part is not None) for part in parts],
            },
            "input_info": {**info, "video_infos": metadata.get("video_infos", []), "deeptrace_errors": errors},
            "duration": f"{time.time() - started:.2f}",
            "decoded_duration": metadata.get("decode_duration", "N/A"),
            "type": self.reward_name,
        }
