"""The training, top to bottom: questions in a seeded order, answers sampled and scored, a step towards the better ones.

Every random choice follows from the seed and the step, so that a run that was killed and goes on writes the lines that
it would have written, and two processes write those of one. `policy` samples answers and says how likely their tokens
are; everything else of a step is here. Why not TRL's trainer: `docs/design/grpo.md`.

The arithmetic is GRPO's (Shao et al. 2024), with the corrections of Dr. GRPO and DAPO. For one question with G answers,
r_i their rewards and pi the policy:

    A_i     = (r_i - mean r) / (std r + 1e-4), or without the division (Dr. GRPO)
    rho_it  = pi(token) / pi_old(token)
    loss    = - mean_i [ 1/L_i sum_t ( min(rho A, clip(rho, 1 - low, 1 + high) A) - kl * KL_it ) ]
    KL_it   = exp(d) - d - 1, d = log pi_ref(token) - log pi(token)     (unbiased, never negative)

L_i is the length of the answer ("answer"), or the longest allowed ("constant", Dr. GRPO: long wrong answers are then
not favoured). `high` above `low` is DAPO's room for rare tokens.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deeptrace.detectors.vlm.hf.model_classes import check_weights
from deeptrace.errors import SettingsError
from deeptrace.io.atomic import atomic_path
from deeptrace.io.journal import Lines
from deeptrace.train.grpo.config import GrpoConfig, LearnSettings, Lengths
from deeptrace.train.grpo.diagnostics import Figures, diagnose, hacking_signs
from deeptrace.train.grpo.distributed import Processes
from deeptrace.train.grpo.ground_truth import GroundTruth
from deeptrace.train.grpo.policy import Answers, Policy, Question
from deeptrace.train.grpo.reward import RewardWeights, ScoredAnswer, score_answer
from deeptrace.train.vlm.progress import Progress, silent

__all__ = [
    "ANSWERS",
    "LOG",
    "STATE",
    "Hooks",
    "advantages",
    "grpo_loss",
    "kl_to_reference",
    "question_order",
    "run_loop",
]

LOG, ANSWERS, STATE = "log.jsonl", "answers.jsonl", "state.pt"


@dataclass(frozen=True)
class ScoredRollouts:
    """What was said to one question, without tensors, so that processes can hand it to each other.

    Attributes:
        key: the video's id.
        truth: ground truth that the answers were compared with.
        texts: the answers.
        tokens: number of tokens of each.
        finished: whether it ended by itself.
        scored: the rewards, in the same order.
    """

    key: str
    truth: GroundTruth
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
        rollouts: with their rewards.
    """

    answers: Answers
    rollouts: ScoredRollouts


@dataclass
class Hooks:
    """What others do meanwhile.

    Attributes:
        progress: told of each step, and of each question in it, in the main process.
        on_row: called with the number of steps done and the row of the log, in the main process.
        on_check: called with the step in every process; what it returns stands in the log, in the main process.
    """

    progress: Progress = silent
    on_row: Callable[[int, dict[str, Any]], object] = field(default=lambda _done, _row: None)
    on_check: Callable[[int], dict[str, Any]] | None = None


def question_order(count: int, step: int, per_step: int, seed: int) -> list[int]:
    """Which of `count` questions step `step` asks: shuffled epoch after shuffled epoch, none left out."""
    found = []
    for place in range(step * per_step, (step + 1) * per_step):
        epoch, position = divmod(place, count)
        found.append(int(np.random.default_rng([seed, epoch]).permutation(count)[position]))
    return found


