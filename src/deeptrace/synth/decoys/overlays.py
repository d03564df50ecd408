"""Decoys that editors lay over footage: titles, captions, logos, still or coming and going."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["caption", "logo"]

_WORDS = (
    "live", "news", "part two", "episode", "subscribe", "follow", "city", "summer", "how to", "the end", "breaking",
    "chapter", "music", "morning", "travel", "official", "highlights", "episode 4", "2:14", "HD", "REC", "tutorial",
)  # fmt: skip
_FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_SCRIPT_COMPLEX,
)


def caption(frames: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """A line of text, for the whole clip or a part of it, standing or sliding in."""
    height, width = frames.shape[1:3]
    text = " ".join(str(word) for word in rng.choice(_WORDS, int(rng.integers(1, 4))))
    font = _FONTS[int(rng.integers(len(_FONTS)))]
    scale = (0.5 + 1.1 * strength * float(rng.uniform(0.3, 1.0))) * height / 256
    thick = max(1, round(scale * float(rng.uniform(1.0, 2.2))))
    (broad, tall), below = cv2.getTextSize(text, font, scale, thick)
    layer = np.zeros((tall + below + 6, broad + 6), np.uint8)
    cv2.putText(layer, text, (3, tall + 3), font, scale, 255, thick, cv2.LINE_AA)
    x = int(rng.uniform(0.02, 0.6) * width)
    y = int((rng.uniform(0.75, 0.9) if rng.random() < 0.6 else rng.uniform(0.02, 0.7)) * height)
    slide = float(rng.uniform(-1, 1)) * 0.3 * width if rng.random() < 0.3 else 0.0
    return _laid_over(frames, layer, (x, y), rng, slide=slide, plate=rng.random() < 0.35)


def logo(frames: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """A mark in a corner: a disc, a square or a ring, half transparent."""
    height, width = frames.shape[1:3]
    side = max(10, round((0.06 + 0.12 * strength) * height))
    layer = np.zeros((side, side), np.uint8)
    middle, radius = (side // 2, side // 2), side // 2 - 2
    kind = int(rng.integers(3))
    if kind == 0:
        cv2.circle(layer, middle, radius, 255, -1, cv2.LINE_AA)
    elif kind == 1:
        cv2.rectangle(layer, (2, 2), (side - 3, side - 3), 255, -1)
    else:
        cv2.circle(layer, middle, radius, 255, max(2, side // 6), cv2.LINE_AA)
    margin = round(0.04 * height)
    x = margin if rng.random() < 0.5 else width - side - margin
    y = margin if rng.random() < 0.5 else height - side - margin
    return _laid_over(frames, layer, (x, y), rng, slide=0.0, plate=False)


def _laid_over(
    frames: np.ndarray,
    layer: np.ndarray,
    corner: tuple[int, int],
    rng: np.random.Generator,
    *,
    slide: float,
    plate: bool,
) -> np.ndarray:
    """Blend `layer` (h, w) over the frames while it is shown, at `corner`, sliding in from `slide` pixels away."""
    count, height, width = frames.shape[:3]
    color = rng.integers(0, 256, 3).astype(np.float32) if rng.random() < 0.4 else np.full(3, 245, np.float32)
    opacity = float(rng.uniform(0.45, 1.0))
    start = 0 if rng.random() < 0.5 else int(rng.integers(0, max(1, count - 3)))
    stop = count if rng.random() < 0.6 else int(rng.integers(start + 1, count + 1))
    comes = int(rng.integers(1, 8))
    out = frames.copy()
    for index in range(start, stop):
        share = min(1.0, (index - start + 1) / comes) if start > 0 else 1.0
        x, y = round(corner[0] + slide * (1 - share)), corner[1]
        x0, y0 = max(x, 0), max(y, 0)
        x1, y1 = min(x + layer.shape[1], width), min(y + layer.shape[0], height)
        if x1 <= x0 or y1 <= y0:
            continue
        part = layer[y0 - y : y1 - y, x0 - x : x1 - x].astype(np.float32)[..., None] / 255
        below = out[index, y0:y1, x0:x1].astype(np.float32)
        if plate:
            below = below * (1 - 0.55 * opacity * share)
        mixed = below + part * np.float32(opacity * share) * (color - below)
        out[index, y0:y1, x0:x1] = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    return out
