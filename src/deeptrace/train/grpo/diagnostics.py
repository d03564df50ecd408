"""Signs of reward hacking in a batch of answers: what is counted at every step, and what is worth a warning.

A share or mean of nothing is None, never 0.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence

import numpy as np

from deeptrace.schema import Label, Trace
from deeptrace.train.grpo.ground_truth import GroundTruth
from deeptrace.train.grpo.reward import PARTS, ScoredAnswer

__all__ = ["FULL_FRAME", "WHOLE_CLIP", "diagnose", "hacking_signs"]

FULL_FRAME = 0.9
"""Area from which a box counts as the full frame."""
WHOLE_CLIP = 0.9
"""Share of the video's duration from which an interval counts as the whole clip."""
_FROM_THE_START = 0.01

Figures = dict[str, float | None]

_SIGNS: tuple[tuple[str, float, str], ...] = (
    ("full_frame_boxes", 0.5, "{:.0%} of the boxes named are the full frame"),
    ("whole_clip_intervals", 0.5, "{:.0%} of the intervals named are the whole clip"),
    ("onsets_at_zero", 0.9, "{:.0%} of the onsets named are the start of the video"),
    ("traces_per_fake_answer", 4.0, "{:.1f} traces in each FAKE answer: they may be guesses"),
    ("unreadable", 0.5, "{:.0%} of the answers cannot be read"),
    ("zero_spread_groups", 0.8, "{:.0%} of the groups have one reward for all answers, and teach nothing"),
)


def diagnose(
    scored: Sequence[ScoredAnswer],
    truths: Sequence[GroundTruth],
    groups: Sequence[Hashable],
    lengths: Sequence[int] | None = None,
) -> Figures:
    """Figures of a batch of answers.

    Args:
        scored: the answers with their rewards, (N,).
        truths: ground truth that each was compared with, (N,).
        groups: which answers are to the same question, (N,).
        lengths: of each answer, in tokens, (N,).

    Returns:
        `reward`, and it on generated and on real videos; `reward_spread`: mean standard deviation within a group, and
        `zero_spread_groups`: share of groups without any; `unreadable`; `label_accuracy`; `says_fake`, of readable
        answers, beside `is_fake`, of the videos; `traces_per_fake_answer`; `false_traces_per_real_video`;
        `full_frame_boxes`, `whole_clip_intervals`, `onsets_at_zero`: shares of what was named; `distinct_answers`:
        different ones over all; `answer_tokens`; the mean of every part of the reward, `part.NAME`, and of every plain
        measure, `measured.NAME`.
    """
    rewards = np.array([one.reward for one in scored], dtype=float)
    fake = np.array([truth.is_fake for truth in truths], dtype=bool)
    readable = [one for one in scored if one.answer is not None]
    accusing = [one for one in readable if one.answer is not None and one.answer.label is Label.FAKE]
    named = [(trace, truth.duration_s) for one, truth in zip(scored, truths, strict=True) for trace in one.traces]
    spread = _spread(rewards, groups)
    figures: Figures = {
        "reward": _mean(rewards),
        "reward_on_fake": _mean(rewards[fake]),
        "reward_on_real": _mean(rewards[~fake]),
        "reward_spread": _mean(spread),
        "zero_spread_groups": _mean(value < 1e-6 for value in spread),
        "unreadable": _mean(one.answer is None for one in scored),
        "label_accuracy": _mean(one.parts["label"] for one in scored),
        "says_fake": len(accusing) / len(readable) if readable else None,
        "is_fake": _mean(fake),
        "traces_per_fake_answer": _mean(len(one.traces) for one in accusing),
        "false_traces_per_real_video": _mean(
            len(one.traces) for one, generated in zip(scored, fake, strict=True) if not generated
        ),
        "full_frame_boxes": _mean(trace.box.area >= FULL_FRAME for trace, _ in named if trace.box is not None),
        "whole_clip_intervals": _mean(
            trace.interval.duration_s >= WHOLE_CLIP * length
            for trace, length in named
            if trace.interval is not None and length > 0
        ),
        "onsets_at_zero": _mean(
            trace.onset_s <= _FROM_THE_START * length
            for trace, length in named
            if trace.onset_s is not None and length > 0
        ),
        "distinct_answers": _distinct(scored),
        "answer_tokens": _mean(lengths or ()),
    }
    figures |= {f"part.{name}": _mean(one.parts[name] for one in scored) for name in PARTS}
    measures = sorted({name for one in scored for name in one.measured})
    return figures | {f"measured.{name}": _mean(one.measured.get(name) for one in scored) for name in measures}


def hacking_signs(figures: Mapping[str, float | None]) -> list[str]:
    """What in `diagnose`'s figures is worth a look, one line each."""
    lines = [
        words.format(value)
        for name, limit, words in _SIGNS
        if (value := figures.get(name)) is not None and value > limit
    ]
    says, true = figures.get("says_fake"), figures.get("is_fake")
    if says is not None and true is not None and 0.0 < true < 1.0 and says in (0.0, 1.0):
        lines.append(f"every readable answer says {'FAKE' if says else 'REAL'}, whatever the video")
    return lines


def _spread(rewards: np.ndarray, groups: Sequence[Hashable]) -> list[float]:
    """Standard deviation of the rewards of each group."""
    members: dict[Hashable, list[float]] = {}
    for key, reward in zip(groups, rewards.tolist(), strict=True):
        members.setdefault(key, []).append(reward)
    return [float(np.std(group)) for group in members.values()]


def _distinct(scored: Sequence[ScoredAnswer]) -> float | None:
    def key(one: ScoredAnswer) -> tuple[Label | None, tuple[Trace, ...]]:
        return (None if one.answer is None else one.answer.label, one.traces)

    return len({key(one) for one in scored}) / len(scored) if scored else None


def _mean(values: Iterable[float | None] | np.ndarray) -> float | None:
    known = [float(value) for value in values if value is not None]
    return sum(known) / len(known) if known else None
