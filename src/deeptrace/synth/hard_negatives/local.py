"""Hard negatives that work on a region just as traces do, yet leave nothing that a person would call one.

Each goes through the same soft masks, tracking, resampling and blending as a trace. What is left to learn is what
the trace itself does, not that something was resampled, blended or coded there.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np

from deeptrace.synth.canvas import Crop, Stage
from deeptrace.synth.effects.blurs import lose_detail
from deeptrace.synth.inject import prepare
from deeptrace.synth.scene import Scene
from deeptrace.synth.timing import Span

__all__ = ["region_blur", "region_grain", "region_light", "region_recode", "region_resample", "region_warp"]

Patch = Callable[[np.ndarray, Crop, int, Stage], np.ndarray]


def _on_region(
    frames: np.ndarray, times_s: np.ndarray, rng: np.random.Generator, patch: Patch, *, whole: bool
) -> np.ndarray:
    """Lay `patch` over a tracked region, in each shot from its first to its last frame, or over a part of one shot.

    Frames without anything to hold on to stay as they are.
    """
    scene = Scene.of(frames, times_s)
    area = float(np.clip(np.exp(rng.normal(np.log(0.09), 0.7)), 0.015, 0.4))
    out = scene.frames
    shots = scene.shots if whole else [scene.shots[int(rng.integers(len(scene.shots)))]]
    for shot in shots:
        if len(shot) < 2:
            continue
        span = Span.whole(scene, shot)
        if not whole:
            count = max(2, round(float(rng.uniform(0.2, 1.0)) * len(shot)))
            start = shot.start + int(rng.integers(0, len(shot) - count + 1))
            span = span.within(start, start + count)
        stage = prepare(scene, span, "any", area, float(rng.uniform(1.6, 4.5)), rng)
        if stage is None:
            continue
        for index in range(span.start, span.stop):
            place = stage.place(index)
            crop = stage.crop(place)
            if crop is None:
                continue
            alpha = np.clip(1.5 * stage.carried(stage.region.mask, place, crop), 0, 1)
            frame = scene.frames[index]
            stage.paint(index, crop, patch(frame, crop, index, stage), alpha)
        out = np.where(stage.mask[..., None], stage.out, out)
    return np.array(out)


def region_resample(frames: np.ndarray, times_s: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Shifted by part of a pixel and back again, with or without fresh noise: resampled, yet unmoved."""
    dx, dy = (float(v) for v in rng.uniform(0.2, 0.5, 2))
    regrain = float(rng.uniform(0.3, 0.8)) if rng.random() < 0.6 else 0.0
    flags = (cv2.INTER_CUBIC, cv2.INTER_LINEAR)[int(rng.random() < 0.4 * strength)]

    def patch(frame: np.ndarray, crop: Crop, _index: int, stage: Stage) -> np.ndarray:
        wide = _wide(frame, crop, 4)
        there = cv2.warpAffine(
            wide, np.array([[1, 0, dx], [0, 1, dy]]), wide.shape[1::-1], flags=flags, borderMode=cv2.BORDER_REFLECT
        )
        back = cv2.warpAffine(
            there, np.array([[1, 0, -dx], [0, 1, -dy]]), wide.shape[1::-1], flags=flags, borderMode=cv2.BORDER_REFLECT
        )
        same = _inner(back, crop, 4)
        return np.asarray(same + stage.grain.like(same.shape, regrain)) if regrain else same

    return _on_region(frames, times_s, rng, patch, whole=rng.random() < 0.4)


def region_grain(frames: np.ndarray, times_s: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Other noise than around it: taken away lightly, put back stronger or weaker."""
    share = float(rng.uniform(0.2, 1.0 + 1.2 * strength))
    soft = float(rng.uniform(0.3, 0.65))

    def patch(frame: np.ndarray, crop: Crop, _index: int, stage: Stage) -> np.ndarray:
        smooth = cv2.GaussianBlur(_wide(frame, crop, 4).astype(np.float32), (0, 0), soft)
        same = _inner(smooth, crop, 4)
        return np.asarray(same + stage.grain.like(same.shape, share))

    return _on_region(frames, times_s, rng, patch, whole=rng.random() < 0.4)


def region_recode(frames: np.ndarray, times_s: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Coded worse than around it, as codecs do to parts of a picture."""
    quality = round(80 - 45 * strength * float(rng.uniform(0.4, 1.0)))

    def patch(frame: np.ndarray, crop: Crop, _index: int, _stage: Stage) -> np.ndarray:
        piece = np.ascontiguousarray(frame[crop.slices])
        _, coded = cv2.imencode(".jpg", piece, [cv2.IMWRITE_JPEG_QUALITY, quality])
        return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), dtype=np.float32)

    return _on_region(frames, times_s, rng, patch, whole=rng.random() < 0.5)


