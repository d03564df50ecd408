"""Texture statistics: how neighbouring pixels, colours and moments go together in the middle of the picture.

A camera, its sensor and its codec leave joint statistics in neighbouring values that a video generator's decoder does
not reproduce. They are counted as in the rich models of image forensics (Fridrich and Kodovsky 2012): a residual is
quantised to five levels and the frequencies of its values at three neighbouring places are kept, folded over sign and
direction. Residuals here are differences within a frame, between its colours' neighbours, and between frames with and
without motion compensation. Roots of frequencies (Hellinger map) go to a linear classifier.

Only the central square is read (`CROP` of the short side), so that most channel logos and watermarks stay outside,
and every clip comes at one size, so that no statistic tells how large the file was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, cached_property, partial

import cv2
import numpy as np

from deeptrace.detectors.tracenet.evidence import looked_up, optical_flow, places
from deeptrace.schema import MIN_FRAMES

__all__ = ["Tally", "central_square", "quantised", "texture_names", "texture_statistics"]

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
            name: name of the counts.
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


CROP = 0.85
ANCHORS = 6
_FLOW_SIDE = 112
_SECOND_ORDER = np.array([[-1, 2, -1], [2, -4, 2], [-1, 2, -1]], np.float32)


def texture_statistics(frames: Sequence[np.ndarray]) -> np.ndarray:
    """The statistics (D,) float32 of one segment of video.

    Args:
        frames: at least MIN_FRAMES neighbouring sampled frames, RGB uint8 (H, W, 3), short side 256.

    Raises:
        ValueError: too few frames.
    """
    return np.concatenate(list(_blocks(frames).values())).astype(np.float32)


@cache
def texture_names() -> tuple[str, ...]:
    """The names (D,) of the statistics: block and position in it."""
    grey = [np.full((256, 256, 3), 128, np.uint8)] * MIN_FRAMES
    return tuple(f"{name}.{i}" for name, block in _blocks(grey).items() for i in range(len(block)))


def _blocks(frames: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Roots of frequencies, by name; all residuals of one name have one number of pixels, the picture being square."""
    if len(frames) < MIN_FRAMES:
        raise ValueError(f"expected at least {MIN_FRAMES} frames but got {len(frames)}")
    planes = [_Planes(central_square(frame)) for frame in frames]
    tally = Tally()
    for anchor in np.unique(np.linspace(0, len(frames) - 3, ANCHORS).round().astype(int)):
        _spatial(tally, planes[anchor])
        _temporal(tally, *planes[anchor : anchor + 3])
    volume = np.stack([plane.luma8 for plane in planes])
    tally.slice_patterns("slices_x", np.ascontiguousarray(volume[:, 4::8]))
    tally.slice_patterns("slices_y", np.ascontiguousarray(volume[:, :, 4::8].transpose(0, 2, 1)))
    return {name: np.sqrt(block) for name, block in tally.frequencies().items()}


class _Planes:
    """One frame's colour planes and what several residuals are made of, each computed when first needed."""

    def __init__(self, rgb: np.ndarray) -> None:
        self._ycc = cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb)
        self.luma8 = np.asarray(cv2.extractChannel(self._ycc, 0))
        self._floats: dict[int, np.ndarray] = {}

    def __getitem__(self, plane: int) -> np.ndarray:
        if plane not in self._floats:
            self._floats[plane] = cv2.extractChannel(self._ycc, plane).astype(np.float32)
        return self._floats[plane]

    @cached_property
    def small(self) -> np.ndarray:
        """Luma at the size that motion is read at."""
        return np.asarray(cv2.resize(self.luma8, (_FLOW_SIDE, _FLOW_SIDE), interpolation=cv2.INTER_AREA))

    @cached_property
    def detail(self) -> np.ndarray:
        """Luma less its neighbourhood's mean."""
        return np.asarray(cv2.subtract(self[0], self._smooth))

    @cached_property
    def structure(self) -> np.ndarray:
        """A band of coarser detail, a third of its contrast."""
        return np.asarray(cv2.subtract(self._smooth, cv2.blur(self._smooth, (9, 9))) / 3)

    @cached_property
    def _smooth(self) -> np.ndarray:
        return np.asarray(cv2.blur(self[0], (3, 3)))


