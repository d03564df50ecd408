"""The training loop: questions in a seeded order, a step of GRPO on them, a line in the log, a state to go on from.

Every random choice follows from the seed and the step, so that a run that was killed and goes on writes the lines that
it would have written, and two processes write those of one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deeptrace.data.jsonio import iter_objects
from deeptrace.errors import SettingsError
from deeptrace.train.grpo.config import GrpoConfig
from deeptrace.train.grpo.diagnostics import Figures, hacking_signs
from deeptrace.train.grpo.learn import Told, explore, learn, told_figures
from deeptrace.train.grpo.policy import Policy
from deeptrace.train.grpo.processes import Processes
from deeptrace.train.grpo.questions import Question
from deeptrace.train.grpo.state import append_lines, keep_lines, load_state, save_state

__all__ = ["ANSWERS", "LOG", "STATE", "Hooks", "question_order", "read_log", "run_loop"]

LOG, ANSWERS, STATE = "log.jsonl", "answers.jsonl", "state.pt"


@dataclass
class Hooks:
    """What others do meanwhile.

    Attributes:
        on_step: called with the steps done and all of them, in the main process.
        on_check: called with the step in every process; what it returns stands in the log, in the main process.
    """

    on_step: Callable[[int, int], object] = field(default=lambda _done, _total: None)
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
        SettingsError: questions that the processes cannot share, or a state of another model.
    """
    if config.questions % processes.count:
        raise SettingsError("questions", f"{config.questions} a step cannot be shared by {processes.count} processes")
    first = 0
    if (config.out / STATE).is_file():
        first = int(load_state(config.out / STATE, policy.model, optimizer)["step"])
    if processes.is_main:
        for name in (LOG, ANSWERS):
            keep_lines(config.out / name, first)
        hooks.on_step(first, config.steps)
    for step in range(first, config.steps):
        _one_step(step, policy, optimizer, questions, config, processes, hooks)
        processes.wait()


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; none where there is no such file."""
    return [row for _, row in iter_objects(path)] if path.is_file() else []


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
    groups = explore(policy, processes.share(chosen), config.learn, config.weights, seed=seed)
    told = processes.gather([group.told for group in groups])
    figures = _mean(processes.gather([learn(policy, optimizer, groups, config.learn, processes)]))
    row = _row(step, told, figures, rate) | {"seconds": round(time.perf_counter() - began, 3)}
    done, last = step + 1, step + 1 == config.steps
    if hooks.on_check is not None and (last or (config.check_every and done % config.check_every == 0)):
        row["check"] = hooks.on_check(done)
    if not processes.is_main:
        return
    append_lines(config.out / ANSWERS, [_answers(step, group) for group in told])
    append_lines(config.out / LOG, [row])
    if last or done % config.save_every == 0:
        save_state(config.out / STATE, policy.model, optimizer, step=done)
    hooks.on_step(done, config.steps)


def _row(step: int, told: Sequence[Told], figures: Figures, rate: float) -> dict[str, Any]:
    all_figures = {"step": step, **told_figures(told), **figures, "learning_rate": rate}
    return all_figures | {"signs": hacking_signs(all_figures)}


def _answers(step: int, group: Told) -> dict[str, Any]:
    rows = zip(group.texts, group.scored, strict=True)
    return {
        "step": step,
        "video": group.key,
        "answers": [{"text": text, "reward": round(one.reward, 6), "error": one.error} for text, one in rows],
    }


def _mean(figures: Sequence[Figures]) -> Figures:
    """The mean over the processes of each figure, of those that have it."""
    known = {name: [one[name] for one in figures if one[name] is not None] for name in figures[0]}
    return {name: float(np.mean(np.array(values, dtype=float))) if values else None for name, values in known.items()}
