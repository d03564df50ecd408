"""Several processes, one for each GPU, started by torchrun or accelerate: each asks its share of the questions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from accelerate import PartialState  # type: ignore[import-untyped]
from accelerate.utils import gather_object  # type: ignore[import-untyped]

__all__ = ["Processes"]

T = TypeVar("T")


class Processes:
    """This process among the others; one alone when nothing else was started.

    Every process holds the whole model. Gradients are averaged after the backward passes, so that the model needs no
    wrapper: sampling, adapters and saving work on it as it is.

    Args:
        cpu: use gloo on the CPU even where there is a GPU.
    """

    def __init__(self, *, cpu: bool = False) -> None:
        self._state = PartialState(cpu=cpu)

    @property
    def device(self) -> torch.device:
        """Where this process's model belongs."""
        return torch.device(self._state.device)

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self._state.num_processes)

    @property
    def rank(self) -> int:
        """Which one this is, from 0."""
        return int(self._state.process_index)

    @property
    def is_main(self) -> bool:
        """Whether this one writes."""
        return bool(self._state.is_main_process)

    def share(self, items: Sequence[T]) -> list[T]:
        """This process's part of `items`, as many for each, in order.

        Raises:
            ValueError: they cannot be shared evenly.
        """
        if len(items) % self.count:
            raise ValueError(
                f"expected a multiple of {self.count} items, one share for each process, but got {len(items)}"
            )
        each = len(items) // self.count
        return list(items[self.rank * each :][:each])

    def gather(self, items: Sequence[T]) -> list[T]:
        """The items of all processes, in order of process."""
        return list(gather_object(list(items))) if self.count > 1 else list(items)

    def wait(self) -> None:
        """Until all processes are here."""
        self._state.wait_for_everyone()

    def mean_gradients(self, parameters: Iterable[Any]) -> None:
        """Replace each gradient by its mean over the processes; one that a process has none of counts as 0 there."""
        if self.count == 1:
            return
        for weight in parameters:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
            dist.all_reduce(weight.grad)
            weight.grad /= self.count
