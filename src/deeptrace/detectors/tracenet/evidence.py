"""Evidence maps: what can be *measured* of a generated video's failures, on a grid, while it is decoded.

Each decoded frame becomes `CHANNELS` maps on a GRID x GRID raster that covers the whole frame, whatever its aspect.
Motion is measured between neighbouring sampled frames (DIS optical flow, Kroeger et al. 2016, both ways), the camera's
share is removed by a robust affine fit, and what the flow cannot explain is the motion-compensated residual. Rates are
per `REFERENCE_DT_S`, so that a slower sampling does not read as a faster motion.

The maps are the input of TraceNet's trace net, the numbers its explanations quote, and the curves of the report.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from deeptrace.video import Frame

__all__ = [
    "CHANNELS",
    "GRID",
    "REFERENCE_DT_S",
    "EvidenceExtractor",
    "evidence_of",
    "looked_up",
    "optical_flow",
    "places",
]

_engines = threading.local()


def optical_flow(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Where each pixel of `here` is in `there`: (H, W, 2) float32 offsets in pixels.

    Args:
        here, there: (H, W) uint8.
    """
    engine = getattr(_engines, "dis", None)
    if engine is None:  # one a thread: the engine keeps buffers
        engine = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)  # type: ignore[attr-defined]
        _engines.dis = engine
    return np.asarray(engine.calc(here, there, None))


