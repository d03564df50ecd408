"""Fit the trace net: one loop, all losses."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from deeptrace.train.tracenet.batches import PLANTED, Batch, Batches
from deeptrace.train.tracenet.clips import Clip, Kind
from deeptrace.train.tracenet.config import TraceNetConfig
from deeptrace.train.tracenet.nets import Heads, TraceNet

__all__ = ["fit_trace_net", "losses_of"]

_SMOOTHING = 0.1
_REPORT_EVERY = 50


def fit_trace_net(
    clips: list[Clip], config: TraceNetConfig, *, seed: int, log: Callable[[dict[str, Any]], None]
) -> TraceNet:
    """Train on the measurements of `clips`; the net comes back in evaluation mode.

    Args:
        clips: all measured.
        config: how.
        seed: of weights and batches.
        log: gets a record every 50 steps: step, seconds, and each loss, averaged.
    """
    torch.manual_seed(seed)
    net = TraceNet()
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
    return net.eval()


def losses_of(heads: Heads, batch: Batch) -> dict[str, Tensor]:
    """The five losses; each example counts where its truth is known.

    generated: cross entropy of the clip label, but not for planted traces: their clip is camera footage.
    where: cross entropy of the heat, given that there is a trace, on generated clips and (less) on planted traces.
    overlap: soft Dice of the heat's mean over time, so that box-sized regions count as regions.
    present: cross entropy of the heat where there may be none: real clips teach "nothing here".
    kinds: cross entropy of the categories, pooled over the true region.
    """
    generated, where, present, kinds = (head.float() for head in heads)
    heat, kind = batch.heat, batch.kind
    is_planted, is_generated, is_real = (kind == k for k in (PLANTED, int(Kind.GENERATED), int(Kind.REAL)))
    label = ((kind == int(Kind.GENERATED)) | (kind == int(Kind.EDITED))).float()
    clip = F.binary_cross_entropy_with_logits(generated, label * (1 - _SMOOTHING) + _SMOOTHING / 2, reduction="none")
    seen = is_generated.float() + 0.4 * is_planted.float()
    heat_loss = F.binary_cross_entropy_with_logits(where, heat, reduction="none").mean((1, 2, 3))
    flat, truth = where.sigmoid().mean(1), heat.mean(1)
    dice = 1 - (2 * (flat * truth).sum((1, 2)) + 1) / (flat.sum((1, 2)) + truth.sum((1, 2)) + 1)
    presence = F.binary_cross_entropy_with_logits(present, heat, reduction="none").mean((1, 2, 3))
    region = F.avg_pool2d(heat, 2)[:, :, None]
    pooled = (kinds * region).sum((1, 3, 4)) / (region.sum((1, 3, 4)) + 1)
    category = F.binary_cross_entropy_with_logits(pooled, batch.categories, reduction="none").mean(1)
    known = (is_planted.float() + 0.5 * is_generated.float()) * (batch.categories.sum(1) > 0)
    return {
        "generated": _mean(clip, (~is_planted).float()),
        "where": _mean(heat_loss, seen),
        "overlap": 0.5 * _mean(dice, seen),
        "present": _mean(presence, is_real.float() + is_planted.float() + 0.5 * is_generated.float()),
        "kinds": _mean(category, known),
    }


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / weights.sum().clamp(min=1e-6)
