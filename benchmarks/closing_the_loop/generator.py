"""The generator: a flow-matching net that makes a clip from its first frame and the paths that things are to take.

It draws, in patches of 4 x 4 pixels, the difference to the first frame. Rectified flow: x_t = (1 - t) noise + t data,
with velocity data - noise. The net says the data, which is mostly zero, and the velocity follows from it: a small net
has no room to carry the noise through. The two samplers are Euler steps of the ODE and of the SDE with the same
marginals (Flow-GRPO, Liu et al. 2025, arXiv 2505.05470), whose steps have a likelihood and so a policy gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from closing_the_loop.world import FRAMES, SIDE, Prompt, Render, draw_prompt, render

__all__ = [
    "CELLS",
    "PATCH",
    "Condition",
    "Draw",
    "Generator",
    "Path",
    "Scenes",
    "condition_of",
    "flow_loss",
    "regenerated",
    "sample",
    "sample_sde",
    "sprites",
    "to_clips",
    "to_data",
]

PATCH = 4
CELLS = SIDE // PATCH
_CHANNELS = 3 * PATCH * PATCH
_PATHS = 2
_SCALE = 3.0  # differences of pictures in [0, 1] come to about unit spread where anything moves
_WIDTHS = (64, 128)
_NEAREST = 0.1  # to the end of the flow, so that the velocity stays finite
_SPREAD, _AROUND = 2.5, 6.0  # of the mark on a path, and of what is carried along it, pixels


@dataclass(frozen=True)
class Condition:
    """What a batch of clips is made from.

    Attributes:
        first: (B, 3, SIDE, SIDE) in [0, 1].
        paths: (B, 2, FRAMES, SIDE, SIDE), a soft mark where each thing is to be.
        carried: (B, FRAMES, 3, SIDE, SIDE), the surroundings of each thing in the first frame, carried along its path
            and fading outwards, less the first frame: where to, but neither its outline nor what it uncovers.
    """

    first: Tensor
    paths: Tensor
    carried: Tensor

    def repeated(self, count: int) -> Condition:
        """Each clip `count` times, neighbours."""
        return Condition(*(part.repeat_interleave(count, 0) for part in vars(self).values()))

    def part(self, chosen: Tensor) -> Condition:
        """Some of the clips."""
        return Condition(*(part[chosen] for part in vars(self).values()))


@dataclass(frozen=True)
class Scenes:
    """What a generator is asked for, and how it came out in its world.

    Attributes:
        condition: of each clip.
        clips: (B, FRAMES, SIDE, SIDE, 3) uint8, renders or footage.
    """

    condition: Condition
    clips: np.ndarray


Draw = Callable[[np.random.Generator, int], Scenes]
"""So many random scenes of a world."""


def sprites(rng: np.random.Generator, count: int) -> Scenes:
    """Training prompts of moving things, and their renders."""
    prompts = [draw_prompt(rng, "train") for _ in range(count)]
    renders = [render(prompt) for prompt in prompts]
    return Scenes(condition_of(prompts, renders), np.stack([right.frames for right in renders]))


def condition_of(prompts: Sequence[Prompt], renders: Sequence[Render]) -> Condition:
    """The condition of prompts, whose first frames are those of their renders."""
    first = np.stack([r.frames[0] for r in renders]).astype(np.float32) / 255
    marks = np.zeros((len(prompts), _PATHS, FRAMES, SIDE, SIDE), np.float32)
    carried = np.zeros((len(prompts), FRAMES, SIDE, SIDE, 3), np.float32)
    for row, prompt in enumerate(prompts):
        for number, thing in enumerate(prompt.things):
            for index, center in enumerate(thing.centers()):
                marks[row, number, index] = _mark(center, _SPREAD)
                x, y = center - thing.start
                shift = np.array([[1.0, 0.0, x], [0.0, 1.0, y]])
                moved = cv2.warpAffine(first[row], shift, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
                share = _mark(center, _AROUND)[..., None]
                carried[row, index] += share * (moved - first[row] - carried[row, index])
    return Condition(
        torch.from_numpy(first.transpose(0, 3, 1, 2)),
        torch.from_numpy(marks),
        torch.from_numpy(np.ascontiguousarray(carried.transpose(0, 1, 4, 2, 3))),
    )


def _mark(center: np.ndarray, spread: float) -> np.ndarray:
    """(SIDE, SIDE): a soft spot at (x, y)."""
    across, down = (np.exp(-((np.arange(SIDE, dtype=np.float32) - c) ** 2) / (2 * spread**2)) for c in center)
    return np.asarray(down[:, None] * across[None, :], np.float32)


class _Block(nn.Module):
    """Neighbours in the picture, then neighbours in time, under the time of the flow."""

    def __init__(self, width: int, time: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, width), nn.GroupNorm(8, width)
        self.space = nn.Conv2d(width, width, 3, padding=1)
        self.film = nn.Linear(time, 2 * width)
        self.time = nn.Conv1d(width, width, 3, padding=1)
        nn.init.zeros_(self.time.weight)
        nn.init.zeros_(self.time.bias)

    def forward(self, x: Tensor, when: Tensor) -> Tensor:
        """x (B * FRAMES, width, h, w), when (B, time)."""
        high, wide = x.shape[-2:]
        scale, shift = self.film(when).repeat_interleave(FRAMES, 0)[..., None, None].chunk(2, 1)
        y = self.norm2(self.space(F.silu(self.norm1(x)))) * (1 + scale) + shift
        y = F.silu(y).unflatten(0, (-1, FRAMES)).permute(0, 3, 4, 2, 1).reshape(-1, x.shape[1], FRAMES)
        y = self.time(y).reshape(-1, high, wide, x.shape[1], FRAMES).permute(0, 4, 3, 1, 2)
        return x + y.flatten(0, 1)


class _Attention(nn.Module):
    """Every place and moment looks at every other: how a thing's looks get from the first frame to the last."""

    def __init__(self, width: int, heads: int = 2) -> None:
        super().__init__()
        self.norm, self.heads = nn.LayerNorm(width), heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        """x (B * FRAMES, width, h, w)."""
        high, wide = x.shape[-2:]
        y = x.unflatten(0, (-1, FRAMES)).permute(0, 1, 3, 4, 2).flatten(1, 3)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(self.norm(y)).chunk(3, -1))
        # written out: on a CPU three times as fast as the fused kernel at this size
        weights = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1)
        y = self.out((weights @ v).transpose(1, 2).flatten(2))
        return x + y.reshape(-1, FRAMES, high, wide, x.shape[1]).permute(0, 1, 4, 2, 3).flatten(0, 1)


