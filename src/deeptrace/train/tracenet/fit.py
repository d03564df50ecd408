"""Fit the trace net: its spot nets one by one, then its presence net, which learns from footage before and after."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from deeptrace.train.tracenet.batches import ROLES, Batch, Batches, Role
from deeptrace.train.tracenet.clips import Clip
from deeptrace.train.tracenet.config import TraceNetConfig
from deeptrace.train.tracenet.nets import PresenceNet, TraceNet
from deeptrace.train.tracenet.spots import SpotExamples, fit_spot_net

__all__ = ["fit_presence_net", "fit_trace_net", "losses_of"]

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
        config: how.
        seed: of weights and batches.
        log: gets a record every 50 steps: step, seconds, and each loss, averaged.
    """
    net = TraceNet(config.spots)
    if any(clip.is_marked for clip in clips):
        examples = SpotExamples(clips, config)
        for index in range(config.spots):
            net.spots[index] = fit_spot_net(examples, config, seed=seed + 100 * index, log=log)
    else:
        for spot in net.spots:
            spot.mark_nowhere()  # type: ignore[operator]
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
    """The five losses of the presence net; each example counts where its truth is known.

    cells: cross entropy of presence in each cell, marked clips left out; where a set has its trace, cells count
        more the severer it is, and alike in the footage without it and in the decoy.
    overlap: soft Dice of a trace's presence, averaged over time.
    done: cross entropy of the pooled logit: 1 with a trace, 0 for footage and decoys.
    rise: within a set, the pooled logit must rise from footage to trace in proportion to severity, not with a decoy.
    kinds: cross entropy of the category in the true region.
    """
    pooled, present, kinds = (head.float() for head in heads)
    heat, role, severity = batch.heat, batch.role, batch.severity
    planted, known = (role == Role.PLANTED).float(), (role != Role.MARKED).float()
    weight = 0.5 + _INSIDE * _spread_over_sets(severity[:, None, None, None] * heat, role)
    cells = F.binary_cross_entropy_with_logits(present, heat, weight=weight, reduction="none").mean((1, 2, 3))
    flat, truth = present.sigmoid().mean(1), heat.mean(1)
    dice = 1 - (2 * (flat * truth).sum((1, 2)) + 1) / (flat.sum((1, 2)) + truth.sum((1, 2)) + 1)
    done = F.binary_cross_entropy_with_logits(pooled, planted, reduction="none")
    sureness = torch.where(planted > 0, severity, torch.where(role == Role.FOOTAGE, 1.0, 0.5))
    return {
        "cells": 2 * _mean(cells, known),
        "overlap": 0.3 * _mean(dice, planted * severity),
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
    base, planted, other = _sets(pooled, batch.role).unbind(1)
    severity = _sets(batch.severity, batch.role)[:, 1]
    wanted = F.softplus(_RISE * severity - (planted - base)) + 0.5 * F.softplus((other - base).abs() - 0.5)
    return wanted.mean()


def _kinds(kinds: Tensor, batch: Batch) -> Tensor:
    """Planted traces teach their kind, marked clips (less) what their traces are of; weight by severity."""
    region = F.avg_pool2d(batch.heat, 2)[:, :, None]
    scores = F.log_softmax(kinds, dim=2)
    inside = (scores * region).sum((1, 3, 4)) / (region.sum((1, 3, 4)) + 1e-3)
    share = batch.categories / batch.categories.sum(1, keepdim=True).clamp(min=1)
    weight = torch.where(batch.role == Role.MARKED, _FAINT * batch.categories.amax(1), batch.severity)
    return _mean(-(inside * share).sum(1), weight)


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / weights.sum().clamp(min=1e-6)
