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

import cv2
import numpy as np
from numpy.typing import NDArray

from deeptrace.detectors import Analysis, HeatMap
from deeptrace.errors import ModelError, SettingsError
from deeptrace.inference.executor import Executor
from deeptrace.inference.one_clip import Job
from deeptrace.reward.inputs import opened
from deeptrace.reward.result import RewardResult
from deeptrace.reward.tensors import Unusable
from deeptrace.schema import Verdict
from deeptrace.video import Video

__all__ = ["DenseReward", "LatentReward", "dense_reward", "frame_times", "map_of"]


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

    def on_latents(self, *, every_frames: int = 4, every_pixels: int = 8, first_alone: bool = True) -> LatentReward:
        """The map on the grid of a video autoencoder's latents, for losses that weigh regions.

        Each cell is the mean over the frames and pixels that its latent stands for, the last ones of a clip whose
        length or size is no multiple over what is there.

        Args:
            every_frames: frames that become one latent (4 in Wan, HunyuanVideo and CogVideoX, 8 in LTX-Video).
            every_pixels: pixels that become one, in height and in width (8; 32 in LTX-Video).
            first_alone: whether the first frame has a latent of its own, as in causal autoencoders.

        Raises:
            SettingsError: a step that is no whole number of at least 1.
        """
        for name, value in (("every_frames", every_frames), ("every_pixels", every_pixels)):
            if not isinstance(value, int) or value < 1:
                raise SettingsError(name, f"expected a whole number of at least 1 but got {value}")
        frames, height, width = self.map.shape
        times = np.arange(1 if first_alone else 0, frames, every_frames)
        if first_alone or not len(times):
            times = np.concatenate([[0], times])
        found = self.map.astype(np.float64)
        for axis, starts in enumerate((times, np.arange(0, height, every_pixels), np.arange(0, width, every_pixels))):
            counts = np.diff(np.append(starts, found.shape[axis]))
            shape = [-1 if axis == other else 1 for other in range(3)]
            found = np.add.reduceat(found, starts, axis=axis) / counts.reshape(shape)
        return LatentReward(found.astype(np.float32), self.times_s[times])


@dataclass(frozen=True)
class LatentReward:
    """Rewards on the grid of latents.

    Attributes:
        map: (T', H', W') float32 in [0, 1].
        times_s: (T',) when the first frame of each latent is shown.
    """

    map: NDArray[np.float32]
    times_s: NDArray[np.float64]


def dense_reward(
    executor: Executor,
    clip: str | Video | Unusable,
    result_of: Callable[[Verdict], RewardResult],
    *,
    size: tuple[int, int] | None = None,
    times_s: Sequence[float] | None = None,
) -> DenseReward:
    """See `Reward.dense`.

    Raises:
        SettingsError: the detector makes no map, or `size` or `times_s` is invalid.
        VideoError, ModelError: the clip cannot be scored, or is too long for all of it to be searched.
    """
    with opened(clip) as video:
        found = executor.submit(video, Job(heat=True)).result()
        return map_of(found, video, result_of, size=size, times_s=times_s)


def map_of(
    found: Analysis,
    video: Video,
    result_of: Callable[[Verdict], RewardResult],
    *,
    size: tuple[int, int] | None = None,
    times_s: Sequence[float] | None = None,
) -> DenseReward:
    """The dense reward of a clip that has been analysed with heat; see `Reward.dense`.

    Raises:
        SettingsError, ModelError: as `dense_reward`.
    """
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise SettingsError("size", f"expected a positive (height, width) but got {size}")
    result = result_of(found.verdict)
    if result.parts is None:
        raise ModelError(result.verdict.video, result.error or "could not be scored")
    if not found.heat:
        name = found.verdict.detector.name if found.verdict.detector is not None else "the detector"
        raise SettingsError(name, "makes no map of where traces lie", "Use the detector tracenet.")
    if len(found.heat) != 1:
        raise ModelError(video.path, "is too long to be searched for traces as a whole", "Cut it.")
    times = frame_times(video) if times_s is None else _checked(times_s)
    height, width = size or (video.media.height, video.media.width)
    p_fake = 1.0 - result.parts.authenticity
    heat = _resampled(found.heat[0], times, (width, height))
    return DenseReward(np.asarray(1.0 - p_fake * heat, np.float32), times, result)


def frame_times(video: Video) -> NDArray[np.float64]:
    """When each frame of a video is shown, (T,) seconds; one more pass over a file, at a small size."""
    return np.array([frame.time_s for frame in video.frames(size=(16, 16), format="gray")])


def _checked(times_s: Sequence[float]) -> NDArray[np.float64]:
    times = np.asarray(times_s, np.float64)
    if times.ndim != 1 or not times.size or not np.isfinite(times).all():
        raise SettingsError("times_s", f"expected finite times (T,) but got shape {times.shape}")
    return times


def _resampled(known_heat: HeatMap, times: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float32]:
    """The heat (T, H, W) at `times`, linear in time and space; `size` is (width, height)."""
    known = known_heat.times_s
    place = np.interp(times, known, np.arange(len(known)))
    before = np.floor(place).astype(int)
    after = np.minimum(before + 1, len(known) - 1)
    share = (place - before)[:, None, None].astype(np.float32)
    grid = known_heat.heat[before] * (1 - share) + known_heat.heat[after] * share
    shown = np.empty((len(times), size[1], size[0]), np.float32)
    for index, cells in enumerate(grid.astype(np.float32)):
        shown[index] = cv2.resize(cells, size, interpolation=cv2.INTER_LINEAR)
    return np.clip(shown, 0.0, 1.0)
