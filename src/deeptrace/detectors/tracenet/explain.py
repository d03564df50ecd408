"""Sentences that quote what was measured inside a trace, against the rest of the picture and the time before."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deeptrace.detectors.tracenet.evidence import CHANNELS, FLOW_SIDE, REFERENCE_DT_S
from deeptrace.geometry import Box
from deeptrace.trace import Category

__all__ = ["explanation"]

_AT = {name: index for index, name in enumerate(CHANNELS)}
_EPS = 0.05  # what evidence adds before it takes logarithms
_CLEAR_RATIO = 1.5
_CLEAR_FALL = 0.2
_STILL_SHARE = 0.01

_LOOKS = {
    Category.OBJECT_DISTORTION: "does not keep its shape",
    Category.SUDDEN_BLURRING: "loses sharpness",
    Category.OBJECT_TRAJECTORY: "moves in a way that such a thing hardly can",
    Category.REDUNDANT_OBJECT: "seems to gain something that was not there",
    Category.OBJECT_MERGING: "seems to fuse with what is beside it",
    Category.OBJECT_SPLITTING: "seems to come apart",
    Category.BACKGROUND_DISTORTION: "warps, though it looks like background",
    Category.OBJECT_DISAPPEARANCE: "seems to lose something that was there",
    Category.UNEXPECTED_MOVE: "moves by itself",
}


@dataclass(frozen=True)
class _Fact:
    """A measured clause and how far it stands out (1 is just worth saying)."""

    clause: str
    strength: float


def explanation(evidence: np.ndarray, times_s: np.ndarray, mask: np.ndarray, box: Box, kind: Category | None) -> str:
    """One or two plain sentences on a trace.

    Args:
        evidence: (T, channels, G, G) of the stretch around it.
        times_s: (T,).
        mask: (T, G, G) bool, where and when the trace lies.
        box: its box, for the place.
        kind: the likeliest category; None when none is likely.
    """
    looks = _LOOKS[kind] if kind else "changes in a way that footage hardly does"
    where = "Nearly the whole picture" if box.nearly_everywhere else f"The region in the {box.place}"
    first = f"{where} {looks}"
    facts = sorted(_facts(evidence, times_s, mask), key=lambda fact: -fact.strength)[:2]
    if not facts:
        return f"{first}; no single measurement stands out there, the pattern as a whole does."
    return f"{first}: {' and '.join(fact.clause for fact in facts)}."


def _facts(evidence: np.ndarray, times_s: np.ndarray, mask: np.ndarray) -> list[_Fact]:
    facts = [
        _against_rest(
            evidence,
            mask,
            "residual",
            "it changes {ratio:.1f} times as much as the rest beyond what its motion explains",
        ),
        _against_rest(
            evidence,
            mask,
            "inconsistency",
            "its motion read forwards and backwards disagrees {ratio:.1f} times as much as elsewhere",
        ),
        _against_rest(
            evidence, mask, "acceleration", "it flickers {ratio:.1f} times as strongly as the rest from frame to frame"
        ),
        _sharpness_fall(evidence, times_s, mask),
        _own_motion(evidence, mask),
    ]
    return [fact for fact in facts if fact is not None]


def _against_rest(evidence: np.ndarray, mask: np.ndarray, channel: str, clause: str) -> _Fact | None:
    """A rate inside the trace over the same rate outside it, over the same moments."""
    alive = _alive_after_first(mask)
    rate = np.exp(evidence[alive, _AT[channel]]) - _EPS
    inside = mask[alive]
    if not inside.any() or inside.all():
        return None
    ratio = float(max(rate[inside].mean(), 0.0) / max(rate[~inside].mean(), 1e-2))
    if ratio < _CLEAR_RATIO:
        return None
    return _Fact(clause.format(ratio=ratio), np.log(ratio) / np.log(_CLEAR_RATIO))


def _sharpness_fall(evidence: np.ndarray, times_s: np.ndarray, mask: np.ndarray) -> _Fact | None:
    """The steepest lasting fall of fine detail within half a second."""
    region = mask.any(axis=0)
    sharpness = np.exp(evidence[:, _AT["sharpness_fine"]][:, region]).mean(axis=1)
    alive = np.flatnonzero(mask.any(axis=(1, 2)))
    best = (0.0, 0, 0)
    for start in alive[:-1]:
        for stop in alive[(alive > start) & (times_s[alive] <= times_s[start] + 0.5)]:
            after = sharpness[stop : stop + 3].mean()
            fall = 1.0 - float(after / max(sharpness[start], 1e-6))
            if fall > best[0]:
                best = (fall, int(start), int(stop))
    fall, start, stop = best
    if fall < _CLEAR_FALL:
        return None
    clause = f"its sharpness falls by {100 * fall:.0f} % from {times_s[start]:.2f} s to {times_s[stop]:.2f} s"
    return _Fact(clause, fall / _CLEAR_FALL)


def _own_motion(evidence: np.ndarray, mask: np.ndarray) -> _Fact | None:
    """Motion of its own while the camera is still, in shares of the frame's width a second."""
    alive = _alive_after_first(mask)
    if not alive.any():
        return None
    per_second = 1.0 / (FLOW_SIDE * REFERENCE_DT_S)
    own = (np.exp(evidence[alive, _AT["motion"]]) - _EPS)[mask[alive]].mean() * per_second
    camera = (np.exp(evidence[alive, _AT["camera_motion"]]) - _EPS).mean() * per_second
    if own < 3 * _STILL_SHARE or camera > _STILL_SHARE:
        return None
    clause = f"it moves by {100 * own:.0f} % of the frame a second while the camera stands still"
    return _Fact(clause, own / (3 * _STILL_SHARE) / 2)


def _alive_after_first(mask: np.ndarray) -> np.ndarray:
    """(T,) bool: moments of the trace, less the first frame, which has no frame before it to be measured against."""
    return np.asarray(mask.any(axis=(1, 2)) & (np.arange(len(mask)) > 0))
