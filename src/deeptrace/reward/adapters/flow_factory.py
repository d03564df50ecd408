"""A reward model for Flow-Factory, loaded by its import path.

    rewards:
      - name: deeptrace
        reward_model: deeptrace.reward.adapters.flow_factory.DeeptraceRewardModel
        fps: 16

Flow-Factory makes it with `(config=RewardArguments, accelerator=Accelerator)` and calls it with a batch of prompts and
of videos as lists of PIL images (`use_tensor_inputs` is False: its tensors do not say which of three value ranges they
have). Keys it does not know of the YAML block are in `config.extra_kwargs`: `fps`, `detector`, `workers`, `failed`.

Source: X-GenGroup/Flow-Factory src/flow_factory/rewards/{abc,loader,registry,reward_processor}.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from deeptrace.detectors import DEFAULT_DETECTOR
from deeptrace.errors import SettingsError
from deeptrace.reward.adapters.failures import checked_stand_in, fps_from, numbers
from deeptrace.reward.layouts import Frames
from deeptrace.reward.rewarder import Reward

try:
    from flow_factory.rewards.abc import PointwiseRewardModel, RewardModelOutput
except ImportError as error:
    raise SettingsError(
        "deeptrace.reward.adapters.flow_factory", f"needs Flow-Factory: {error}", "Install flow_factory."
    ) from error

__all__ = ["DeeptraceRewardModel"]

CALLER = "Flow-Factory"


class DeeptraceRewardModel(PointwiseRewardModel):  # type: ignore[misc]  # the base is untyped
    """deeptrace as a pointwise reward model.

    Raises:
        SettingsError: no fps in the config, or settings that make no sense.
    """

    required_fields = ("prompt", "video")
    use_tensor_inputs = False

    def __init__(self, config: Any, accelerator: Any) -> None:
        super().__init__(config, accelerator)
        extra = dict(getattr(config, "extra_kwargs", None) or {})
        self._fps = fps_from(None, "fps", 1, extra.pop("fps", None), CALLER)[0]
        self._failed = checked_stand_in(extra.pop("failed", None), CALLER)
        self._reward = Reward(
            extra.pop("detector", DEFAULT_DETECTOR), workers=extra.pop("workers", 1), **extra.pop("settings", {})
        )
        if extra:
            raise SettingsError(CALLER, f"knows no setting {', '.join(map(repr, sorted(extra)))}")

    def __call__(
        self,
        prompt: Sequence[str],
        image: Any = None,  # noqa: ARG002 - Flow-Factory's signature
        video: Sequence[Sequence[Any]] | None = None,
        audio: Any = None,  # noqa: ARG002
        condition_images: Any = None,  # noqa: ARG002
        condition_videos: Any = None,  # noqa: ARG002
        **kwargs: Any,  # noqa: ARG002
    ) -> Any:
        """The rewards of a batch, in order, as `RewardModelOutput`; the parts are in `extra_info`.

        Raises:
            SettingsError: no videos, not as many as prompts, or not lists of images of one size.
            ModelError: a clip could not be scored and no number was chosen for that.
        """
        if video is None or len(video) != len(prompt):
            got = "none" if video is None else str(len(video))
            raise SettingsError(CALLER, f"expected a video for each of {len(prompt)} prompts but got {got}")
        clips = [_frames(images, index) for index, images in enumerate(video)]
        results = self._reward.score(clips, fps=self._fps)
        rewards = numbers(results, self._failed, CALLER)
        extra = {
            "authenticity": [result.parts.authenticity if result.parts else None for result in results],
            "trace_cost": [result.parts.trace_cost if result.parts else None for result in results],
        }
        return RewardModelOutput(rewards=rewards, extra_info=extra)


def _frames(images: Sequence[Any], index: int) -> Frames:
    """(T, H, W, 3) of a list of PIL images."""
    if not isinstance(images, (list, tuple)) or not images or not all(hasattr(image, "convert") for image in images):
        kind = type(images).__name__
        raise SettingsError(CALLER, f"video {index}: expected a list of PIL images but got {kind}")
    if len({image.size for image in images}) > 1:
        raise SettingsError(CALLER, f"video {index}: expected images of one size")
    return np.stack([np.asarray(image.convert("RGB"), np.uint8) for image in images])