def run_loop(
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    questions: Sequence[Question],
    config: GrpoConfig,
    processes: Processes,
    hooks: Hooks,
) -> None:
    """Train until `config.steps`, from where `config.out` stands.

    Raises:
        SettingsError: questions that the processes cannot share, or a damaged state.
        ModelError: a state of another model.
    """
    if config.questions % processes.count:
        raise SettingsError("questions", f"{config.questions} a step cannot be shared by {processes.count} processes")
    first = 0
    if (config.out / STATE).is_file():
        first = int(load_state(config.out / STATE, policy.model, optimizer)["step"])
    if processes.is_main:
        for name in (LOG, ANSWERS):  # steps that were taken after the state was saved will be taken again
            with Lines(config.out / name) as lines:
                lines.keep(lambda row: row["step"] < first)
        hooks.progress("step", first, config.steps)
    for step in range(first, config.steps):
        _one_step(step, policy, optimizer, questions, config, processes, hooks)
        processes.wait()


def _one_step(
    step: int,
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    questions: Sequence[Question],
    config: GrpoConfig,
    processes: Processes,
    hooks: Hooks,
) -> None:
    began = time.perf_counter()
    rate = config.learning_rate * min(1.0, (step + 1) / max(config.warmup, 1))
    for group in optimizer.param_groups:
        group["lr"] = rate
    chosen = [questions[k] for k in question_order(len(questions), step, config.questions, config.seed)]
    seed = f"{config.seed}/{step}"
    share = processes.share(chosen)
    groups = sample_rollouts(policy, share, config.learn, config.weights, seed=seed, progress=hooks.progress)
    rollouts = processes.gather([group.rollouts for group in groups])
    own = learn(policy, optimizer, groups, config.learn, processes, hooks.progress)
    figures = _mean_over_processes(processes.gather([own]))
    row = _row(step, rollouts, figures, rate) | {"seconds": round(time.perf_counter() - began, 3)}
    done, last = step + 1, step + 1 == config.steps
    if hooks.on_check is not None and (last or (config.check_every and done % config.check_every == 0)):
        row["check"] = hooks.on_check(done)
    if not processes.is_main:
        return
    for name, rows in ((ANSWERS, [_answers(step, group) for group in rollouts]), (LOG, [row])):
        with Lines(config.out / name) as lines:
            lines.add(*rows)
    if last or done % config.save_every == 0:
        save_state(config.out / STATE, policy.model, optimizer, step=done)
    hooks.on_row(done, row)
    hooks.progress("step", done, config.steps, reward=row["reward"], loss=row["loss"], lr=rate)


# -- one step: sample, score, learn ------------------------------------------------------------------------------------


def sample_rollouts(
    policy: Policy,
    questions: Sequence[Question],
    settings: LearnSettings,
    weights: RewardWeights,
    *,
    seed: str,
    progress: Progress = silent,
) -> list[Group]:
    """Sample and score a group of answers to each question.

    A group depends on the seed, the question and the weights alone: not on the other questions, nor on how many
    processes share them.
    """
    groups = []
    for number, question in enumerate(questions):
        progress("sampling", number, len(questions))
        model_inputs, truth = question.ask()
        answers = policy.sample(model_inputs, settings.group, seed=_number(f"{seed}/{question.key}"))
        scored = tuple(
            score_answer(text, truth, weights=weights, finished=finished)
            for text, finished in zip(answers.texts, answers.finished, strict=True)
        )
        sizes = tuple(len(tokens) for tokens in answers.tokens)
        rollouts = ScoredRollouts(question.key, truth, answers.texts, sizes, answers.finished, scored)
        groups.append(Group(answers, rollouts))
    return groups


def learn(
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    groups: Sequence[Group],
    settings: LearnSettings,
    processes: Processes,
    progress: Progress = silent,
) -> Figures:
    """Move the policy; every process with its own groups, as many of them each, with the mean of their gradients.

    Returns:
        `loss`, `ratio`, `clipped` and `kl` (see `grpo_loss`) over this process's groups that teach anything, None
        where there are none, and `gradient`, the norm of the mean gradient before clipping; of the last update.
    """
    advantage = advantages(torch.tensor([group.rollouts.rewards for group in groups]), normalise=settings.normalise)
    old: dict[tuple[int, int], Tensor] = {}
    parameters = [weight for group in optimizer.param_groups for weight in group["params"]]
    figures: Figures = {}
    for _ in range(settings.updates):
        optimizer.zero_grad(set_to_none=True)
        figures = _backward(policy, groups, advantage, old, settings, progress)
        processes.mean_gradients(parameters)
        figures["gradient"] = float(torch.nn.utils.clip_grad_norm_(parameters, settings.max_gradient))
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return figures


