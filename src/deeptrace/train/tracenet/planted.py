"""Camera footage with and without a synthetic trace, measured side by side: what teaches the trace net *presence*.

A set is one stretch of a real clip, measured as it is, with traces of several kinds in it, each at two severities and
at the same place, and after decoys. Whatever else may happen to a file (here: coding in blocks) happens to a whole set,
so that within it nothing differs but the trace.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from deeptrace.detectors.tracenet.evidence import GRID, evidence_of
from deeptrace.detectors.tracenet.lives import coverage
from deeptrace.detectors.tracenet.windows import RATE_FPS, analysis_size
from deeptrace.errors import DeeptraceError, SynthError
from deeptrace.synth import AFTER, BEFORE, REGION, Injection, Scene, decoy, inject
from deeptrace.trace import Category
from deeptrace.video import Frame, Video

__all__ = ["PlantedSet", "measure_set", "seeded"]

FRAMES = 16
"""Neighbouring frames of a set."""

_RECODED = 0.5
_HIGH = (0.5, 1.0)
_LOWER = (0.25, 0.6)  # the lower severity, as a share of the higher


@dataclass(frozen=True)
class PlantedSet:
    """What was measured of one stretch; evidence is (T, channels, GRID, GRID) float16, read when asked for.

    Attributes:
        path: of the .npz file.
        categories: one for each trace.
        severities: (traces, 2), the lower first.
        decoys: how many.
    """

    path: Path
    categories: tuple[Category, ...]
    severities: np.ndarray
    decoys: int

    @classmethod
    def load(cls, path: Path) -> PlantedSet:
        """Read what is small."""
        with np.load(path) as data:
            kinds = tuple(list(Category)[int(i)] for i in data["categories"])
            return cls(path, kinds, data["severities"], int(data["decoys"]))

    def base(self) -> np.ndarray:
        """The stretch as it was."""
        return self._array("base")

    def trace(self, index: int, level: int) -> tuple[np.ndarray, np.ndarray]:
        """With trace number `index` at the lower (0) or higher (1) severity; and its truth (T, GRID, GRID), 0 to 1."""
        truth = self._array(f"target{index}.{level}")
        return self._array(f"trace{index}.{level}"), truth.astype(np.float32) / 255

    def decoy(self, index: int) -> np.ndarray:
        """After decoy number `index`."""
        return self._array(f"decoy{index}")

    def _array(self, name: str) -> np.ndarray:
        with np.load(self.path) as data:
            return np.asarray(data[name])


def measure_set(
    video: Video, longest_s: float, kinds: Sequence[Category], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """The arrays of a set; one without traces where the video offers nothing that a trace could hold on to.

    Args:
        video: camera footage.
        longest_s: seconds of it to choose a stretch from.
        kinds: of the traces to plant.
        rng: source of every choice.
    """
    frames = list(video.frames(max_fps=RATE_FPS, size=analysis_size(video.media), end_s=longest_s, fast=True))
    start = int(rng.integers(0, max(len(frames) - FRAMES, 0) + 1))
    chosen = frames[start : start + FRAMES]
    pictures = np.stack([frame.image for frame in chosen])
    times = np.array([frame.time_s - chosen[0].time_s for frame in chosen])
    coding = int(rng.integers(2**32)) if rng.random() < _RECODED else None
    measured = partial(_evidence, times=times, coding=coding)
    out: dict[str, np.ndarray] = {"times_s": times, "base": measured(pictures)}
    found: list[tuple[Category, tuple[float, float]]] = []
    try:
        scene = Scene.of(pictures, times)
    except DeeptraceError:
        scene = None
    for kind in kinds if scene is not None else ():
        high = float(rng.uniform(*_HIGH))
        levels = (high * float(rng.uniform(*_LOWER)), high)
        state = int(rng.integers(2**32))
        try:
            pair = [
                inject(pictures, times, kind, severity=level, rng=np.random.default_rng(state), scene=scene)
                for level in levels
            ]
        except SynthError:
            continue
        for level, planted in enumerate(pair):
            out[f"trace{len(found)}.{level}"] = measured(planted.frames)
            out[f"target{len(found)}.{level}"] = _target(planted, times)
        found.append((kind, levels))
    for number, group in enumerate((REGION, BEFORE + AFTER)):
        out[f"decoy{number}"] = measured(decoy(pictures, times, rng, kinds=group, count=1).frames)
    return out | {
        "categories": np.array([list(Category).index(kind) for kind, _ in found], int),
        "severities": np.array([levels for _, levels in found]).reshape(-1, 2),
        "decoys": np.array(2),
    }


def seeded(*parts: object) -> np.random.Generator:
    """A generator whose seed is the parts' text: the same wherever and in whatever order it is made."""
    digest = hashlib.sha256("/".join(str(part) for part in parts).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def _evidence(pictures: np.ndarray, times: np.ndarray, coding: int | None) -> np.ndarray:
    """Maps of `pictures`, coded in blocks before where `coding` is the seed of that."""
    if coding is not None:
        pictures = decoy(pictures, times, np.random.default_rng(coding), kinds=("recompress",), count=1).frames
    # straight to the maps: a reader would pace the frames anew, by slots that start elsewhere
    frames = (Frame(time_s=float(t), image=picture) for t, picture in zip(times, pictures, strict=True))
    return np.stack([frame.maps for frame in evidence_of(frames)]).astype(np.float16)


def _target(planted: Injection, times: np.ndarray) -> np.ndarray:
    """(T, GRID, GRID) uint8: the share of each cell that the trace's box covers, times 255."""
    assert planted.trace.tube is not None
    boxes = [planted.trace.tube.box_at(float(time)) for time in times]
    cover = np.stack([np.zeros((GRID, GRID), np.float32) if box is None else coverage(box) for box in boxes])
    return np.asarray(np.round(cover * 255), np.uint8)
