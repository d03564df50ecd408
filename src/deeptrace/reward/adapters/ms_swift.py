"""A reward for ms-swift's GRPO.

    # plugin.py, given with --external_plugins plugin.py --reward_funcs deeptrace
    from swift.rewards import orms
    from deeptrace.reward.adapters.ms_swift import DeeptraceORM
    orms["deeptrace"] = DeeptraceORM

ms-swift makes it with `(args=GRPOConfig)` and calls `(completions, **columns)`; it needs no base class. What is scored
is the video each completion led to: the column `videos` (see `columns.clips_from`), or what `render` makes. A clip
without a reward is logged with its reason. Subclass to change the class attributes.

Source: modelscope/ms-swift swift/rewards/orm.py, swift/rl_core/grpo_algorithm.py, swift/rlhf_trainers/grpo_trainer.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from deeptrace.detectors import DEFAULT_DETECTOR
from deeptrace.reward.adapters.columns import clips_from
from deeptrace.reward.adapters.failures import numbers_or_none
from deeptrace.reward.reward import shared_reward

__all__ = ["DeeptraceORM"]


class DeeptraceORM:
    """deeptrace as an outcome reward model.

    Attributes:
        column: which column holds the video of each completion.
        render: makes the videos instead, as a static method; see `columns.Render`.
        fps: of videos given as arrays.
        detector, workers, settings: see `Reward`.
    """

    column: ClassVar[str] = "videos"
    render: ClassVar[Any] = None
    fps: ClassVar[float | None] = None
    detector: ClassVar[str] = DEFAULT_DETECTOR
    workers: ClassVar[int] = 1
    settings: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, args: Any = None, **kwargs: Any) -> None:  # noqa: ARG002 - ms-swift's signature
        self.args = args
        self._reward = shared_reward(self.detector, workers=self.workers, **self.settings)

    def __call__(self, completions: Sequence[Any], **kwargs: Any) -> list[float | None]:
        """The reward of each completion's video, in order; None, which ms-swift knows, for one without."""
        with clips_from(completions, kwargs, self.column, type(self).render, "ms-swift") as clips:
            return numbers_or_none(self._reward.score(clips, fps=self.fps), "ms-swift")