def _backward(
    policy: Policy,
    groups: Sequence[Group],
    advantage: Tensor,
    old: dict[tuple[int, int], Tensor],
    settings: LearnSettings,
    progress: Progress,
) -> Figures:
    """Add up the gradients of all groups, a few answers at a time; `old` is filled at the first update.

    A group whose rewards are all alike teaches nothing, unless there is a KL to hold: it is passed over.
    """
    active = [number for number in range(len(groups)) if settings.kl or bool(advantage[number].any())]
    totals = dict.fromkeys(("loss", "ratio", "clipped", *(["kl"] if settings.kl else [])), 0.0) if active else {}
    policy.model.train()
    for done, number in enumerate(active):
        progress("learning", done, len(active))
        answers, size = groups[number].answers, settings.group
        for first in range(0, size, settings.rows):
            rows = range(first, min(first + settings.rows, size))
            logps = policy.logps(answers, rows)
            loss, found = grpo_loss(
                logps,
                old.setdefault((number, first), logps.detach()),
                advantage[number, rows.start : rows.stop].to(logps.device),
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


def _number(seed: str) -> int:
    """A seed of 63 bits out of text, the same in every process and on every machine."""
    return int.from_bytes(hashlib.blake2b(seed.encode(), digest_size=8).digest(), "big") >> 1


# -- the arithmetic ----------------------------------------------------------------------------------------------------

_EPSILON = 1e-4


def advantages(rewards: Tensor, *, normalise: bool = True) -> Tensor:
    """Advantages (P, G) of rewards (P, G): G answers to each of P questions.

    A group whose rewards are all alike has advantage 0 throughout.

    Raises:
        ValueError: other shapes, or fewer than two answers.
    """
    if rewards.ndim != 2 or rewards.shape[1] < 2:
        raise ValueError(f"expected rewards of shape (P, G) with G >= 2 but got {tuple(rewards.shape)}")
    centred = rewards - rewards.mean(dim=1, keepdim=True)
    return centred / (rewards.std(dim=1, keepdim=True) + _EPSILON) if normalise else centred


def kl_to_reference(logps: Tensor, reference: Tensor) -> Tensor:
    """KL of each token by the estimator of Schulman's k3, at least 0; all of one shape."""
    gap = reference - logps
    return torch.exp(gap) - gap - 1.0


def grpo_loss(
    logps: Tensor,
    old_logps: Tensor,
    advantage: Tensor,
    mask: Tensor,
    *,
    reference: Tensor | None = None,
    clip: tuple[float, float] = (0.2, 0.2),
    kl: float = 0.0,
    lengths: Lengths = "answer",
    max_tokens: int,
) -> tuple[Tensor, dict[str, float]]:
    """The loss of a batch of answers, and figures of it.

    Args:
        logps: of the answers' tokens under the policy, (B, C), with gradient.
        old_logps: under the policy that sampled them, (B, C).
        advantage: of each answer, (B,).
        mask: 1 for tokens of the answers, their end token included, (B, C).
        reference: under the reference model, (B, C); needed when `kl` is not 0.
        clip: how far below and above 1 the ratio still moves the policy.
        kl: weight of the KL to the reference.
        lengths: what a sum over tokens is divided by, see the module.
        max_tokens: longest answer allowed.

    Returns:
        A scalar, the mean over the answers, and `kl` (None-free: only with a reference), `clipped`: the share of tokens
        whose ratio was clipped, `ratio`: its mean.
    """
    ratio = torch.exp(logps - old_logps)
    weight = advantage[:, None]
    bounded = torch.clamp(ratio, 1.0 - clip[0], 1.0 + clip[1])
    gain = torch.minimum(ratio * weight, bounded * weight)
    tokens = mask.sum()
    figures = {
        "ratio": float((ratio.detach() * mask).sum() / tokens),
        "clipped": float((((ratio * weight) > (bounded * weight)).detach() * mask).sum() / tokens),
    }
    if reference is not None:
        divergence = kl_to_reference(logps, reference)
        gain = gain - kl * divergence
        figures["kl"] = float((divergence.detach() * mask).sum() / tokens)
    each = (gain * mask).sum(dim=1)
    each = each / (mask.sum(dim=1) if lengths == "answer" else float(max_tokens))
    return -each.mean(), figures


# -- what is kept: the log, the answers, the state to go on from -------------------------------------------------------


def _row(step: int, rollouts: Sequence[ScoredRollouts], figures: Figures, rate: float) -> dict[str, Any]:
    all_figures = {"step": step, **rollout_figures(rollouts), **figures, "learning_rate": rate}
    return all_figures | {"signs": hacking_signs(all_figures)}


def _answers(step: int, group: ScoredRollouts) -> dict[str, Any]:
    rows = zip(group.texts, group.scored, strict=True)
    return {
        "step": step,
        "video": group.key,
        "answers": [{"text": text, "reward": round(one.reward, 6), "error": one.error} for text, one in rows],
    }


def _mean_over_processes(figures: Sequence[Figures]) -> Figures:
    """The mean over the processes of each figure, of those that have it."""
    known = {name: [one[name] for one in figures if one[name] is not None] for name in figures[0]}
    return {name: float(np.mean(np.array(values, dtype=float))) if values else None for name, values in known.items()}


def rollout_figures(rollouts: Sequence[ScoredRollouts]) -> Figures:
    """`diagnostics.diagnose` of all answers, and the share of `unfinished` ones."""
    scored = [one for group in rollouts for one in group.scored]
    truths = [group.truth for group in rollouts for _ in group.scored]
    numbers = [number for number, group in enumerate(rollouts) for _ in group.scored]
    figures = diagnose(scored, truths, numbers, [size for group in rollouts for size in group.tokens])
    done = [finished for group in rollouts for finished in group.finished]
    return figures | {"unfinished": 1.0 - sum(done) / len(done) if done else None}


def _trainable(model: Any) -> dict[str, torch.nn.Parameter]:
    """The weights that learn, by name."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def save_state(path: Path, model: Any, optimizer: torch.optim.Optimizer, **facts: Any) -> None:
    """Keep weights, optimizer and `facts` (plain values)."""
    weights = {name: weight.detach().cpu() for name, weight in _trainable(model).items()}
    with atomic_path(path) as scratch:
        torch.save({"weights": weights, "optimizer": optimizer.state_dict(), "facts": facts}, scratch)


def load_state(path: Path, model: Any, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Put weights and optimizer back; returns the facts.

    Raises:
        SettingsError: the file is damaged.
        ModelError: the file is of another model, or of other weights of it; names the first few at fault.
    """
    try:
        kept = torch.load(path, map_location="cpu", weights_only=True)
        weights, moments, facts = kept["weights"], kept["optimizer"], dict(kept["facts"])
    except (RuntimeError, EOFError, KeyError, ValueError, UnpicklingError) as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise SettingsError(str(path), f"cannot be read: {why}", "Remove it to begin anew.") from error
    own = _trainable(model)
    check_weights(
        str(path),
        "Is it of this model? Choose another folder, or remove the file to begin anew.",
        missing=own.keys() - weights.keys(),
        unknown=weights.keys() - own.keys(),
        reshaped=[name for name in own.keys() & weights.keys() if own[name].shape != weights[name].shape],
    )
    with torch.no_grad():
        for name, weight in own.items():
            weight.copy_(weights[name])
    optimizer.load_state_dict(moments)
    return facts
