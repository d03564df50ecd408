"""A reward model for Flow-Factory, loaded by its import path.

    rewards:
      - name: deeptrace
        reward_model: deeptrace.reward.adapters.flow_factory.DeeptraceRewardModel
        fps: 16

`DeeptraceGroupRewardModel` compares the samples of a group instead (see `deeptrace.reward.groups`): Flow-Factory calls
it once a group with all its samples, gathered from every process; `form: rank`, `relative` or `centred` says how.

Flow-Factory makes it with `(config=RewardArguments, accelerator=Accelerator)` and calls it with a batch of prompts and
of videos as lists of PIL images (`use_tensor_inputs` is False: its tensors do not say which of three value ranges they
have). Keys it does not know of the YAML block are in `config.extra_kwargs`: `fps`, `detector`, `workers`, `failed`.

Source: X-GenGroup/Flow-Factory src/flow_factory/rewards/{abc,loader,registry,reward_processor}.py at a0b2bc5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from deeptrace.detectors import DEFAULT_DETECTOR
from deeptrace.errors import SettingsError
from deeptrace.plural import plural
from deeptrace.reward.adapters.failures import checked_stand_in, fps_from, numbers
from deeptrace.reward.groups import group_rewards
from deeptrace.reward.result import RewardResult
from deeptrace.reward.reward import Reward
from deeptrace.reward.tensors import Frames

try:
    from flow_factory.rewards.abc import GroupwiseRewardModel, PointwiseRewardModel, RewardModelOutput
except ImportError as error:
    raise SettingsError(
        "deeptrace.reward.adapters.flow_factory", f"needs Flow-Factory: {error}", "Install flow_factory."
    ) from error

__all__ = ["DeeptraceGroupRewardModel", "DeeptraceRewardModel"]

CALLER = "Flow-Factory"


class _Scoring:
    """What both models do: make a `Reward` of the YAML block and score a batch with it."""

    required_fields = ("prompt", "video")
    use_tensor_inputs = False
    config: Any

    def _open(self) -> dict[str, Any]:
        """Read the YAML block; returns what is left of it."""
        extra = dict(getattr(self.config, "extra_kwargs", None) or {})
        self._fps = fps_from(None, "fps", 1, extra.pop("fps", None), CALLER)[0]
        self._failed = checked_stand_in(extra.pop("failed", None), CALLER)
        self._reward = Reward(
            extra.pop("detector", DEFAULT_DETECTOR), workers=extra.pop("workers", 1), **extra.pop("settings", {})
        )
        return extra

    def _score(self, prompt: Sequence[str], video: Sequence[Sequence[Any]] | None) -> list[RewardResult]:
        if video is None or len(video) != len(prompt):
            got = "none" if video is None else str(len(video))
            raise SettingsError(CALLER, f"expected a video for each of {plural(len(prompt), 'prompt')} but got {got}")
        clips = [_frames(images, index) for index, images in enumerate(video)]
        return self._reward.score(clips, fps=self._fps)


class DeeptraceRewardModel(_Scoring, PointwiseRewardModel):  # type: ignore[misc]  # the base is untyped
    """deeptrace as a pointwise reward model.

    Raises:
        SettingsError: no fps in the config, or settings that are invalid.
    """

    def __init__(self, config: Any, accelerator: Any) -> None:
        super().__init__(config, accelerator)
        _none_left(self._open())

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
        results = self._score(prompt, video)
        return RewardModelOutput(rewards=numbers(results, self._failed, CALLER), extra_info=_parts(results))


class DeeptraceGroupRewardModel(_Scoring, GroupwiseRewardModel):  # type: ignore[misc]  # the base is untyped
    """deeptrace as a group-wise reward model: the samples of one prompt against each other.

    A sample that cannot be scored gets the number of `failed`, or else the lowest reward of its group.

    Raises:
        SettingsError: no fps in the config, or settings that are invalid.
    """

    def __init__(self, config: Any, accelerator: Any) -> None:
        super().__init__(config, accelerator)
        extra = self._open()
        self._form = extra.pop("form", "relative")
        group_rewards([], [], form=self._form)
        _none_left(extra)

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
        """The rewards of a group, in order, as `RewardModelOutput`; the parts are in `extra_info`.

        Raises:
            SettingsError: no videos, not as many as prompts, or not lists of images of one size.
            ModelError: not one sample of the group could be scored and no number was chosen for that.
        """
        results = self._score(prompt, video)
        rewards = group_rewards(results, [0] * len(results), form=self._form)
        known = [reward for reward in rewards if not math.isnan(reward)]
        stand_in = self._failed if self._failed is not None or not known else min(known)
        numbers(results, stand_in, CALLER)  # logs what failed, or raises
        values = [stand_in if math.isnan(reward) else reward for reward in rewards]
        return RewardModelOutput(rewards=values, extra_info=_parts(results))


def _none_left(extra: dict[str, Any]) -> None:
    if extra:
        raise SettingsError(CALLER, f"knows no setting {', '.join(map(repr, sorted(extra)))}")


def _parts(results: Sequence[RewardResult]) -> dict[str, list[float | None]]:
    names = ("authenticity", "trace_cost", "flaw_severity")
    return {name: [getattr(r.parts, name) if r.parts else None for r in results] for name in names}


def _frames(images: Sequence[Any], index: int) -> Frames:
    """(T, H, W, 3) of a list of PIL images."""
    if not isinstance(images, (list, tuple)) or not images or not all(hasattr(image, "convert") for image in images):
        kind = type(images).__name__
        raise SettingsError(CALLER, f"video {index}: expected a list of PIL images but got {kind}")
    if len({image.size for image in images}) > 1:
        raise SettingsError(CALLER, f"video {index}: expected images of one size")
    return np.stack([np.asarray(image.convert("RGB"), np.uint8) for image in images])
