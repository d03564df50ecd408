"""Grow a region from a seed over the picture's colours and motion.

Cells of a coarse grid are nodes of a graph; a step to a neighbour costs little where colour and motion stay the
same and much where they change. The cells nearest to the seed, up to the size at which the next ones lie farthest
away, are a piece of the picture that ends at outlines.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy.ndimage import binary_fill_holes
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

__all__ = ["grow"]

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
