"""The benchmark's own metrics on the validation videos during training: greedy answers, measured as a run's are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deeptrace.errors import VideoError
from deeptrace.metrics import evaluate_pairs
from deeptrace.protocol import verdict_of_text
from deeptrace.trace import Outcome, Sample, Verdict
from deeptrace.train.grpo.policy import Policy
from deeptrace.train.grpo.processes import Processes
from deeptrace.train.grpo.questions import Question

__all__ = ["CHECKED", "check", "grounded_overall"]

CHECKED = ("paper", "per_video", "grounded", "traces", "outcomes", "counts")
"""Blocks of the evaluation JSON that a check keeps."""


def check(
    policy: Policy, questions: Sequence[Question], samples: Sequence[Sample], processes: Processes
) -> dict[str, Any]:
    """Measure the policy's likeliest answers; every process judges its part, and each gets the whole result.

    Args:
        policy: what is measured.
        questions: of the validation videos.
        samples: the same videos, in the same order.
        processes: who takes part.
    """
    mine = range(processes.rank, len(questions), processes.count)
    found = dict(processes.gather([(k, _verdict(policy, questions[k], samples[k])) for k in mine]))
    result = evaluate_pairs(samples, [found[k] for k in range(len(samples))], resamples=0)
    return {block: result[block] for block in CHECKED}


def grounded_overall(result: dict[str, Any]) -> float:
    """What checkpoints are ranked by; 0 where the videos cannot tell."""
    return float(result["grounded"]["overall"] or 0.0)


def _verdict(policy: Policy, question: Question, sample: Sample) -> Verdict:
    try:
        encoded, truth = question.ask()
    except VideoError as error:
        return Verdict.failed(sample.path, Outcome.DECODE_FAILED, str(error))
    text = policy.greedy(encoded).texts[0]
    return verdict_of_text(text, video=sample.path, form=truth.form, view=truth.view)
