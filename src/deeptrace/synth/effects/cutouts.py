"""Traces that move, double or remove a cut-out piece of the picture."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np

from deeptrace.synth.affine import Affine, about, then, translation
from deeptrace.synth.canvas import SUPPORT, Crop, Stage
from deeptrace.synth.effects.warps import sway
from deeptrace.synth.explain import Finding, pick
from deeptrace.synth.inpainting import Backfill, push_pull

__all__ = [
    "lift",
    "object_disappearance",
    "object_trajectory",
    "put",
    "redundant_object",
    "settle",
    "unexpected_move",
]

_TINT = 28.0  # largest change of colour that settling makes, in grey levels

Offset = Callable[[int, float], tuple[float, float]]


def lift(stage: Stage, index: int, move: Affine, crop: Crop) -> np.ndarray:
    """(h, w, 3) float32: frame `index` after `move` (video pixels), as seen in `crop`."""
    into = then(move, translation(-crop.x0, -crop.y0))
    frame = stage.scene.frames[index]
    moved = cv2.warpAffine(frame, into, crop.size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(moved, dtype=np.float32)


def settle(patch: np.ndarray, below: np.ndarray, alpha: np.ndarray, share: float) -> np.ndarray:
    """Draw the colours of `patch` towards what lies around it, most at its border, as a clone tool does.

    Args:
        patch: (h, w, 3) float32, what is to be laid over.
        below: (h, w, 3), what it is laid over.
        alpha: (h, w), where.
        share: 0 leaves the patch alone, 1 lets the border match in full.
    """
    band = ((alpha > SUPPORT) & (alpha < 0.45)).astype(np.float32)
    if band.sum() < 8:
        return patch
    height, width = alpha.shape
    small = (max(2, width // 3), max(2, height // 3))
    weight = cv2.resize(band, small, interpolation=cv2.INTER_AREA)
    gap = cv2.resize((below - patch) * band[..., None], small, interpolation=cv2.INTER_AREA)
    gap = gap / np.maximum(weight, 1e-6)[..., None]
    field = push_pull(gap.astype(np.float32), (weight > 0.3).astype(np.float32))
    spread = cv2.GaussianBlur(cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR), (0, 0), 2.0)
    return np.asarray(patch + np.float32(share) * np.clip(spread, -_TINT, _TINT), dtype=np.float32)


def put(
    stage: Stage,
    index: int,
    move: Affine,
    *,
    opacity: float = 1.0,
    mask: np.ndarray | None = None,
    settled: float = 0.0,
    regrain: float = 0.0,
    show: bool = True,
) -> None:
    """Lay the region, moved by `move` (video pixels), over frame `index`."""
    place = then(stage.place(index), move)
    crop = stage.crop(place)
    if crop is None:
        return
    alpha = stage.carried(stage.region.mask if mask is None else mask, place, crop)
    patch = lift(stage, index, move, crop)
    if settled > 0:
        patch = settle(patch, stage.out[index][crop.slices].astype(np.float32), alpha, settled)
    if regrain > 0:
        patch = patch + stage.grain.like(patch.shape, regrain)
    stage.paint(index, crop, patch, np.float32(opacity) * alpha)
    if show and opacity > SUPPORT:
        stage.show(index, crop, alpha)


def clear(stage: Stage, fill: Backfill, index: int, opacity: float) -> None:
    """Take the region out of frame `index`."""
    crop = fill.crop(index)
    if crop is not None and opacity > SUPPORT:
        patch = fill.at(index, crop) + stage.grain.like((crop.size[1], crop.size[0]), 0.5)
        stage.paint(index, crop, patch, np.float32(opacity) * fill.alpha(index, crop))


# -- paths ----------------------------------------------------------------------------------------------------------


def _hops(stage: Stage, reach: float) -> Offset:
    """Jumps to places at about `reach`, held for a few frames each."""
    rng, begin = stage.rng, stage.scene.times_s[stage.span.start]
    life = stage.scene.end_s(stage.span.stop - 1) - begin
    count = int(rng.integers(1, 5))
    ends = np.append(np.sort(rng.uniform(0, life, count - 1)), np.inf)
    turns = rng.uniform(0, 2 * math.pi) + np.cumsum(rng.uniform(1.6, 4.6, count))
    sizes = reach * rng.uniform(0.75, 1.0, count)

    def offset(index: int, _strength: float) -> tuple[float, float]:
        i = int(np.searchsorted(ends, stage.scene.times_s[index] - begin, side="right"))
        return float(sizes[i] * math.cos(turns[i])), float(sizes[i] * math.sin(turns[i]))

    return offset


def _jitter(stage: Stage, reach: float) -> Offset:
    """Shaking from frame to frame."""
    shake = stage.rng.uniform(-1, 1, (len(stage.scene.times_s), 2)) * 0.55 * reach

    def offset(index: int, _strength: float) -> tuple[float, float]:
        return float(shake[index, 0]), float(shake[index, 1])

    return offset


def _glide(stage: Stage, reach: float) -> Offset:
    """A slide away along a curve or a zigzag, faster than anything moves by itself."""
    rng, begin = stage.rng, stage.scene.times_s[stage.span.start]
    life = stage.scene.end_s(stage.span.stop - 1) - begin
    heading, curve = float(rng.uniform(0, 2 * math.pi)), float(rng.uniform(-1.2, 1.2))
    wiggle, rate = float(rng.uniform(0, 0.35)), 2 * math.pi * float(rng.uniform(0.6, 1.6))

    def offset(index: int, _strength: float) -> tuple[float, float]:
        life_s = stage.scene.times_s[index] - begin
        share = (life_s + stage.scene.frame_s) / max(life, 1e-6)
        turn = heading + curve * share
        side = wiggle * math.sin(rate * life_s)
        return (
            reach * (share * math.cos(turn) - side * math.sin(turn)),
            reach * (share * math.sin(turn) + side * math.cos(turn)),
        )

    return offset


def _reverse(stage: Stage, severity: float) -> Offset:
    """The thing's own way since the onset, taken backwards."""
    x0, y0 = stage.center_px(stage.span.start)

    def offset(index: int, _strength: float) -> tuple[float, float]:
        x, y = stage.center_px(index)
        return -2 * severity * (x - x0), -2 * severity * (y - y0)

    return offset


