"""Choose a piece of the picture by its content, and follow it through the clip.

A few regions are grown from seeds and the one that stands out most is taken. Cells of a coarse grid are nodes of a
graph; a step to a neighbour costs little where colour and motion stay the same and much where they change. The cells
nearest to the seed, up to the size at which the next ones lie farthest away, are a piece of the picture that ends at
outlines.

The region is then carried along by robust similarity fits to the optical flow inside it, which keep its shape from
dissolving over many frames, and `held` says for how long it still shows the same thing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from scipy.ndimage import binary_fill_holes
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

from deeptrace.synth.affine import Affine, apply, fit_similarity, identity, invert, then, translation
from deeptrace.synth.scene import Scene, Shot, carry

__all__ = ["Region", "Want", "choose_region", "follow", "held"]

_CELL = 2.5  # work pixels a graph cell


def grow(
    frame: np.ndarray, motion: np.ndarray, seed: tuple[int, int], area: float, rng: np.random.Generator
) -> np.ndarray:
    """Grow a region from a seed until it meets an outline.

    Args:
        frame: (h, w, 3) uint8, work size.
        motion: (h, w) speed against the camera, in work pixels a frame.
        seed: row and column.
        area: wanted share of the frame; the region ends at 0.6 to 1.5 times that.
        rng: makes some ways dearer than others, so that flat areas too give irregular shapes.

    Returns:
        (h, w) bool, one connected piece without holes.
    """
    height, width = motion.shape
    gh, gw = max(6, round(height / _CELL)), max(6, round(width / _CELL))
    lab = cv2.cvtColor(cv2.resize(frame, (gw, gh), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2LAB)
    lab = cv2.GaussianBlur(lab, (0, 0), 0.8).astype(np.float32)
    speed = cv2.resize(motion, (gw, gh), interpolation=cv2.INTER_AREA) * 14.0
    features = np.dstack([lab * np.array([0.7, 1.2, 1.2], np.float32), speed])
    bumps = cv2.resize(rng.standard_normal((5, 6)).astype(np.float32), (gw, gh), interpolation=cv2.INTER_CUBIC)
    dear = np.exp(0.45 * bumps)
    y = min(int(seed[0] * gh / height), gh - 1)
    x = min(int(seed[1] * gw / width), gw - 1)
    far = _geodesic(features, dear, (y, x))
    order = np.sort(far.ravel())
    cells = _outline_stop(order, area * gh * gw)
    inside = (far <= order[cells - 1]).astype(np.float32)
    smooth = cv2.GaussianBlur(cv2.resize(inside, (width, height), interpolation=cv2.INTER_LINEAR), (0, 0), 2.0)
    kept = binary_fill_holes(smooth > 0.5)
    _, labels = cv2.connectedComponents(kept.astype(np.uint8))
    here = labels[min(seed[0], height - 1), min(seed[1], width - 1)]
    if here == 0:
        counts = np.bincount(labels.ravel())
        here = int(counts[1:].argmax()) + 1 if len(counts) > 1 else 0
    return np.asarray((labels == here) & kept)


def _geodesic(features: np.ndarray, dear: np.ndarray, seed: tuple[int, int]) -> np.ndarray:
    """(gh, gw) cheapest way from the seed; a step costs a little by itself and more where the features change."""
    gh, gw = dear.shape
    index = np.arange(gh * gw).reshape(gh, gw)
    rows, cols, costs = [], [], []
    for dy, dx, length in ((0, 1, 1.0), (1, 0, 1.0), (1, 1, 1.41), (1, -1, 1.41)):
        a = (slice(0, gh - dy), slice(max(-dx, 0), gw - max(dx, 0)))
        b = (slice(dy, gh), slice(max(dx, 0), gw - max(-dx, 0)))
        gap = np.abs(features[a] - features[b]).sum(axis=-1)
        rows.append(index[a].ravel())
        cols.append(index[b].ravel())
        costs.append(((length * 4.0 + gap) * 0.5 * (dear[a] + dear[b])).ravel())
    graph = coo_matrix((np.concatenate(costs), (np.concatenate(rows), np.concatenate(cols))), shape=(gh * gw, gh * gw))
    far = dijkstra(graph.tocsr(), directed=False, indices=seed[0] * gw + seed[1])
    return np.asarray(far, dtype=np.float32).reshape(gh, gw)


def _outline_stop(order: np.ndarray, wanted: float) -> int:
    """How many cells to keep: within 0.6 to 1.5 times those wanted, where the next cells are farthest away."""
    low = int(np.clip(0.6 * wanted, 6, len(order) - 2))
    high = int(np.clip(1.5 * wanted, low + 1, len(order) - 1))
    reach = max(2, (high - low) // 12)
    gaps = order[np.minimum(np.arange(low, high) + reach, len(order) - 1)] - order[np.arange(low, high)]
    return low + int(gaps.argmax())


Want = Literal["moving", "still", "any"]

_CANDIDATES = 4  # regions grown, of which the most thing-like is taken
_TRACK_POINTS = 400
_SEARCH = 6  # work pixels around the flow's answer in which a region's look is searched


@dataclass(frozen=True)
class Region:
    """A soft mask at an anchor frame, and where it goes.

    Attributes:
        mask: (h, w) float32 in [0, 1], work size, at frame `anchor`.
        anchor: frame index.
        path: T similarities from work pixels of the anchor frame to each frame.
        bounds: x0, y0, x1, y1 of the mask's core at the anchor, in work pixels.
    """

    mask: np.ndarray
    anchor: int
    path: list[Affine]
    bounds: tuple[float, float, float, float]

    @property
    def size(self) -> float:
        """Square root of the core's area, in work pixels."""
        return float(np.sqrt(max((self.mask > 0.5).sum(), 1)))

    @property
    def center(self) -> tuple[float, float]:
        """Centre of mass at the anchor, in work pixels."""
        ys, xs = np.nonzero(self.mask > 0.5)
        return float(xs.mean()), float(ys.mean())

    def center_at(self, index: int) -> tuple[float, float]:
        """Centre at frame `index`, in work pixels."""
        x, y = apply(self.path[index], np.array([self.center]))[0]
        return float(x), float(y)

    def visible(self, index: int) -> float:
        """Share of the mask's bounding box that lies in the picture at frame `index`."""
        x0, y0, x1, y1 = self.bounds
        corners = apply(self.path[index], np.array([[x0, y0], [x1, y0], [x0, y1], [x1, y1]]))
        (ax, ay), (bx, by) = corners.min(axis=0), corners.max(axis=0)
        height, width = self.mask.shape
        inside = max(min(bx, width) - max(ax, 0), 0) * max(min(by, height) - max(ay, 0), 0)
        return float(inside / max((bx - ax) * (by - ay), 1e-6))


