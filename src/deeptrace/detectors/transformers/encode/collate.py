"""Samples to a batch: tokens padded to one length, pixels put one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from deeptrace.detectors.transformers.encode.base import Encoded

__all__ = ["ALONG_TOKENS", "IGNORED", "collate", "labels"]

IGNORED = -100
"""Label of tokens that are not learned."""

ALONG_TOKENS = frozenset({"mm_token_type_ids", "token_type_ids"})
"""Names of tensors that run along the tokens."""


def collate(
    samples: Sequence[Encoded], *, pad_id: int, side: Literal["left", "right"] = "left"
) -> dict[str, torch.Tensor]:
    """The batch that a model's `forward` or `generate` takes.

    Args:
        samples: at least one, all of one encoder.
        pad_id: token that fills shorter samples up; it is masked.
        side: where: "left" to generate, so that answers begin at one place; "right" to train.

    Returns:
        `input_ids` and `attention_mask` (B, L), tensors along the tokens padded with 0, the others concatenated.
    """
    longest = max(len(sample.input_ids) for sample in samples)

    def fill(values: torch.Tensor, value: int) -> torch.Tensor:
        gap = longest - len(values)
        return torch.nn.functional.pad(values, (gap, 0) if side == "left" else (0, gap), value=value)

    batch = {
        "input_ids": torch.stack([fill(sample.input_ids, pad_id) for sample in samples]),
        "attention_mask": torch.stack([fill(torch.ones_like(sample.input_ids), 0) for sample in samples]),
    }
    for name in samples[0].tensors:
        parts = [sample.tensors[name] for sample in samples]
        if name in ALONG_TOKENS:
            batch[name] = torch.stack([fill(part, 0) for part in parts])
        else:
            batch[name] = torch.cat(parts)
    return batch


def labels(samples: Sequence[Encoded], *, side: Literal["left", "right"] = "right") -> torch.Tensor:
    """Labels (B, L) of a batch that `collate` made with the same `side`: the answers' tokens, elsewhere `IGNORED`."""
    longest = max(len(sample.input_ids) for sample in samples)
    rows = torch.full((len(samples), longest), IGNORED)
    for row, sample in zip(rows, samples, strict=True):
        offset = longest - len(sample.input_ids) if side == "left" else 0
        answer = sample.input_ids[sample.answer_start :]
        row[offset + sample.answer_start :][: len(answer)] = answer
    return rows
