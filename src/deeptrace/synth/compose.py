"""Whole training clips: positives with traces and hard negatives, negatives with hard negatives alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from deeptrace.errors import SettingsError, SynthError
from deeptrace.schema import Category, Trace
from deeptrace.synth.hard_negatives import AFTER, BEFORE, REGION, hard_negative
from deeptrace.synth.inject import Injection, inject

__all__ = ["Composed", "negative", "positive"]


@dataclass(frozen=True)
class Composed:
    """A clip and its complete ground truth.

    Attributes:
        frames: (T, H, W, 3) uint8.
        base: the same clip without its traces: hard negatives that came before them are in it, those after are not.
        traces: what was put in, in the order it was; empty for a negative.
        masks: (T, H, W) bool for each trace, the pixels it was painted on.
        severities: one for each trace.
        measures: the numbers that each explanation quotes.
        hard_negatives: names of those applied.
    """

    frames: np.ndarray
    base: np.ndarray
    traces: tuple[Trace, ...] = ()
    masks: tuple[np.ndarray, ...] = ()
    severities: tuple[float, ...] = ()
    measures: tuple[dict[str, float], ...] = field(default=())
    hard_negatives: tuple[str, ...] = ()


def positive(
    frames: np.ndarray,
    times_s: np.ndarray,
    rng: np.random.Generator,
    *,
    categories: Sequence[Category] = tuple(Category),
    traces: tuple[int, int] = (1, 3),
    severity: tuple[float, float] = (0.3, 1.0),
    hard_negatives: bool = True,
) -> Composed:
    """Put traces into a clip, with hard negatives before and after them.

    Traces do not overlap: each stays off the pixels of those before it. A clip may hold fewer than were drawn.

    Args:
        frames: (T, H, W, 3) uint8 RGB.
        times_s: (T,) seconds, rising.
        rng: source of every choice.
        categories: kinds to draw from, each as likely.
        traces: fewest and most; half of all clips get the fewest.
        severity: range to draw each trace's severity from.
        hard_negatives: whether to apply them; False for traces alone.

    Raises:
        SettingsError: an empty range or no category.
        SynthError: the clip holds no trace at all.
    """
    if not categories or not 1 <= traces[0] <= traces[1] or not 0 <= severity[0] <= severity[1] <= 1:
        raise SettingsError("synth", f"no trace fits categories {categories}, traces {traces}, severity {severity}")
    applied: list[str] = []
    if hard_negatives:
        frames, applied = _before(frames, times_s, rng)
    wanted = traces[0] if rng.random() < 0.5 else int(rng.integers(traces[0], traces[1] + 1))
    made = _injected(frames, times_s, rng, wanted, categories, severity)
    final = made[-1].frames
    if hard_negatives:
        after = hard_negative(final, times_s, rng, kinds=AFTER, count=_some(rng))
        final, applied = after.frames, [*applied, *after.applied]
    return Composed(
        frames=final,
        base=frames,
        traces=tuple(one.trace for one in made),
        masks=tuple(one.mask for one in made),
        severities=tuple(one.severity for one in made),
        measures=tuple(one.measures for one in made),
        hard_negatives=tuple(applied),
    )


def negative(
    frames: np.ndarray, times_s: np.ndarray, rng: np.random.Generator, *, hard_negatives: bool = True
) -> Composed:
    """A clip without traces, after the same hard negatives as a positive gets, and more often one on a region."""
    if not hard_negatives:
        return Composed(frames=frames, base=frames)
    base, applied = _before(frames, times_s, rng, region=0.7)
    after = hard_negative(base, times_s, rng, kinds=AFTER, count=_some(rng))
    return Composed(frames=after.frames, base=base, hard_negatives=(*applied, *after.applied))


def _injected(
    frames: np.ndarray,
    times_s: np.ndarray,
    rng: np.random.Generator,
    wanted: int,
    categories: Sequence[Category],
    severity: tuple[float, float],
) -> list[Injection]:
    """At least one trace and at most `wanted`, each put in after the one before and off its pixels."""
    made: list[Injection] = []
    current, taken = frames, None
    for _ in range(2 * wanted):
        if len(made) == wanted:
            break
        category = categories[int(rng.integers(len(categories)))]
        power = float(rng.uniform(*severity))
        try:
            done = inject(current, times_s, category, severity=power, rng=rng, avoid=taken)
        except SynthError:
            if made or len(categories) == 1:
                continue
            raise
        if taken is not None and (done.mask & taken).any():
            continue
        made.append(done)
        current = done.frames
        taken = done.mask if taken is None else taken | done.mask
    if not made:
        raise SynthError("clip", "it has nothing to attach any of the wanted traces to")
    return made


def _before(
    frames: np.ndarray, times_s: np.ndarray, rng: np.random.Generator, *, region: float = 0.4
) -> tuple[np.ndarray, list[str]]:
    first = hard_negative(frames, times_s, rng, kinds=BEFORE, count=int(rng.random() < 0.35))
    wanted = 0 if rng.random() >= region else 1 + int(rng.random() < 0.3)
    second = hard_negative(first.frames, times_s, rng, kinds=REGION, count=wanted)
    return second.frames, [*first.applied, *second.applied]


def _some(rng: np.random.Generator) -> int:
    return int(rng.choice(3, p=(0.45, 0.35, 0.2)))
