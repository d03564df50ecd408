"""Dataclasses of arrays that are kept in files."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, Self

import numpy as np

__all__ = ["KeptArrays"]


class KeptArrays:
    """What a dataclass of arrays and numbers takes to be kept in an .npz file."""

    def save(self, path: Path) -> None:
        """Write to an .npz file, whole or not at all."""
        part = path.with_suffix(".part.npz")
        np.savez_compressed(part, **vars(self))
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read from an .npz file."""
        record: Any = cls
        numbers = {field.name for field in fields(record) if field.type == "float"}
        with np.load(path) as data:
            kept: Self = record(**{n: float(data[n]) if n in numbers else data[n] for n in data.files})
        return kept
