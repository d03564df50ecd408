"""Small clips with known content, made by the tests."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

FPS = 8


def texture(seed: int, height: int, width: int, blur: float = 2.0) -> np.ndarray:
    """(h, w, 3) uint8: smooth colour noise with a strong contrast."""
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.standard_normal((height, width, 3)).astype(np.float32), (0, 0), blur)
    noise = 128 + 45 * noise / noise.std()
    return np.clip(noise, 0, 255).astype(np.uint8)


def moving_disc(
    count: int = 20, height: int = 128, width: int = 160, seed: int = 0, direction: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A textured orange disc that crosses a textured background seen by a slowly panning camera.

    Args:
        count, height, width: of the frames.
        seed: of the textures.
        direction: -1 to run backwards.

    Returns:
        frames (T, H, W, 3), the same without the disc, and the disc's centres (T, 2).
    """
    back, skin = texture(1 + seed, height + 40, width + 60, 3.0), texture(2 + seed, 60, 60, 1.5)
    frames, empty, centers = [], [], []
    ys, xs = np.mgrid[0:height, 0:width]
    for t in range(count):
        shift = np.array([[1.0, 0.0, -0.6 * t], [0.0, 1.0, -0.3 * t]])
        scene = cv2.warpAffine(back, shift, (width, height), flags=cv2.INTER_LINEAR)
        cx, cy = 30 + 4.5 * t, 70 + 8 * np.sin(t / 4)
        moved = cv2.warpAffine(skin, np.array([[1.0, 0.0, cx - 30], [0.0, 1.0, cy - 30]]), (width, height))
        orange = np.clip(0.35 * moved + np.array([150, 60, 0]), 0, 255)
        alpha = np.clip(19.5 - np.hypot(xs - cx, ys - cy), 0, 1)[..., None]
        frames.append(np.rint(scene + alpha * (orange - scene)).astype(np.uint8))
        empty.append(scene)
        centers.append((cx, cy))
    if direction < 0:
        frames, empty, centers = frames[::-1], empty[::-1], centers[::-1]
    return np.stack(frames), np.stack(empty), np.array(centers)


@pytest.fixture(scope="session")
def disc() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """See `moving_disc`."""
    frames, empty, centers = moving_disc()
    frames.setflags(write=False)
    return frames, empty, centers


@pytest.fixture(scope="session")
def clip(disc: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    """(20, 128, 160, 3) uint8, read-only."""
    return disc[0]


@pytest.fixture(scope="session")
def times() -> np.ndarray:
    """Uneven times: true ones must come back, not index / fps."""
    return np.cumsum(np.where(np.arange(20) % 3 == 0, 0.09, 0.14)) - 0.09


@pytest.fixture(scope="session")
def ruler() -> np.ndarray:
    """(16, 180, 200, 3) uint8, standing still: red says x, green says y, blue has a gentle texture."""
    height, width = 180, 200
    ys, xs = np.mgrid[0:height, 0:width]
    blue = texture(5, height, width, 6.0)[..., 2]
    frame = np.dstack([xs + 20, ys + 30, blue]).astype(np.uint8)
    frames = np.repeat(frame[None], 16, axis=0)
    frames.setflags(write=False)
    return frames
