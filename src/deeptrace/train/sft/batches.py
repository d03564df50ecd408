"""Which examples make which batch, planned for the whole training, and the batches as a dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import Dataset

from deeptrace.detectors.transformers.encode import collate, labels
from deeptrace.train.mllm.encoding import encode_example
from deeptrace.train.mllm.examples import Example, epoch_order
from deeptrace.train.mllm.frames import FrameStore
from deeptrace.train.mllm.packing import Positions, pack, plan_packs
from deeptrace.train.sft.config import SftConfig

__all__ = ["Batches", "Draw", "plan_batches", "plan_digest"]

_LENGTH_WINDOW = 32


@dataclass(frozen=True, slots=True)
class Draw:
    """One example drawn once.

    Attributes:
        example: its index.
        number: of the draw in the whole training; seeds its augmentation.
    """

    example: int
    number: int


def plan_batches(
    examples: Sequence[Example], lengths: Sequence[int], config: SftConfig, processes: int
) -> list[list[Draw]]:
    """The batches of all epochs, in order: a pure function of its arguments.

    Batch k is for process k % `processes`. Steps are whole: the last one is filled up with what an epoch more would
    begin with.
    """
    plan: list[list[Draw]] = []
    drawn = 0
    step = processes * config.accumulate
    for epoch in range(config.epochs + 1):
        order = epoch_order(examples, config.data, seed=config.seed, epoch=epoch, balance=config.balance)
        draws = [Draw(index, drawn + k) for k, index in enumerate(order)]
        drawn += len(draws)
        batches = _grouped(draws, lengths, config, epoch)
        if epoch == config.epochs:
            while len(plan) % step:  # the data may be fewer than a step takes
                plan += batches[: step - len(plan) % step]
            break
        plan += batches
    return plan


def plan_digest(plan: Sequence[Sequence[Draw]], examples: Sequence[Example]) -> str:
    """A hash of what is learned in which order; a run goes on only with the same."""
    named = [(e.sample.video_id, str(e.label), [t.model_dump_json() for t in e.traces]) for e in examples]
    draws = [[(draw.example, draw.number) for draw in batch] for batch in plan]
    return hashlib.sha256(repr((named, draws)).encode()).hexdigest()


def _grouped(draws: list[Draw], lengths: Sequence[int], config: SftConfig, epoch: int) -> list[list[Draw]]:
    if config.pack_tokens is not None:
        packs = plan_packs([lengths[draw.example] for draw in draws], config.pack_tokens)
        return [[draws[k] for k in members] for members in packs]
    size = config.batch
    if not config.group_lengths:
        return [draws[k : k + size] for k in range(0, len(draws), size)]
    batches = []
    for start in range(0, len(draws), size * _LENGTH_WINDOW):
        window = sorted(draws[start : start + size * _LENGTH_WINDOW], key=lambda draw: lengths[draw.example])
        batches += [window[k : k + size] for k in range(0, len(window), size)]
    rng = np.random.default_rng([config.seed, epoch, 1])
    return [batches[k] for k in rng.permutation(len(batches))]


class Batches(Dataset[dict[str, torch.Tensor]]):
    """The planned batches, made when asked for, by worker processes too.

    Args:
        plan: of `plan_batches`.
        examples: that it draws from.
        store: of frames; its encoder prepares them.
        config: of the training.
        positions: for packed rows; None pads.
    """

    def __init__(
        self,
        plan: Sequence[Sequence[Draw]],
        examples: Sequence[Example],
        store: FrameStore,
        config: SftConfig,
        positions: Positions | None,
    ) -> None:
        self.plan, self.examples, self.store = plan, examples, store
        self.config, self.positions = config, positions

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """A batch as the model's `forward` takes it, with labels.

        Raises:
            VideoError, DataError, ModelError: as `encode_example`.
        """
        config = self.config
        made = [
            encode_example(
                self.examples[draw.example],
                self.store,
                config.form,
                config.augment,
                np.random.default_rng([config.seed, draw.number, 2]),
            )
            for draw in self.plan[index]
        ]
        if self.positions is not None:
            return pack(made, self.positions)
        return collate(made, pad_id=self.store.encoder.pad_id, side="right") | {"labels": labels(made, side="right")}