def looked_up(picture: np.ndarray, lookup: np.ndarray) -> np.ndarray:
    """`picture` (S, S) or (S, S, C) read, linearly, at the column and row that `lookup` (S, S, 2) names."""
    # OpenCV takes both coordinates as one array, its type stubs do not
    moved = cv2.remap(picture, lookup, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    return np.asarray(moved)


@cache
def places(side: int) -> np.ndarray:
    """Column and row of every pixel of a square picture, (side, side, 2) float32. Shared: do not write into it."""
    line = np.arange(side, dtype=np.float32)
    return np.stack(np.meshgrid(line, line), axis=-1)


GRID = 32
REFERENCE_DT_S = 0.125
SIDE = 256
FLOW_SIDE = 112
_AFFINE_STEP = 4
_EPS = 0.05

CHANNELS: tuple[str, ...] = (
    "luma",
    "red_difference",
    "blue_difference",
    "sharpness_fine",
    "sharpness_mid",
    "sharpness_coarse",
    "residual",
    "residual_to_texture",
    "motion_x",
    "motion_y",
    "motion",
    "camera_motion",
    "inconsistency",
    "divergence",
    "curl",
    "sharpness_change",
    "acceleration",
    "colour_change",
)


@dataclass(frozen=True)
class FrameEvidence:
    """The evidence of one frame.

    Attributes:
        time_s: the frame's timestamp.
        maps: (len(CHANNELS), GRID, GRID) float32.
    """

    time_s: float
    maps: np.ndarray


@dataclass
class _Seen:
    """What is kept of a frame until its successor has come."""

    time_s: float
    luma: np.ndarray  # (SIDE, SIDE) float32, 0..255
    chroma: np.ndarray  # (GRID, GRID, 2) float32
    small: np.ndarray  # (FLOW_SIDE, FLOW_SIDE) uint8
    fine: np.ndarray  # (SIDE, SIDE) float32, the finest band
    change: np.ndarray | None  # (GRID, GRID), signed difference to its predecessor, by its time step


class EvidenceExtractor:
    """Turns frames, fed one by one in order, into evidence; holds one frame, so memory does not grow.

    Frames are RGB uint8 (H, W, 3) of any size; they are squeezed to SIDE x SIDE, so that maps lie on fractions.
    """

    def __init__(self) -> None:
        self._last: _Seen | None = None

    def feed(self, frame: Frame) -> FrameEvidence:
        """The evidence of `frame` against the one fed before; the first frame's motion maps are zero."""
        seen, maps = self._still(frame)
        last = self._last
        if last is not None and seen.time_s > last.time_s:
            self._moving(last, seen, maps)
        self._last = seen
        return FrameEvidence(frame.time_s, maps)

    def _still(self, frame: Frame) -> tuple[_Seen, np.ndarray]:
        """Maps that need one frame only: colour and sharpness by scale."""
        ycc = cv2.cvtColor(cv2.resize(frame.image, (SIDE, SIDE), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2YCrCb)
        luma8 = cv2.extractChannel(ycc, 0)
        luma = luma8.astype(np.float32)
        colour = _grid(ycc).astype(np.float32)
        half = cv2.pyrDown(luma)
        quarter = cv2.pyrDown(half)
        eighth = cv2.pyrDown(quarter)
        fine = cv2.absdiff(luma, cv2.pyrUp(half, dstsize=luma.shape[::-1]))
        mid = cv2.absdiff(half, cv2.pyrUp(quarter, dstsize=half.shape[::-1]))
        coarse = cv2.absdiff(quarter, cv2.pyrUp(eighth, dstsize=quarter.shape[::-1]))
        maps = np.zeros((len(CHANNELS), GRID, GRID), np.float32)
        maps[0] = colour[..., 0] / 128.0 - 1.0
        maps[1:3] = colour[..., 1:].transpose(2, 0, 1) / 64.0 - 2.0
        for channel, band in zip((3, 4, 5), (fine, mid, coarse), strict=True):
            maps[channel] = _log(_grid(band))
        small = cv2.resize(luma8, (FLOW_SIDE, FLOW_SIDE), interpolation=cv2.INTER_AREA)
        return _Seen(frame.time_s, luma, colour[..., 1:], small, fine, None), maps

    def _moving(self, last: _Seen, seen: _Seen, maps: np.ndarray) -> None:
        """Fill in the maps that need the frame before: motion, residual, consistency, change."""
        rate = REFERENCE_DT_S / max(seen.time_s - last.time_s, REFERENCE_DT_S / 4)
        back = optical_flow(seen.small, last.small)  # where each pixel of now was before
        forth = optical_flow(last.small, seen.small)
        inconsistency = _norm(cv2.add(back, _moved(forth, back)))
        camera = _camera_motion(back)
        own = cv2.subtract(back, camera)
        own_x, own_y = cv2.split(own)
        lookup = cv2.resize(back * np.float32(SIDE / FLOW_SIDE), (SIDE, SIDE))
        residual = _log(_grid(cv2.absdiff(seen.luma, _moved(last.luma, lookup))))
        own_grid = _grid(own) * rate
        div = cv2.Sobel(own_x, cv2.CV_32F, 1, 0) + cv2.Sobel(own_y, cv2.CV_32F, 0, 1)
        curl = cv2.Sobel(own_y, cv2.CV_32F, 1, 0) - cv2.Sobel(own_x, cv2.CV_32F, 0, 1)
        seen.change = _grid(cv2.subtract(seen.luma, last.luma)) * rate
        maps[6] = residual
        maps[7] = residual - maps[4]
        maps[8:10] = np.arcsinh(own_grid).transpose(2, 0, 1)
        maps[10] = _log(_grid(cv2.magnitude(own_x, own_y)) * rate)
        maps[11] = _log(_grid(_norm(camera)) * rate)
        maps[12] = _log(_grid(inconsistency))
        maps[13] = _log(_grid(np.abs(div)) * rate)
        maps[14] = _log(_grid(np.abs(curl)) * rate)
        maps[15] = maps[3] - _log(_grid(_moved(last.fine, lookup)))
        if last.change is not None:
            maps[16] = _log(np.abs(seen.change - last.change))
        shift = _grid(back) * np.float32(GRID / FLOW_SIDE)
        maps[17] = _log(_norm(cv2.subtract(seen.chroma, _moved(last.chroma, shift))))


def evidence_of(frames: Iterable[Frame]) -> Iterator[FrameEvidence]:
    """The evidence of a stream of frames, one for one."""
    extractor = EvidenceExtractor()
    for frame in frames:
        yield extractor.feed(frame)


def _camera_motion(flow: np.ndarray) -> np.ndarray:
    """The affine motion (H, W, 2) that most of `flow` (H, W, 2) agrees with (three reweighted least squares)."""
    full, design = _affine_terms(flow.shape[0])
    target = flow[::_AFFINE_STEP, ::_AFFINE_STEP].reshape(-1, 2).T
    ridge = 1e-3 * np.eye(3, dtype=np.float32)
    weighted, solution = design, np.zeros((3, 2), np.float32)
    for _ in range(3):
        # 3 x 3 and positive definite: OpenCV's Cholesky is many times quicker than LAPACK's call
        solution = cv2.solve(weighted @ design.T + ridge, weighted @ target.T, flags=cv2.DECOMP_CHOLESKY)[1]
        left = target - solution.T @ design
        weighted = design / (0.25 + left[0] * left[0] + left[1] * left[1])
    return np.asarray(full @ solution, np.float32).reshape(flow.shape)


@cache
def _affine_terms(side: int) -> tuple[np.ndarray, np.ndarray]:
    """1, x and y of every pixel (side * side, 3), and of every _AFFINE_STEP-th both ways (3, N)."""
    at = places(side)
    full = np.stack([np.ones_like(at[..., 0]), at[..., 0] / side - 0.5, at[..., 1] / side - 0.5], axis=-1)
    some = full[::_AFFINE_STEP, ::_AFFINE_STEP].reshape(-1, 3)
    return full.reshape(-1, 3), np.ascontiguousarray(some.T)


def _moved(picture: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """`picture` (H, H) or (H, H, 2) looked up at every place plus its offset (H, H, 2)."""
    return looked_up(picture, np.asarray(cv2.add(places(len(offsets)), offsets)))


def _grid(image: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.resize(image, (GRID, GRID), interpolation=cv2.INTER_AREA))


def _norm(field: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.magnitude(*cv2.split(field)))


def _log(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.log(values + _EPS), np.float32)