def _spatial(tally: Tally, planes: _Planes) -> None:
    """Count what a single frame shows."""
    for scale in (1, 2):
        luma = planes[0] if scale == 1 else _half(planes[0])
        dx, dy = _differences(luma)
        dxx, dyy = cv2.subtract(dx[:, 1:], dx[:, :-1]), cv2.subtract(dy[1:], dy[:-1])
        for step in (1, 3) if scale == 1 else (3,):
            tally.triples(f"first_{scale}_{step}", quantised(dx, step), 1)
            tally.triples(f"first_{scale}_{step}", quantised(dy, step), 0)
        second_x, second_y = quantised(dxx, 2), quantised(dyy, 2)
        tally.triples(f"second_{scale}", second_x, 1)
        tally.triples(f"second_{scale}", second_y, 0)
        tally.triples(f"second_across_{scale}", second_x, 0)
        tally.triples(f"second_across_{scale}", second_y, 1)
        inner_x, inner_y = dxx[1:-1], dyy[:, 1:-1]
        lowest, highest = cv2.min(inner_x, inner_y), cv2.max(inner_x, inner_y)
        extremes = np.minimum(lowest, 0, out=lowest) + np.maximum(highest, 0, out=highest)
        tally.triples(f"extremes_{scale}", quantised(extremes, 2), 0, 1)
        tally.triples(f"kernel_{scale}", quantised(cv2.filter2D(luma, -1, _SECOND_ORDER), 4), 0, 1)
        tally.patterns(f"patterns_{scale}", planes.luma8 if scale == 1 else luma)
        for plane, name in ((1, "red"), (2, "blue")):
            across, down = _differences(planes[plane] if scale == 1 else _half(planes[plane]))
            tally.triples(f"{name}_{scale}", quantised(across, 1), 1)
            tally.triples(f"{name}_{scale}", quantised(down, 1), 0)


def _temporal(tally: Tally, first: _Planes, second: _Planes, third: _Planes) -> None:
    """Count what three neighbouring frames show."""
    to_second, to_third = _motion(first, second), _motion(second, third)
    step1, step2 = cv2.subtract(second[0], first[0]), cv2.subtract(third[0], second[0])
    left1, left2 = cv2.subtract(second[0], to_second(first[0])), cv2.subtract(third[0], to_third(second[0]))

    def both(name: str, residual: np.ndarray, step: float) -> None:
        tally.triples(name, quantised(residual, step), 0, 1)

    both("step", step1, 2)
    both("step_change", cv2.subtract(step2, step1), 3)
    both("step_fine", _high_pass(step1), 1)
    both("step_coarse", _half(_half(step1)), 2)
    tally.joint("steps_in_time", (step1 / 3, step2 / 3), 4)
    both("unexplained", left1, 2)
    both("unexplained_fine", _high_pass(left1), 1)
    both("unexplained_coarse", _half(_half(left1)), 1)
    tally.joint("unexplained_in_time", (to_third(left1) / 2, left2 / 2), 4)
    for plane, name in ((1, "red"), (2, "blue")):
        both(f"{name}_step", cv2.subtract(second[plane], first[plane]), 1)
        both(f"{name}_unexplained", cv2.subtract(second[plane], to_second(first[plane])), 1)
    frames = (first, second, third)
    for name, bands in (("detail", [f.detail for f in frames]), ("structure", [f.structure for f in frames])):
        tally.joint(f"{name}_in_time", bands, 2)
        tally.joint(f"{name}_carried", (to_third(to_second(bands[0])), to_third(bands[1]), bands[2]), 2)


def _motion(before: _Planes, after: _Planes) -> Callable[[np.ndarray], np.ndarray]:
    """A function that carries a picture of `before` to where `after` shows it."""
    side = after.luma8.shape[0]
    flow = optical_flow(after.small, before.small)
    lookup = np.asarray(cv2.add(places(side), cv2.resize(flow * np.float32(side / _FLOW_SIDE), (side, side))))
    return lambda picture: looked_up(picture, lookup)


def central_square(frame: np.ndarray) -> np.ndarray:
    """The middle (S, S, 3) of a frame (H, W, 3); S is CROP of the short side, rounded down to eights."""
    height, width = frame.shape[:2]
    side = int(CROP * min(height, width)) // 8 * 8
    top, left = (height - side) // 2, (width - side) // 2
    return frame[top : top + side, left : left + side]


def _differences(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Across (H, W - 1) and down (H - 1, W)."""
    across, down = cv2.subtract(picture[:, 1:], picture[:, :-1]), cv2.subtract(picture[1:], picture[:-1])
    return np.asarray(across), np.asarray(down)


def _half(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape
    return np.asarray(cv2.resize(picture, (width // 2, height // 2), interpolation=cv2.INTER_AREA))


def _high_pass(picture: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.subtract(picture, cv2.blur(picture, (3, 3))))