def choose_region(
    scene: Scene,
    shot: Shot,
    anchor: int,
    want: Want,
    rng: np.random.Generator,
    *,
    area: float,
    feather: float = 2.0,
    avoid: np.ndarray | None = None,
) -> Region | None:
    """A region of about `area` of the frame at frame `anchor`: the most thing-like of a few that were grown.

    Args:
        scene: the clip.
        shot: frames over which the region is followed.
        anchor: frame index inside `shot`.
        want: "moving" prefers what moves against the camera, "still" what has texture but no motion of its own.
        rng: source of every choice.
        area: wanted share of the frame, in (0, 1); the region ends at an outline nearby.
        feather: softness of its border, in work pixels.
        avoid: (h, w) bool, work pixels that the region should stay off; None for none.

    Returns:
        None when the frame has no texture at all outside of `avoid`.
    """
    width = scene.gray[anchor].shape[1]
    motion, texture = scene.own_motion(anchor), scene.texture(anchor)
    draw = _seed_weight(scene, anchor, motion, texture, want)
    if avoid is not None:
        draw = np.where(cv2.dilate(avoid.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0, 0, draw)
    if draw.sum() <= 0:
        return None
    best, best_score = None, -np.inf
    for seed in rng.choice(draw.size, size=_CANDIDATES, p=(draw / draw.sum()).ravel()):
        grown = grow(scene.small[anchor], motion, divmod(int(seed), width), area, rng)
        grown &= scene.picture if avoid is None else scene.picture & ~avoid
        if grown.sum() < 16:
            continue
        score = _likeness(scene.small[anchor], motion, texture, grown, want)
        if score > best_score:
            best, best_score = grown, score
    if best is None:
        return None
    mask = _soften(best, feather)
    ys, xs = np.nonzero(mask > 0.5)
    if len(xs) < 12:
        return None
    bounds = (float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1))
    return Region(mask, anchor, follow(scene, mask, anchor, shot), bounds)


