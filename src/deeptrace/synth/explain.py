"""Plain sentences with measured numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

__all__ = ["Finding", "between", "percent", "pick"]


@dataclass(frozen=True)
class Finding:
    """What an effect did, in numbers and words.

    Attributes:
        sentence: a template; `{where}`, `{begin}` and `{end}` are filled in once place and time are known.
        measures: the numbers that the sentence quotes, by name, before rounding.
    """

    sentence: str
    measures: dict[str, float] = field(default_factory=dict)


def percent(share: float) -> str:
    """0.618 -> "62 %"."""
    return f"{100 * share:.0f} %"


def between(begin_s: float, end_s: float) -> str:
    """ "between 1.20 s and 1.60 s"."""
    return f"between {begin_s:.2f} s and {end_s:.2f} s"


def pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    """One of several wordings."""
    return options[int(rng.integers(len(options)))]
