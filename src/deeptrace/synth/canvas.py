"""Where an effect paints: the output frames, what it has touched, and how the region's mask reaches each frame.

An effect draws its parameters once and then paints frame by frame. Only pixels inside the alpha it hands over are
written, so everything else keeps its bytes; what was written is the ground truth.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np

from deeptrace.synth.affine import Affine, scaling, then, translation
from deeptrace.synth.grain import Grain
from deeptrace.synth.regions import Region
from deeptrace.synth.scene import Scene
from deeptrace.synth.timing import Span

__all__ = ["CORE", "SUPPORT", "Crop", "Stage"]

SUPPORT = 1.0 / 64  # alpha below which nothing is written
CORE = 0.3  # alpha from which a person sees the change: the boxes of a trace enclose it


@dataclass(frozen=True)
class Crop:
    """Whole pixels [x0, x1) x [y0, y1) of a frame."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, for indexing a frame."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.x1 - self.x0, self.y1 - self.y0


@dataclass
class Stage:
    """One injection in the making.

    Attributes:
        scene: the clip as it was.
        span: frames of the trace and its strength in each.
        region: the thing that it is attached to.
        rng: source of every choice.
        grain: the clip's noise.
        out: (T, H, W, 3) uint8, the clip with the trace.
        mask: (T, H, W) bool, pixels that were written.
        seen: per frame, x0, y0, x1, y1 in pixels of what a person sees of the trace.
    """

    scene: Scene
    span: Span
    region: Region
    rng: np.random.Generator
    grain: Grain
    out: np.ndarray = field(init=False)
    mask: np.ndarray = field(init=False)
    seen: dict[int, tuple[int, int, int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.out = self.scene.frames.copy()
        self.mask = np.zeros(self.scene.frames.shape[:3], bool)

    @property
    def frame_size(self) -> tuple[int, int]:
        """(width, height) of the video."""
        return self.scene.frames.shape[2], self.scene.frames.shape[1]

    @property
    def size_px(self) -> float:
        """Square root of the region's area, in video pixels."""
        return self.region.size / self.scene.scale

    def active_frames(self) -> Iterator[tuple[int, float]]:
        """Frame indices of the trace's life with the envelope's strength in (0, 1]."""
        for index in range(self.span.start, self.span.stop):
            strength = self.span.strength[index - self.span.start]
            if strength > 0 and self.region.visible(index) > 0.05:
                yield index, float(strength)

    # -- geometry ---------------------------------------------------------------------------------------------

    def to_video(self, m: Affine) -> Affine:
        """A map between work pixels as one between video pixels (pixel centres at whole numbers)."""
        s = self.scene.scale
        up = then(translation(0.5, 0.5), then(scaling(1 / s), translation(-0.5, -0.5)))
        down = then(translation(0.5, 0.5), then(scaling(s), translation(-0.5, -0.5)))
        return then(then(down, m), up)

    def place(self, index: int) -> Affine:
        """From work pixels of the anchor frame to video pixels of frame `index`."""
        s = self.scene.scale
        up = then(translation(0.5, 0.5), then(scaling(1 / s), translation(-0.5, -0.5)))
        return then(self.region.path[index], up)

    def center_px(self, index: int) -> tuple[float, float]:
        """The region's centre at frame `index`, in video pixels."""
        x, y = self.region.center_at(index)
        return (x + 0.5) / self.scene.scale - 0.5, (y + 0.5) / self.scene.scale - 0.5

    def crop(self, m: Affine, margin: float = 0.0) -> Crop | None:
        """The frame's pixels that the region's mask may reach when placed by `m` (anchor work to video pixels).

        Args:
            m: where the mask is put.
            margin: video pixels added on each side.

        Returns:
            None when it lies outside of the frame.
        """
        ys, xs = np.nonzero(self.region.mask > SUPPORT / 2)
        x0, y0, x1, y1 = xs.min() - 1.0, ys.min() - 1.0, xs.max() + 1.0, ys.max() + 1.0
        corners = np.array([[x0, y0], [x1, y0], [x0, y1], [x1, y1]]) @ m[:, :2].T + m[:, 2]
        low, high = np.floor(corners.min(axis=0) - margin), np.ceil(corners.max(axis=0) + margin) + 1
        width, height = self.frame_size
        cx0, cy0 = int(np.clip(low[0], 0, width)), int(np.clip(low[1], 0, height))
        cx1, cy1 = int(np.clip(high[0], 0, width)), int(np.clip(high[1], 0, height))
        return Crop(cx0, cy0, cx1, cy1) if cx1 - cx0 >= 2 and cy1 - cy0 >= 2 else None

    def carried(self, field_: np.ndarray, m: Affine, crop: Crop) -> np.ndarray:
        """A work-size field (h, w) or (h, w, c) of the anchor frame, placed by `m` and cut to `crop`; 0 outside."""
        into = then(m, translation(-crop.x0, -crop.y0))
        return cv2.warpAffine(field_, into, crop.size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)

    # -- painting ---------------------------------------------------------------------------------------------

    def paint(self, index: int, crop: Crop, patch: np.ndarray, alpha: np.ndarray) -> None:
        """Blend `patch` (h, w, 3) float32 over frame `index` in `crop` by `alpha` (h, w) and note what was written.

        Successive calls on one frame blend over each other.
        """
        touched = alpha > SUPPORT
        if not touched.any():
            return
        rows, cols = crop.slices
        below = self.out[index, rows, cols]
        a = np.where(touched, alpha, 0.0)[..., None]
        blended = np.rint(np.clip(below + a * (patch - below), 0, 255)).astype(np.uint8)
        self.out[index, rows, cols] = np.where(touched[..., None], blended, below)
        self.mask[index, rows, cols] |= touched

    def show(self, index: int, crop: Crop, alpha: np.ndarray, level: float = CORE) -> None:
        """Widen the trace's box at frame `index` to where `alpha` reaches `level` (or its own top, if lower)."""
        top = float(alpha.max(initial=0.0))
        if top <= SUPPORT:
            return
        core = alpha >= min(level, 0.7 * top)
        cols, rows = np.flatnonzero(core.any(axis=0)), np.flatnonzero(core.any(axis=1))
        box = (
            crop.x0 + int(cols[0]),
            crop.y0 + int(rows[0]),
            crop.x0 + int(cols[-1]) + 1,
            crop.y0 + int(rows[-1]) + 1,
        )
        old = self.seen.get(index, box)
        self.seen[index] = (min(box[0], old[0]), min(box[1], old[1]), max(box[2], old[2]), max(box[3], old[3]))
