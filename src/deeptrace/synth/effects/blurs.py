"""Sudden blurring: a region loses its detail, as generators lose it, and may get it back."""

from __future__ import annotations

import cv2
import numpy as np

from deeptrace.synth.canvas import Stage
from deeptrace.synth.explain import Finding, pick

__all__ = ["sudden_blurring"]


def sharpness(picture: np.ndarray, weight: np.ndarray) -> float:
    """Root mean square of the Laplacian of the lightly smoothed luma, over `weight`; in grey levels.

    Args:
        picture: (h, w, 3) uint8 or float32 RGB.
        weight: (h, w) in [0, 1].
    """
    gray = cv2.cvtColor(np.clip(picture, 0, 255).astype(np.float32), cv2.COLOR_RGB2GRAY)
    edges = cv2.Laplacian(cv2.GaussianBlur(gray, (0, 0), 1.0), cv2.CV_32F)
    total = float(weight.sum())
    return float(np.sqrt((weight * edges * edges).sum() / total)) if total > 0 else 0.0


def sudden_blurring(stage: Stage, severity: float) -> Finding:
    """The region's detail goes, by one of several losses; its noise may stay, so that noise alone tells nothing."""
    rng = stage.rng
    kind = pick(rng, ("soft", "soft", "coarse", "streak", "waxy"))
    scale = float(rng.uniform(0.7, 1.2)) * min(stage.size_px, 0.3 * stage.frame_size[0])
    heading = float(rng.uniform(0, np.pi))
    grain = float(rng.uniform(0.75, 1.1)) if rng.random() < 0.65 else float(rng.uniform(0.0, 0.4))
    before = after = 0.0
    for index, strength in stage.active_frames():
        place = stage.place(index)
        crop = stage.crop(place)
        if crop is None:
            continue
        alpha = np.clip(1.6 * stage.carried(stage.region.mask, place, crop), 0, 1)
        frame = stage.scene.frames[index]
        patch = lose_detail(frame, crop.slices, kind, strength * (0.02 + 0.98 * severity), scale, heading)
        patch += stage.grain.like(patch.shape, grain * min(1.0, 2 * severity * strength))
        stage.paint(index, crop, patch, alpha)
        stage.show(index, crop, alpha)
        if strength > 0.99:
            core = (alpha > 0.9).astype(np.float32)
            before += sharpness(frame[crop.slices], core)
            after += sharpness(stage.out[index][crop.slices], core)
    loss = 1 - after / before if before > 0 else 0.0
    begin_s = stage.scene.times_s[stage.span.start]
    full = int(np.argmax(stage.span.strength > 0.99))
    gone_s = stage.scene.end_s(stage.span.start + full)
    what = {
        "soft": "goes out of focus",
        "coarse": "turns coarse, as if enlarged from fewer pixels",
        "streak": "smears in one direction",
        "waxy": "turns waxy, its fine texture gone",
    }[kind]
    if loss < 0.02:
        text = f"The object in the {{where}} {what} very slightly between {{begin}} and {{end}}."
        return Finding(text, {"sharpness_loss": loss})
    when = f"between {begin_s:.2f} s and {gone_s:.2f} s"
    return Finding(
        f"The object in the {{where}} loses {100 * loss:.0f} % of its sharpness {when} and {what}.",
        {"sharpness_loss": loss, "begin_s": float(begin_s), "gone_s": float(gone_s)},
    )


def lose_detail(
    frame: np.ndarray, where: tuple[slice, slice], kind: str, amount: float, scale: float, heading: float
) -> np.ndarray:
    """A part of a frame with less detail.

    Args:
        frame: (H, W, 3) uint8.
        where: rows and columns of the part.
        kind: "soft" (Gaussian), "coarse" (fewer pixels), "streak" (along `heading`), "waxy" (median).
        amount: 0 for next to nothing, 1 for the most.
        scale: size of the thing in pixels, to which the loss is in proportion.
        heading: radians.

    Returns:
        (h, w, 3) float32.
    """
    rows, cols = where
    margin = max(4, round(0.15 * scale))
    top, left = max(rows.start - margin, 0), max(cols.start - margin, 0)
    wide = frame[top : rows.stop + margin, left : cols.stop + margin]
    if kind == "soft":
        lost = cv2.GaussianBlur(wide.astype(np.float32), (0, 0), 0.25 + amount * 0.045 * scale)
    elif kind == "coarse":
        factor = 1 + amount * 0.09 * scale
        size = (max(2, round(wide.shape[1] / factor)), max(2, round(wide.shape[0] / factor)))
        few = cv2.resize(wide, size, interpolation=cv2.INTER_AREA)
        lost = cv2.resize(few, (wide.shape[1], wide.shape[0]), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    elif kind == "streak":
        lost = cv2.filter2D(wide.astype(np.float32), -1, _line(1 + amount * 0.2 * scale, heading))
    else:
        reach = 2 * max(1, round(0.035 * scale)) + 1
        smooth = cv2.medianBlur(cv2.medianBlur(wide, reach), reach).astype(np.float32)
        lost = wide + np.float32(min(1.0, 1.15 * amount)) * (smooth - wide)
    return np.asarray(lost[rows.start - top : rows.stop - top, cols.start - left : cols.stop - left], dtype=np.float32)


def _line(length: float, heading: float) -> np.ndarray:
    """A blur kernel of `length` pixels along `heading`."""
    half = int(np.ceil(length / 2)) + 1
    ys, xs = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32)
    along, across = xs * np.cos(heading) + ys * np.sin(heading), -xs * np.sin(heading) + ys * np.cos(heading)
    kernel = np.clip(length / 2 + 0.5 - np.abs(along), 0, 1) * np.clip(1 - np.abs(across), 0, 1)
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)
