"""Fit the trace net: its heat-map heads one by one, then its presence net.

The heat-map heads learn where, in a generated clip, an annotator would mark a trace; the presence net learns from
footage before and after a synthetic trace.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deeptrace.detectors.tracenet.evidence import CHANNELS, GRID
from deeptrace.train.tracenet.batches import ROLES, Batch, Batches, Role, marked_share, weight_by_group
from deeptrace.train.tracenet.clips import Clip
from deeptrace.train.tracenet.config import TraceNetConfig
from deeptrace.train.tracenet.crossfit import windows_of
from deeptrace.train.tracenet.feature_cache import load_measured
from deeptrace.train.tracenet.nets import HeatMapHead, PresenceNet, TraceNet, pooled_maps

__all__ = ["HeatExamples", "fit_heat_map_head", "fit_trace_net", "heat_loss", "losses_of"]

_REPORT_EVERY = 50
_RISE = 3.0  # what the pooled logit should rise by at the least, from footage to a gross trace
_INSIDE = 4.0
_FAINT = 0.3

Log = Callable[[dict[str, Any]], None]


def fit_trace_net(clips: list[Clip], config: TraceNetConfig, *, seed: int, log: Log) -> TraceNet:
    """Train on the measurements of `clips`; the net comes back in evaluation mode.

    Without a marked clip among them it finds edits only.

    Args:
        clips: all measured.
        config: settings of the training.
        seed: of weights and batches.
        log: gets a record every 50 steps: step, seconds, and each loss, averaged.
    """
    torch.manual_seed(seed)  # of heads that are not trained, too, so that a model is the same to the last byte
    net = TraceNet(config.heads)
    if any(clip.is_marked for clip in clips):
        examples = HeatExamples(clips, config)
        for index in range(config.heads):
            net.heads[index] = fit_heat_map_head(examples, config, seed=seed + 100 * index, log=log)
    else:
        for head in net.heads:
            head.mark_nowhere()  # type: ignore[operator]
    net.presence = fit_presence_net(clips, config, seed=seed, log=log)
    return net.eval()


def fit_presence_net(clips: list[Clip], config: TraceNetConfig, *, seed: int, log: Log) -> PresenceNet:
    """Train the presence net alone; arguments as `fit_trace_net`."""
    torch.manual_seed(seed)
    net = PresenceNet()
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    batches = Batches(clips, config, seed)
    mean, spread = batches.channel_statistics()
    net.mean.copy_(mean)
    net.spread.copy_(spread)
    optimizer = torch.optim.AdamW(net.parameters(), lr=config.learning_rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, config.steps, pct_start=0.15)
    began, sums = time.monotonic(), dict[str, float]()
    for step in range(1, config.steps + 1):
        batch = batches.draw(mean)
        with torch.autocast("cpu", torch.bfloat16):
            heads = net(batch.evidence)
        losses = losses_of(heads, batch)
        loss = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 2.0)
        optimizer.step()
        schedule.step()
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach())
        if step % _REPORT_EVERY == 0 or step == config.steps:
            count = (step - 1) % _REPORT_EVERY + 1
            means = {name: round(total / count, 4) for name, total in sums.items()}
            log({"step": step, "seconds": round(time.monotonic() - began, 1), **means})
            sums.clear()
    net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return net.eval()


def losses_of(heads: tuple[Tensor, Tensor, Tensor], batch: Batch) -> dict[str, Tensor]:
    """The five losses of the presence net; each example counts where its ground truth is known.

    cells: cross entropy of presence in each cell, marked clips left out; where a set has its trace, cells count
        more the severer it is, and alike in the footage without it and in the hard negative.
    overlap: soft Dice of a trace's presence, averaged over time.
    done: cross entropy of the pooled logit: 1 with a trace, 0 for footage and hard negatives.
    rise: within a set, the pooled logit must rise from footage to trace in proportion to severity, not with a hard
        negative.
    kinds: cross entropy of the category in the true region.
    """
    pooled, present, kinds = (head.float() for head in heads)
    heat, role, severity = batch.heat, batch.role, batch.severity
    synthetic, known = (role == Role.SYNTHETIC).float(), (role != Role.MARKED).float()
    weight = 0.5 + _INSIDE * _spread_over_sets(severity[:, None, None, None] * heat, role)
    cells = F.binary_cross_entropy_with_logits(present, heat, weight=weight, reduction="none").mean((1, 2, 3))
    flat, truth = present.sigmoid().mean(1), heat.mean(1)
    dice = 1 - (2 * (flat * truth).sum((1, 2)) + 1) / (flat.sum((1, 2)) + truth.sum((1, 2)) + 1)
    done = F.binary_cross_entropy_with_logits(pooled, synthetic, reduction="none")
    sureness = torch.where(synthetic > 0, severity, torch.where(role == Role.FOOTAGE, 1.0, 0.5))
    return {
        "cells": 2 * _mean(cells, known),
        "overlap": 0.3 * _mean(dice, synthetic * severity),
        "done": 0.5 * _mean(done, known * sureness),
        "rise": 0.3 * _rise(pooled, batch),
        "kinds": 0.5 * _kinds(kinds, batch),
    }


def _sets(values: Tensor, role: Tensor) -> Tensor:
    """The rows of `values` that are of sets, as (sets, examples of a set, ...)."""
    count = int((role == Role.BASE).sum())
    sets: Tensor = values[: count * len(ROLES)].unflatten(0, (count, len(ROLES)))  # type: ignore[no-untyped-call]
    return sets


def _spread_over_sets(values: Tensor, role: Tensor) -> Tensor:
    """`values` with each set's highest in all of its examples."""
    if not (role == Role.BASE).any():
        return values
    sets = _sets(values, role)
    shared = sets.amax(1, keepdim=True).expand_as(sets).flatten(0, 1)
    return torch.cat([shared, values[len(shared) :]])


