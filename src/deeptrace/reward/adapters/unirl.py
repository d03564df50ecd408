"""Scorers for UniRL: one for its reward service, one for tensors in the trainer's own process.

    # reward_service/scorers/registry.py, in SCORER_MODULES:
    "deeptrace": "deeptrace.reward.adapters.unirl_service",

The service asks `score(items)`: one dict of sub-metrics an item, NaN for an item that failed. A video is the last entry
of `item.videos`, mp4 bytes or a path. `reward` stands first because UniRL trains on the first sub-metric.

`DeeptraceTensorScorer` takes the tensors of UniRL's `request.videos`, (C, T, H, W) floats in [0, 1].

Source: Tencent-Hunyuan/UniRL unirl-reward-service/reward_service/scorers/{base,registry,videoalign}.py,
unirl/types/{reward,primitives}.py.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from deeptrace.detectors import DEFAULT_DETECTOR
from deeptrace.errors import SettingsError
from deeptrace.reward.inputs import Clip, path_of_bytes
from deeptrace.reward.result import RewardResult
from deeptrace.reward.reward import Reward
from deeptrace.reward.tensors import Unusable, frames_of_clip

__all__ = ["SUB_METRICS", "DeeptraceScorer", "DeeptraceTensorScorer"]

SUB_METRICS = ("reward", "authenticity", "trace_factor")


class DeeptraceScorer:
    """The scorer of UniRL's reward service; has all that its `BaseScorer` has.

    Args:
        detector, workers, settings: see `Reward`.
    """

    name = "deeptrace"
    sub_metric_names = SUB_METRICS

    def __init__(self, detector: str = DEFAULT_DETECTOR, workers: int = 1, **settings: Any) -> None:
        self._reward = Reward(detector, workers=workers, **settings)

    def score(self, items: Sequence[Any]) -> list[dict[str, float]]:
        """The sub-metrics of each item, in order; NaN throughout for one that could not be scored."""
        with ExitStack() as files:
            clips: list[Clip] = [self._clip(item, index, files) for index, item in enumerate(items)]
            return [_sub_metrics(result) for result in self._reward.score(clips)]

    def close(self) -> None:
        """Stop the threads."""
        self._reward.close()

    @staticmethod
    def _clip(item: Any, index: int, files: ExitStack) -> Clip:
        source = item.videos[-1] if item.videos else None
        if isinstance(source, (bytes, bytearray, memoryview)):
            return files.enter_context(path_of_bytes(source))
        if isinstance(source, (str, os.PathLike)):
            return source
        return Unusable(f"item {index}", f"expected mp4 bytes or a path on its last turn but got {source!r}"[:200])


class DeeptraceTensorScorer:
    """Scores UniRL's video tensors without encoding them.

    Args:
        fps: how fast the generator's frames are shown.
        detector, workers, settings: see `Reward`.
    """

    input_kind = "video"

    def __init__(self, *, fps: float, detector: str = DEFAULT_DETECTOR, workers: int = 1, **settings: Any) -> None:
        if not 0 < fps < math.inf:
            raise SettingsError("UniRL", f"expected a positive fps but got {fps}")
        self._fps = fps
        self._reward = Reward(detector, workers=workers, **settings)

    def score(self, videos: Sequence[Any]) -> list[dict[str, float]]:
        """The sub-metrics of each video (C, T, H, W), in order; NaN throughout for one that could not be scored.

        Raises:
            SettingsError: another shape, dtype or value range.
        """
        clips: list[Clip] = [
            frames_of_clip(video, layout="CTHW", value_range=(0, 1), caller="UniRL", name=f"clip {index}")
            for index, video in enumerate(videos)
        ]
        return [_sub_metrics(result) for result in self._reward.score(clips, fps=self._fps)]


def _sub_metrics(result: RewardResult) -> dict[str, float]:
    parts = result.parts
    if parts is None:
        return dict.fromkeys(SUB_METRICS, math.nan)
    return {"reward": parts.reward, "authenticity": parts.authenticity, "trace_factor": parts.trace_factor}
