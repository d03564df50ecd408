"""Several samples in one row, none seeing another: no padding, full kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoModel

from deeptrace.detectors.transformers.encode import IGNORED, Encoded
from deeptrace.errors import SettingsError

__all__ = ["PACKABLE", "Positions", "pack", "plan_packs"]

PACKABLE = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "video_llama_3")
"""Architectures whose positions are known well enough to pack; their vision towers keep clips apart anyway."""

_TO_POSITIONS = ("video_grid_thw", "second_per_grid_ts", "mm_token_type_ids")


class Positions:
    """The positions of a sample's tokens, as the model itself would count them.

    Args:
        config: of the model.

    Raises:
        SettingsError: samples of this architecture cannot be packed.
    """

    def __init__(self, config: Any) -> None:
        if config.model_type not in PACKABLE:
            known = ", ".join(PACKABLE)
            raise SettingsError("packing", f"is not known for {config.model_type}", f"It is for {known}.")
        kind: Any = AutoModel._model_mapping[type(config)]
        self._counter: Any = None
        if hasattr(kind, "get_rope_index"):  # a method of the model that needs its config and none of its weights
            self._counter = kind.__new__(kind)
            torch.nn.Module.__init__(self._counter)
            self._counter.config = config

    def of(self, sample: Encoded) -> torch.Tensor:
        """(1, L) for plain positions, (4, L) for positions in the text and in (time, height, width)."""
        plain = torch.arange(len(sample.input_ids))[None]
        if self._counter is None:
            return plain
        known = {name: sample.tensors[name] for name in _TO_POSITIONS if name in sample.tensors}
        known["mm_token_type_ids"] = known["mm_token_type_ids"][None]
        three, _ = self._counter.get_rope_index(sample.input_ids[None], **known)
        return torch.cat([plain, three[:, 0]])


def pack(samples: Sequence[Encoded], positions: Positions) -> dict[str, torch.Tensor]:
    """One row of all samples: what `forward` takes, with labels, and no mask: positions that begin anew set them apart.

    Returns:
        `input_ids`, `labels` (1, L), `position_ids` (1, L) or (4, 1, L); the other tensors concatenated.
    """
    placed = torch.cat([positions.of(sample) for sample in samples], dim=1)
    labels = [sample.input_ids.clone() for sample in samples]
    for row, sample in zip(labels, samples, strict=True):
        row[: sample.answer_start] = IGNORED
    batch = {
        "input_ids": torch.cat([sample.input_ids for sample in samples])[None],
        "labels": torch.cat(labels)[None],
        "position_ids": placed if len(placed) == 1 else placed[:, None],
    }
    for name in samples[0].tensors:
        if name != "mm_token_type_ids":
            batch[name] = torch.cat([sample.tensors[name] for sample in samples])
    return batch


def plan_packs(lengths: Sequence[int], capacity: int, *, window: int = 64) -> list[list[int]]:
    """Which samples share a row: first fit by falling length, within windows of `window` samples of the given order.

    Every sample is in one pack; one longer than `capacity` is alone in its own.

    Returns:
        Packs of indices into `lengths`; windows keep their order, so a shuffled order stays one.
    """
    packs: list[list[int]] = []
    for start in range(0, len(lengths), window):
        open_packs: list[tuple[int, list[int]]] = []
        for index in sorted(range(start, min(start + window, len(lengths))), key=lambda k: -lengths[k]):
            for number, (used, members) in enumerate(open_packs):
                if used + lengths[index] <= capacity:
                    open_packs[number] = (used + lengths[index], [*members, index])
                    break
            else:
                open_packs.append((lengths[index], [index]))
        packs += [members for _, members in open_packs]
    return packs
