"""What stood behind a region: seen in other frames where it is, else grown from the surroundings.

The hidden background is painted once, on a plate in the anchor frame's coordinates, and the plate is carried along
by the motion of the ring around the region. Pixels of other frames come first; what no frame shows is copied from
the place beside the region whose border fits best, with the misfit at the border spread smoothly over the hole
(the membrane of seamless cloning; Perez et al. 2003, Farbman et al. 2009).
"""

from __future__ import annotations

import cv2
import numpy as np

from deeptrace.synth.affine import Affine, invert, then, translation
from deeptrace.synth.canvas import Crop, Stage
from deeptrace.synth.regions import Region, follow
from deeptrace.synth.scene import Scene

__all__ = ["Backfill", "push_pull"]

_SOURCES = 6  # other frames that are asked for the hidden background
_RING = 0.35  # width of the ring around the hole, in region sizes
_ROOM = 1.0  # how far the plate reaches beyond the hole, in region sizes: where fillings are looked for
_PATCHES = 4  # pieces that a hole is filled from at most
_CLONE = 16.0  # misfit at the border, in grey levels, up to which a piece is copied whole
_GAP = 28.0  # largest correction of a copied piece, in grey levels
_FIT = 14.0  # mean grey-level misfit in the ring above which another frame is no use


