"""Perceptual hashes of clips, and which clips are the same one twice.

The hash of a picture is the sign pattern of its 8 x 8 lowest cosine frequencies (pHash): robust to re-encoding, scaling
and small colour changes. A clip is hashed at five places, as fractions of its length; two clips are the same when the
hashes differ by few bits at the median place. Trimming moves the places: copies cut to another length may be missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn

from deeptrace.video import Frame

__all__ = [
    "PLACES",
    "ClipHasher",
    "groups_of_pairs",
    "hashes_of_segment",
    "near_duplicates",
    "perceptual_hash",
]

PLACES = (0.1, 0.3, 0.5, 0.7, 0.9)
SIDE = 32
HASH_MIN_CONTRAST = 4.0  # standard deviation in grey levels; flatter pictures hash to noise
MAX_BITS = 6  # of 64, as for the near-duplicate filters of image datasets
_STEP_S = 0.2


def perceptual_hash(gray: NDArray[np.uint8]) -> int | None:
    """64-bit hash of a picture (H, W) uint8; None when it is too flat to tell from another flat one."""
    small = cv2.resize(gray, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float64)
    if small.std() < HASH_MIN_CONTRAST:
        return None
    low = dctn(small, type=2)[:8, :8]
    bits = (low > np.median(low)).ravel()
    return int(np.packbits(bits).view(">u8")[0])


@dataclass
class ClipHasher:
    """Hashes frames as they stream by, a few a second, and picks those at `PLACES` once the length is known."""

    def __post_init__(self) -> None:
        self._found: list[tuple[float, int | None]] = []

    def see(self, frame: Frame) -> None:
        """Take note of a gray frame."""
        if not self._found or frame.time_s - self._found[-1][0] >= _STEP_S:
            self._found.append((frame.time_s, perceptual_hash(frame.image)))

    @property
    def found(self) -> list[tuple[float, int | None]]:
        """Time in seconds and hash of each frame that was hashed, in order."""
        return list(self._found)

    def result(self, duration_s: float) -> tuple[int | None, ...]:
        """A hash for each of `PLACES`; empty when there was no frame."""
        return hashes_of_segment(self._found, 0.0, duration_s)


def hashes_of_segment(
    found: Sequence[tuple[float, int | None]], start_s: float, duration_s: float
) -> tuple[int | None, ...]:
    """A hash for each of `PLACES` in a segment of a clip; empty when no frame was hashed.

    Args:
        found: time in seconds and hash of frames of the clip, see `ClipHasher.found`.
        start_s, duration_s: of the segment.
    """
    if not found:
        return ()
    times = np.array([time for time, _ in found])
    return tuple(found[int(np.abs(times - start_s - place * duration_s).argmin())][1] for place in PLACES)


def near_duplicates(
    hashes: Sequence[tuple[int | None, ...]], *, max_bits: int = MAX_BITS
) -> Iterator[tuple[int, int, float]]:
    """Pairs (i, j, bits) of clips, i < j, whose median distance over the places is at most `max_bits`.

    Places where one of the two is flat are left out; at least three must remain.
    """
    usable = [i for i, row in enumerate(hashes) if sum(value is not None for value in row) >= 3]
    if len(usable) < 2:
        return
    values = np.array([[value or 0 for value in hashes[i]] for i in usable], dtype=np.uint64)
    known = np.array([[value is not None for value in hashes[i]] for i in usable])
    for at in range(len(usable) - 1):
        bits = _popcount(values[at + 1 :] ^ values[at]).astype(float)
        both = known[at + 1 :] & known[at]
        bits[~both] = np.nan
        enough = both.sum(axis=1) >= 3
        rows = np.flatnonzero(enough)
        if not rows.size:
            continue
        median = np.nanmedian(bits[rows], axis=1)
        for row in np.flatnonzero(median <= max_bits):
            yield usable[at], usable[at + 1 + int(rows[row])], float(median[row])


def groups_of_pairs(pairs: Iterable[tuple[int, int, float]]) -> list[list[int]]:
    """Sets of clips that hang together through pairs, each sorted, in order of their first clip."""
    parent: dict[int, int] = {}

    def root(item: int) -> int:
        while parent.setdefault(item, item) != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for a, b, _ in pairs:
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    groups: dict[int, list[int]] = {}
    for item in sorted(parent):
        groups.setdefault(root(item), []).append(item)
    return [groups[first] for first in sorted(groups)]


def _popcount(values: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Set bits of each value, same shape."""
    octets = np.ascontiguousarray(values).view(np.uint8).reshape(*values.shape, 8)
    return np.asarray(_BITS[octets].sum(axis=-1, dtype=np.int64))


_BITS = np.array([bin(value).count("1") for value in range(256)], dtype=np.uint8)
