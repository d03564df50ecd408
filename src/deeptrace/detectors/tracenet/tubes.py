"""From heat to traces: where and when, as tubes.

The trace net says for every moment and grid cell how likely a trace lies there. A box is read off such a map as the one
with the highest *expected IoU*: with cell probabilities p, the sum of p inside over (area + sum of p outside), which
is the IoU a box would have were the map the truth (soft Jaccard index). It needs no threshold on the heat.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, lru_cache

import numpy as np

from deeptrace.geometry import Box, Keyframe, Tube

__all__ = ["FoundTube", "TubeSettings", "best_box", "find_tubes", "kinds_in", "presence_tubes"]

_PRESENCE_SHARPEN = 1.4
_NOTHING = 1e-6  # what sigmoids leave of a sure no


@dataclass(frozen=True)
class TubeSettings:
    """How heat becomes tubes.

    Attributes:
        most: at most this many tubes a segment.
        alive: a tube lasts while the heat in its box is at least this share of its highest.
        begins: and its life holds a moment with at least this share.
        next_share: a further tube needs at least this share of the first one's mean heat.
        apart: and a box IoU with the earlier ones of at most this.
        keyframe_s: seconds between keyframes.
    """

    most: int = 4
    alive: float = 0.1
    begins: float = 0.6
    next_share: float = 0.6
    apart: float = 0.25
    keyframe_s: float = 0.5


@dataclass(frozen=True)
class FoundTube:
    """A tube and the heat in it.

    Attributes:
        tube: place and times.
        heat: mean heat inside over its life, in [0, 1].
        mask: (T, G, G) bool, the cells and moments it covers.
    """

    tube: Tube
    heat: float
    mask: np.ndarray


def find_tubes(heat: np.ndarray, times_s: np.ndarray, end_s: float, settings: TubeSettings) -> list[FoundTube]:
    """Tubes in one segment of neighbouring frames, hottest first.

    Args:
        heat: (T, G, G) in [0, 1].
        times_s: (T,) rising.
        end_s: when the last frame leaves the screen.
        settings: thresholds and limits of the search.
    """
    found: list[FoundTube] = []
    left = np.array(heat, np.float64)
    for _ in range(settings.most):
        if left.max() <= _NOTHING:
            break
        box, life = _hottest(left, settings)
        rows, columns = _cells(box, left.shape[1])
        mask = np.zeros(left.shape, bool)
        mask[life, rows, columns] = True
        mean = float(left[mask].mean())
        if found and mean < settings.next_share * found[0].heat:
            break
        keyframes = _keyframes(left[life, rows, columns], times_s[life], box, settings.keyframe_s)
        offset_s = float(times_s[life.stop]) if life.stop < len(times_s) else end_s
        tube = Tube(onset_s=float(times_s[life.start]), offset_s=offset_s, keyframes=keyframes)
        if all(tube.box.iou(other.tube.box) <= settings.apart for other in found):
            found.append(FoundTube(tube, mean, mask))
        left[mask] = 0.0
    return found


def presence_tubes(
    present: np.ndarray, times_s: np.ndarray, end_s: float, settings: TubeSettings | None = None
) -> list[FoundTube]:
    """Tubes of what stands out as done to a segment, by presence alone; `heat` is the mean presence inside.

    Presence is small wherever traces are rare, so boxes are read off it relative to its highest.

    Args:
        present: (T, G, G) chance that a trace lies there.
        times_s, end_s, settings: as `find_tubes`.
    """
    present = np.asarray(present, np.float64)
    peak = float(present.max(initial=0.0))
    if peak <= 0.0:
        return []
    relative = (present / peak) ** _PRESENCE_SHARPEN
    tubes = find_tubes(relative, times_s, end_s, settings or TubeSettings(most=2, alive=0.25))
    return [replace(tube, heat=float(present[tube.mask].mean())) for tube in tubes]


def kinds_in(kinds: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Chance (9,) of each category in a tube.

    Args:
        kinds: (T, 9, G / 2, G / 2) chance of each category.
        mask: (T, G, G) bool, the tube's cells.
    """
    frames, size = mask.shape[0], kinds.shape[-1]
    weight = mask.reshape(frames, size, 2, size, 2).mean(axis=(2, 4))
    total = weight.sum()
    return np.asarray((kinds * weight[:, None]).sum(axis=(0, 2, 3)) / total if total else kinds.mean(axis=(0, 2, 3)))


