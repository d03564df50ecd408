"""`Reward`: clips in, numbers out. The one class that the command, the adapters and the server share."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from deeptrace.detectors import DEFAULT_DETECTOR, Detector
from deeptrace.errors import SettingsError
from deeptrace.inference.executor import Executor, open_executor
from deeptrace.metrics.reward import DEFAULT_WEIGHTS, explain_reward, unrewarded
from deeptrace.reward.inputs import Clip, Clips, clip_of, clips_of
from deeptrace.reward.result import RewardResult
from deeptrace.reward.tensors import Unusable, ValueRange
from deeptrace.schema import Category, DetectorInfo, Outcome, Verdict

if TYPE_CHECKING:
    from deeptrace.reward.dense import DenseReward

__all__ = ["Reward", "reward_of", "shared_reward"]


class Reward:
    """Rewards of clips, from any thread.

    The detector works in worker processes, which a hostile file can crash or hang at the cost of one clip; `inline`
    keeps it in this process instead, which saves copying frames from memory to a worker.

    Args:
        detector: a name (see `deeptrace detectors`) or a loaded detector, which works in this process.
        workers: see `deeptrace.inference.open_executor`.
        timeout_s: longest time for one clip; see there.
        inline: load a detector that is given by name in this process.
        weights: what each kind of trace costs; see `deeptrace.metrics.reward`.
        authenticity_weight: how much it counts whether a clip was generated, 0 for not at all; see `explain_reward`.
        settings: of the detector, when it is given by name.

    Raises:
        UnknownDetectorError, SettingsError, MissingExtraError, ModelError: the detector cannot be loaded, or a weight
            is invalid.
    """

    def __init__(
        self,
        detector: str | Detector = DEFAULT_DETECTOR,
        *,
        workers: int = 1,
        timeout_s: float | None = None,
        inline: bool = False,
        weights: Mapping[Category, float] = DEFAULT_WEIGHTS,
        authenticity_weight: float | None = None,
        **settings: Any,
    ) -> None:
        if bad := [kind for kind, weight in weights.items() if not 0 <= weight < math.inf]:
            raise SettingsError("weights", f"expected finite weights of at least 0 but {', '.join(bad)} is not")
        if authenticity_weight is not None and not 0 <= authenticity_weight < math.inf:
            raise SettingsError("authenticity_weight", f"expected a number of at least 0 but got {authenticity_weight}")
        self._weights, self._authenticity_weight = dict(weights), authenticity_weight
        self._open: Callable[[], Executor] = lambda: open_executor(
            detector, settings, inline=inline, workers=workers, timeout_s=timeout_s
        )
        self._executor: Executor | None = self._open()
        self._info = self._executor.info
        self._lock = threading.Lock()

    @property
    def info(self) -> DetectorInfo:
        """The detector's description."""
        return self._info

    def __call__(
        self,
        videos: Clips,
        *,
        fps: float | Sequence[float] | None = None,
        layout: str | None = None,
        value_range: ValueRange | None = None,
    ) -> list[float]:
        """The reward of each clip, in order; NaN where one could not be scored. See `score`."""
        results = self.score(videos, fps=fps, layout=layout, value_range=value_range)
        return [result.reward for result in results]

    def score(
        self,
        videos: Clips,
        *,
        fps: float | Sequence[float] | None = None,
        layout: str | None = None,
        value_range: ValueRange | None = None,
    ) -> list[RewardResult]:
        """The reward of each clip, in the order of the clips.

        A clip that cannot be scored is a result with a NaN and a reason, never an exception and never a number.

        Args:
            videos: see `Clip`; or a batch of clips as one tensor or array.
            fps: frames a second of the clips given as arrays or tensors, one for all or one each; the others know
                theirs.
            layout: the axes of arrays and tensors in order, a letter each: time, channels (RGB), height, width, and in
                front of them or elsewhere a batch's. "TCHW", "THWC", "CTHW", "BTCHW", "BCTHW" are common. None for
                arrays that are (T, H, W, 3); tensors need one.
            value_range: what black and white are in arrays and tensors: (0, 255) of uint8, (0, 1) or (-1, 1) of
                floats. None for uint8.

        Raises:
            SettingsError: one clip that is not in a list, frames without `fps`, frames that are not as `layout` and
                `value_range` say, a tensor without a layout, or a wrong number of `fps`.
        """
        clips = clips_of(videos, fps, layout=layout, value_range=value_range)
        verdicts: dict[int, Verdict] = {
            index: Verdict.failed(clip.name, Outcome.DECODE_FAILED, clip.reason, detector=self.info)
            for index, clip in enumerate(clips)
            if isinstance(clip, Unusable)
        }
        usable = [(index, clip) for index, clip in enumerate(clips) if not isinstance(clip, Unusable)]
        for result in self._running().run(clip for _, clip in usable):
            verdicts[usable[result.index][0]] = result.verdict
        return [self.result_of(verdicts[index]) for index in range(len(clips))]

    def dense(
        self,
        video: Clip,
        *,
        fps: float | None = None,
        layout: str | None = None,
        value_range: ValueRange | None = None,
        size: tuple[int, int] | None = None,
        times_s: Sequence[float] | None = None,
    ) -> DenseReward:
        """A reward for every place and moment of one clip, beside its scalar; see `deeptrace.reward.dense`.

        Args:
            video: the clip.
            fps, layout, value_range: of an array or a tensor, see `score`; without a batch's axis.
            size: (height, width) of the map; None for the video's own.
            times_s: the moments; None for those of the video's frames.

        Raises:
            SettingsError: the detector makes no map, or an argument is invalid.
            VideoError, ModelError: the clip cannot be scored.
        """
        from deeptrace.reward.dense import dense_reward

        clip = clip_of(video, fps, layout=layout, value_range=value_range)
        return dense_reward(self._running(), clip, self.result_of, size=size, times_s=times_s)

    def result_of(self, verdict: Verdict) -> RewardResult:
        """The result for a verdict that is there already, with this object's weights; see `reward_of`."""
        return reward_of(verdict, weights=self._weights, authenticity_weight=self._authenticity_weight)

    def close(self) -> None:
        """Stop the workers; the object can be used again."""
        with self._lock:
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _running(self) -> Executor:
        with self._lock:
            if self._executor is None:
                self._executor = self._open()
            return self._executor


def reward_of(
    verdict: Verdict,
    *,
    weights: Mapping[Category, float] = DEFAULT_WEIGHTS,
    authenticity_weight: float | None = None,
) -> RewardResult:
    """The result for a verdict. One without a reward (see `unrewarded`) becomes a failed one.

    Raises:
        SettingsError: a weight is negative or not finite.
    """
    if reason := unrewarded(verdict):
        if verdict.label is not None:
            known = {"media": verdict.media, "detector": verdict.detector, "elapsed_s": verdict.elapsed_s}
            verdict = Verdict.failed(verdict.video, Outcome.MODEL_FAILED, reason, **known)
        return RewardResult(math.nan, None, verdict)
    parts = explain_reward(verdict, weights=weights, authenticity_weight=authenticity_weight)
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
