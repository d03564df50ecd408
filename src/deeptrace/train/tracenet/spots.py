"""Fit the spot nets: where, in a generated clip, an annotator would mark a trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deeptrace.detectors.tracenet.evidence import CHANNELS, GRID
from deeptrace.train.tracenet.batches import target_heat, weight_by_group
from deeptrace.train.tracenet.clips import Clip
from deeptrace.train.tracenet.config import TraceNetConfig
from deeptrace.train.tracenet.crossfit import windows_of
from deeptrace.train.tracenet.measure import load_measured
from deeptrace.train.tracenet.nets import SpotNet, pooled_maps

__all__ = ["SpotExamples", "fit_spot_net", "spot_loss"]

_NOISE = 0.25
_REPORT_EVERY = 50


class SpotExamples:
    """Every window of every variant of the marked clips, pooled.

    Attributes:
        maps: (N, POOLED, GRID, GRID).
        heat: (N, GRID, GRID) share of the window's moments at which a trace covers the cell.
        chances: (N,) of being drawn: a generator's falls with the root of its size.
    """

    def __init__(self, clips: list[Clip], config: TraceNetConfig) -> None:
        marked = [clip for clip in clips if clip.is_marked]
        maps, heat, chances = [], [], []
        for clip, chance in zip(marked, weight_by_group(marked), strict=True):
            for variant in range(config.variants):
                measured = load_measured(clip, variant, config)
                if measured is None or len(measured.times_s) < 4:
                    continue
                truth = target_heat(clip.traces, measured.times_s)
                for frames in windows_of(measured):
                    evidence = torch.from_numpy(measured.evidence[frames].astype(np.float32))
                    maps.append(pooled_maps(evidence[None])[0].half())
                    heat.append(torch.from_numpy(truth[frames].mean(axis=0)))
                    chances.append(chance)
        self.maps = torch.stack(maps)
        self.heat = torch.stack(heat)
        self.chances = np.array(chances) / np.sum(chances)

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and spread (POOLED,) over all examples."""
        some = self.maps[:, :, ::3, ::3].float()
        return some.mean((0, 2, 3)), some.std((0, 2, 3)) + 1e-3

    def draw(self, count: int, spread: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """`count` examples, mirrored, zoomed and jittered: maps and heat.

        Args:
            count: how many.
            spread: (POOLED,) of the maps: each map is shifted by a share of its own.
            rng: source of every choice.
        """
        index = rng.choice(len(self.maps), count, p=self.chances)
        maps, heat = self.maps[index].float(), self.heat[index]
        if rng.random() < 0.5:
            maps, heat = _mirrored(maps), heat.flip(-1)
        stacked = _zoomed(torch.cat([maps, heat[:, None]], 1), rng)
        shift = torch.from_numpy(rng.normal(0, _NOISE, maps.shape[:2]).astype(np.float32)) * spread
        return stacked[:, :-1] + shift[:, :, None, None], stacked[:, -1]


def fit_spot_net(
    examples: SpotExamples, config: TraceNetConfig, *, seed: int, log: Callable[[dict[str, Any]], None]
) -> SpotNet:
    """Train one spot net; it comes back in evaluation mode.

    Args:
        examples: of the training clips.
        config: how.
        seed: of weights and examples.
        log: gets a record every 50 steps.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = SpotNet()
    mean, spread = examples.statistics()
    net.mean.copy_(mean)
    net.spread.copy_(spread)
    optimizer = torch.optim.AdamW(net.parameters(), lr=config.learning_rate, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, config.spot_steps, pct_start=0.15)
    total = 0.0
    for step in range(1, config.spot_steps + 1):
        maps, heat = examples.draw(config.spot_batch, spread, rng)
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(maps)
        loss = spot_loss(logits.float(), heat)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        total += float(loss.detach())
        if step % _REPORT_EVERY == 0 or step == config.spot_steps:
            log({"spot_seed": seed, "step": step, "where": round(total / ((step - 1) % _REPORT_EVERY + 1), 4)})
            total = 0.0
    return net.eval()


def spot_loss(logits: Tensor, heat: Tensor) -> Tensor:
    """Cross entropy of each cell, and soft Dice, so that box-sized regions count as regions; both (B, GRID, GRID)."""
    chance = logits.sigmoid()
    overlap = (2 * (chance * heat).sum((1, 2)) + 1) / (chance.sum((1, 2)) + heat.sum((1, 2)) + 1)
    return F.binary_cross_entropy_with_logits(logits, heat) + 0.5 * (1 - overlap).mean()


def _mirrored(maps: Tensor) -> Tensor:
    """Left and right exchanged: motion to the right becomes motion to the left, its peak unknown and so its mean."""
    maps = maps.flip(-1).clone()
    at = CHANNELS.index("motion_x")
    peak = at + 2 * len(CHANNELS)
    maps[:, at] *= -1
    maps[:, peak] = 2 * maps[:, at] + maps[:, peak]  # as far above the mean as it was
    return maps


def _zoomed(maps: Tensor, rng: np.random.Generator) -> Tensor:
    """Of most examples a random part, enlarged to the whole grid."""
    count = len(maps)
    wide = rng.uniform(0.6, 1.0, count)
    high = np.clip(wide * rng.uniform(0.85, 1.18, count), 0.55, 1.0)
    whole = rng.random(count) < 0.3
    wide[whole] = high[whole] = 1.0
    left, top = rng.random(count) * (1 - wide), rng.random(count) * (1 - high)
    matrix = np.zeros((count, 2, 3), np.float32)
    matrix[:, 0, 0], matrix[:, 0, 2] = wide, 2 * left + wide - 1
    matrix[:, 1, 1], matrix[:, 1, 2] = high, 2 * top + high - 1
    sampling = F.affine_grid(torch.from_numpy(matrix), [count, 1, GRID, GRID], align_corners=False)
    return F.grid_sample(maps, sampling, padding_mode="border", align_corners=False)
