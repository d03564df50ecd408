"""Pretraining: flow matching on clips of a world, kept as checkpoints, resumable."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from closing_the_loop.generator import Draw, Generator, flow_loss, sprites, to_data

__all__ = ["load_generator", "pretrain", "pretraining_step", "save_state"]

_SAVE_EVERY = 50
_AVERAGE = 0.99  # of the moving average of the weights, which is what is kept for sampling
_RATE = 2e-3


def pretrain(
    folder: Path,
    steps: int,
    *,
    draw: Draw = sprites,
    batch: int = 16,
    keep: tuple[int, ...] = (),
    log: Callable[[str], None] = print,
) -> Path:
    """Train to `steps` and return the checkpoint; goes on from where an earlier call stopped.

    Args:
        folder: for checkpoints `step{n}.pt` and the state `last.pt`.
        steps: optimizer steps.
        draw: what it learns from.
        batch: clips a step.
        keep: earlier steps whose weights are kept, too.
        log: gets a line now and then.
    """
    done = folder / f"step{steps}.pt"
    if done.is_file():
        return done
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    net = Generator()
    average = copy.deepcopy(net)
    optimizer = torch.optim.AdamW(net.parameters(), lr=_RATE, weight_decay=0.01)
    start, last = 0, folder / "last.pt"
    if last.is_file():
        state = torch.load(last, weights_only=True)
        start = state["step"]
        net.load_state_dict(state["net"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
    began, total = time.monotonic(), 0.0
    for step in range(start + 1, steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = _RATE * min(step / 50, 1.0) * (0.05 + 0.95 * (1 - step / steps))
        total += pretraining_step(net, optimizer, np.random.default_rng([1, step]), draw, batch)
        with torch.no_grad():
            for mean, now in zip(average.parameters(), net.parameters(), strict=True):
                mean.lerp_(now, 1 - min(_AVERAGE, step / (step + 9)))
        if step in keep or step == steps:
            save_state(average.state_dict(), folder / f"step{step}.pt")
        if step % _SAVE_EVERY == 0 or step == steps:
            state = {"net": net.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict()}
            save_state(state | {"step": step}, last)
            count = (step - start - 1) % _SAVE_EVERY + 1
            log(f"pretraining {step}/{steps}: loss {total / count:.4f}, {time.monotonic() - began:.0f} s")
            total = 0.0
    return done


def load_generator(path: Path) -> Generator:
    """The generator in a checkpoint."""
    net = Generator()
    net.load_state_dict(torch.load(path, weights_only=True))
    return net.eval()


def save_state(state: object, path: Path) -> None:
    """Write a checkpoint, all or nothing."""
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)


def pretraining_step(
    net: Generator, optimizer: torch.optim.Optimizer, rng: np.random.Generator, draw: Draw, batch: int
) -> float:
    """One update; returns its loss."""
    scenes = draw(rng, batch)
    condition = scenes.condition
    data = to_data(torch.from_numpy(scenes.clips).permute(0, 1, 4, 2, 3).float() / 255)
    random = torch.Generator().manual_seed(int(rng.integers(2**31)))
    t = torch.sigmoid(1.3 * torch.randn(batch, generator=random) - 0.5)
    noise = torch.randn(data.shape, generator=random)
    loss = flow_loss(net, data, condition, noise, t).mean()
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())
