"""The temporal extent of a trace: its frames and its strength in each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from deeptrace.schema import Category
from deeptrace.synth.scene import Scene, Shot

__all__ = ["MIN_FRAMES", "Span", "choose_span"]

MIN_FRAMES = 4  # a shot with fewer frames holds no trace

# Traces that a person can only know by a change cannot fill a clip from its first frame.
_NEEDS_BEFORE = {Category.SUDDEN_BLURRING, Category.OBJECT_DISAPPEARANCE}
_RATHER_BEFORE = {Category.REDUNDANT_OBJECT, Category.OBJECT_TRAJECTORY}


@dataclass(frozen=True)
class Span:
    """Frames [start, stop) of a trace inside one shot, and how it comes and goes.

    Attributes:
        shot: the shot that it lies in.
        start: first frame.
        stop: one past the last frame.
        begins_s: time of each frame of the clip.
        ends_s: when each frame of the clip gives way to the next.
        rise_s: time in which it comes to full strength; 0 when it is there at once.
        fall_s: time in which it goes, where it ends before its shot does.
    """

    shot: Shot
    start: int
    stop: int
    begins_s: np.ndarray
    ends_s: np.ndarray
    rise_s: float
    fall_s: float

    @classmethod
    def whole(cls, scene: Scene, shot: Shot) -> Span:
        """A shot from its first to its last frame, at full strength."""
        ends = np.array([scene.end_s(i) for i in range(len(scene.times_s))])
        return cls(shot, shot.start, shot.stop, scene.times_s, ends, 0.0, 0.0)

    @cached_property
    def strength(self) -> np.ndarray:
        """(stop - start,) in (0, 1]: the envelope, 1 when fully there."""
        begins, ends = self.begins_s[self.start : self.stop], self.ends_s[self.start : self.stop]
        share = np.ones(len(begins))
        if self.rise_s > 0:
            share = np.minimum(share, np.clip((ends - begins[0]) / self.rise_s, 0, 1))
        if self.fall_s > 0 and self.stop < self.shot.stop:
            share = np.minimum(share, np.clip((ends[-1] - begins) / self.fall_s, 0, 1))
        return np.asarray(share * share * (3 - 2 * share))

    def within(self, start: int, stop: int) -> Span:
        """The same trace over fewer frames."""
        length = float(self.ends_s[stop - 1] - self.begins_s[start])
        rise, fall = min(self.rise_s, 0.95 * length), min(self.fall_s, 0.3 * length)
        return replace(self, start=start, stop=stop, rise_s=rise, fall_s=fall)


def choose_span(scene: Scene, category: Category, rng: np.random.Generator) -> Span | None:
    """Draw a temporal extent like those of traces that people mark: most long, some short, half from the first frame.

    Marked traces (470 of them on generated clips) last 69 % of the clip in the mean (5th percentile 20 %), and
    41 % begin with the clip.

    Returns:
        None when no shot has `MIN_FRAMES` frames.
    """
    shots = [shot for shot in scene.shots if len(shot) >= MIN_FRAMES]
    if not shots:
        return None
    lengths = np.array([len(shot) for shot in shots], float)
    shot = shots[int(rng.choice(len(shots), p=lengths**2 / (lengths**2).sum()))]
    share = float(rng.uniform(0.1, 0.45) if rng.random() < 0.16 else rng.uniform(0.6, 1.25))
    early = float(rng.random())
    place = float(rng.random())
    count = int(np.clip(round(min(share, 1.0) * len(shot)), 3, len(shot)))
    start = 0 if early < 0.5 else round(place * (len(shot) - count))
    if category in _NEEDS_BEFORE or (category in _RATHER_BEFORE and early < 0.7):
        before = 1 + round(place * 0.3 * (len(shot) - 3))
        start = max(1, min(before, len(shot) - 3))
        count = min(count, len(shot) - start)
    start += shot.start
    stop = start + count
    rise_s, fall_s = _ramps(category, rng, scene.end_s(stop - 1) - scene.times_s[start])
    ends = np.array([scene.end_s(i) for i in range(len(scene.times_s))])
    return Span(shot, start, stop, scene.times_s, ends, rise_s, fall_s)


def _ramps(category: Category, rng: np.random.Generator, length_s: float) -> tuple[float, float]:
    """Seconds of rise and fall: abrupt categories take a few frames at most, smooth ones up to the whole life."""
    kind, a, b = rng.random(3)
    if category in (Category.SUDDEN_BLURRING, Category.OBJECT_DISAPPEARANCE, Category.REDUNDANT_OBJECT):
        rise = 0.0 if kind < 0.35 else 0.05 + 0.4 * a * a
        fall = 0.0 if b < 0.4 else 0.05 + 0.4 * a
    elif category is Category.OBJECT_TRAJECTORY:
        rise = fall = 0.0
    else:
        rise = length_s * (0.1 + 0.85 * a) if kind < 0.6 else 0.1 + 0.4 * a
        fall = 0.1 + 0.3 * b
    return float(min(rise, 0.95 * length_s)), float(min(fall, 0.3 * length_s))
