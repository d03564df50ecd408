"""Evidence maps: what can be *measured* of a generated video's failures, on a grid, while it is decoded.

Each decoded frame becomes `CHANNELS` maps on a GRID x GRID raster that covers the whole frame, whatever its aspect.
Motion is measured between neighbouring sampled frames (DIS optical flow, both ways), the camera's share is removed
by a robust affine fit, and what the flow cannot explain is the motion-compensated residual. Rates are per
`REFERENCE_DT_S`, so that a slower sampling does not read as a faster motion.

The maps are the input of TraceNet's trace net, the numbers its explanations quote, and the curves of the report.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from deeptrace.detectors.tracenet.flow import optical_flow, pixels
from deeptrace.video import Frame

__all__ = ["CHANNELS", "GRID", "REFERENCE_DT_S", "EvidenceExtractor", "FrameEvidence", "evidence_of"]

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
        luma8 = np.ascontiguousarray(ycc[..., 0])
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
        xs, ys = pixels(FLOW_SIDE, FLOW_SIDE)
        returned = cv2.remap(
            forth, xs + back[..., 0], ys + back[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        inconsistency = _norm(back + returned)
        camera = _camera_motion(back)
        own = back - camera
        lookup = cv2.resize(back * np.float32(SIDE / FLOW_SIDE), (SIDE, SIDE))
        full_xs, full_ys = pixels(SIDE, SIDE)
        map_x, map_y = full_xs + lookup[..., 0], full_ys + lookup[..., 1]
        expected = cv2.remap(last.luma, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        expected_fine = cv2.remap(last.fine, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        residual = _log(_grid(cv2.absdiff(seen.luma, expected)))
        own_grid = _grid(own) * rate
        div = cv2.Sobel(own[..., 0], cv2.CV_32F, 1, 0) + cv2.Sobel(own[..., 1], cv2.CV_32F, 0, 1)
        curl = cv2.Sobel(own[..., 1], cv2.CV_32F, 1, 0) - cv2.Sobel(own[..., 0], cv2.CV_32F, 0, 1)
        seen.change = _grid(seen.luma - last.luma) * rate
        maps[6] = residual
        maps[7] = residual - maps[4]
        maps[8:10] = np.arcsinh(own_grid).transpose(2, 0, 1)
        maps[10] = _log(_grid(_norm(own)) * rate)
        maps[11] = _log(_grid(_norm(camera)) * rate)
        maps[12] = _log(_grid(inconsistency))
        maps[13] = _log(_grid(np.abs(div)) * rate)
        maps[14] = _log(_grid(np.abs(curl)) * rate)
        maps[15] = maps[3] - _log(_grid(expected_fine))
        if last.change is not None:
            maps[16] = _log(np.abs(seen.change - last.change))
        shift = _grid(back) * (GRID / FLOW_SIDE)
        gx, gy = pixels(GRID, GRID)
        was = cv2.remap(
            last.chroma, gx + shift[..., 0], gy + shift[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        maps[17] = _log(_norm(seen.chroma - was))


def evidence_of(frames: Iterable[Frame]) -> Iterator[FrameEvidence]:
    """The evidence of a stream of frames, one for one."""
    extractor = EvidenceExtractor()
    for frame in frames:
        yield extractor.feed(frame)


def _camera_motion(flow: np.ndarray) -> np.ndarray:
    """The affine motion (H, W, 2) that most of `flow` (H, W, 2) agrees with (three reweighted least squares)."""
    side = flow.shape[0]
    xs, ys = pixels(side, side)
    full = np.stack([np.ones_like(xs), xs / side - 0.5, ys / side - 0.5], axis=-1)
    design = full[::_AFFINE_STEP, ::_AFFINE_STEP].reshape(-1, 3)
    target = flow[::_AFFINE_STEP, ::_AFFINE_STEP].reshape(-1, 2)
    weight = np.ones(len(design), np.float32)
    solution = np.zeros((3, 2), np.float32)
    for _ in range(3):
        weighted = design * weight[:, None]
        normal = weighted.T @ design + 1e-3 * np.eye(3, dtype=np.float32)
        solution = np.linalg.solve(normal, weighted.T @ target).astype(np.float32)
        weight = 1.0 / (0.25 + ((target - design @ solution) ** 2).sum(axis=1))
    return np.asarray(full @ solution, np.float32)


def _grid(image: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.resize(image, (GRID, GRID), interpolation=cv2.INTER_AREA))


def _norm(field: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.magnitude(np.ascontiguousarray(field[..., 0]), np.ascontiguousarray(field[..., 1])))


def _log(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.log(values + _EPS), np.float32)
