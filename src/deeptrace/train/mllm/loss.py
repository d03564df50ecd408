"""The loss on answers alone: logits of a few positions at a time, never of a whole row.

With a vocabulary of 152,000 the logits of one VideoLLaMA 3 sample (14,400 positions) are 8.8 GB in float32, three times
that with their gradient; an answer has 60 positions.
"""

from __future__ import annotations

from functools import wraps
from types import MethodType
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

__all__ = ["IGNORED", "answer_loss", "learn_answers_only"]

IGNORED = -100


def answer_loss(
    hidden: torch.Tensor, head: torch.nn.Module, labels: torch.Tensor, *, chunk: int = 1024, count: Any = None
) -> torch.Tensor:
    """Cross entropy of the next tokens, over the labelled positions alone.

    Args:
        hidden: (B, L, D), the language model's last states.
        head: makes logits of them.
        labels: (B, L), `IGNORED` where nothing is learned; position k is predicted from k - 1.
        chunk: positions whose logits are there at a time, in the backward pass too.
        count: what the sum is divided by; the number of labelled positions by default.

    Returns:
        A scalar in float32. Without a labelled position it is 0, with gradients of 0.
    """
    wanted = labels[:, 1:] != IGNORED
    states, targets = hidden[:, :-1][wanted], labels[:, 1:][wanted]
    if not len(targets):
        return hidden.sum(dtype=torch.float32) * 0.0
    total = hidden.new_zeros((), dtype=torch.float32)
    for start in range(0, len(targets), chunk):
        part = slice(start, start + chunk)
        total = total + checkpoint(_sum_of, states[part], targets[part], head, use_reentrant=False)
    return total / (len(targets) if count is None else count)


def learn_answers_only(model: PreTrainedModel, *, chunk: int) -> None:
    """Give a model of transformers a `forward` that computes this loss when it gets labels; without, its own.

    It runs inside the model's own call, so that wrappers (DDP, FSDP, PEFT) gather the head's weights as always.
    """
    stock = type(model).forward

    @wraps(stock)  # `generate` looks at the signature
    def forward(self: Any, *args: Any, labels: torch.Tensor | None = None, **inputs: Any) -> Any:
        if labels is None:
            return stock(self, *args, **inputs)
        count = inputs.pop("num_items_in_batch", None)
        hidden = self.model(*args, **inputs, use_cache=False)[0]
        return CausalLMOutput(loss=answer_loss(hidden, self.lm_head, labels, chunk=chunk, count=count))

    model.forward = MethodType(forward, model)


def _sum_of(states: torch.Tensor, targets: torch.Tensor, head: torch.nn.Module) -> torch.Tensor:
    return cross_entropy(head(states).float(), targets, reduction="sum")
