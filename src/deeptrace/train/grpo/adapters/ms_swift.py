"""The grounded reward for ms-swift's GRPO.

    # plugin.py, given with --external_plugins plugin.py --reward_funcs grounded
    from swift.rewards import orms
    from deeptrace.train.grpo.adapters.ms_swift import GroundedORM
    orms["grounded"] = GroundedORM

ms-swift makes it with `(args=GRPOConfig)` and calls `(completions, **columns)`; it needs no base class. The column
`truth` holds `Truth.to_json`. Subclass to change the class attributes.

Source: modelscope/ms-swift swift/rewards/orm.py, swift/rl_core/grpo_algorithm.py, swift/rlhf_trainers/grpo_trainer.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from deeptrace.metrics.text import rouge_l
from deeptrace.train.grpo.adapters.columns import batch_truths, score_batch
from deeptrace.train.grpo.reward import DEFAULT_WEIGHTS, RewardWeights, Similarity

__all__ = ["GroundedORM"]


class GroundedORM:
    """The grounded reward as an outcome reward model.

    Attributes:
        column: name of the column with the ground truth.
        weights, similarity: see `reward.score_answer`.
    """

    column: ClassVar[str] = "truth"
    weights: ClassVar[RewardWeights] = DEFAULT_WEIGHTS
    similarity: ClassVar[Similarity] = staticmethod(rouge_l)

    def __init__(self, args: Any = None, **kwargs: Any) -> None:  # noqa: ARG002 - ms-swift's signature
        self.args = args

    def __call__(self, completions: Sequence[Any], **kwargs: Any) -> list[float]:
        """The reward of each completion, in order."""
        truths = batch_truths(kwargs, self.column, len(completions), "ms-swift")
        return [one.reward for one in score_batch(completions, truths, self.weights, type(self).similarity)]
