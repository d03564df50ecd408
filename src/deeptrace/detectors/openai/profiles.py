"""What is known of a served model by its name: box space, frame sizes that it takes unchanged, tokens, sampling."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from deeptrace.detectors.frames import Size
from deeptrace.detectors.paper_models import PAPER_SAMPLING, Sampling, paper_model

__all__ = ["Profile", "profile_of"]


@dataclass(frozen=True, slots=True)
class Profile:
    """Defaults for a model; every one can be set otherwise.

    Attributes:
        space: coordinate space of its boxes.
        multiple_of: sides of frames are multiples of this, so that the server does not resize them once more and
            pixels of the frame sent are pixels of the frame seen.
        min_pixels: smaller frames would be enlarged by the server.
        max_tokens: longest answer; models that think need room to.
        tokens: visual tokens of a frame of (width, height); None where the rule is not published.
        sampling: which frames.
    """

    space: str = "resized_pixels"
    multiple_of: int = 28
    min_pixels: int = 56 * 56
    max_tokens: int = 1024
    tokens: Callable[[Size], int] | None = None
    sampling: Sampling = PAPER_SAMPLING


def _patches(side: int) -> Callable[[Size], int]:
    return lambda size: (size[0] // side) * (size[1] // side)


def _tiles(base: int, tile: int) -> Callable[[Size], int]:
    """OpenAI's rule at high detail: into 2048 x 2048, the short side to 768, then so many for each 512-pixel tile."""

    def tokens(size: Size) -> int:
        shrink = min(1.0, 2048 / max(size))
        shrink *= min(1.0, 768 / (min(size) * shrink))
        wide, high = (math.ceil(round(side * shrink) / 512) for side in size)
        return base + tile * wide * high

    return tokens


_FAMILIES: tuple[tuple[tuple[str, ...], Profile], ...] = (
    (("qwen3-vl", "qwen3vl"), Profile("permille", 32, 64 * 64, tokens=_patches(32))),
    (("qwen2.5-vl", "qwen2_5-vl", "qwen2-5-vl", "qwen2.5vl"), Profile("resized_pixels", 28, tokens=_patches(28))),
    (("qwen2-vl", "qwen2vl"), Profile("permille", 28, tokens=_patches(28))),
    (("gemini",), Profile("permille_yxyx", 2, 1, max_tokens=8192)),
    (("gpt-5",), Profile(multiple_of=2, min_pixels=1, max_tokens=8192, tokens=_tiles(70, 140))),
    (("gpt-4.1-mini", "gpt-4.1-nano"), Profile(multiple_of=2, min_pixels=1)),
    (("gpt-4o-mini",), Profile(multiple_of=2, min_pixels=1)),
    (("gpt-4.1", "gpt-4o"), Profile(multiple_of=2, min_pixels=1, tokens=_tiles(85, 170))),
)


def profile_of(model: str) -> Profile:
    """The profile of a model by its name; one that suits Qwen2.5-VL and its descendants where the name says nothing."""
    name = model.lower()
    found = next((profile for words, profile in _FAMILIES if any(word in name for word in words)), Profile())
    known = paper_model(model)
    if known is None:
        return found
    return Profile(
        known.space or found.space,
        found.multiple_of,
        found.min_pixels,
        found.max_tokens,
        found.tokens,
        known.sampling,
    )
