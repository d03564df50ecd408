"""Which camera clip stands for which generated one: the assignment that makes both classes most alike in sum.

What is compared is what a detector should not be able to tell the classes by: length, size, rate, quality, motion, and
content, as the shipped net for photographs sees it. Each of the six counts the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from deeptrace.collect.measures import Measures
from deeptrace.errors import DataError

__all__ = ["Matched", "balance", "distances", "match"]

Values = NDArray[np.float64]
CONTENT_DIMENSIONS = 32
SAME_PAIR = 1e6
"""Taken off the distance of a clip and its counterpart, so that they are matched before anything else."""


@dataclass(frozen=True)
class Matched:
    """Attributes:
    partner: camera clips of each generated one that was matched, nearest first, by index.
    distance: of each pair of indices.
    """

    partner: dict[int, tuple[int, ...]]
    distance: dict[tuple[int, int], float]


def _log(value: float | None) -> float:
    return math.log(max(value or 0.0, 1e-3))


def _bits_a_pixel(found: Measures) -> float:
    facts, media = found.facts, found.facts.decoded
    seconds = facts.duration_s or (media.duration_s if media else 0.0)
    pixels = facts.width * facts.height * (facts.fps or 0.0) * seconds
    return facts.bytes * 8 / pixels if pixels else 0.0


def _media(found: Measures, name: str) -> float:
    value = getattr(found.facts.decoded, name, None)
    return float(value or 0.0)


def _shot(name: str) -> Callable[[Measures], float]:
    return lambda found: float(getattr(found.shot, name))


_GROUPS: dict[str, dict[str, Callable[[Measures], float]]] = {
    "length": {"seconds (log)": lambda found: _log(_shot("duration_s")(found))},
    "size": {
        "short side (log)": lambda found: _log(min(_media(found, "width"), _media(found, "height"))),
        "width / height (log)": lambda found: _log(_media(found, "width") / max(_media(found, "height"), 1.0)),
    },
    "rate": {"frames/s (log)": lambda found: _log(_media(found, "fps"))},
    "quality": {
        "sharpness (log)": lambda found: _log(_shot("sharpness")(found)),
        "blockiness": _shot("blockiness"),
        "bits a pixel (log)": lambda found: _log(_bits_a_pixel(found)),
        "brightness": _shot("brightness"),
        "contrast": _shot("contrast"),
    },
    "motion": {"moving steps": _shot("moving"), "change in a step (log)": lambda found: _log(_shot("motion")(found))},
}


def distances(measures: Sequence[Measures], fake: NDArray[np.bool_], pairs: Sequence[str | None]) -> Values:
    """Distance (F, R) of each generated clip from each camera clip; 1 is that of two clips taken by chance.

    Args:
        measures: (N,) of clips with a shot.
        fake: (N,) which are generated: F of them, and R not.
        pairs: (N,) what a clip shares with its counterpart; None for most.
    """
    parts = [np.array([[of(found) for of in group.values()] for found in measures]) for group in _GROUPS.values()]
    parts.append(_content(np.array([found.shot.appearance for found in measures if found.shot is not None])))
    scaled = [_one_apart(_standard(part)) for part in parts]
    whole = np.concatenate(scaled, axis=1) / math.sqrt(len(scaled))
    cost = cdist(whole[fake], whole[~fake], "sqeuclidean")
    names = np.array(["" if pair is None else pair for pair in pairs], dtype=object)
    cost[(names[fake][:, None] == names[~fake][None]) & (names[fake] != "")[:, None]] -= SAME_PAIR
    return np.asarray(cost, np.float64)


def _content(appearance: Values) -> Values:
    """Main directions (N, <= 32) of what pictures look like, each with the variance that it has."""
    centred = _standard(appearance)
    left, scale, _ = np.linalg.svd(centred, full_matrices=False)
    kept = min(CONTENT_DIMENSIONS, len(scale))
    return np.asarray(left[:, :kept] * scale[:kept], np.float64)


def _standard(values: Values) -> Values:
    """Columns (N, C) of mean 0 and standard deviation 1; those that are the same for all are 0."""
    spread = values.std(axis=0)
    return np.asarray((values - values.mean(axis=0)) / np.where(spread > 1e-9, spread, 1.0), np.float64)


def _one_apart(values: Values) -> Values:
    """Columns scaled together, so that the mean squared distance of two rows is 1."""
    variance = float(values.var(axis=0).sum())
    return values / math.sqrt(2 * variance) if variance > 1e-12 else values


def match(cost: Values, *, ratio: float = 1.0, max_distance: float | None = None) -> Matched:
    """The assignment of camera clips to generated ones with the least distance in sum.

    Args:
        cost: (F, R).
        ratio: camera clips for each generated one. With more than one, each generated clip gets so many; with less,
            several generated clips share one. Where the clips do not suffice, those that match best are kept.
        max_distance: pairs that are further apart are left out; None to keep all.

    Raises:
        DataError: nothing can be matched.
    """
    fakes, reals = cost.shape
    if min(fakes, reals) == 0:
        missing = "generated" if not fakes else "camera"
        raise DataError("match", f"no {missing} clip is left to match", "See left_out.csv for the reasons.")
    chosen = _transposed(cost, ratio) if ratio < 1 else _many(cost, ratio)
    if max_distance is not None:
        chosen = [(f, r) for f, r in chosen if cost[f, r] <= max_distance]
    if not chosen:
        raise DataError("match", "no two clips are alike enough", "Raise --max-distance, or leave it out.")
    partner: dict[int, tuple[int, ...]] = {}
    for fake, real in sorted(chosen, key=lambda pair: (pair[0], cost[pair], pair[1])):
        partner[fake] = (*partner.get(fake, ()), real)
    # what was taken off pairs is put back: a distance is one
    shown = {pair: float(cost[pair]) + (SAME_PAIR if cost[pair] < -SAME_PAIR / 2 else 0.0) for pair in chosen}
    return Matched(partner, shown)


def _transposed(cost: Values, ratio: float) -> list[tuple[int, int]]:
    return [(fake, real) for real, fake in _many(np.ascontiguousarray(cost.T), 1 / ratio)]


def _many(cost: Values, ratio: float) -> list[tuple[int, int]]:
    """Pairs (row, column), `ratio` >= 1 columns a row on average, no column twice."""
    rows, columns = cost.shape
    most = min(rows, max(math.floor(columns / ratio + 1e-9), 1))
    first = list(zip(*linear_sum_assignment(cost), strict=True))
    kept = sorted(int(row) for row, _ in sorted(first, key=lambda pair: (cost[pair], pair))[:most])
    wanted = min(round(ratio * len(kept)), columns)
    copies = math.ceil(ratio - 1e-9)
    many = np.repeat(np.array(kept), copies)
    found = linear_sum_assignment(cost[many])
    pairs = [(int(many[at]), int(column)) for at, column in zip(*found, strict=True)]
    # A row's nearest column first, so that what goes is a second or third one.
    ranked = sorted(pairs, key=lambda pair: (cost[pair], pair))
    nearest = {row: next(pair for pair in ranked if pair[0] == row) for row in {row for row, _ in pairs}}
    rest = [pair for pair in ranked if nearest[pair[0]] != pair]
    return [*nearest.values(), *rest[: max(wanted - len(nearest), 0)]]


def balance(
    measures: Sequence[Measures], fake: NDArray[np.bool_], chosen: NDArray[np.bool_]
) -> dict[str, tuple[float | None, float | None]]:
    """Difference of the classes' means in each figure, in standard deviations, among all clips and among the chosen.

    Both are in the standard deviations of all, as is usual: a narrower choice does not look less alike for that. Below
    0.1 two groups are usually called balanced, above 0.25 not. None where it cannot be said.

    Args:
        measures: (N,) of clips with a shot.
        fake: (N,) which are generated.
        chosen: (N,) which are chosen.
    """
    found: dict[str, tuple[float | None, float | None]] = {}
    for group in _GROUPS.values():
        for name, of in group.items():
            values = np.array([of(one) for one in measures], dtype=np.float64)
            spread = math.sqrt((values[fake].var() + values[~fake].var()) / 2) if 0 < fake.sum() < len(fake) else 0.0
            found[name] = (_apart(values, fake, spread), _apart(values[chosen], fake[chosen], spread))
    return found


def _apart(values: Values, fake: NDArray[np.bool_], spread: float) -> float | None:
    if not fake.any() or fake.all():
        return None
    apart = float(values[fake].mean() - values[~fake].mean())
    if spread <= 1e-9:
        return 0.0 if abs(apart) < 1e-9 else None
    return round(apart / spread, 4)