def region_blur(frames: np.ndarray, times_s: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Soft from the first frame of a shot to its last: out of focus, not a loss of sharpness."""
    kind = ("soft", "soft", "coarse", "streak", "waxy")[int(rng.integers(5))]
    heading, grain = float(rng.uniform(0, math.pi)), float(rng.uniform(0.0, 1.1))

    def patch(frame: np.ndarray, crop: Crop, _index: int, stage: Stage) -> np.ndarray:
        scale = min(stage.size_px, 0.3 * stage.frame_size[0])
        soft = lose_detail(frame, crop.slices, kind, 0.1 + 0.8 * strength, scale, heading)
        return np.asarray(soft + stage.grain.like(soft.shape, grain))

    return _on_region(frames, times_s, rng, patch, whole=True)


def region_warp(frames: np.ndarray, times_s: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Bent in the same way from the first frame of a shot to its last: a thing of another shape, not a distortion."""
    knots = rng.uniform(-1, 1, (4, 4, 2)).astype(np.float32)

    def patch(frame: np.ndarray, crop: Crop, index: int, stage: Stage) -> np.ndarray:
        region = stage.region
        x0, y0, x1, y1 = (round(v) for v in region.bounds)
        field = np.zeros((*region.mask.shape, 2), np.float32)
        field[y0:y1, x0:x1] = cv2.resize(knots, (x1 - x0, y1 - y0), interpolation=cv2.INTER_CUBIC)
        field *= region.mask[..., None] * np.float32(0.09 * strength * stage.size_px)
        shift = stage.carried(field, stage.place(index), crop) @ region.path[index][:, :2].T.astype(np.float32)
        ys, xs = np.mgrid[crop.y0 : crop.y1, crop.x0 : crop.x1].astype(np.float32)
        xmap, ymap = (xs + shift[..., 0]).astype(np.float32), (ys + shift[..., 1]).astype(np.float32)
        bent = cv2.remap(frame, xmap, ymap, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT).astype(np.float32)
        return np.asarray(bent + stage.grain.like(bent.shape, 0.4))

    return _on_region(frames, times_s, rng, patch, whole=True)


def region_light(frames: np.ndarray, times_s: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """A light or a shadow that falls on a region, stays or passes."""
    count = len(frames)
    most = 0.35 * strength * float(rng.uniform(-1, 1))
    middle, width = float(rng.uniform(0, count)), float(rng.uniform(0.1, 0.6)) * count
    passing = rng.random() < 0.6

    def patch(frame: np.ndarray, crop: Crop, index: int, _stage: Stage) -> np.ndarray:
        share = math.exp(-(((index - middle) / width) ** 2)) if passing else 1.0
        return np.asarray(frame[crop.slices].astype(np.float32) * np.float32(1 + most * share))

    return _on_region(frames, times_s, rng, patch, whole=rng.random() < 0.5)


def _wide(frame: np.ndarray, crop: Crop, margin: int) -> np.ndarray:
    """The crop with `margin` pixels around it, as far as the frame has them."""
    top, left = max(crop.y0 - margin, 0), max(crop.x0 - margin, 0)
    return frame[top : crop.y1 + margin, left : crop.x1 + margin]


def _inner(wide: np.ndarray, crop: Crop, margin: int) -> np.ndarray:
    """What lies in the crop of a picture made from `_wide`."""
    top, left = crop.y0 - max(crop.y0 - margin, 0), crop.x0 - max(crop.x0 - margin, 0)
    width, height = crop.size
    return np.asarray(wide[top : top + height, left : left + width], dtype=np.float32)