def _own_way_px(stage: Stage) -> float:
    points = np.array([stage.center_px(i) for i in range(stage.span.start, stage.span.stop)])
    return float(np.hypot(*(points - points[0]).T).max())


def _kept_inside(stage: Stage, index: int, offset: tuple[float, float]) -> tuple[float, float]:
    """The offset, shortened so that the region's centre stays in the picture."""
    (x, y), (width, height) = stage.center_px(index), stage.frame_size
    low_x, high_x = min(0.12 * width - x, 0.0), max(0.88 * width - x, 0.0)
    low_y, high_y = min(0.12 * height - y, 0.0), max(0.88 * height - y, 0.0)
    return float(np.clip(offset[0], low_x, high_x)), float(np.clip(offset[1], low_y, high_y))


def _move_along(stage: Stage, offset: Offset) -> tuple[float, float]:
    """Cut the region out, fill its place, and show it displaced.

    Returns:
        The largest offset and the largest step between neighbouring frames, in pixels.
    """
    fill, full = Backfill(stage), 0.12 * stage.size_px
    regrain = float(stage.rng.uniform(0.3, 0.6)) if stage.rng.random() < 0.6 else 0.0
    turn = float(stage.rng.uniform(-0.25, 0.25))
    largest, step, last = 0.0, 0.0, (0.0, 0.0)
    for index, strength in stage.active_frames():
        dx, dy = _kept_inside(stage, index, offset(index, strength))
        dx, dy = strength * dx, strength * dy
        far = math.hypot(dx, dy)
        clear(stage, fill, index, min(1.0, far / full))
        lean = turn * min(1.0, far / max(stage.size_px, 1.0))
        put(stage, index, about(stage.center_px(index), turn=lean, shift=(dx, dy)), settled=0.35, regrain=regrain)
        largest = max(largest, far)
        step = max(step, math.hypot(dx - last[0], dy - last[1]))
        last = (dx, dy)
    return largest, step


# -- effects --------------------------------------------------------------------------------------------------------


def object_trajectory(stage: Stage, severity: float) -> Finding:
    """A thing jumps, shakes, slides off or runs backwards where it could not."""
    reach = 0.5 + severity * 0.6 * stage.size_px
    kinds = ["jumps", "jumps", "shakes", "slides"]
    if _own_way_px(stage) > 0.25 * stage.size_px:
        kinds += ["runs", "runs"]
    kind = pick(stage.rng, kinds)
    if kind == "jumps":
        offset = _hops(stage, reach)
    elif kind == "shakes":
        offset = _jitter(stage, reach)
    elif kind == "slides":
        offset = _glide(stage, 1.4 * reach)
    else:
        offset = _reverse(stage, 0.004 + 0.996 * severity)
    largest, step = _move_along(stage, offset)
    words = {
        "jumps": "jumps from place to place without moving in between",
        "shakes": "shakes to and fro from frame to frame",
        "slides": "slides off its path without any cause",
        "runs": "runs its way backwards",
    }[kind]
    share = largest / stage.frame_size[0]
    return Finding(
        f"The object in the {{where}} {words} between {{begin}} and {{end}}; it is up to {largest:.1f} pixels "
        f"({100 * share:.1f} % of the frame's width) from where it should be.",
        {"offset_px": largest, "offset_of_width": share, "step_px": step},
    )


def unexpected_move(stage: Stage, severity: float) -> Finding:
    """A thing that stands still slides or sways by itself."""
    rng = stage.rng
    if rng.random() < 0.55:
        largest, verb = sway(stage, severity)
    else:
        reach = 0.4 + severity * 0.35 * stage.size_px
        verb = pick(rng, ("slides", "sways"))
        heading, rate = float(rng.uniform(0, 2 * math.pi)), 2 * math.pi * float(rng.uniform(0.35, 1.1))
        begin = stage.scene.times_s[stage.span.start]

        def offset(index: int, _strength: float) -> tuple[float, float]:
            life_s = stage.scene.times_s[index] - begin + 0.5 * stage.scene.frame_s
            size = reach if verb == "slides" else reach * math.sin(rate * life_s)
            return size * math.cos(heading), size * math.sin(heading)

        largest, _ = _move_along(stage, offset)
    share = largest / stage.frame_size[0]
    return Finding(
        f"The object in the {{where}}, which stood still, {verb} by itself between {{begin}} and {{end}}, "
        f"by up to {largest:.1f} pixels ({100 * share:.1f} % of the frame's width).",
        {"offset_px": largest, "offset_of_width": share},
    )