def best_box(heat: np.ndarray) -> tuple[Box, float]:
    """The box of at least 2 x 2 cells with the highest expected IoU on a map (H, W) of probabilities, and that IoU."""
    height, width = heat.shape
    (top, bottom), (left, right) = _spans(height), _spans(width)
    integral = np.zeros((height + 1, width + 1))
    integral[1:, 1:] = heat.cumsum(axis=0).cumsum(axis=1)
    bands = integral[:, right] - integral[:, left]  # (rows + 1, spans of columns)
    inside = bands[bottom]  # whole rows are gathered: several times quicker than columns
    inside -= bands[top]
    union = _areas(height, width) - inside
    union += integral[-1, -1]
    expected = np.divide(inside, union, out=inside)
    row, column = np.unravel_index(int(expected.argmax()), expected.shape)
    corners = left[column] / width, top[row] / height, right[column] / width, bottom[row] / height
    return Box.from_fractions(*corners), float(expected[row, column])


@cache
def _spans(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Start and end of every run of at least 2 of `size` cells (1 where there is but one)."""
    starts, ends = np.triu_indices(size + 1, k=min(2, size))
    return starts, ends


@lru_cache(maxsize=64)
def _areas(height: int, width: int) -> np.ndarray:
    """Cells in every pair of spans, (spans of rows, spans of columns)."""
    (top, bottom), (left, right) = _spans(height), _spans(width)
    return np.asarray(np.outer(bottom - top, right - left), float)


def _hottest(heat: np.ndarray, settings: TubeSettings) -> tuple[Box, slice]:
    """The hottest box, and the moments (from, to) that it lasts over."""
    life = slice(0, len(heat))
    box = best_box(heat.mean(axis=0))[0]
    for _ in range(2):  # the life follows from the box, and the box from the life
        life = _extent(heat[:, *_cells(box, heat.shape[1])].mean(axis=(1, 2)), settings)
        box = best_box(heat[life].mean(axis=0))[0]
    return box, life


def _extent(curve: np.ndarray, settings: TubeSettings) -> slice:
    """The longest segment above `alive` of the peak that holds a moment above `begins` (hysteresis)."""
    padded = np.pad(curve, 1, mode="edge")
    smooth = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    peak = curve.max()
    # a dip of one frame does not end a life, and smoothing does not lengthen one
    alive = (curve >= settings.alive * peak) | (smooth >= peak / 2)
    edges = np.flatnonzero(np.diff(np.pad(alive.astype(int), 1)))
    segments = [slice(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    strong = [s for s in segments if curve[s].max() >= settings.begins * peak]
    return max(strong, key=lambda s: s.stop - s.start) if strong else slice(0, len(curve))


def _keyframes(inside: np.ndarray, times: np.ndarray, box: Box, every_s: float) -> tuple[Keyframe, ...]:
    """The best box inside `box` around each of a few moments, so that the tube follows what moves.

    Args:
        inside: (T, rows, columns) heat in the box over its life.
        times: (T,).
        box: the box at those times.
        every_s: seconds between keyframes.
    """
    count = max(round(float(times[-1] - times[0]) / every_s) + 1, 1)
    keys: list[Keyframe] = []
    for index in np.unique(np.linspace(0, len(times) - 1, count).round().astype(int)):
        near = np.abs(times - times[index]) <= every_s
        part = best_box(inside[near].mean(axis=0))[0]
        local = (
            box.x0 + part.x0 * box.width, box.y0 + part.y0 * box.height,
            box.x0 + part.x1 * box.width, box.y0 + part.y1 * box.height,
        )  # fmt: skip
        # half way between the moment's box and the whole: a single moment's map is noisy
        corners = [(a + b) / 2 for a, b in zip(local, box.as_tuple(), strict=True)]
        keys.append(Keyframe(time_s=float(times[index]), box=Box.from_fractions(*corners)))
    return tuple(keys)


def _cells(box: Box, size: int) -> tuple[slice, slice]:
    """Rows and columns of a `size` x `size` grid that `box` covers at least half of, never none."""
    x0, y0, x1, y1 = (round(v * size) for v in box.as_tuple())
    return slice(y0, max(y1, y0 + 1)), slice(x0, max(x1, x0 + 1))
