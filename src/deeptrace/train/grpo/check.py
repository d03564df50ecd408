"""The benchmark's own metrics on the validation videos during training: the policy asked as `hf:` asks a model."""

from __future__ import annotations

from typing import Any

from deeptrace.metrics import evaluate_pairs
from deeptrace.trace import Verdict
from deeptrace.train.grpo.config import GrpoConfig
from deeptrace.train.grpo.policy import Policy
from deeptrace.train.grpo.processes import Processes
from deeptrace.train.mllm.judging import judge_samples
from deeptrace.train.mllm.validation import ValidationVideos

__all__ = ["CHECKED", "check", "grounded_overall"]

CHECKED = ("paper", "per_video", "grounded", "traces", "outcomes", "counts")
"""Blocks of the evaluation JSON that a check keeps."""


def check(
    policy: Policy, videos: ValidationVideos, config: GrpoConfig, processes: Processes
) -> tuple[dict[str, Any], list[Verdict]]:
    """Measure the policy's likeliest answers; every process judges its part, and each gets the whole result.

    Args:
        policy: what is measured.
        videos: that it is asked about.
        config: what it is shown and asked.
        processes: who takes part.

    Returns:
        The measurements, and the verdicts that they are of, one a video.
    """
    verdicts = judge_samples(
        policy.model,
        policy.encoder,
        config.view,
        config.form,
        videos.samples,
        videos.root,
        name=f"{config.model.base} in training",
        answer_tokens=config.learn.max_tokens,
        process=processes.rank,
        processes=processes.count,
    )
    result = evaluate_pairs(videos.samples, verdicts, resamples=0, text=False)
    return {block: result[block] for block in CHECKED}, verdicts


def grounded_overall(result: dict[str, Any]) -> float:
    """What checkpoints are ranked by; 0 where the videos cannot tell."""
    return float(result["grounded"]["overall"] or 0.0)