def push_pull(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Fill where `weight` is 0 smoothly from where it is 1, over a pyramid of halved sizes.

    Args:
        values: (h, w, 3) float32.
        weight: (h, w) float32 in [0, 1].
    """
    height, width = weight.shape
    if min(height, width) <= 2:
        total = float(weight.sum())
        mean = (values * weight[..., None]).sum(axis=(0, 1)) / total if total > 1e-6 else values.mean(axis=(0, 1))
        return np.asarray(weight[..., None] * values + (1 - weight[..., None]) * mean, dtype=np.float32)
    half = ((width + 1) // 2, (height + 1) // 2)
    light = cv2.resize(weight, half, interpolation=cv2.INTER_AREA)
    heavy = cv2.resize(values * weight[..., None], half, interpolation=cv2.INTER_AREA)
    coarse = push_pull(heavy / np.maximum(light, 1e-6)[..., None], np.minimum(light * 4, 1.0))
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(weight[..., None] * values + (1 - weight[..., None]) * smooth, dtype=np.float32)


class Backfill:
    """The background behind a stage's region.

    Args:
        stage: whose region is to be taken away.
        grow: how far the hole reaches over the region's border, in work pixels; holds shadows and soft edges.
    """

    def __init__(self, stage: Stage, *, grow: float = 3.0) -> None:
        self._stage = stage
        mask = stage.region.mask
        reach = 2 * max(1, round(grow)) + 1
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
        wide = cv2.GaussianBlur(cv2.dilate((mask > 0.25).astype(np.float32), disc), (0, 0), max(0.8, grow / 3))
        self.hole: np.ndarray = np.clip((wide - 0.05) / 0.7, 0, 1).astype(np.float32)
        self._region = Region(self.hole, stage.region.anchor, stage.region.path, stage.region.bounds)
        self._ring_path = _ring_path(stage.scene, self._region, stage)
        margin = max(6.0, _ROOM * stage.size_px)
        crop = stage.crop(stage.place(stage.region.anchor), margin + grow / stage.scene.scale)
        self._crop = crop if crop is not None else Crop(0, 0, *stage.frame_size)
        self._plate = self._paint_plate()

    def alpha(self, index: int, crop: Crop) -> np.ndarray:
        """(h, w) float32: the hole at frame `index`."""
        return self._stage.carried(self.hole, self._stage.place(index), crop)

    def crop(self, index: int) -> Crop | None:
        """Pixels that the hole and a ring around it reach at frame `index`."""
        grow = 6.0 / self._stage.scene.scale
        return self._stage.crop(self._stage.place(index), grow + 0.15 * self._stage.size_px)

    def at(self, index: int, crop: Crop) -> np.ndarray:
        """(h, w, 3) float32: frame `index` in `crop` with the region taken away."""
        frame = self._stage.scene.frames[index][crop.slices].astype(np.float32)
        anchor_to_frame = self._stage.to_video(self._ring_path[index])
        into = then(then(translation(self._crop.x0, self._crop.y0), anchor_to_frame), translation(-crop.x0, -crop.y0))
        plate = cv2.warpAffine(self._plate, into, crop.size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        ones = np.ones(self._plate.shape[:2], np.float32)
        known = cv2.warpAffine(ones, into, crop.size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        hole = self.alpha(index, crop)
        trust = ((hole < 0.02) & (known > 0.98)).astype(np.float32)
        return np.asarray(plate + np.clip(_spread(frame - plate, trust), -_GAP, _GAP), dtype=np.float32)

    # -- the plate --------------------------------------------------------------------------------------------

    def _paint_plate(self) -> np.ndarray:
        stage, crop, anchor = self._stage, self._crop, self._stage.region.anchor
        plate: np.ndarray = stage.scene.frames[anchor][crop.slices].astype(np.float32)
        unknown = (self.alpha(anchor, crop) > 0.01).astype(np.float32)
        ring = unknown < 0.5
        for index in self._other_frames():
            if unknown.max(initial=0.0) < 0.5:
                break
            seen, valid = self._seen_from(index, crop)
            shared = ring & (valid > 0.5)
            if shared.sum() < 30 or np.abs(seen - plate)[shared].mean() > _FIT:
                continue
            take = np.minimum(valid, unknown)
            fixed = seen + np.clip(_spread(plate - seen, shared.astype(np.float32)), -_GAP, _GAP)
            plate += take[..., None] * (fixed - plate)
            unknown = np.where(take > 0.5, 0.0, unknown).astype(np.float32)
        if unknown.max(initial=0.0) >= 0.5:
            plate = _grow_from_beside(plate, unknown)
        return plate

    def _other_frames(self) -> list[int]:
        shot, anchor = self._stage.span.shot, self._stage.region.anchor
        spread = np.unique(np.linspace(shot.start, shot.stop - 1, _SOURCES).round().astype(int))
        return sorted((int(i) for i in spread if i != anchor), key=lambda i: abs(i - anchor))

    def _seen_from(self, index: int, crop: Crop) -> tuple[np.ndarray, np.ndarray]:
        """Frame `index` brought to the anchor's coordinates, and (h, w) where it shows background."""
        stage = self._stage
        to_frame = then(translation(crop.x0, crop.y0), stage.to_video(self._ring_path[index]))
        frame = stage.scene.frames[index]
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        seen = cv2.warpAffine(frame, to_frame, crop.size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        inside = cv2.warpAffine(
            np.ones(frame.shape[:2], np.float32),
            to_frame,
            crop.size,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
        )
        hole_here = then(stage.place(index), invert(stage.to_video(self._ring_path[index])))
        hole = stage.carried(self.hole, hole_here, crop)
        return seen.astype(np.float32), ((hole < 0.02) & (inside > 0.99)).astype(np.float32)


def _ring_path(scene: Scene, region: Region, stage: Stage) -> list[Affine]:
    """How the background next to the region moves."""
    width = 2 * max(2, round(_RING * region.size)) + 1
    wide = cv2.dilate((region.mask > 0.02).astype(np.uint8), np.ones((width, width), np.uint8))
    ring = ((wide > 0) & (region.mask < 0.01)).astype(np.float32)
    return follow(scene, ring, region.anchor, stage.span.shot)


def _spread(difference: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """A smooth field that equals `difference` (h, w, 3) where `trust` is 1, made at a quarter of the size."""
    height, width = trust.shape
    small = (max(2, width // 4), max(2, height // 4))
    weight = cv2.resize(trust, small, interpolation=cv2.INTER_AREA)
    values = cv2.resize(difference * trust[..., None], small, interpolation=cv2.INTER_AREA)
    values = values / np.maximum(weight, 1e-6)[..., None]
    filled = push_pull(values.astype(np.float32), (weight > 0.4).astype(np.float32))
    return np.asarray(cv2.resize(filled, (width, height), interpolation=cv2.INTER_LINEAR))


def _grow_from_beside(plate: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """Fill the hole piece by piece from shifted copies of the picture, smoothly where no shift has room.

    Args:
        plate: (h, w, 3) float32.
        unknown: (h, w) float32, 1 in the hole.
    """
    hole = unknown > 0.5
    filled = plate
    for _ in range(_PATCHES):
        if not hole.any():
            return filled
        found = _best_shift(filled, hole)
        if found is None:
            break
        shifted, usable, gap = found
        smooth = push_pull(filled, (~hole).astype(np.float32))
        below = np.where(hole[..., None], smooth, filled)
        if gap < _CLONE:
            clone = shifted + np.clip(_spread(filled - shifted, (~hole & usable).astype(np.float32)), -_GAP, _GAP)
        else:  # nothing fits: other things would only stand there cut off, so take no more than their texture
            wide = max(2.0, 0.04 * max(hole.shape))
            clone = below + 0.8 * (shifted - cv2.GaussianBlur(shifted, (0, 0), wide))
        take = hole & usable
        soft = cv2.GaussianBlur(take.astype(np.float32), (0, 0), max(1.2, 0.015 * max(hole.shape)))
        soft = np.where(take, np.clip(2 * soft - 1, 0, 1), 0.0) if (hole & ~take).any() else take.astype(np.float32)
        filled = (below + soft[..., None] * (clone - below)).astype(np.float32)
        hole = hole & ~take
    if hole.any():
        filled = np.where(hole[..., None], push_pull(filled, (~hole).astype(np.float32)), filled)
    return np.asarray(filled, dtype=np.float32)


def _best_shift(plate: np.ndarray, hole: np.ndarray) -> tuple[np.ndarray, np.ndarray, float] | None:
    """The shifted picture that fits best at the hole's border, where it may be used, and its misfit there.

    Looked for at a low size; the misfit is in grey levels.
    """
    factor = max(1, round(max(hole.shape) / 80))
    size = (max(4, hole.shape[1] // factor), max(4, hole.shape[0] // factor))
    few = cv2.resize(plate, size, interpolation=cv2.INTER_AREA)
    gone = cv2.resize(hole.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.01
    rows, cols = np.flatnonzero(gone.any(axis=1)), np.flatnonzero(gone.any(axis=0))
    if not len(rows):
        return None
    tall, broad = rows[-1] - rows[0] + 1, cols[-1] - cols[0] + 1
    ring = (cv2.dilate(gone.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0) & ~gone
    best, best_gap, best_cost = None, np.inf, np.inf
    for turn in np.linspace(0, 2 * np.pi, 16, endpoint=False):
        for reach in (0.45, 0.7, 0.95, 1.15):
            dx, dy = round(np.cos(turn) * (broad + 2) * reach), round(np.sin(turn) * (tall + 2) * reach)
            usable = _shift((~gone).astype(np.float32), dx, dy, outside=0.0) > 0.5
            share, edge = float(usable[gone].mean()), ring & usable
            if share < 0.15 or edge.sum() < 6:
                continue
            gap = np.abs((_shift(few, dx, dy) - few)[edge]).mean()
            cost = float(gap) + 25.0 * (1 - share)
            if cost < best_cost:
                best, best_gap, best_cost = (dx * factor, dy * factor), float(gap), cost
    if best is None:
        return None
    usable = _shift((~hole).astype(np.float32), *best, outside=0.0) > 0.5
    return (_shift(plate, *best), usable, best_gap) if (usable & hole).any() else None


def _shift(picture: np.ndarray, dx: int, dy: int, outside: float | None = None) -> np.ndarray:
    """`picture` read at (x + dx, y + dy)."""
    size = (picture.shape[1], picture.shape[0])
    border = cv2.BORDER_REFLECT if outside is None else cv2.BORDER_CONSTANT
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(picture, translation(dx, dy), size, flags=flags, borderMode=border))
