"""Traces that bend the picture: object distortion, background distortion, things that sway by themselves.

A warp is a sum of displacement fields in the coordinates of the region's anchor frame, each with a course over
time, that falls to zero at the region's soft border. Output pixel x shows what the frame has at x + displacement.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from deeptrace.synth.canvas import Stage
from deeptrace.synth.explain import Finding, pick

__all__ = ["Warp", "background_distortion", "object_distortion", "paint_warp", "sway"]

Course = Callable[[float], float]


@dataclass(frozen=True)
class Warp:
    """Displacement fields (h, w, 2) float32 in video pixels on the anchor's work grid, each with its course."""

    fields: list[np.ndarray]
    courses: list[Course]

    def at(self, life_s: float, strength: float) -> np.ndarray:
        """(h, w, 2): the displacement `life_s` seconds after the onset."""
        total = np.zeros_like(self.fields[0])
        for field, course in zip(self.fields, self.courses, strict=True):
            total += np.float32(strength * course(life_s)) * field
        return total


def paint_warp(stage: Stage, warp: Warp, *, regrain: float, smear: float = 0.0) -> float:
    """Warp every frame of the trace.

    Args:
        stage: where to paint; its region's mask bounds the warp.
        warp: what to do.
        regrain: share of the clip's noise that is put back where pixels were resampled.
        smear: sigma in pixels of a loss of detail that goes with the warp.

    Returns:
        The largest displacement painted, in video pixels.
    """
    largest = 0.0
    begin = stage.scene.times_s[stage.span.start]
    visible = _visible_part(stage, warp)
    for index, strength in stage.active_frames():
        place = stage.place(index)
        crop = stage.crop(place)
        if crop is None:
            continue
        shift = stage.carried(warp.at(float(stage.scene.times_s[index] - begin), strength), place, crop)
        shift = shift @ stage.region.path[index][:, :2].T.astype(np.float32)
        alpha = np.clip(3.0 * stage.carried(stage.region.mask, place, crop), 0, 1)
        ys, xs = np.mgrid[crop.y0 : crop.y1, crop.x0 : crop.x1].astype(np.float32)
        frame = stage.scene.frames[index]
        patch = cv2.remap(
            frame,
            (xs + shift[..., 0]).astype(np.float32),
            (ys + shift[..., 1]).astype(np.float32),
            cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REFLECT,
        ).astype(np.float32)
        if smear > 0:
            patch = cv2.GaussianBlur(patch, (0, 0), smear * math.sqrt(strength) + 0.01)
        if regrain > 0:
            moved = np.clip(np.hypot(shift[..., 0], shift[..., 1]) * 2, 0, 1)[..., None]
            patch += moved * stage.grain.like(patch.shape, regrain)
        stage.paint(index, crop, patch, alpha)
        stage.show(index, crop, stage.carried(visible, place, crop))
        largest = max(largest, float(np.hypot(shift[..., 0], shift[..., 1])[alpha > 0.02].max(initial=0.0)))
    return largest


def _visible_part(stage: Stage, warp: Warp) -> np.ndarray:
    """(h, w) float32 in [0, 1]: how much each place is ever displaced, against the most."""
    power = np.zeros_like(stage.region.mask)
    for field in warp.fields:
        power = np.maximum(power, np.hypot(field[..., 0], field[..., 1]))
    return np.asarray(power / max(float(power.max()), 1e-6), dtype=np.float32)


# -- fields ---------------------------------------------------------------------------------------------------------


def _coordinates(stage: Stage) -> tuple[np.ndarray, np.ndarray]:
    """(h, w) u, v: -1..1 across the region's bounds at the anchor."""
    height, width = stage.region.mask.shape
    x0, y0, x1, y1 = stage.region.bounds
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    return (2 * (xs - x0) / (x1 - x0) - 1), (2 * (ys - y0) / (y1 - y0) - 1)


