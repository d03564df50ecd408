"""The world that the generator learns: textured things on straight paths over photographs, rendered exactly.

A prompt says everything, so that every prompt has one right clip and a sample can be held against it. Photographs and
textures are those that scikit-image ships. Training prompts see the left of each photograph, test prompts the right.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import cv2
import numpy as np

__all__ = ["FPS", "FRAMES", "SIDE", "Prompt", "Render", "Thing", "draw_prompt", "render"]

SIDE, FRAMES, FPS = 48, 12, 8.0
_FINE = 4  # rendered this much larger, then averaged
_PHOTOS = ("chelsea", "coffee", "astronaut", "rocket", "hubble_deep_field")
_TEXTURES = ("brick", "grass", "gravel", "coins", "page")
_SHAPES = ("disc", "square", "triangle", "ring")
_SPLIT = 0.62  # of a photograph's width


@dataclass(frozen=True)
class Thing:
    """One moving thing: an outline filled with a tinted texture.

    Attributes:
        shape, texture: which.
        tint: RGB, 0 to 1.
        place: (2,) where the texture is cut out, 0 to 1.
        radius: pixels.
        start, end: centres (x, y) in the first and the last frame, pixels.
    """

    shape: str
    texture: str
    tint: tuple[float, float, float]
    place: tuple[float, float]
    radius: float
    start: tuple[float, float]
    end: tuple[float, float]

    def centers(self) -> np.ndarray:
        """(FRAMES, 2): x, y of each frame."""
        share = np.linspace(0, 1, FRAMES)[:, None]
        return np.asarray(self.start) * (1 - share) + np.asarray(self.end) * share


@dataclass(frozen=True)
class Prompt:
    """What a clip is to show.

    Attributes:
        photo: the background's photograph.
        crop: left, top and side of the part that is seen, pixels of the photograph.
        things: one or two, the later ones in front.
    """

    photo: str
    crop: tuple[int, int, int]
    things: tuple[Thing, ...]


@dataclass(frozen=True)
class Render:
    """The one right clip of a prompt.

    Attributes:
        frames: (FRAMES, SIDE, SIDE, 3) uint8.
        background: (SIDE, SIDE, 3) uint8, without the things.
        masks: (things, FRAMES, SIDE, SIDE) float32, how much of each pixel a thing covers.
    """

    frames: np.ndarray
    background: np.ndarray
    masks: np.ndarray


def draw_prompt(rng: np.random.Generator, split: Literal["train", "test"]) -> Prompt:
    """A random prompt."""
    name = _PHOTOS[int(rng.integers(len(_PHOTOS)))]
    height, width = _photo(name).shape[:2]
    low, high = (0, int(_SPLIT * width)) if split == "train" else (int(_SPLIT * width), width)
    side = int(rng.uniform(0.6, 1.0) * min(height, high - low))
    crop = (int(rng.integers(low, high - side + 1)), int(rng.integers(0, height - side + 1)), side)
    return Prompt(name, crop, tuple(_draw_thing(rng) for _ in range(int(rng.integers(1, 3)))))


def _draw_thing(rng: np.random.Generator) -> Thing:
    radius = float(rng.uniform(5, 8))
    start, end = rng.uniform(radius, SIDE - radius, 2), rng.uniform(radius, SIDE - radius, 2)
    while np.hypot(*(end - start)) < 14:
        end = rng.uniform(radius, SIDE - radius, 2)
    tint = rng.uniform(0.1, 1.0, 3)
    tint = np.clip(tint / tint.max() * rng.uniform(0.75, 1.0), 0, 1)
    return Thing(
        _SHAPES[int(rng.integers(len(_SHAPES)))],
        _TEXTURES[int(rng.integers(len(_TEXTURES)))],
        (float(tint[0]), float(tint[1]), float(tint[2])),
        (float(rng.random()), float(rng.random())),
        radius,
        (float(start[0]), float(start[1])),
        (float(end[0]), float(end[1])),
    )


def render(prompt: Prompt) -> Render:
    """The prompt's clip, exactly."""
    left, top, side = prompt.crop
    size = SIDE * _FINE
    part = _photo(prompt.photo)[top : top + side, left : left + side]
    background = cv2.resize(part, (size, size), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    looks = [_look(thing) for thing in prompt.things]
    paths = [thing.centers() for thing in prompt.things]
    frames = np.empty((FRAMES, SIDE, SIDE, 3), np.uint8)
    masks = np.zeros((len(looks), FRAMES, SIDE, SIDE), np.float32)
    for index in range(FRAMES):
        canvas = background.copy()
        for number, (skin, outline) in enumerate(looks):
            alpha = _lay(canvas, skin, outline, paths[number][index] * _FINE)
            masks[:number, index] *= 1 - alpha
            masks[number, index] = alpha
        frames[index] = np.clip(np.rint(_small(canvas)), 0, 255).astype(np.uint8)
    return Render(frames, np.clip(np.rint(_small(background)), 0, 255).astype(np.uint8), masks)


def _look(thing: Thing) -> tuple[np.ndarray, np.ndarray]:
    """Texture (n, n, 3) and outline (n, n), both float32, at the fine size."""
    radius = thing.radius * _FINE
    count = 2 * int(np.ceil(radius)) + 4
    across = np.arange(count) - (count - 1) / 2
    x, y = across[None, :] / radius, across[:, None] / radius
    distance = {
        "disc": np.hypot(x, y),
        "square": np.maximum(np.abs(x), np.abs(y)) * 1.2,
        "triangle": np.maximum(np.abs(x) * 1.3 + (y + 0.6) * 0.55, np.abs(y + 0.05) * 1.25),
        "ring": 0.55 + np.abs(np.hypot(x, y) - 0.6) * 1.2,
    }[thing.shape]
    outline = np.clip((1 - distance) * radius + 0.5, 0, 1).astype(np.float32)
    texture = _photo(thing.texture)
    height, width = texture.shape[:2]
    span = min(height, width) // 2
    left, top = int(thing.place[0] * (width - span)), int(thing.place[1] * (height - span))
    patch = cv2.resize(texture[top : top + span, left : left + span], (count, count), interpolation=cv2.INTER_AREA)
    gray = patch.astype(np.float32).mean(axis=2)
    gray = 140 + 55 * (gray - gray.mean()) / max(float(gray.std()), 1.0)
    return (gray[..., None] * 1.5 * np.asarray(thing.tint, np.float32)).astype(np.float32), outline


def _lay(canvas: np.ndarray, skin: np.ndarray, outline: np.ndarray, center: np.ndarray) -> np.ndarray:
    """Paint a thing into `canvas` at `center` (x, y); what it covers, (SIDE, SIDE)."""
    count, size = len(outline), len(canvas)
    corner = center - count / 2
    left, top = np.floor(corner).astype(int)
    shift = np.array([[1.0, 0.0, corner[0] - left], [0.0, 1.0, corner[1] - top]])
    alpha, moved = (cv2.warpAffine(part, shift, (count + 1, count + 1)) for part in (outline, skin))
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + count + 1, size), min(top + count + 1, size)
    inside = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
    part = canvas[y0:y1, x0:x1]
    part += alpha[inside][..., None] * (moved[inside] - part)
    covered = np.zeros((size, size), np.float32)
    covered[y0:y1, x0:x1] = alpha[inside]
    return _small(covered)


def _small(image: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA))


@cache
def _photo(name: str) -> np.ndarray:
    """(h, w, 3) uint8."""
    from skimage import data

    photo = getattr(data, name)()
    return np.asarray(np.dstack([photo] * 3) if photo.ndim == 2 else photo[..., :3])