class Generator(nn.Module):
    """Velocity (B, FRAMES, 48, CELLS, CELLS) of x at time t (B,) under a condition."""

    def __init__(self) -> None:
        super().__init__()
        a, b = _WIDTHS
        self.clock = nn.Sequential(nn.Linear(32, b), nn.SiLU(), nn.Linear(b, b))
        self.place = nn.Parameter(torch.zeros(FRAMES, a, CELLS, CELLS))
        self.stem = nn.Conv2d(3 * _CHANNELS + 2 * _PATHS * PATCH * PATCH, a, 3, padding=1)
        self.fine1 = nn.ModuleList(_Block(a, b) for _ in range(2))
        self.down = nn.Conv2d(a, b, 2, 2)
        self.coarse = nn.ModuleList(m for _ in range(2) for m in (_Block(b, b), _Attention(b)))
        self.up = nn.Conv2d(b, 4 * a, 1)
        self.join = nn.Conv2d(2 * a, a, 1)
        self.fine2 = nn.ModuleList(_Block(a, b) for _ in range(2))
        self.head = nn.Sequential(nn.GroupNorm(8, a), nn.SiLU(), nn.Conv2d(a, _CHANNELS, 3, padding=1))
        nn.init.zeros_(self.head[-1].weight)
        nn.init.zeros_(self.head[-1].bias)

    def forward(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """See the class; float32 in and out, bfloat16 inside."""
        with torch.autocast("cpu", torch.bfloat16):
            data = self._data(x, t, condition).float()
        return (data - x) / (1 - t).clamp(min=_NEAREST)[:, None, None, None, None]

    def _data(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        batch = len(x)
        rates = torch.exp(torch.linspace(0, math.log(500.0), 16))
        angles = t[:, None] * rates
        when = self.clock(torch.cat([angles.sin(), angles.cos()], 1))
        first = F.pixel_unshuffle(condition.first * 2 - 1, PATCH)[:, None].expand(-1, FRAMES, -1, -1, -1)
        marks = F.pixel_unshuffle(condition.paths.transpose(1, 2), PATCH)
        began = marks[:, :1].expand(-1, FRAMES, -1, -1, -1)
        carried = F.pixel_unshuffle(condition.carried * _SCALE, PATCH)
        y = self.stem(torch.cat([x, first, carried, marks, began], 2).flatten(0, 1))
        y = y + self.place.repeat(batch, 1, 1, 1)
        for block in self.fine1:
            y = block(y, when)
        z = self.down(y)
        for block in self.coarse:
            z = block(z, when) if isinstance(block, _Block) else block(z)
        y = self.join(torch.cat([y, F.pixel_shuffle(self.up(z), 2)], 1))
        for block in self.fine2:
            y = block(y, when)
        return self.head(y).unflatten(0, (batch, FRAMES))


def to_data(clips: Tensor) -> Tensor:
    """Clips (B, FRAMES, 3, SIDE, SIDE) in [0, 1] as what the flow ends in (B, FRAMES, 48, CELLS, CELLS)."""
    return F.pixel_unshuffle((clips - clips[:, :1]) * _SCALE, PATCH)


def to_clips(x: Tensor, condition: Condition) -> np.ndarray:
    """(B, FRAMES, SIDE, SIDE, 3) uint8; the first frame is the one given."""
    clips = condition.first[:, None] + F.pixel_shuffle(x, PATCH) / _SCALE
    clips[:, 0] = condition.first
    return np.asarray((clips.clamp(0, 1) * 255).round().byte().permute(0, 1, 3, 4, 2).numpy())


def flow_loss(net: Generator, data: Tensor, condition: Condition, noise: Tensor, t: Tensor) -> Tensor:
    """Squared error of the data that the net says, (B, FRAMES, CELLS, CELLS): the mean over a patch's 48 numbers.

    The error of the velocity would weigh the last, nearly clean times a hundred times more than the first ones, at
    which it is decided what goes where.
    """
    at = t[:, None, None, None, None]
    x = (1 - at) * noise + at * data
    said = x + (1 - at).clamp(min=_NEAREST) * net(x, t, condition)
    return (said - data).square().mean(2)


def sample(net: Generator, condition: Condition, seed: int, steps: int = 8) -> Tensor:
    """Euler's steps of the ODE from noise drawn by `seed`, (B, FRAMES, 48, CELLS, CELLS)."""
    return _flowed(net, _noise(len(condition.first), seed), condition, 0, steps)


def regenerated(net: Generator, data: Tensor, condition: Condition, seed: int, redone: int, steps: int = 8) -> Tensor:
    """Data made noisy as the flow is `redone` of its `steps` before the end, and finished by the net (SDEdit)."""
    start = steps - redone
    x = data * (start / steps) + _noise(len(data), seed) * (redone / steps)
    return _flowed(net, x, condition, start, steps)


@torch.no_grad()
def _flowed(net: Generator, x: Tensor, condition: Condition, start: int, steps: int) -> Tensor:
    for step in range(start, steps):
        t = torch.full((len(x),), step / steps)
        x = x + net(x, t, condition) / steps
    return x


@dataclass(frozen=True)
class Path:
    """A sample with the way it took.

    Attributes:
        states: `steps` + 1 tensors (B, FRAMES, 48, CELLS, CELLS).
        seed: what drew it.
    """

    states: list[Tensor]

    @property
    def data(self) -> Tensor:
        """Where it ended."""
        return self.states[-1]


@torch.no_grad()
def sample_sde(net: Generator, condition: Condition, seed: int, steps: int, noise: float) -> Path:
    """Euler-Maruyama's steps of the SDE with the ODE's marginals; the last step is without noise."""
    generator = torch.Generator().manual_seed(seed)
    states = [_noise(len(condition.first), seed)]
    for step in range(steps):
        mean, spread = sde_step(net, states[-1], step, steps, condition, noise)
        fresh = torch.randn(mean.shape, generator=generator)
        states.append(mean + spread * fresh)
    return Path(states)


def sde_step(
    net: Generator, x: Tensor, step: int, steps: int, condition: Condition, noise: float
) -> tuple[Tensor, float]:
    """Mean and spread of the next state.

    With noise level s = 1 - t and sigma = noise * sqrt(s / (1 - s)) (Flow-GRPO's schedule, s clipped to its first and
    last step), the velocity gets the score's share: v + sigma^2 / 2 * score, score = -(x - t v_data) / s ...
    """
    dt = 1.0 / steps
    t = step * dt
    s = 1.0 - t
    velocity = net(x, torch.full((len(x),), t), condition)
    if step == steps - 1:
        return x + velocity * dt, 0.0
    sigma = noise * math.sqrt(s / max(t, dt / 2))
    # x = t data + s noise and v = data - noise, so that noise = x - t v and the score is -noise / s
    score = -(x - t * velocity) / s
    return x + (velocity + 0.5 * sigma**2 * score) * dt, sigma * math.sqrt(dt)


def _noise(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed + 1)
    return torch.randn((count, FRAMES, _CHANNELS, CELLS, CELLS), generator=generator)
