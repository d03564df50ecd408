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
from functools import cache

import cv2
import numpy as np

from deeptrace.detectors.tracenet.flow import optical_flow, pixels

__all__ = ["ANCHORS", "CROP", "MIN_FRAMES", "texture_names", "texture_statistics"]

CROP = 0.85
ANCHORS = 6
MIN_FRAMES = 4
_LEVELS = 5
_FLOW_SIDE = 112
_SECOND_ORDER = np.array([[-1, 2, -1], [2, -4, 2], [-1, 2, -1]], np.float32)

Blocks = dict[str, np.ndarray]


def texture_statistics(frames: Sequence[np.ndarray]) -> np.ndarray:
    """The statistics (D,) float32 of one stretch of video.

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


def _blocks(frames: Sequence[np.ndarray]) -> Blocks:
    if len(frames) < MIN_FRAMES:
        raise ValueError(f"expected at least {MIN_FRAMES} frames but got {len(frames)}")
    planes = [_Planes(_central_square(frame)) for frame in frames]
    anchors = np.unique(np.linspace(0, len(frames) - 3, ANCHORS).round().astype(int))
    spatial = [_spatial(planes[i]) for i in anchors]
    temporal = [_temporal(*planes[i : i + 3]) for i in anchors]
    mean = {
        name: np.mean([blocks[name] for blocks in group], axis=0) for group in (spatial, temporal) for name in group[0]
    }
    volume = np.stack([plane.luma8 for plane in planes])
    rows = range(4, volume.shape[1], 8)
    mean["slices_x"] = np.mean([_local_patterns(volume[:, y]) for y in rows], axis=0)
    mean["slices_y"] = np.mean([_local_patterns(np.ascontiguousarray(volume[:, :, x])) for x in rows], axis=0)
    return {name: np.sqrt(block) for name, block in mean.items()}


class _Planes:
    """One frame's colour planes, converted when first needed."""

    def __init__(self, rgb: np.ndarray) -> None:
        self._ycc = cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb)
        self.luma8 = np.ascontiguousarray(self._ycc[..., 0])
        self._floats: dict[int, np.ndarray] = {}

    def __getitem__(self, plane: int) -> np.ndarray:
        if plane not in self._floats:
            self._floats[plane] = self._ycc[..., plane].astype(np.float32)
        return self._floats[plane]


def _spatial(planes: _Planes) -> Blocks:
    """Blocks of a single frame."""
    out: Blocks = {}
    for scale in (1, 2):
        luma = planes[0] if scale == 1 else _half(planes[0])
        dx, dy = luma[:, 1:] - luma[:, :-1], luma[1:] - luma[:-1]
        dxx, dyy = dx[:, 1:] - dx[:, :-1], dy[1:] - dy[:-1]
        for step in (1, 3) if scale == 1 else (3,):
            out[f"first_{scale}_{step}"] = (_triples(dx, step, 1) + _triples(dy, step, 0)) / 2
        out[f"second_{scale}"] = (_triples(dxx, 2, 1) + _triples(dyy, 2, 0)) / 2
        out[f"second_across_{scale}"] = (_triples(dxx, 2, 0) + _triples(dyy, 2, 1)) / 2
        inner_x, inner_y = dxx[1:-1], dyy[:, 1:-1]
        extremes = np.minimum(np.minimum(inner_x, inner_y), 0) + np.maximum(np.maximum(inner_x, inner_y), 0)
        out[f"extremes_{scale}"] = _both(extremes, 2)
        out[f"kernel_{scale}"] = _both(cv2.filter2D(luma, -1, _SECOND_ORDER), 4)
        out[f"patterns_{scale}"] = _local_patterns(luma)
        for plane, name in ((1, "red"), (2, "blue")):
            chroma = planes[plane] if scale == 1 else _half(planes[plane])
            along = _triples(chroma[:, 1:] - chroma[:, :-1], 1, 1) + _triples(chroma[1:] - chroma[:-1], 1, 0)
            out[f"{name}_{scale}"] = along / 2
    return out


def _temporal(first: _Planes, second: _Planes, third: _Planes) -> Blocks:
    """Blocks of three neighbouring frames."""
    to_second, to_third = _motion(first, second), _motion(second, third)
    luma = first[0], second[0], third[0]
    step1, step2 = luma[1] - luma[0], luma[2] - luma[1]
    left1, left2 = luma[1] - to_second(luma[0]), luma[2] - to_third(luma[1])
    out = {
        "step": _both(step1, 2),
        "step_change": _both(step2 - step1, 3),
        "step_fine": _both(_high_pass(step1), 1),
        "step_coarse": _both(_half(_half(step1)), 2),
        "steps_in_time": _joint((step1 / 3, step2 / 3), 4),
        "unexplained": _both(left1, 2),
        "unexplained_fine": _both(_high_pass(left1), 1),
        "unexplained_coarse": _both(_half(_half(left1)), 1),
        "unexplained_in_time": _joint((to_third(left1) / 2, left2 / 2), 4),
    }
    for plane, name in ((1, "red"), (2, "blue")):
        out[f"{name}_step"] = _both(second[plane] - first[plane], 1)
        out[f"{name}_unexplained"] = _both(second[plane] - to_second(first[plane]), 1)
    detail = tuple(_high_pass(x) for x in luma)
    structure = tuple(_band_pass(x) / 3 for x in luma)
    for name, bands in (("detail", detail), ("structure", structure)):
        out[f"{name}_in_time"] = _joint(bands, 2)
        out[f"{name}_carried"] = _joint((to_third(to_second(bands[0])), to_third(bands[1]), bands[2]), 2)
    return out


