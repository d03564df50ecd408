"""Measures of flaws that nobody has to mark: identity that drifts, brightness that flickers, motion that breaks off.

Each is a pure function of the evidence maps and their times. All of them rise with how much moves, and so would call
the clip in which nothing happens the best. What a measure says of a clip is therefore taken against what camera footage
that moves as much shows (`Expected`), in standard deviations: 0 is usual, higher is worse.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from deeptrace.detectors.tracenet.evidence import CHANNELS, FLOW_SIDE, GRID, REFERENCE_DT_S, looked_up, places

__all__ = ["MEASURES", "Expected", "broken_trajectory", "expected_of", "frame_flicker", "identity_drift", "measured"]

_AT = {name: index for index, name in enumerate(CHANNELS)}
_LOOKS = ("luma", "red_difference", "blue_difference", "sharpness_fine", "sharpness_mid", "sharpness_coarse")
_WEIGHTS = np.array(
    (1.0, 1.0, 1.0, 0.25, 0.25, 0.25), np.float32
)  # sharpness is logarithmic: a factor of e counts 0.25
_BACK_S = 1.0
_MOVING = 0.15  # cells from frame to frame
_FEW = 1.0  # cells moved by all of the picture in a clip: less is standing still
_FLOOR = 1e-2

Measure = Callable[[NDArray[np.float32], NDArray[np.float64]], float]


def identity_drift(evidence: NDArray[np.float32], times_s: NDArray[np.float64]) -> float:
    """How far things come to look other than a second before: their colour and sharpness, followed along their motion.

    Args:
        evidence: (T, channels, G, G).
        times_s: (T,).

    Returns:
        The change, at least 0, that a tenth of all places exceed, in spreads of looks over the picture; 0 for a clip of
        less than a second.
    """
    looks = evidence[:, [_AT[name] for name in _LOOKS]].transpose(0, 2, 3, 1) * _WEIGHTS
    spread = float(looks.std(axis=(1, 2)).mean()) + _FLOOR
    back = _motion(evidence, times_s)
    steps = max(round(_BACK_S / float(np.median(np.diff(times_s)))), 1)
    here, changes = places(GRID), []
    for now in range(steps + 1, len(evidence), 2):
        at = here
        for step in range(steps):
            at = at + looked_up(back[now - step], at)
        changes.append(np.abs(looks[now] - looked_up(np.ascontiguousarray(looks[now - steps]), at)).mean(axis=-1))
    return float(np.quantile(np.stack(changes), 0.9)) / spread if changes else 0.0


def frame_flicker(evidence: NDArray[np.float32]) -> float:
    """How much the brightness of the whole picture goes up and down from frame to frame: mean size of its second
    difference, as a share of the mean brightness, at least 0.

    Args:
        evidence: (T, channels, G, G).

    Examples:
        >>> maps = np.zeros((6, len(CHANNELS), GRID, GRID), np.float32)  # of middle brightness
        >>> steady = frame_flicker(maps)
        >>> maps[::2, 0] = 0.1
        >>> steady, round(frame_flicker(maps), 2)  # 0.2 of 1.06
        (0.0, 0.19)
    """
    brightness = 1 + evidence[:, _AT["luma"]].mean(axis=(1, 2), dtype=np.float64)
    if len(brightness) < 3:
        return 0.0
    return float(np.abs(np.diff(brightness, n=2)).mean() / (brightness.mean() + _FLOOR))


def broken_trajectory(evidence: NDArray[np.float32], times_s: NDArray[np.float64]) -> float:
    """How much of what moves breaks off its motion: the share of moving places, followed along, whose velocity changes
    from one frame to the next by more than its own size. From 0 to 1; 0 where next to nothing moves.

    Args:
        evidence: (T, channels, G, G).
        times_s: (T,).
    """
    back = _motion(evidence, times_s)
    size = np.hypot(back[..., 0], back[..., 1])
    shares = []
    for now in range(2, len(back)):
        moving = size[now] > _MOVING
        if moving.any():
            change = back[now] - looked_up(back[now - 1], places(GRID) + back[now])
            shares.append(float((np.hypot(change[..., 0], change[..., 1]) > size[now])[moving].mean()))
    return float(np.mean(shares)) if shares and size.sum() > _FEW else 0.0


MEASURES: dict[str, Measure] = {
    "identity_drift": identity_drift,
    "frame_flicker": lambda evidence, _: frame_flicker(evidence),
    "broken_trajectory": broken_trajectory,
}


def measured(evidence: NDArray[np.float32], times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """(len(MEASURES) + 1,): logarithms of each of `MEASURES`, and of how much moves, for one window.

    Args:
        evidence: (T, channels, G, G), T at least 2.
        times_s: (T,).
    """
    back = _motion(evidence, times_s)
    moved = float(np.hypot(back[..., 0], back[..., 1]).mean())
    return np.log(np.array([*(measure(evidence, times_s) for measure in MEASURES.values()), moved]) + _FLOOR)


class Expected(BaseModel):
    """What a measure is in camera footage that moves as much.

    Attributes:
        of_motion: coefficients of its logarithm on 1, the logarithm of motion, and its square.
        spread: standard deviation of what is left over camera footage.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    of_motion: tuple[float, float, float]
    spread: float

    def beyond(self, value: float, motion: float) -> float:
        """How far a logarithm lies beyond what is expected at that logarithm of motion, in spreads."""
        constant, slope, bend = self.of_motion
        return (value - constant - slope * motion - bend * motion**2) / self.spread


def expected_of(camera: NDArray[np.float64]) -> dict[str, Expected]:
    """What camera footage shows, by least squares.

    Args:
        camera: (C, len(MEASURES) + 1), see `measured`; of fewer than four clips nothing is learned.
    """
    if len(camera) < 4:
        return {}
    motion = camera[:, -1]
    terms = np.stack([np.ones_like(motion), motion, motion**2], axis=1)
    found = {}
    for name, values in zip(MEASURES, camera.T, strict=False):
        solved = np.linalg.lstsq(terms, values, rcond=None)[0]
        constant, slope, bend = solved.tolist()
        spread = float((values - terms @ solved).std())
        found[name] = Expected(of_motion=(constant, slope, bend), spread=spread or 1.0)
    return found


def _motion(evidence: NDArray[np.float32], times_s: NDArray[np.float64]) -> NDArray[np.float32]:
    """(T, G, G, 2): from where each place has come since the frame before, in cells; the camera's share left out."""
    rate = np.sinh(evidence[:, [_AT["motion_x"], _AT["motion_y"]]]).transpose(0, 2, 3, 1) * (GRID / FLOW_SIDE)
    steps = np.diff(times_s, prepend=times_s[0]) / REFERENCE_DT_S
    return np.ascontiguousarray(rate * steps[:, None, None, None], np.float32)