def _likeness(frame: np.ndarray, motion: np.ndarray, texture: np.ndarray, inside: np.ndarray, want: Want) -> float:
    """How much a piece of the picture looks like a thing of the wanted sort: apart from its surroundings."""
    around = (cv2.dilate(inside.astype(np.uint8), np.ones((13, 13), np.uint8)) > 0) & ~inside
    if not around.any():
        return -np.inf
    lab = cv2.cvtColor(frame, cv2.COLOR_RGB2LAB).astype(np.float32)
    contrast = float(np.abs(lab[inside].mean(axis=0) - lab[around].mean(axis=0)).sum())
    speed = float(motion[inside].mean())
    rough = float(np.minimum(texture[inside], 8.0).mean())
    apart = min(contrast, 60.0) / 30.0 + rough / 4.0
    if want == "still":
        return apart - 2.0 * min(speed, 2.0)
    return apart + 1.5 * min(speed - float(motion[around].mean()), 1.5)


def _seed_weight(scene: Scene, index: int, motion: np.ndarray, texture: np.ndarray, want: Want) -> np.ndarray:
    """(h, w) float64: how much each work pixel is wanted as a seed.

    Wanted is what people look at: colours that differ from the picture's and from the surroundings' (Achanta et al.
    2009, at two widths), texture, motion against the camera; away from the border and not on black bars.
    """
    height, width = motion.shape
    ys, xs = np.mgrid[0:height, 0:width]
    inner = np.clip(np.minimum(np.minimum(xs, width - 1 - xs) / width, np.minimum(ys, height - 1 - ys) / height), 0, 1)
    border = np.clip(inner / 0.16, 0.02, 1.0) * scene.picture
    lab = cv2.cvtColor(scene.small[index], cv2.COLOR_RGB2LAB).astype(np.float32) * np.array([0.6, 1, 1], np.float32)
    near = cv2.GaussianBlur(lab, (0, 0), 2.0)
    usual = lab[scene.picture].mean(axis=0) if scene.picture.any() else lab.mean(axis=(0, 1))
    rare = np.abs(near - usual).sum(axis=-1) + np.abs(near - cv2.GaussianBlur(lab, (0, 0), width / 6)).sum(axis=-1)
    rare /= max(float(np.percentile(rare, 97)), 8.0)
    rough = np.minimum(texture / 4.0, 1.0) + 1e-3 * (texture > 0.3)
    if want == "moving":
        draw = (np.clip(motion - 0.12, 0.0, 3.0) + 0.03) * (rough + 0.1) * (0.2 + rare)
    elif want == "still":
        draw = rough * (0.1 + rare) ** 1.5 / (1.0 + (motion / 0.25) ** 2)
    else:
        draw = rough * (0.05 + np.minimum(rare, 1.5) ** 2) * (0.5 + np.clip(motion, 0.0, 1.5))
    return np.asarray(np.where(texture > 0.15, draw * border, 0.0), dtype=np.float64)