def _motion(before: _Planes, after: _Planes) -> Callable[[np.ndarray], np.ndarray]:
    """A function that carries a picture of `before` to where `after` shows it."""
    side = after.luma8.shape[0]
    small = [cv2.resize(p.luma8, (_FLOW_SIDE, _FLOW_SIDE), interpolation=cv2.INTER_AREA) for p in (after, before)]
    flow = optical_flow(small[0], small[1])
    lookup = cv2.resize(flow * np.float32(side / _FLOW_SIDE), (side, side))
    xs, ys = pixels(side, side)
    map_x, map_y = xs + lookup[..., 0], ys + lookup[..., 1]

    def carry(picture: np.ndarray) -> np.ndarray:
        moved = cv2.remap(picture, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(moved)

    return carry


def _central_square(frame: np.ndarray) -> np.ndarray:
    height, width = frame.shape[:2]
    side = int(CROP * min(height, width)) // 8 * 8
    top, left = (height - side) // 2, (width - side) // 2
    return np.ascontiguousarray(frame[top : top + side, left : left + side])


def _half(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape
    return np.asarray(cv2.resize(picture, (width // 2, height // 2), interpolation=cv2.INTER_AREA))


def _high_pass(picture: np.ndarray) -> np.ndarray:
    return np.asarray(picture - cv2.blur(picture, (3, 3)))


def _band_pass(picture: np.ndarray) -> np.ndarray:
    smooth = cv2.blur(picture, (3, 3))
    return np.asarray(smooth - cv2.blur(smooth, (9, 9)))


def _quantise(residual: np.ndarray, step: float, reach: int = 2) -> np.ndarray:
    """Levels 0 .. 2 * reach, uint8; `reach` is zero."""
    levels = cv2.addWeighted(residual, 1.0 / step, residual, 0.0, float(reach), dtype=cv2.CV_8U)
    return np.minimum(levels, np.uint8(2 * reach))


def _counts(codes: np.ndarray, size: int) -> np.ndarray:
    counts = cv2.calcHist([codes], [0], None, [256], [0, 256]).ravel()[:size]
    return np.asarray(counts, np.float64) / codes.size


def _triples(residual: np.ndarray, step: float, axis: int) -> np.ndarray:
    """Frequencies of three neighbouring levels along `axis`, folded over sign and direction: 39 classes."""
    q = _quantise(residual, step)
    a, b, c = (q[:, :-2], q[:, 1:-1], q[:, 2:]) if axis == 1 else (q[:-2], q[1:-1], q[2:])
    codes = a + _LEVELS * b + _LEVELS * _LEVELS * c
    return np.bincount(_folding(), weights=_counts(codes, _LEVELS**3))


def _both(residual: np.ndarray, step: float) -> np.ndarray:
    return np.asarray((_triples(residual, step, 0) + _triples(residual, step, 1)) / 2)


@cache
def _folding() -> np.ndarray:
    """Class (0..38) of each of the 125 codes: a triple, its mirror image and their negatives are one."""
    codes = np.arange(_LEVELS**3)
    digits = np.stack([codes // _LEVELS**i % _LEVELS for i in range(3)], axis=1)
    weights = _LEVELS ** np.arange(3)
    same = [d @ weights for d in (digits, digits[:, ::-1], _LEVELS - 1 - digits, (_LEVELS - 1 - digits)[:, ::-1])]
    return np.asarray(np.unique(np.min(same, axis=0), return_inverse=True)[1])


def _joint(residuals: Sequence[np.ndarray], reach: int) -> np.ndarray:
    """Frequencies of the levels of several residuals at one place, folded over sign."""
    levels = 2 * reach + 1
    codes = np.zeros(residuals[0].shape, np.uint8)
    for i, residual in enumerate(residuals):
        codes += _quantise(residual, 1.0, reach) * np.uint8(levels**i)
    counts = _counts(codes, levels ** len(residuals))
    return np.asarray((counts + counts[::-1])[: (len(counts) + 1) // 2] / 2)


def _local_patterns(picture: np.ndarray) -> np.ndarray:
    """Frequencies (10,) of uniform local binary patterns (Ojala et al. 2002)."""
    rows, columns = picture.shape[0] - 2, picture.shape[1] - 2
    centre = picture[1:-1, 1:-1]
    code = np.zeros((rows, columns), np.uint8)
    for bit, (y, x) in enumerate(((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))):
        code |= (picture[y : y + rows, x : x + columns] > centre).astype(np.uint8) << np.uint8(bit)
    return np.bincount(_pattern_classes(), weights=_counts(code, 256), minlength=10)


@cache
def _pattern_classes() -> np.ndarray:
    codes = np.arange(256)
    ones = np.array([int(c).bit_count() for c in codes])
    turns = np.array([int(c ^ ((c >> 1) | ((c & 1) << 7))).bit_count() for c in codes])
    return np.where(turns <= 2, ones, 9)
