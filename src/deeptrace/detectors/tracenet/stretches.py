"""Which part of a video is searched for traces: all of a short one, the hottest parts of a long one."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from deeptrace.detectors.tracenet.model import WindowScores
from deeptrace.detectors.tracenet.windows import Window

__all__ = ["MOST_WINDOWS", "Stretch", "StretchKeeper"]

MOST_WINDOWS = 40
"""Windows kept for the search (2 minutes of video): memory does not grow with the video."""


@dataclass(frozen=True)
class Stretch:
    """Neighbouring windows joined; shapes as in `WindowScores` and `Window`, over all their frames.

    Attributes:
        end_s: when its last frame leaves the screen.
    """

    times_s: np.ndarray
    evidence: np.ndarray
    where: np.ndarray
    present: np.ndarray
    kinds: np.ndarray
    end_s: float


@dataclass(frozen=True)
class _Kept:
    number: int
    arrays: tuple[np.ndarray, ...]


class StretchKeeper:
    """Keeps the MOST_WINDOWS windows that hold the strongest signs of a trace."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, _Kept]] = []
        self._starts: list[float] = []

    def add(self, window: Window, scores: WindowScores) -> None:
        """Offer one window; windows come in order."""
        number = len(self._starts)
        self._starts.append(float(window.times_s[window.fresh]))
        fresh = slice(window.fresh, None)
        arrays = (
            window.times_s[fresh],
            window.evidence[fresh],
            scores.where[fresh],
            scores.present[fresh],
            scores.kinds[fresh],
        )
        entry = (float(scores.present.mean()), -number, _Kept(number, arrays))
        if len(self._heap) < MOST_WINDOWS:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    def stretches(self, end_s: float) -> list[Stretch]:
        """What was kept, neighbours joined, in order of time.

        Args:
            end_s: end of the video.
        """
        runs: list[list[_Kept]] = []
        for kept in sorted((entry[2] for entry in self._heap), key=lambda kept: kept.number):
            if runs and runs[-1][-1].number == kept.number - 1:
                runs[-1].append(kept)
            else:
                runs.append([kept])
        return [self._join(run, end_s) for run in runs]

    def _join(self, run: list[_Kept], end_s: float) -> Stretch:
        following = run[-1].number + 1
        joined = [np.concatenate(parts) for parts in zip(*(kept.arrays for kept in run), strict=True)]
        end = self._starts[following] if following < len(self._starts) else end_s
        times, evidence, where, present, kinds = joined
        return Stretch(times, evidence, where, present, kinds, end)