def _bumps(stage: Stage, cells: int) -> np.ndarray:
    """(h, w) float32 smooth noise of about unit amplitude, with `cells` control points across the region."""
    x0, y0, x1, y1 = stage.region.bounds
    size = (max(2, round(x1 - x0)) + 8, max(2, round(y1 - y0)) + 8)
    knots = stage.rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
    knots /= max(float(np.abs(knots).max()), 1e-6)
    patch = cv2.resize(knots, size, interpolation=cv2.INTER_CUBIC)
    height, width = stage.region.mask.shape
    into = np.array([[1.0, 0.0, x0 - 4], [0.0, 1.0, y0 - 4]])
    return np.asarray(cv2.warpAffine(patch, into, (width, height), borderMode=cv2.BORDER_REPLICATE))


def _scaled(stage: Stage, dx: np.ndarray, dy: np.ndarray, reach_px: float) -> np.ndarray:
    """The field under the mask, scaled so that its largest vector has `reach_px`."""
    field = np.dstack([dx, dy]).astype(np.float32) * stage.region.mask[..., None]
    top = float(np.hypot(field[..., 0], field[..., 1]).max())
    return np.asarray(field * np.float32(reach_px / max(top, 1e-6)))


def _wave(rng: np.random.Generator, low_hz: float, high_hz: float) -> Course:
    rate = 2 * math.pi * math.exp(rng.uniform(math.log(low_hz), math.log(high_hz)))
    phase = float(rng.uniform(0, 2 * math.pi))
    return lambda life_s: math.sin(rate * life_s + phase)


# -- effects --------------------------------------------------------------------------------------------------------


def object_distortion(stage: Stage, severity: float) -> Finding:
    """A thing melts, bends, stretches, swells, twists or wobbles, more and more, and never quite holds still."""
    rng, reach = stage.rng, 0.4 + severity * 0.24 * stage.size_px
    u, v = _coordinates(stage)
    kind = pick(rng, ("melt", "bend", "stretch", "swell", "twist", "wobble", "wobble"))
    tilt = float(rng.uniform(0, 2 * math.pi))
    cx, cy = math.cos(tilt), math.sin(tilt)
    along, across = u * cx + v * cy, -u * cy + v * cx
    if kind == "melt":
        sag = (0.45 + np.abs(_bumps(stage, 5))) * (v + 1.2)
        dx, dy = 0.25 * _bumps(stage, 4), -sag
    elif kind == "bend":
        bow = np.sin(rng.uniform(1.2, 2.6) * along + rng.uniform(0, math.pi))
        dx, dy = -cy * bow, cx * bow
    elif kind == "stretch":
        dx, dy = -along * cx + 0.4 * across * cy, -along * cy - 0.4 * across * cx
    elif kind == "swell":
        way = 1.0 if rng.random() < 0.5 else -1.0
        dx, dy = way * u * (1.3 - 0.6 * np.hypot(u, v)), way * v * (1.3 - 0.6 * np.hypot(u, v))
    elif kind == "twist":
        dx, dy = -v * np.exp(-(u * u + v * v)), u * np.exp(-(u * u + v * v))
    else:
        dx, dy = _bumps(stage, 4), _bumps(stage, 4)
    cells = int(rng.integers(3, 6))
    pulse, depth = _wave(rng, 0.4, 1.4), float(rng.uniform(0.15, 0.5))
    base: Course = _wave(rng, 0.5, 1.6) if kind == "wobble" else (lambda s: 1.0 - depth + depth * pulse(s))
    fields = [_scaled(stage, dx, dy, reach)]
    courses: list[Course] = [base]
    for _ in range(2):
        fields.append(_scaled(stage, _bumps(stage, cells), _bumps(stage, cells), 0.45 * reach))
        courses.append(_wave(rng, 0.6, 2.5))
    smear = float(rng.uniform(0.4, 1.1)) * severity if rng.random() < 0.4 else 0.0
    regrain = float(rng.uniform(0.3, 0.7)) if rng.random() < 0.65 else 0.0
    largest = paint_warp(stage, Warp(fields, courses), regrain=regrain, smear=smear)
    verb = {
        "melt": ("sags and melts", "runs downwards like wax"),
        "bend": ("bends as if it were rubber", "buckles out of shape"),
        "stretch": ("is stretched out of shape", "is pulled long and thin"),
        "swell": ("swells and shrinks", "changes its size from within"),
        "twist": ("twists around itself", "is wrung out of shape"),
        "wobble": ("wobbles and changes its shape", "flows from one shape into another"),
    }[kind]
    share = largest / stage.frame_size[0]
    return Finding(
        f"The object in the {{where}} {pick(rng, verb)} between {{begin}} and {{end}}: "
        f"parts of it shift by up to {largest:.1f} pixels ({100 * share:.1f} % of the frame's width).",
        {"shift_px": largest, "shift_of_width": share},
    )


