"""Two ways to train the generator with the reward: DPO on pairs, and GRPO with the scalar or with the map."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from closing_the_loop.generator import (
    Draw,
    Generator,
    flow_loss,
    sample,
    sample_sde,
    sde_step,
    sprites,
    to_clips,
    to_data,
)
from closing_the_loop.judge import Judged, judge
from closing_the_loop.pretrain import pretraining_step
from deeptrace.reward import Reward
from deeptrace.reward.clips import ClipInfo, ScoredClip
from deeptrace.reward.preference_pairs import Pair, make_pairs

__all__ = ["Dpo", "Grpo", "advantages_of", "train_dpo", "train_grpo", "train_on"]

See = Callable[[int, Generator, dict[str, float]], None]
"""Called with the number of updates so far, the generator, and what the training saw."""


@dataclass(frozen=True)
class Dpo:
    """Diffusion-DPO (Wallace et al. 2023) with the flow's loss.

    Attributes:
        prompts, samples: how many, and how many samples each.
        pairs: the widest so many of a prompt.
        steps, batch: updates, and pairs in each.
        strength: beta, on the mean squared error of the data.
        anchor: weight of the flow's own loss on the better clip; without it the error of both rises, the worse one's
            faster, and the samples fall apart while the loss of the pairs still falls.
        on_world: take the loss of the anchor on as many fresh clips of the world instead: a generator that learns from
            its own samples comes to make their mean, and stills what moves.
        coin: swap the two of a pair by a coin: what is left of DPO without a reward.
        rate: learning rate.
    """

    prompts: int = 20
    samples: int = 4
    pairs: int = 2
    steps: int = 48
    batch: int = 6
    strength: float = 300.0
    anchor: float = 100.0
    on_world: bool = False
    coin: bool = False
    rate: float = 5e-5


@dataclass(frozen=True)
class Grpo:
    """Policy gradient over the SDE's steps with each prompt's samples as the baseline (Flow-GRPO), on policy.

    Attributes:
        dense: whether each patch is credited with its own reward from the map, instead of all with the scalar.
        prompts, samples: in an update, and samples of each.
        steps: updates.
        walk, noise: steps of the SDE, and its noise.
        credited: how many of the walk's steps, the first ones, are trained in an update.
        leash: weight of the squared distance of the velocity to the first generator's.
        rate: learning rate.
    """

    dense: bool = False
    prompts: int = 4
    samples: int = 4
    steps: int = 24
    walk: int = 6
    noise: float = 0.5
    credited: int = 3
    leash: float = 1.0
    rate: float = 2e-4


def train_dpo(
    net: Generator, reward: Reward, how: Dpo, see: See, every: int, *, draw: Draw = sprites, seed: int = 0
) -> Generator:
    """The generator after DPO on pairs of its own samples; `net` stays as it is."""
    rng = np.random.default_rng([21, seed] if seed else 21)
    wide = draw(rng, how.prompts).condition.repeated(how.samples)
    data = sample(net, wide, seed=22 + 100 * seed)
    pairs = _pairs(judge(reward, to_clips(data, wide)), how)
    swapped = np.random.default_rng([24, seed]).random(len(pairs)) < (0.5 if how.coin else 0.0)
    ours = copy.deepcopy(net).train()
    if not pairs:  # a reward that tells no two samples apart teaches nothing
        see(how.steps, ours.eval(), {"pairs": 0})
        return ours
    optimizer = torch.optim.AdamW(ours.parameters(), lr=how.rate, weight_decay=0.0)
    random = torch.Generator().manual_seed(23 + 100 * seed)
    for step in range(1, how.steps + 1):
        chosen = rng.choice(len(pairs), size=min(how.batch, len(pairs)), replace=False)
        both = [[_index(pairs[i].chosen), _index(pairs[i].rejected)][:: -1 if swapped[i] else 1] for i in chosen]
        rows = torch.tensor(both).flatten()
        part = wide.part(rows)
        noise = torch.randn(data[rows[::2]].shape, generator=random).repeat_interleave(2, 0)
        t = torch.rand(len(rows) // 2, generator=random).repeat_interleave(2)
        now = flow_loss(ours, data[rows], part, noise, t).mean((1, 2, 3))
        with torch.no_grad():
            before = flow_loss(net, data[rows], part, noise, t).mean((1, 2, 3))
        better, worse = (now - before)[::2], (now - before)[1::2]
        held = _loss_on_world(ours, draw, rng, how.batch, random) if how.on_world else now[::2].mean()
        loss = how.anchor * held - F.logsigmoid(-how.strength * (better - worse)).mean()
        _update(optimizer, ours, loss)
        if step % every == 0 or step == how.steps:
            agree = float((better < worse).float().mean())
            see(step, ours.eval(), {"loss": float(loss.detach()), "agree": agree, "pairs": len(pairs)})
            ours.train()
    return ours.eval()


def train_grpo(
    net: Generator, reward: Reward, how: Grpo, see: See, every: int, *, draw: Draw = sprites, seed: int = 0
) -> Generator:
    """The generator after GRPO; `net` stays as it is."""
    ours = copy.deepcopy(net)
    optimizer = torch.optim.AdamW(ours.parameters(), lr=how.rate, weight_decay=0.0)
    rng = np.random.default_rng([31, seed] if seed else 31)
    for step in range(1, how.steps + 1):
        wide = draw(rng, how.prompts).condition.repeated(how.samples)
        path = sample_sde(ours.eval(), wide, 1000 * (1 + seed) + step, how.walk, how.noise)
        judged = judge(reward, to_clips(path.data, wide))
        credit = torch.from_numpy(advantages_of(judged, how.samples, dense=how.dense)).float()
        ours.train()
        optimizer.zero_grad()
        for at in range(how.credited):
            mean, spread = sde_step(ours, path.states[at], at, how.walk, wide, how.noise)
            with torch.no_grad():
                first, _ = sde_step(net, path.states[at], at, how.walk, wide, how.noise)
            likelihood = -(path.states[at + 1] - mean).square().mean(2) / (2 * spread**2)
            apart = (mean - first).square().mean(2) / (2 * spread**2)
            loss = (how.leash * apart - credit * likelihood).mean() / how.credited
            loss.backward()
        torch.nn.utils.clip_grad_norm_(ours.parameters(), 1.0)
        optimizer.step()
        if step % every == 0 or step == how.steps:
            see(step, ours.eval(), {"training reward": float(judged.rewards.mean())})
    return ours.eval()


def train_on(
    net: Generator, draw: Draw, steps: int, see: See, every: int, *, seed: int, rate: float = 2e-4
) -> Generator:
    """The generator after more of what it was pretrained with, at a low rate; `net` stays as it is."""
    ours = copy.deepcopy(net).train()
    optimizer = torch.optim.AdamW(ours.parameters(), lr=rate, weight_decay=0.0)
    for step in range(1, steps + 1):
        loss = pretraining_step(ours, optimizer, np.random.default_rng([41, seed, step]), draw, batch=16)
        if step % every == 0 or step == steps:
            see(step, ours.eval(), {"loss": loss})
            ours.train()
    return ours.eval()


def advantages_of(judged: Judged, samples: int, *, dense: bool) -> np.ndarray:
    """What each patch is credited with, (B, FRAMES, CELLS, CELLS): above its prompt's mean, in spreads over all.

    With the scalar all patches of a clip have the same. With the map a patch is held against the same place and moment
    of the prompt's other samples.
    """
    values = judged.maps.astype(np.float64) if dense else judged.rewards[:, None, None, None]
    groups = values.reshape(-1, samples, *values.shape[1:])
    apart = (groups - groups.mean(axis=1, keepdims=True)).reshape(values.shape)
    spread = float(apart.std())
    return np.broadcast_to(apart / (spread + 1e-8) if spread > 1e-8 else 0.0 * apart, judged.maps.shape).copy()


def _loss_on_world(net: Generator, draw: Draw, rng: np.random.Generator, count: int, random: torch.Generator) -> Tensor:
    """The flow's loss on so many fresh clips of the world."""
    scenes = draw(rng, count)
    data = to_data(torch.from_numpy(scenes.clips).permute(0, 1, 4, 2, 3).float() / 255)
    noise, t = torch.randn(data.shape, generator=random), torch.rand(count, generator=random)
    return flow_loss(net, data, scenes.condition, noise, t).mean()


def _pairs(judged: Judged, how: Dpo) -> Sequence[Pair]:
    """The pairs that `deeptrace score --pairs` would make; samples of a prompt look alike, so none is left out."""
    clips = [
        ScoredClip(ClipInfo(f"sample {index}", prompt=f"prompt {index // how.samples}"), result)
        for index, result in enumerate(judged.results)
    ]
    return make_pairs(clips, margin="absolute", min_margin=1e-4, most_per_prompt=how.pairs, keep_duplicates=True).pairs


def _index(clip: ScoredClip) -> int:
    return int(clip.info.path.removeprefix("sample "))


def _update(optimizer: torch.optim.Optimizer, net: Generator, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimizer.step()
