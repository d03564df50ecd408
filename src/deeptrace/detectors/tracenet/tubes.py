"""From heat to traces: where and when, as tubes.

The trace net says for every moment and grid cell how likely a trace lies there. A box is read off such a map as the one
with the highest *expected IoU*: with cell probabilities p, the sum of p inside over (area + sum of p outside), which
is the IoU a box would have were the map the truth (soft Jaccard index). It needs no threshold on the heat.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from deeptrace.geometry import Box, Keyframe, Tube

__all__ = ["FoundTube", "TubeSettings", "best_box", "find_tubes"]


@dataclass(frozen=True)
class TubeSettings:
    """How heat becomes tubes.

    Attributes:
        most: at most this many tubes a stretch.
        alive: a tube lives while the heat in its box is at least this share of its highest.
        begins: and its life holds a moment with at least this share.
        next_share: a further tube needs at least this share of the first one's mean heat.
        apart: and a box IoU with the earlier ones of at most this.
        keyframe_s: seconds between keyframes.
    """

    most: int = 4
    alive: float = 0.45
    begins: float = 0.75
    next_share: float = 0.6
    apart: float = 0.25
    keyframe_s: float = 0.5


@dataclass(frozen=True)
class FoundTube:
    """A tube and the heat in it.

    Attributes:
        tube: where and when.
        heat: mean heat inside over its life, in [0, 1].
        mask: (T, G, G) bool, the cells and moments it covers.
    """

    tube: Tube
    heat: float
    mask: np.ndarray


def find_tubes(heat: np.ndarray, times_s: np.ndarray, end_s: float, settings: TubeSettings) -> list[FoundTube]:
    """Tubes in one stretch of neighbouring frames, hottest first.

    Args:
        heat: (T, G, G) in [0, 1].
        times_s: (T,) rising.
        end_s: when the last frame leaves the screen.
        settings: how.
    """
    found: list[FoundTube] = []
    left = np.array(heat, np.float64)
    for _ in range(settings.most):
        if left.max() <= 0.0:
            break
        candidate = _hottest(left, times_s, end_s, settings)
        if found and candidate.heat < settings.next_share * found[0].heat:
            break
        if all(candidate.tube.box.iou(other.tube.box) <= settings.apart for other in found):
            found.append(candidate)
        left[candidate.mask] = 0.0
    return found


def best_box(heat: np.ndarray) -> tuple[Box, float]:
    """The box with the highest expected IoU on a map (G, G) of probabilities, and that IoU."""
    size = heat.shape[0]
    starts, ends, lengths = _spans(size)
    integral = np.zeros((size + 1, size + 1))
    integral[1:, 1:] = heat.cumsum(axis=0).cumsum(axis=1)
    bands = integral[ends] - integral[starts]  # (spans of rows, columns + 1)
    inside = bands[:, ends] - bands[:, starts]
    area = lengths[:, None] * lengths[None, :]
    expected = inside / (area + integral[-1, -1] - inside)
    row, column = np.unravel_index(int(expected.argmax()), expected.shape)
    box = Box(x0=starts[column] / size, y0=starts[row] / size, x1=ends[column] / size, y1=ends[row] / size)
    return box, float(expected[row, column])


@cache
def _spans(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    starts, ends = np.triu_indices(size + 1, k=2)
    return starts, ends, (ends - starts).astype(float)


def _hottest(heat: np.ndarray, times_s: np.ndarray, end_s: float, settings: TubeSettings) -> FoundTube:
    life = slice(0, len(heat))
    box = best_box(heat.mean(axis=0))[0]
    for _ in range(2):  # the life follows from the box, and the box from the life
        life = _life(heat[:, *_cells(box, heat.shape[1])].mean(axis=(1, 2)), settings)
        box = best_box(heat[life].mean(axis=0))[0]
    rows, columns = _cells(box, heat.shape[1])
    mask = np.zeros(heat.shape, bool)
    mask[life, rows, columns] = True
    offset_s = float(times_s[life.stop]) if life.stop < len(times_s) else end_s
    keyframes = _keyframes(heat, times_s, life, box, settings.keyframe_s)
    tube = Tube(onset_s=float(times_s[life.start]), offset_s=offset_s, keyframes=keyframes)
    return FoundTube(tube, float(heat[mask].mean()), mask)


def _life(curve: np.ndarray, settings: TubeSettings) -> slice:
    """The longest stretch above `alive` of the peak that holds a moment above `begins` (hysteresis)."""
    padded = np.pad(curve, 1, mode="edge")
    smooth = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    peak = smooth.max()
    edges = np.flatnonzero(np.diff(np.pad((smooth >= settings.alive * peak).astype(int), 1)))
    stretches = [slice(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    strong = [s for s in stretches if smooth[s].max() >= settings.begins * peak]
    return max(strong, key=lambda s: s.stop - s.start) if strong else slice(0, len(curve))


def _keyframes(heat: np.ndarray, times_s: np.ndarray, life: slice, box: Box, every_s: float) -> tuple[Keyframe, ...]:
    """The best box inside `box` around each of a few moments, so that the tube follows what moves."""
    rows, columns = _cells(box, heat.shape[1])
    within = np.zeros(heat.shape[1:])
    within[rows, columns] = 1.0
    times = times_s[life]
    count = max(round(float(times[-1] - times[0]) / every_s) + 1, 1)
    keys: list[Keyframe] = []
    for index in np.unique(np.linspace(0, len(times) - 1, count).round().astype(int)):
        near = np.abs(times - times[index]) <= every_s
        local = best_box(heat[life][near].mean(axis=0) * within)[0]
        # half way between the moment's box and the whole: a single moment's map is noisy
        corners = [(a + b) / 2 for a, b in zip(local.as_tuple(), box.as_tuple(), strict=True)]
        keys.append(Keyframe(time_s=float(times[index]), box=Box.from_fractions(*corners)))
    return tuple(keys)


def _cells(box: Box, size: int) -> tuple[slice, slice]:
    """Rows and columns of a `size` x `size` grid that `box` covers at least half of, never none."""
    x0, y0, x1, y1 = (round(v * size) for v in box.as_tuple())
    return slice(y0, max(y1, y0 + 1)), slice(x0, max(x1, x0 + 1))
