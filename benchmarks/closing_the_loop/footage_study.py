"""The study on footage: what is asked of samples, and each way of improving the generator."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from closing_the_loop.footage import Footage
from closing_the_loop.generator import Generator, Scenes, sample, to_clips
from closing_the_loop.improve import Dpo, Grpo, train_dpo, train_grpo, train_on
from closing_the_loop.judge import judge
from closing_the_loop.unseen import Fitting, Unseen
from deeptrace.io.journal import Journal
from deeptrace.reward import Reward

__all__ = ["CONTROLS", "MARKS", "TRAINED", "FootageExam", "FootageSizes", "improve_on_footage", "key_of"]

TRAINED = ("dpo", "grpo, scalar", "grpo, map")
CONTROLS = ("dpo, coin", "footage")
"""No reward at all: DPO on pairs of which a coin says which is better, and going on with the pretraining for as long as
GRPO takes."""

MARKS = {
    "reward": "what is trained on",
    "realness": "log odds of being footage, by a discriminator",
    "flaws": "how many a second detector counts",
    "error": "root of the mean squared difference to what really came, grey levels",
    "motion": "mean change from frame to frame, grey levels: whether a clip was improved by standing still",
}


@dataclass(frozen=True)
class FootageSizes:
    """How much of everything.

    Attributes:
        pretraining, checkpoints: steps, and earlier steps that are kept.
        prompts, validation: of the test, and those that the rule of stopping looks at.
        reference: crops of footage for the Fréchet distance.
        best_of: samples of a prompt to pick from.
        adapt_clips: crops that teach the adapted reward.
        seeds: of each way.
        exams: in the course of a training.
        fitting: of the unseen measures.
        dpo, grpo, footage: of the ways; updates of "footage".
    """

    pretraining: int = 1600
    checkpoints: tuple[int, ...] = (200,)
    prompts: int = 40
    validation: int = 16
    reference: int = 192
    best_of: int = 4
    adapt_clips: int = 40
    seeds: int = 3
    exams: int = 2
    fitting: Fitting = field(default_factory=Fitting)
    dpo: Dpo = field(default_factory=lambda: Dpo(prompts=24, samples=8, pairs=4, steps=64, batch=8, on_world=True))
    grpo: Grpo = field(default_factory=lambda: Grpo(prompts=4, samples=6, steps=20, credited=2, rate=5e-5))
    footage: int = 240

    def updates(self, way: str) -> int:
        """Of a way."""
        return {"dpo": self.dpo.steps, "dpo, coin": self.dpo.steps, "footage": self.footage}.get(way, self.grpo.steps)


class FootageExam:
    """Prompts that no training saw, and what is asked of samples.

    Args:
        sizes: how many.
        footage: of "test".
        reward: what is to be studied.
        unseen: the measures that it does not see.
    """

    def __init__(self, sizes: FootageSizes, footage: Footage, reward: Reward, unseen: Unseen) -> None:
        rng = np.random.default_rng(81)
        self.scenes: Scenes = footage.draw(rng, sizes.prompts)
        self.validation: Scenes = footage.draw(rng, sizes.validation)
        self.reference: np.ndarray = unseen.described(footage.draw_clips(rng, sizes.reference))
        self.reward, self.unseen = reward, unseen

    def marks(self, clips: np.ndarray, right: np.ndarray) -> dict[str, list[float]]:
        """Each of `MARKS` of clips (B, FRAMES, SIDE, SIDE, 3), where `right` really came."""
        ours = clips.astype(np.float32)
        found = {
            "reward": judge(self.reward, clips).rewards,
            "realness": self.unseen.realness(clips),
            "flaws": self.unseen.flaws(clips),
            "error": np.sqrt(((ours - right) ** 2).mean(axis=(1, 2, 3, 4))),
            "motion": motion_of(clips),
        }
        return {name: values.astype(float).tolist() for name, values in found.items()}

    def sit(self, net: Generator | None, seed: int) -> dict[str, Any]:
        """A sample of each prompt from the noise of `seed`; with None the footage itself sits."""
        clips = self.scenes.clips if net is None else _samples(net, self.scenes, 900 + seed)
        record = {"marks": self.marks(clips, self.scenes.clips), "features": self.unseen.described(clips).tolist()}
        if net is not None:
            seen = _samples(net, self.validation, 950 + seed)
            astray = np.abs(motion_of(seen) - motion_of(self.validation.clips))
            record["validation"] = np.stack([self.unseen.realness(seen), -astray], axis=1).astype(float).tolist()
        return record

    def sit_many(self, net: Generator, samples: int) -> tuple[dict[str, Any], np.ndarray]:
        """`samples` of each prompt, neighbours of one prompt together, and the clips."""
        wide = self.scenes.condition.repeated(samples)
        clips = to_clips(sample(net, wide, seed=990), wide)
        marks = self.marks(clips, np.repeat(self.scenes.clips, samples, axis=0))
        return {"marks": marks, "features": self.unseen.described(clips).tolist()}, clips


def motion_of(clips: np.ndarray) -> np.ndarray:
    """(B,) mean change from frame to frame, grey levels, of clips (B, FRAMES, SIDE, SIDE, 3) uint8."""
    return np.asarray(np.abs(np.diff(clips.astype(np.float32), axis=1)).mean(axis=(1, 2, 3, 4)))


def _samples(net: Generator, scenes: Scenes, seed: int) -> np.ndarray:
    return to_clips(sample(net, scenes.condition, seed=seed), scenes.condition)


def key_of(way: str, seed: int, step: int) -> str:
    """Of an exam in the journal."""
    return f"{way}|{seed}|{step}"


def improve_on_footage(
    way: str,
    seed: int,
    net: Generator,
    sizes: FootageSizes,
    exam: FootageExam,
    footage: Footage,
    journal: Journal,
) -> Generator | None:
    """Train by one of `TRAINED` or `CONTROLS`, with exams; None where the journal has it already."""
    updates = sizes.updates(way)
    if key_of(way, seed, updates) in journal:
        return None
    began, examined = time.process_time(), 0.0

    def see(step: int, now: Generator, saw: dict[str, float]) -> None:
        nonlocal examined
        start = time.process_time()
        used = start - began - examined
        record = {**exam.sit(now, seed), "step": step, "saw": saw, "seconds": used}
        examined += time.process_time() - start
        journal.add(key_of(way, seed, step), record)
        print(f"{way}, seed {seed}, update {step}: {saw}, {used:.0f} s", flush=True)

    every = max(updates // sizes.exams, 1)
    if way in ("dpo", "dpo, coin"):
        pairs = replace(sizes.dpo, coin=way == "dpo, coin")
        return train_dpo(net, exam.reward, pairs, see, every, draw=footage.draw, seed=seed + 1)
    if way == "footage":
        return train_on(net, footage.draw, updates, see, every, seed=seed + 1)
    how = replace(sizes.grpo, dense=way == "grpo, map")
    return train_grpo(net, exam.reward, how, see, every, draw=footage.draw, seed=seed + 1)
