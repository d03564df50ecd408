"""Traces in which two things become one, or one becomes two."""

from __future__ import annotations

import math

import cv2
import numpy as np

from deeptrace.synth.affine import about, translation
from deeptrace.synth.canvas import Stage
from deeptrace.synth.effects.cutouts import clear, put
from deeptrace.synth.effects.warps import Warp, paint_warp
from deeptrace.synth.explain import Finding
from deeptrace.synth.inpainting import Backfill

__all__ = ["object_merging", "object_splitting"]


def _halves(stage: Stage, heading: float, softness: float) -> tuple[np.ndarray, np.ndarray]:
    """The region's mask cut in two across `heading`; the two overlap over `softness` region sizes."""
    height, width = stage.region.mask.shape
    cx, cy = stage.region.center
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    side = ((xs - cx) * math.cos(heading) + (ys - cy) * math.sin(heading)) / max(softness * stage.region.size, 0.5)
    first = np.clip(0.5 + side, 0, 1)
    return (stage.region.mask * first).astype(np.float32), (stage.region.mask * (1 - first)).astype(np.float32)


def _long_axis(stage: Stage) -> float:
    """Heading of the region's longer axis, in radians."""
    moments = cv2.moments((stage.region.mask > 0.5).astype(np.uint8), binaryImage=True)
    return 0.5 * math.atan2(2 * moments["mu11"], moments["mu20"] - moments["mu02"])


def object_splitting(stage: Stage, severity: float) -> Finding:
    """A thing comes apart: in two halves with a gap between, or in two whole copies."""
    rng, fill = stage.rng, Backfill(stage)
    apart = 0.5 + severity * 0.55 * stage.size_px
    heading = _long_axis(stage) + float(rng.uniform(-0.5, 0.5)) + (math.pi / 2 if rng.random() < 0.25 else 0.0)
    halves = _halves(stage, heading, 0.06)
    whole = rng.random() < 0.35
    turn = float(rng.uniform(-0.3, 0.3))
    regrain = float(rng.uniform(0.3, 0.6)) if rng.random() < 0.6 else 0.0
    largest = 0.0
    for index, strength in stage.active_frames():
        gap = apart * strength
        clear(stage, fill, index, min(1.0, gap / (0.15 * stage.size_px)))
        linear = stage.region.path[index][:, :2] @ np.array([math.cos(heading), math.sin(heading)])
        nx, ny = linear / max(float(np.hypot(*linear)), 1e-6)
        for way, mask in zip((0.5, -0.5), halves, strict=True):
            move = about(
                stage.center_px(index), turn=way * turn * strength * severity, shift=(way * gap * nx, way * gap * ny)
            )
            put(stage, index, move, mask=stage.region.mask if whole else mask, settled=0.25, regrain=regrain)
        largest = max(largest, gap)
    share = largest / stage.frame_size[0]
    how = "divides into two copies of itself" if whole else "comes apart into two pieces"
    return Finding(
        f"The object in the {{where}} {how} between {{begin}} and {{end}}; they drift {largest:.1f} pixels "
        f"({100 * share:.1f} % of the frame's width) apart.",
        {"gap_px": largest, "gap_of_width": share},
    )


def object_merging(stage: Stage, severity: float) -> Finding:
    """Two neighbouring things are drawn together and run into one."""
    rng = stage.rng
    heading = _long_axis(stage) + float(rng.uniform(-0.35, 0.35))
    near = 0.5 + severity * 0.62 * stage.size_px
    largest = _pinch(stage, heading, near) if rng.random() < 0.5 else _push(stage, heading, near)
    share = largest / stage.frame_size[0]
    return Finding(
        f"Two things in the {{where}} are drawn together by {largest:.1f} pixels ({100 * share:.1f} % of the "
        f"frame's width) between {{begin}} and {{end}} and run into one.",
        {"closer_px": largest, "closer_of_width": share},
    )


def _pinch(stage: Stage, heading: float, near: float) -> float:
    """Swallow what lies between the two halves: both flow to the middle. Returns how much closer they get."""
    rng = stage.rng
    height, width = stage.region.mask.shape
    cx, cy = stage.region.center
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    side = ((xs - cx) * math.cos(heading) + (ys - cy) * math.sin(heading)) / (0.16 * stage.region.size)
    pull = np.tanh(side) * stage.region.mask * np.float32(0.5 * near)
    field = np.dstack([pull * math.cos(heading), pull * math.sin(heading)]).astype(np.float32)
    pulse = 2 * math.pi * float(rng.uniform(0.3, 1.0))
    depth = float(rng.uniform(0.0, 0.25))
    regrain = float(rng.uniform(0.3, 0.7)) if rng.random() < 0.65 else 0.0
    warp = Warp([field], [lambda s: 1.0 - depth + depth * math.cos(pulse * s)])
    return 2 * paint_warp(stage, warp, regrain=regrain)


def _push(stage: Stage, heading: float, near: float) -> float:
    """Lay the two halves over each other and blend them. Returns how much closer they get."""
    rng, fill = stage.rng, Backfill(stage)
    halves = _halves(stage, heading, 0.1)
    regrain = float(rng.uniform(0.3, 0.6)) if rng.random() < 0.6 else 0.0
    melt = float(rng.uniform(0.3, 0.7))
    largest = 0.0
    for index, strength in stage.active_frames():
        gap = near * strength
        clear(stage, fill, index, min(1.0, gap / (0.15 * stage.size_px)))
        linear = stage.region.path[index][:, :2] @ np.array([math.cos(heading), math.sin(heading)])
        nx, ny = linear / max(float(np.hypot(*linear)), 1e-6)
        for way, mask, opacity in ((-0.5, halves[0], 1.0), (0.5, halves[1], 1.0), (-0.5, halves[0], melt * strength)):
            move = translation(way * gap * nx, way * gap * ny)
            put(stage, index, move, mask=mask, opacity=opacity, settled=0.25, regrain=regrain)
        largest = max(largest, gap)
    return largest