def background_distortion(stage: Stage, severity: float) -> Finding:
    """The background around a thing ripples, or is dragged along, while the thing itself keeps its shape."""
    rng, thing = stage.rng, stage.region
    band = float(rng.uniform(0.35, 0.75)) * thing.size
    core = (thing.mask > 0.4).astype(np.uint8)
    far = cv2.distanceTransform(1 - core, cv2.DIST_L2, 5)
    near = np.clip(far / 3.0, 0, 1) * np.clip((band - far) / (0.6 * band), 0, 1)
    patchy = np.clip(0.75 + 0.6 * _bumps(stage, 4), 0.1, 1.0)
    ring = cv2.GaussianBlur((near * patchy).astype(np.float32), (0, 0), 1.0)
    ys, xs = np.nonzero(ring > 0.3)
    if len(xs) > 12:
        bounds = (float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1))
        stage.region = replace(thing, mask=ring / max(float(ring.max()), 1e-6), bounds=bounds)
    reach = 0.4 + severity * 0.13 * stage.size_px
    smooth = cv2.GaussianBlur(far, (0, 0), 2.0)
    nx, ny = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    length = np.maximum(np.hypot(nx, ny), 1e-3)
    nx, ny = nx / length, ny / length
    wave = 2 * math.pi / float(rng.uniform(0.45, 1.1) * band)
    rate = 2 * math.pi * float(rng.uniform(0.7, 2.2))
    wander = _bumps(stage, 3) * 1.5
    fields = [
        _scaled(stage, nx * np.sin(wave * far + wander), ny * np.sin(wave * far + wander), 0.8 * reach),
        _scaled(stage, nx * np.cos(wave * far + wander), ny * np.cos(wave * far + wander), 0.8 * reach),
        _scaled(stage, _bumps(stage, 5), _bumps(stage, 5), 0.6 * reach),
    ]
    courses: list[Course] = [lambda s: math.cos(rate * s), lambda s: -math.sin(rate * s), _wave(rng, 0.6, 2.2)]
    regrain = float(rng.uniform(0.3, 0.7)) if rng.random() < 0.65 else 0.0
    largest = paint_warp(stage, Warp(fields, courses), regrain=regrain)
    share = largest / stage.frame_size[0]
    verb = pick(rng, ("ripples like water", "warps and wavers", "is bent back and forth"))
    return Finding(
        f"The background around the object in the {{where}} {verb} between {{begin}} and {{end}}, "
        f"by up to {largest:.1f} pixels ({100 * share:.1f} % of the frame's width).",
        {"shift_px": largest, "shift_of_width": share},
    )


def sway(stage: Stage, severity: float) -> tuple[float, str]:
    """Move the region softly to and fro, or slide it, stretching what lies at its border.

    Returns:
        The largest shift in pixels, and "sways" or "slides".
    """
    rng = stage.rng
    heading = float(rng.uniform(0, 2 * math.pi))
    reach = 0.4 + severity * 0.22 * stage.size_px
    u, v = _coordinates(stage)
    lean = float(rng.uniform(-0.5, 0.5))
    dx, dy = math.cos(heading) + lean * -v, math.sin(heading) + lean * u
    field = _scaled(stage, dx * np.ones_like(u), dy * np.ones_like(u), reach)
    slides = rng.random() < 0.45
    rate = 2 * math.pi * float(rng.uniform(0.35, 1.2))
    course: Course = (lambda _: 1.0) if slides else (lambda s: math.sin(rate * s))
    regrain = float(rng.uniform(0.3, 0.7)) if rng.random() < 0.65 else 0.0
    largest = paint_warp(stage, Warp([field], [course]), regrain=regrain)
    return largest, "slides" if slides else "sways"
