"""Hard negatives: what happens to real footage without making it generated.

A detector that has only seen clean real clips and touched-up fakes learns "was touched". Hard negatives touch
negatives and positives alike, in all the ways in which injected traces touch a clip, and in those of cameras,
editors and codecs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from deeptrace.errors import SettingsError
from deeptrace.synth.hard_negatives import local, whole

__all__ = ["AFTER", "BEFORE", "HARD_NEGATIVES", "REGION", "HardNegative", "hard_negative"]

Frames = np.ndarray
_Whole = Callable[[Frames, np.random.Generator, float], Frames]
_Any = Callable[[Frames, np.ndarray, np.random.Generator, float], Frames]


def _timed(work: _Whole) -> _Any:
    return lambda frames, _times_s, rng, strength: work(frames, rng, strength)


# Hard negatives that move pixels or frames: on a positive they come before the traces, whose place and time stay true.
_BEFORE: dict[str, _Any] = {
    work.__name__: _timed(work)
    for work in (
        whole.zoom_pan,
        whole.shake,
        whole.global_warp,
        whole.letterbox,
        whole.repeat_frames,
        whole.cut,
        whole.fade,
        whole.refocus,
    )
}
# Hard negatives that leave every pixel in its place: they may come after the traces.
_AFTER: dict[str, _Any] = {
    work.__name__: _timed(work)
    for work in (
        whole.resample,
        whole.global_blur,
        whole.sharpen,
        whole.noise,
        whole.recompress,
        whole.brightness_steps,
        whole.color_shift,
        whole.caption,
        whole.logo,
    )
}
_REGION: dict[str, _Any] = {
    work.__name__: work
    for work in (
        local.region_resample,
        local.region_grain,
        local.region_recode,
        local.region_blur,
        local.region_warp,
        local.region_light,
    )
}
HARD_NEGATIVES: dict[str, _Any] = {**_BEFORE, **_AFTER, **_REGION}
BEFORE, AFTER, REGION = tuple(_BEFORE), tuple(_AFTER), tuple(_REGION)


@dataclass(frozen=True)
class HardNegative:
    """A clip after hard negatives.

    Attributes:
        frames: (T, H, W, 3) uint8.
        applied: names of what was done, in order.
    """

    frames: np.ndarray
    applied: tuple[str, ...] = ()


def hard_negative(
    frames: np.ndarray,
    times_s: np.ndarray,
    rng: np.random.Generator,
    *,
    kinds: Sequence[str] = tuple(HARD_NEGATIVES),
    count: int | None = None,
    strength: float | None = None,
) -> HardNegative:
    """Apply `count` hard negatives of `kinds`, each at most once.

    Args:
        frames: (T, H, W, 3) uint8 RGB; not written to.
        times_s: (T,) seconds, rising.
        rng: source of every choice.
        kinds: names from `HARD_NEGATIVES`; `BEFORE`, `AFTER` and `REGION` are the three groups.
        count: how many; None draws 0 to 3, fewer being likelier.
        strength: 0 (hardly seen) to 1 for all of them; None draws one for each.

    Raises:
        SettingsError: an unknown kind, or a strength out of range.
    """
    unknown = [kind for kind in kinds if kind not in HARD_NEGATIVES]
    if unknown:
        raise SettingsError(
            "kinds", f"no hard negative is called {unknown[0]!r}", f"Choose from: {', '.join(HARD_NEGATIVES)}."
        )
    if strength is not None and not 0.0 <= strength <= 1.0:
        raise SettingsError("strength", f"expected a number from 0 to 1 but got {strength}")
    wanted = int(rng.choice(4, p=(0.3, 0.35, 0.22, 0.13))) if count is None else count
    picked = [str(kind) for kind in rng.permutation(list(kinds))[:wanted]]
    for kind in picked:
        power = float(rng.uniform(0.1, 1.0)) if strength is None else strength
        frames = HARD_NEGATIVES[kind](frames, times_s, rng, power)
    return HardNegative(frames, tuple(picked))
