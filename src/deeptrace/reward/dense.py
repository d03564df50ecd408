"""Where and when a clip loses its reward: a map over height and width for every frame.

    dense(t, y, x) = 1 - p_fake * heat(t, y, x)                                   in [0, 1], higher is better

`heat` is the chance that a trace lies there given that the clip has one, as TraceNet's trace net says it on a grid of
32 x 32 for each sampled frame (at most 8 a second); p_fake is the clip's calibrated probability. The product is the
chance that a trace lies there. Between grid cells and between sampled frames the map is linear; outside the first and
the last sampled frame the nearest one holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

from deeptrace.detectors import Detector
from deeptrace.detectors.tracenet.stretches import Stretch
from deeptrace.errors import ModelError, SettingsError
from deeptrace.reward.layouts import Unusable
from deeptrace.reward.rewarder import RewardResult, opened
from deeptrace.trace import DetectorInfo, Verdict
from deeptrace.video import Video

__all__ = ["DenseReward", "HeatDetector", "dense_reward", "frame_times"]


@runtime_checkable
class HeatDetector(Detector, Protocol):
    """A detector that also says where its heat lies."""

    def detect_with_heat(self, video: Video) -> tuple[Verdict, list[Stretch]]:
        """The verdict, and the heat over the sampled frames."""
        ...


@dataclass(frozen=True)
class DenseReward:
    """Rewards in space and time.

    Attributes:
        map: (T, H, W) float32 in [0, 1].
        times_s: (T,) when each slice is shown.
        result: the clip's scalar reward, from the same pass.
    """

    map: NDArray[np.float32]
    times_s: NDArray[np.float64]
    result: RewardResult


class _WithHeat:
    """A detector for `judge_opened` that keeps the heat of what it judged."""

    def __init__(self, detector: HeatDetector) -> None:
        self._detector = detector
        self.heat: list[Stretch] = []

    @property
    def info(self) -> DetectorInfo:
        return self._detector.info

    def detect(self, video: Video) -> Verdict:
        verdict, self.heat = self._detector.detect_with_heat(video)
        return verdict


def dense_reward(
    detector: Detector,
    clip: str | Video | Unusable,
    result_of: Callable[[Verdict], RewardResult],
    *,
    size: tuple[int, int] | None = None,
    times_s: Sequence[float] | None = None,
) -> DenseReward:
    """See `Reward.dense`.

    Raises:
        SettingsError: the detector makes no map, or `size` or `times_s` makes no sense.
        VideoError, ModelError: the clip cannot be scored, or is too long for all of it to be searched.
    """
    from deeptrace.evaluate.detect import judge_opened

    if not isinstance(detector, HeatDetector):
        raise SettingsError(detector.info.name, "makes no map of where traces lie", "Use the detector tracenet.")
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise SettingsError("size", f"expected a positive (height, width) but got {size}")
    with opened(clip) as video:
        keeper = _WithHeat(detector)
        result = result_of(judge_opened(keeper, video).verdict)
        if result.parts is None:
            raise ModelError(result.verdict.video, result.error or "could not be scored")
        if len(keeper.heat) != 1:
            raise ModelError(video.path, "is too long to be searched for traces as a whole", "Cut it.")
        times = frame_times(video) if times_s is None else _checked(times_s)
        height, width = size or (video.media.height, video.media.width)
    p_fake = 1.0 - result.parts.authenticity
    heat = _stretched(keeper.heat[0], times, (width, height))
    return DenseReward(np.asarray(1.0 - p_fake * heat, np.float32), times, result)


def frame_times(video: Video) -> NDArray[np.float64]:
    """When each frame of a video is shown, (T,) seconds; one more pass over a file, at a small size."""
    return np.array([frame.time_s for frame in video.frames(size=(16, 16), format="gray")])


def _checked(times_s: Sequence[float]) -> NDArray[np.float64]:
    times = np.asarray(times_s, np.float64)
    if times.ndim != 1 or not times.size or not np.isfinite(times).all():
        raise SettingsError("times_s", f"expected finite times (T,) but got shape {times.shape}")
    return times


def _stretched(stretch: Stretch, times: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float32]:
    """The heat (T, H, W) at `times`, linear in time and space; `size` is (width, height)."""
    known = stretch.times_s
    place = np.interp(times, known, np.arange(len(known)))
    before = np.floor(place).astype(int)
    after = np.minimum(before + 1, len(known) - 1)
    share = (place - before)[:, None, None].astype(np.float32)
    grid = stretch.where[before] * (1 - share) + stretch.where[after] * share
    shown = np.empty((len(times), size[1], size[0]), np.float32)
    for index, cells in enumerate(grid.astype(np.float32)):
        shown[index] = cv2.resize(cells, size, interpolation=cv2.INTER_LINEAR)
    return np.clip(shown, 0.0, 1.0)
