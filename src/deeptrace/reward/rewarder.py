"""`Reward`: clips in, numbers out. The one class that the command, the adapters and the server share."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from deeptrace.detectors import DEFAULT_DETECTOR, Detector
from deeptrace.errors import SettingsError, VideoError
from deeptrace.reward.layouts import Unusable
from deeptrace.reward.pool import DetectorPool
from deeptrace.reward.result import RewardResult
from deeptrace.reward.scalar import DEFAULT_WEIGHTS, explain_reward, unrewarded
from deeptrace.trace import Category, DetectorInfo, Outcome, Verdict
from deeptrace.video import Video, open_video, video_from_array

if TYPE_CHECKING:
    from deeptrace.reward.dense import DenseReward

__all__ = ["Clip", "Reward", "RewardResult", "opened", "rates_of", "reward_of", "shared_reward"]

Clip = str | os.PathLike[str] | Video | NDArray[Any] | Unusable
"""A path or URL, an open video, frames (T, H, W, 3) uint8 RGB, or a clip already known to be unusable."""


class Reward:
    """Rewards of clips, from any thread.

    Args:
        detector: a name (see `deeptrace detectors`) or a loaded detector.
        workers: how many clips are judged at once, each by a detector of its own. A loaded detector allows one.
        weights: what each kind of trace costs; see `deeptrace.reward.scalar`.
        settings: of the detector, when it is given by name.

    Raises:
        UnknownDetectorError, SettingsError, MissingExtraError, ModelError: the detector cannot be loaded, or a weight
            makes no sense.
    """

    def __init__(
        self,
        detector: str | Detector = DEFAULT_DETECTOR,
        *,
        workers: int = 1,
        weights: Mapping[Category, float] = DEFAULT_WEIGHTS,
        **settings: Any,
    ) -> None:
        if bad := [kind for kind, weight in weights.items() if not 0 <= weight < math.inf]:
            raise SettingsError("weights", f"expected finite weights of at least 0 but {', '.join(bad)} is not")
        self._pool = DetectorPool(detector, settings, size=workers)
        self._weights, self._workers = dict(weights), workers
        self._threads: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    @property
    def info(self) -> DetectorInfo:
        """The detector's description."""
        return self._pool.info

    def __call__(self, videos: Sequence[Clip], *, fps: float | Sequence[float] | None = None) -> list[float]:
        """The reward of each clip, in order; NaN where one could not be scored. See `score`."""
        return [result.reward for result in self.score(videos, fps=fps)]

    def score(self, videos: Sequence[Clip], *, fps: float | Sequence[float] | None = None) -> list[RewardResult]:
        """Judge each clip; results come in the order of the clips.

        A clip that cannot be scored is a result with a NaN and a reason, never an exception and never a number.

        Args:
            videos: see `Clip`.
            fps: frames a second of the clips given as arrays, one for all or one each; the others know theirs.

        Raises:
            SettingsError: one clip that is not in a list, an array without `fps`, of another shape or dtype, or a wrong
                number of `fps`.
        """
        rates = rates_of(fps, videos)
        clips = [_prepared(clip, rate, index) for index, (clip, rate) in enumerate(zip(videos, rates, strict=True))]
        if self._workers == 1 or len(clips) < 2:
            return [self._score_one(clip) for clip in clips]
        return list(self._executor().map(self._score_one, clips))

    def dense(
        self,
        video: Clip,
        *,
        fps: float | None = None,
        size: tuple[int, int] | None = None,
        times_s: Sequence[float] | None = None,
    ) -> DenseReward:
        """A reward for every place and moment of one clip, beside its scalar; see `deeptrace.reward.dense`.

        Args:
            video: the clip.
            fps: of an array.
            size: (height, width) of the map; None for the video's own.
            times_s: the moments; None for those of the video's frames.

        Raises:
            SettingsError: the detector makes no map, or an argument makes no sense.
            VideoError, ModelError: the clip cannot be scored.
        """
        from deeptrace.reward.dense import dense_reward

        prepared = _prepared(video, fps, 0)
        with self._pool.lend() as detector:
            return dense_reward(detector, prepared, self.result_of, size=size, times_s=times_s)

    def result_of(self, verdict: Verdict) -> RewardResult:
        """The result for a verdict that is there already, with this object's weights; see `reward_of`."""
        return reward_of(verdict, weights=self._weights)

    def close(self) -> None:
        """Stop the threads; the object can be used again."""
        with self._lock:
            threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _executor(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self._workers, thread_name_prefix="deeptrace-reward")
            return self._threads

    def _score_one(self, clip: str | Video | Unusable) -> RewardResult:
        from deeptrace.evaluate.detect import judge, judge_opened  # it needs this package for the verdict's reward

        if isinstance(clip, Unusable):
            return self.result_of(Verdict.failed(clip.name, Outcome.DECODE_FAILED, clip.reason, detector=self.info))
        with self._pool.lend() as detector:
            judged = judge(detector, clip) if isinstance(clip, str) else judge_opened(detector, clip)
        return self.result_of(judged.verdict)


