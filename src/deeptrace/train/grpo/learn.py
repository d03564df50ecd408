"""One step of GRPO: answers are sampled and scored, then the policy moves towards the better ones of each group."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from deeptrace.train.grpo.diagnostics import Figures, diagnose
from deeptrace.train.grpo.loss import advantages, grpo_loss
from deeptrace.train.grpo.policy import Answers, Policy
from deeptrace.train.grpo.processes import Processes
from deeptrace.train.grpo.questions import Question
from deeptrace.train.grpo.rewards import ScoredAnswer, score_answer
from deeptrace.train.grpo.settings import LearnSettings
from deeptrace.train.grpo.truth import Truth
from deeptrace.train.grpo.weights import RewardWeights

__all__ = ["Group", "Told", "explore", "learn", "tell", "told_figures"]


@dataclass(frozen=True)
class Told:
    """What was said to one question, without tensors, so that processes can hand it to each other.

    Attributes:
        key: the video's id.
        truth: what the answers were compared with.
        texts: the answers.
        tokens: how many each has.
        finished: whether it ended by itself.
        scored: the rewards, in the same order.
    """

    key: str
    truth: Truth
    texts: tuple[str, ...]
    tokens: tuple[int, ...]
    finished: tuple[bool, ...]
    scored: tuple[ScoredAnswer, ...]

    @property
    def rewards(self) -> list[float]:
        """Of each answer."""
        return [one.reward for one in self.scored]


@dataclass(frozen=True)
class Group:
    """The answers to one question, to learn from.

    Attributes:
        answers: with their tokens.
        told: with their rewards.
    """

    answers: Answers
    told: Told


def explore(
    policy: Policy, questions: Sequence[Question], settings: LearnSettings, weights: RewardWeights, *, seed: str
) -> list[Group]:
    """Sample and score a group of answers to each question.

    A group depends on the seed, the question and the weights alone: not on the other questions, nor on how many
    processes share them.
    """
    groups = []
    for question in questions:
        encoded, truth = question.ask()
        answers = policy.sample(encoded, settings.group, seed=_number(f"{seed}/{question.key}"))
        groups.append(Group(answers, tell(question.key, truth, answers, weights)))
    return groups


def tell(key: str, truth: Truth, answers: Answers, weights: RewardWeights) -> Told:
    """The answers to a question, with their rewards."""
    scored = tuple(
        score_answer(text, truth, weights=weights, finished=finished)
        for text, finished in zip(answers.texts, answers.finished, strict=True)
    )
    sizes = tuple(len(tokens) for tokens in answers.tokens)
    return Told(key, truth, answers.texts, sizes, answers.finished, scored)


def learn(
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    groups: Sequence[Group],
    settings: LearnSettings,
    processes: Processes,
) -> Figures:
    """Move the policy; every process with its own groups, as many of them each, with the mean of their gradients.

    Returns:
        `loss`, `ratio`, `clipped` and `kl` (see `loss.grpo_loss`) over this process's groups that teach anything, None
        where there are none, and `gradient`, the norm of the mean gradient before clipping; of the last update.
    """
    gains = advantages(torch.tensor([group.told.rewards for group in groups]), normalise=settings.normalise)
    old: dict[tuple[int, int], Tensor] = {}
    parameters = [weight for group in optimizer.param_groups for weight in group["params"]]
    figures: Figures = {}
    for _ in range(settings.updates):
        optimizer.zero_grad(set_to_none=True)
        figures = _backward(policy, groups, gains, old, settings)
        processes.mean_gradients(parameters)
        figures["gradient"] = float(torch.nn.utils.clip_grad_norm_(parameters, settings.max_gradient))
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return figures


def _backward(
    policy: Policy, groups: Sequence[Group], gains: Tensor, old: dict[tuple[int, int], Tensor], settings: LearnSettings
) -> Figures:
    """Add up the gradients of all groups, a few answers at a time; `old` is filled at the first update.

    A group whose rewards are all alike teaches nothing, unless there is a KL to hold: it is passed over.
    """
    active = [number for number in range(len(groups)) if settings.kl or bool(gains[number].any())]
    totals = dict.fromkeys(("loss", "ratio", "clipped", *(["kl"] if settings.kl else [])), 0.0) if active else {}
    policy.model.train()
    for number in active:
        answers, size = groups[number].answers, settings.group
        for first in range(0, size, settings.rows):
            rows = range(first, min(first + settings.rows, size))
            logps = policy.logps(answers, rows)
            loss, found = grpo_loss(
                logps,
                old.setdefault((number, first), logps.detach()),
                gains[number, rows.start : rows.stop].to(logps.device),
                policy.mask(answers, rows).to(logps.device),
                reference=policy.reference_logps(answers, rows) if settings.kl else None,
                clip=(settings.clip_low, settings.clip_high),
                kl=settings.kl,
                lengths=settings.lengths,
                max_tokens=settings.max_tokens,
            )
            (loss * len(rows) / (size * len(groups))).backward()  # type: ignore[no-untyped-call]
            for name, value in ({"loss": loss.item()} | found).items():
                totals[name] += value * len(rows) / (size * len(active))
    policy.model.eval()
    return {"loss": None, "ratio": None, "clipped": None, "kl": None, **totals}


def told_figures(told: Sequence[Told]) -> Figures:
    """`diagnostics.diagnose` of all answers, and the share of `unfinished` ones."""
    scored = [one for group in told for one in group.scored]
    truths = [group.truth for group in told for _ in group.scored]
    numbers = [number for number, group in enumerate(told) for _ in group.scored]
    figures = diagnose(scored, truths, numbers, [size for group in told for size in group.tokens])
    done = [finished for group in told for finished in group.finished]
    return figures | {"unfinished": 1.0 - sum(done) / len(done) if done else None}


def _number(seed: str) -> int:
    """A seed of 63 bits out of text, the same in every process and on every machine."""
    return int.from_bytes(hashlib.blake2b(seed.encode(), digest_size=8).digest(), "big") >> 1
