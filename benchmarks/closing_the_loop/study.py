"""The measurements of the study, each kept in a journal: what a generator's samples are worth, to whom."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from closing_the_loop.generator import Condition, Generator, condition_of, sample, to_clips
from closing_the_loop.improve import Dpo, Grpo, train_dpo, train_grpo
from closing_the_loop.judge import judge
from closing_the_loop.measures import CHECKS, check, frechet
from closing_the_loop.world import Prompt, Render, draw_prompt, render
from deeptrace.io.journal import Journal
from deeptrace.reward import Reward

__all__ = ["WAYS", "Exam", "Sizes", "improve", "sit", "sit_many"]

WAYS = ("dpo", "grpo, scalar", "grpo, map")


@dataclass(frozen=True)
class Sizes:
    """How much of everything.

    Attributes:
        pretraining: steps.
        checkpoints: earlier steps that are kept.
        prompts: test prompts.
        renders: held-out renders of other test prompts, for the Fréchet distance.
        best_of: samples of a prompt to pick from.
        adapt_clips, adapt_steps: of the adapted reward.
        dpo, grpo: of the ways.
        every: updates between exams.
    """

    pretraining: int = 240
    checkpoints: tuple[int, ...] = (30, 60, 120)
    prompts: int = 20
    renders: int = 96
    best_of: int = 8
    adapt_clips: int = 48
    adapt_steps: int = 100
    dpo: Dpo = field(default_factory=Dpo)
    grpo: Grpo = field(default_factory=Grpo)
    every: int = 8

    def updates(self, way: str) -> int:
        """How many updates a way makes."""
        return self.dpo.steps if way == "dpo" else self.grpo.steps


class Exam:
    """Test prompts with their renders, and what is asked of samples.

    Args:
        sizes: how many.
        reward: what is to be studied.
    """

    def __init__(self, sizes: Sizes, reward: Reward) -> None:
        rng = np.random.default_rng(51)
        self.prompts: list[Prompt] = [draw_prompt(rng, "test") for _ in range(sizes.prompts)]
        self.renders: list[Render] = [render(prompt) for prompt in self.prompts]
        self.condition: Condition = condition_of(self.prompts, self.renders)
        self.held_out = [render(draw_prompt(rng, "test")).frames for _ in range(sizes.renders)]
        self.reward = reward

    def marks(self, clips: np.ndarray, renders: list[Render]) -> dict[str, list[float]]:
        """Each clip's reward and checks."""
        checks = [check(clip, right) for clip, right in zip(clips, renders, strict=True)]
        marks = {name: [c[name] for c in checks] for name in CHECKS}
        return {"reward": judge(self.reward, clips).rewards.tolist(), **marks}


def sit(exam: Exam, net: Generator | None) -> dict[str, Any]:
    """One sample of each test prompt, always from the same noise; with None the renders themselves sit."""
    if net is None:
        clips = np.stack([r.frames for r in exam.renders])
    else:
        clips = to_clips(sample(net, exam.condition, seed=52), exam.condition)
    return {"marks": exam.marks(clips, exam.renders), "frechet": frechet(list(clips), exam.held_out)}


def sit_many(exam: Exam, net: Generator, samples: int) -> tuple[dict[str, Any], np.ndarray]:
    """`samples` of each test prompt: marks, neighbours of one prompt together, and the clips."""
    wide = exam.condition.repeated(samples)
    clips = to_clips(sample(net, wide, seed=53), wide)
    renders = [right for right in exam.renders for _ in range(samples)]
    return {"marks": exam.marks(clips, renders)}, clips


def improve(way: str, net: Generator, sizes: Sizes, exam: Exam, journal: Journal) -> None:
    """Train by one of `WAYS`, with an exam every so often; what is in the journal is not done again."""
    if f"{way}|{sizes.updates(way)}" in journal:
        return

    def see(step: int, now: Generator, saw: dict[str, float]) -> None:
        journal.add(f"{way}|{step}", {**sit(exam, now), "step": step, "saw": saw})
        print(f"{way}, update {step}: {saw}", flush=True)

    if way == "dpo":
        train_dpo(net, exam.reward, sizes.dpo, see, sizes.every)
    else:
        train_grpo(net, exam.reward, replace(sizes.grpo, dense=way == "grpo, map"), see, sizes.every)