def object_disappearance(stage: Stage, severity: float) -> Finding:
    """A thing fades or dissolves into what is behind it."""
    rng, fill = stage.rng, Backfill(stage)
    most = 0.04 + 0.96 * min(1.0, severity / 0.75)
    dissolves = rng.random() < 0.4
    height, width = stage.region.mask.shape
    knots = rng.uniform(0, 1, (max(4, height // 9), max(4, width // 9))).astype(np.float32)
    order = cv2.resize(knots, (width, height), interpolation=cv2.INTER_CUBIC)
    area = gone = kept = 0.0
    for index, strength in stage.active_frames():
        crop = fill.crop(index)
        if crop is None:
            continue
        alpha = fill.alpha(index, crop)
        if dissolves and strength < 0.999:
            blotches = stage.carried(order, stage.place(index), crop)
            alpha = alpha * np.clip((1.5 * strength - 0.25 - blotches) / 0.2 + 0.5, 0, 1)
            opacity = most
        else:
            opacity = most * strength
        before = stage.scene.frames[index][crop.slices].astype(np.float32)
        patch = fill.at(index, crop)
        stage.paint(index, crop, patch + stage.grain.like(patch.shape, 0.6), np.float32(opacity) * alpha)
        stage.show(index, crop, np.float32(opacity) * alpha)
        if strength > 0.99:
            core = stage.carried(stage.region.mask, stage.place(index), crop) > 0.6
            contrast = np.abs(before - patch)[core].sum()
            kept += float(np.abs(stage.out[index][crop.slices] - patch)[core].sum())
            gone += float(contrast)
            area = max(area, float((alpha > 0.5).sum()) / (stage.frame_size[0] * stage.frame_size[1]))
    loss = float(np.clip(1 - kept / gone, 0, 1)) if gone > 0 else 0.0
    begin_s = float(stage.scene.times_s[stage.span.start])
    done = stage.span.start + int(np.argmax(stage.span.strength > 0.99))
    verb = "dissolves into the background" if dissolves else "fades away"
    return Finding(
        f"The object in the {{where}} {verb} between {begin_s:.2f} s and {stage.scene.end_s(done):.2f} s: "
        f"{100 * loss:.0f} % of its contrast is gone, over {100 * area:.1f} % of the frame.",
        {"contrast_loss": loss, "area": area, "begin_s": begin_s, "gone_s": float(stage.scene.end_s(done))},
    )


def redundant_object(stage: Stage, severity: float) -> Finding:
    """A second copy of a thing appears beside it and moves with it."""
    rng = stage.rng
    opacity = 0.05 + 0.95 * min(1.0, severity / 0.7)
    x0, y0, x1, y1 = (v / stage.scene.scale for v in stage.region.bounds)
    turn, zoom = float(rng.uniform(-0.3, 0.3)), float(rng.uniform(0.75, 1.08))
    flip = rng.random() < 0.4
    middle = (stage.span.start + stage.span.stop) // 2
    best, room = (0.0, 0.0), -1.0
    for heading in rng.uniform(0, 2 * math.pi, 6):
        reach = float(rng.uniform(0.75, 1.15))
        want = (reach * math.cos(heading) * (x1 - x0), reach * math.sin(heading) * (y1 - y0))
        kept = _kept_inside(stage, middle, want)
        if math.hypot(*kept) > room:
            best, room = kept, math.hypot(*kept)
    regrain = float(rng.uniform(0.3, 0.6)) if rng.random() < 0.6 else 0.0
    comes_out = rng.random() < 0.35
    settled = float(rng.uniform(0.3, 0.75))
    for index, strength in stage.active_frames():
        cx, cy = stage.center_px(index)
        dx, dy = _kept_inside(stage, index, best)
        if comes_out:
            dx, dy = strength * dx, strength * dy
        move = about((cx, cy), turn=turn, zoom=zoom, shift=(dx, dy))
        if flip:
            mirror = np.array([[-1.0, 0.0, 2 * cx], [0.0, 1.0, 0.0]])
            move = then(mirror, move)
        put(stage, index, move, opacity=opacity * strength, settled=settled, regrain=regrain)
    share = room / stage.frame_size[0]
    verb = "comes out of it" if comes_out else "appears beside it"
    return Finding(
        f"A second copy of the object near it in the {{where}} {verb} and moves with it between {{begin}} and "
        f"{{end}}, {room:.0f} pixels ({100 * share:.1f} % of the frame's width) away from the first.",
        {"distance_px": room, "distance_of_width": share, "opacity": opacity},
    )