def reward_of(verdict: Verdict, *, weights: Mapping[Category, float] = DEFAULT_WEIGHTS) -> RewardResult:
    """The result for a verdict. One without a reward (see `unrewarded`) becomes a failed one.

    Raises:
        SettingsError: a weight is negative or not finite.
    """
    if reason := unrewarded(verdict):
        if verdict.label is not None:
            known = {"media": verdict.media, "detector": verdict.detector, "elapsed_s": verdict.elapsed_s}
            verdict = Verdict.failed(verdict.video, Outcome.MODEL_FAILED, reason, **known)
        return RewardResult(math.nan, None, verdict)
    parts = explain_reward(verdict, weights=weights)
    return RewardResult(parts.reward, parts, verdict.model_copy(update={"reward": parts.reward}))


_shared: dict[tuple[Any, ...], Reward] = {}
_shared_lock = threading.Lock()


def shared_reward(detector: str = DEFAULT_DETECTOR, *, workers: int = 1, **settings: Any) -> Reward:
    """One `Reward` a process for each detector, number of workers and settings, however often it is asked for."""
    key = (detector, workers, repr(sorted(settings.items())))
    with _shared_lock:
        if key not in _shared:
            _shared[key] = Reward(detector, workers=workers, **settings)
        return _shared[key]


@contextmanager
def opened(clip: str | Video | Unusable) -> Iterator[Video]:
    """The clip as a video; one opened here is closed here, one that came open stays so.

    Raises:
        VideoError: it cannot be opened.
    """
    if isinstance(clip, Unusable):
        raise VideoError(clip.name, clip.reason)
    if isinstance(clip, Video):
        yield clip
        return
    with open_video(clip) as video:
        yield video


def rates_of(fps: float | Sequence[float] | None, clips: Sequence[Any]) -> list[float | None]:
    """Frames a second of each of several clips.

    Raises:
        SettingsError: another number of them, or one clip where several are expected.
    """
    if isinstance(clips, (str, os.PathLike, Video)):  # a path is a sequence too: of letters
        raise SettingsError("videos", "expected several clips but got one", "Put it into a list.")
    count = len(clips)
    if fps is None or isinstance(fps, (int, float)):
        return [fps] * count
    if len(fps) != count:
        raise SettingsError("fps", f"expected one number, or one for each of {count} clips, but got {len(fps)}")
    return [float(rate) for rate in fps]


def _prepared(clip: Clip, fps: float | None, index: int) -> str | Video | Unusable:
    if isinstance(clip, (Video, Unusable)):
        return clip
    if isinstance(clip, (str, os.PathLike)):
        return os.fspath(clip)
    name = f"clip {index}"
    if not isinstance(clip, np.ndarray):
        raise SettingsError(name, f"expected a path, a Video or an array but got {type(clip).__name__}")
    if fps is None:
        raise SettingsError(name, "frames alone do not say how fast they are shown", "Give fps.")
    return video_from_array(clip, fps=fps, name=name)