def _soften(inside: np.ndarray, feather: float) -> np.ndarray:
    """A soft mask that is 1 inside and falls to exactly 0 within about two feathers."""
    soft = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), feather)
    ramp = np.clip((soft - 0.08) / 0.84, 0.0, 1.0)
    return np.asarray(ramp * ramp * (3 - 2 * ramp), dtype=np.float32)


def follow(scene: Scene, mask: np.ndarray, anchor: int, shot: Shot) -> list[Affine]:
    """Similarities from the anchor to every frame of the shot, each step fitted to the flow inside the mask."""
    ys, xs = np.nonzero(mask > 0.6)
    stride = max(1, len(xs) // _TRACK_POINTS)
    home = np.stack([xs[::stride], ys[::stride]], axis=1).astype(np.float64)
    steps: list[Affine] = list(scene.camera)
    path = identity()
    for t in range(anchor, shot.stop - 1):
        step = _step(scene.flows[t], apply(path, home), scene.camera[t])
        steps[t] = _matched(scene.gray[t], scene.gray[t + 1], mask, path, step)
        path = then(path, steps[t])
    path = identity()
    for t in range(anchor - 1, shot.start - 1, -1):
        # The flow goes forward: it is looked up where the points come from, which it must itself tell. Begin with the
        # step just found, things keep moving as they did, and look again.
        back = invert(steps[t + 1] if t + 1 < anchor else scene.camera[t])
        for _ in range(3):
            back = invert(_step(scene.flows[t], apply(then(path, back), home), scene.camera[t]))
        back = _matched(scene.gray[t + 1], scene.gray[t], mask, path, back)
        steps[t] = invert(back)
        path = then(path, back)
    return carry(steps, anchor, shot, len(scene.times_s))


def _step(flow: np.ndarray, points: np.ndarray, fallback: Affine) -> Affine:
    """The step that the flow at the points tells; `fallback` where hardly any is in the picture."""
    height, width = flow.shape[:2]
    x, y = np.rint(points[:, 0]).astype(int), np.rint(points[:, 1]).astype(int)
    seen = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    if seen.sum() < 8:
        return fallback
    return fit_similarity(points[seen], flow[y[seen], x[seen]], max_turn=0.08, max_zoom=0.05, rounds=2)


def _matched(now: np.ndarray, then_: np.ndarray, mask: np.ndarray, path: Affine, step: Affine) -> Affine:
    """`step`, shifted by up to `_SEARCH` work pixels to where the region's look fits best.

    Flow is pulled towards that of the surroundings near a thing's outline; over many frames the thing would be lost.

    Args:
        now: (h, w) grey frame in which the region is.
        then_: (h, w) the frame it is followed into.
        mask: (h, w) at the anchor.
        path: from the anchor to `now`.
        step: from `now` to `then_`, as the flow tells.
    """
    height, width = now.shape
    shape = cv2.warpAffine(mask, path, (width, height), borderMode=cv2.BORDER_CONSTANT) > 0.6
    rows, cols = np.flatnonzero(shape.any(axis=1)), np.flatnonzero(shape.any(axis=0))
    if len(rows) < 6 or len(cols) < 6:
        return step
    y0, y1, x0, x1 = int(rows[0]), int(rows[-1]) + 1, int(cols[0]), int(cols[-1]) + 1
    look, weight = now[y0:y1, x0:x1].astype(np.float32), shape[y0:y1, x0:x1].astype(np.float32)
    # A turn or a change of size that the flow tells is believed only where the look agrees: on small things both are
    # mostly errors, and they add up.
    middle = np.array([[(x0 + x1) / 2, (y0 + y1) / 2]])
    plain = translation(*(apply(step, middle) - middle)[0])
    fits = [_fit(look, weight, (x0, y0), then_, candidate) for candidate in (plain, step)]
    return fits[0][1] if fits[0][0] <= 1.15 * fits[1][0] else fits[1][1]


def _fit(
    look: np.ndarray, weight: np.ndarray, corner: tuple[int, int], frame: np.ndarray, step: Affine
) -> tuple[float, Affine]:
    """How badly a look, carried by `step`, fits into `frame`, and `step` shifted to where it fits best."""
    (x0, y0), coarse = corner, max(1, round(max(look.shape) / 30))
    wide = (look.shape[1], look.shape[0])
    size = (max(3, wide[0] // coarse), max(3, wide[1] // coarse))
    reach = max(2, _SEARCH // coarse)
    look, weight = (cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in (look, weight))
    scale_x, scale_y = wide[0] / size[0], wide[1] / size[1]
    grid = np.array(
        [
            [scale_x, 0.0, x0 + 0.5 * scale_x - 0.5 - reach * scale_x],
            [0.0, scale_y, y0 + 0.5 * scale_y - 0.5 - reach * scale_y],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    full = (size[0] + 2 * reach, size[1] + 2 * reach)
    if coarse > 1:
        frame = cv2.blur(frame, (coarse, coarse))
    window = cv2.warpAffine(frame, then(grid, step), full, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    cost = cv2.matchTemplate(window.astype(np.float32), look, cv2.TM_SQDIFF, mask=weight)
    _, _, (best_x, best_y), _ = cv2.minMaxLoc(cost)
    least, here = float(cost[best_y, best_x]), float(cost[reach, reach])
    # staying is preferred: a flat or repeating look fits nearly as well a little farther on
    if least > 0.85 * here or min(best_x, best_y) == 0 or max(best_x, best_y) == 2 * reach:
        return here, step
    dx = scale_x * (best_x - reach + _vertex(cost[best_y, best_x - 1 : best_x + 2]))
    dy = scale_y * (best_y - reach + _vertex(cost[best_y - 1 : best_y + 2, best_x]))
    return least, then(translation(dx, dy), step)


def _vertex(three: np.ndarray) -> float:
    """Where, between -0.5 and 0.5, the parabola through three costs is lowest."""
    bend = float(three[0] - 2 * three[1] + three[2])
    return float(np.clip(0.5 * float(three[0] - three[2]) / bend, -0.5, 0.5)) if bend > 1e-9 else 0.0


def held(scene: Scene, region: Region, start: int, stop: int) -> tuple[int, int]:
    """The frames around the anchor, within [start, stop), in which the region still shows what it was laid on.

    The region's place in each frame is brought back to the frame before; where they no longer agree in what they
    show, or most of it has left the picture, the thing is lost.
    """
    x0, y0, x1, y1 = (round(v) for v in region.bounds)
    size = (max(x1 - x0, 4), max(y1 - y0, 4))
    inside = region.mask[y0 : y0 + size[1], x0 : x0 + size[0]] > 0.5

    def look(index: int) -> np.ndarray:
        into = then(translation(x0, y0), region.path[index])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        patch = cv2.warpAffine(scene.gray[index], into, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        patch = cv2.GaussianBlur(patch.astype(np.float32), (0, 0), 1.5)
        return np.asarray(patch[: inside.shape[0], : inside.shape[1]][inside])

    first, last = region.anchor, region.anchor
    home = look(region.anchor)
    for way, end in ((1, stop), (-1, start - 1)):
        before = home
        for index in range(region.anchor + way, end, way):
            here = look(index)
            if region.visible(index) < 0.35 or not (_alike(before, here) and _alike(home, here, loose=True)):
                break
            before, first, last = here, min(first, index), max(last, index)
    return first, last + 1


def _alike(a: np.ndarray, b: np.ndarray, *, loose: bool = False) -> bool:
    """Whether two looks (N,) agree: in pattern, or, where there is little pattern, in grey level."""
    gap = float(np.abs(a - b).mean())
    spread = float(a.std() * b.std())
    match = float(((a - a.mean()) * (b - b.mean())).mean()) / spread if spread > 4.0 else 0.0
    return gap < (24.0 if loose else 12.0) or match > (0.1 if loose else 0.4)
