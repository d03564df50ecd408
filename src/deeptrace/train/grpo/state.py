"""What a stopped training goes on from: the weights that learn, the optimizer, the step; whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from deeptrace.data.jsonio import atomic_path, iter_objects, write_lines
from deeptrace.errors import DataError, SettingsError

__all__ = ["append_lines", "keep_lines", "load_state", "save_state", "trainable"]


def trainable(model: Any) -> dict[str, torch.nn.Parameter]:
    """The weights that learn, by name."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def save_state(path: Path, model: Any, optimizer: torch.optim.Optimizer, **facts: Any) -> None:
    """Keep weights, optimizer and `facts` (plain values)."""
    weights = {name: weight.detach().cpu() for name, weight in trainable(model).items()}
    with atomic_path(path) as scratch:
        torch.save({"weights": weights, "optimizer": optimizer.state_dict(), "facts": facts}, scratch)


def load_state(path: Path, model: Any, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Put weights and optimizer back; returns the facts.

    Raises:
        SettingsError: the file is of another model, or is damaged.
    """
    try:
        kept = torch.load(path, map_location="cpu", weights_only=True)
        weights, facts = kept["weights"], dict(kept["facts"])
    except (RuntimeError, EOFError, KeyError, ValueError) as error:
        raise SettingsError(str(path), f"cannot be read: {error}", "Remove it to begin anew.") from error
    own = trainable(model)
    if own.keys() != weights.keys() or any(own[name].shape != weights[name].shape for name in own):
        raise SettingsError(str(path), "is of another model, or of other weights of it", "Choose another folder.")
    with torch.no_grad():
        for name, weight in own.items():
            weight.copy_(weights[name])
    optimizer.load_state_dict(kept["optimizer"])
    return facts


def append_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add JSON lines."""
    with open(path, "a", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)


def keep_lines(path: Path, before_step: int) -> None:
    """Drop lines of steps from `before_step` on, which will be taken again, and a last one that was cut off."""
    if not path.is_file():
        return
    rows: list[dict[str, Any]] = []
    with suppress(DataError):  # the line that was being written when the process was killed
        rows.extend(row for _, row in iter_objects(path) if row["step"] < before_step)
    write_lines(rows, path)
