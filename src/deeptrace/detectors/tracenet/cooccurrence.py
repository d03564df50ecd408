"""How values at neighbouring places go together: residuals become levels, levels become codes, codes are counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial

import cv2
import numpy as np

__all__ = ["Tally", "quantised"]

_LEVELS = 5
_PATTERNS = 10
_Fold = Callable[[np.ndarray], np.ndarray]
_AROUND = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))


class Tally:
    """Counts of codes under names, summed over pictures of one size, and read off as folded frequencies."""

    def __init__(self) -> None:
        self._counts: dict[str, np.ndarray] = {}
        self._folds: dict[str, _Fold] = {}

    def triples(self, name: str, levels: np.ndarray, *axes: int) -> None:
        """Count three neighbouring levels along each of `axes`: 39 classes, folded over sign and direction.

        Args:
            name: what to count them under.
            levels: (H, W) uint8 of `quantised` with a reach of 2.
            axes: 0 down, 1 across.
        """
        for axis in axes:
            a, b, c = (
                (levels[:, :-2], levels[:, 1:-1], levels[:, 2:]) if axis else (levels[:-2], levels[1:-1], levels[2:])
            )
            self._add(name, a + _LEVELS * b + _LEVELS * _LEVELS * c, _folded_triples)

    def joint(self, name: str, residuals: Sequence[np.ndarray], reach: int) -> None:
        """Count the levels of several residuals at one place, folded over sign."""
        levels = 2 * reach + 1
        codes = quantised(residuals[0], 1.0, reach)
        for i, residual in enumerate(residuals[1:], start=1):
            codes += quantised(residual, 1.0, reach) * np.uint8(levels**i)
        self._add(name, codes, partial(_folded_signs, size=levels ** len(residuals)))

    def patterns(self, name: str, picture: np.ndarray) -> None:
        """Count uniform local binary patterns (Ojala et al. 2002) of a picture (H, W): 10 classes."""
        self._add(name, _pattern_codes(picture), _folded_patterns)

    def slice_patterns(self, name: str, slices: np.ndarray) -> None:
        """Count the patterns of every slice (T, :, W) of a volume (T, slices, W), C-contiguous."""
        depth, count, width = slices.shape
        codes = np.zeros((depth - 2, count * width), np.uint8)
        # all slices as one wide picture; the columns where two of them meet are not counted
        codes[:, 1:-1] = _pattern_codes(slices.reshape(depth, count * width))
        inner = codes.reshape(depth - 2, count, width)[:, :, 1:-1]
        self._add(name, np.ascontiguousarray(inner).reshape(depth - 2, -1), _folded_patterns)

    def frequencies(self) -> dict[str, np.ndarray]:
        """Folded frequencies by name, in order of first use."""
        return {name: self._folds[name](counts / counts.sum()) for name, counts in self._counts.items()}

    def _add(self, name: str, codes: np.ndarray, fold: _Fold) -> None:
        counts = cv2.calcHist([codes], [0], None, [256], [0, 256]).ravel()
        if name in self._counts:
            self._counts[name] += counts
        else:
            self._counts[name], self._folds[name] = counts.astype(np.float64), fold


def quantised(residual: np.ndarray, step: float, reach: int = 2) -> np.ndarray:
    """Levels 0 .. 2 * reach, uint8, of a residual in steps of `step`; `reach` is zero."""
    levels = cv2.addWeighted(residual, 1.0 / step, residual, 0.0, float(reach), dtype=cv2.CV_8U)
    return np.asarray(cv2.threshold(levels, 2 * reach, 0, cv2.THRESH_TRUNC, dst=levels)[1])


@cache
def _triple_classes() -> np.ndarray:
    """Class (0..38) of each of the 125 codes: a triple, its mirror image and their negatives are one."""
    codes = np.arange(_LEVELS**3)
    digits = np.stack([codes // _LEVELS**i % _LEVELS for i in range(3)], axis=1)
    weights = _LEVELS ** np.arange(3)
    same = [d @ weights for d in (digits, digits[:, ::-1], _LEVELS - 1 - digits, (_LEVELS - 1 - digits)[:, ::-1])]
    return np.asarray(np.unique(np.min(same, axis=0), return_inverse=True)[1])


def _folded_triples(shares: np.ndarray) -> np.ndarray:
    return np.bincount(_triple_classes(), weights=shares[: _LEVELS**3])


def _folded_signs(shares: np.ndarray, size: int) -> np.ndarray:
    """Mean share of each of `size` codes and its negative, which counts from the other end."""
    both = (shares[:size] + shares[:size][::-1]) / 2
    return np.asarray(both[: (size + 1) // 2])


def _folded_patterns(shares: np.ndarray) -> np.ndarray:
    return np.bincount(_pattern_classes(), weights=shares, minlength=_PATTERNS)


def _pattern_codes(picture: np.ndarray) -> np.ndarray:
    """(H - 2, W - 2) uint8: one bit for each of the 8 neighbours that is brighter."""
    rows, columns = picture.shape[0] - 2, picture.shape[1] - 2
    centre = picture[1:-1, 1:-1]
    codes = np.zeros((rows, columns), np.uint8)
    for bit, (y, x) in enumerate(_AROUND):
        brighter = cv2.compare(picture[y : y + rows, x : x + columns], centre, cv2.CMP_GT)
        codes |= np.asarray(brighter, np.uint8) & np.uint8(1 << bit)
    return codes


@cache
def _pattern_classes() -> np.ndarray:
    """Class of each of the 256 codes: the number of ones, or 9 with more than two turns around the circle."""
    codes = np.arange(256)
    ones = np.array([int(c).bit_count() for c in codes])
    turns = np.array([int(c ^ ((c >> 1) | ((c & 1) << 7))).bit_count() for c in codes])
    return np.where(turns <= 2, ones, _PATTERNS - 1)