def _rise(pooled: Tensor, batch: Batch) -> Tensor:
    if not (batch.role == Role.BASE).any():
        return pooled.new_zeros(())
    base, synthetic, other = _sets(pooled, batch.role).unbind(1)
    severity = _sets(batch.severity, batch.role)[:, 1]
    wanted = F.softplus(_RISE * severity - (synthetic - base)) + 0.5 * F.softplus((other - base).abs() - 0.5)
    return wanted.mean()


def _kinds(kinds: Tensor, batch: Batch) -> Tensor:
    """Synthetic traces teach their kind, marked clips (less) what their traces are of; weight by severity."""
    region = F.avg_pool2d(batch.heat, 2)[:, :, None]
    scores = F.log_softmax(kinds, dim=2)
    inside = (scores * region).sum((1, 3, 4)) / (region.sum((1, 3, 4)) + 1e-3)
    share = batch.categories / batch.categories.sum(1, keepdim=True).clamp(min=1)
    weight = torch.where(batch.role == Role.MARKED, _FAINT * batch.categories.amax(1), batch.severity)
    return _mean(-(inside * share).sum(1), weight)


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / weights.sum().clamp(min=1e-6)


_NOISE = 0.25


class HeatExamples:
    """Every window of every variant of the marked clips, pooled.

    Attributes:
        maps: (N, POOLED, GRID, GRID).
        heat: (N, GRID, GRID) share of the clip's traces that cover the cell: a box is compared with each one of them.
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
                truth = torch.from_numpy(marked_share(clip.traces))
                for frames in windows_of(measured):
                    evidence = torch.from_numpy(measured.evidence[frames].astype(np.float32))
                    maps.append(pooled_maps(evidence[None])[0].half())
                    heat.append(truth)
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
            count: number of examples.
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


def fit_heat_map_head(
    examples: HeatExamples, config: TraceNetConfig, *, seed: int, log: Callable[[dict[str, Any]], None]
) -> HeatMapHead:
    """Train one heat-map head; it comes back in evaluation mode.

    Args:
        examples: of the training clips.
        config: settings of the training.
        seed: of weights and examples.
        log: gets a record every 50 steps.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = HeatMapHead()
    mean, spread = examples.statistics()
    net.mean.copy_(mean)
    net.spread.copy_(spread)
    optimizer = torch.optim.AdamW(net.parameters(), lr=config.learning_rate, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, config.head_steps, pct_start=0.15)
    total = 0.0
    for step in range(1, config.head_steps + 1):
        maps, heat = examples.draw(config.head_batch, spread, rng)
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(maps)
        loss = heat_loss(logits.float(), heat)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        total += float(loss.detach())
        if step % _REPORT_EVERY == 0 or step == config.head_steps:
            log({"head_seed": seed, "step": step, "where": round(total / ((step - 1) % _REPORT_EVERY + 1), 4)})
            total = 0.0
    return net.eval()


def heat_loss(logits: Tensor, heat: Tensor) -> Tensor:
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
