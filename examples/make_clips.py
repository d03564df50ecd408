"""Make the example clips again: `python examples/make_clips.py [FOLDER]` (needs scikit-image, for its photographs).

A hand-held camera moves over a table with a cup of coffee while a photograph of a cat is pushed across it. The same
footage is written twice: as it is, and with one trace that `deeptrace.synth` puts in. The pictures are the same on
every machine; the files are the same bytes wherever the same build of x264 encodes them.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import cv2
import numpy as np
from skimage import data

from deeptrace.data import write_reward_data
from deeptrace.schema import Category, Label, Media, Sample, Trace
from deeptrace.synth import inject
from deeptrace.video import write_video

WIDTH, HEIGHT, FPS, FRAMES = 640, 360, 24, 96
TABLE = 2  # the table's photograph is enlarged this much before the camera looks at it
SEED = 20
TRACE = (Category.SUDDEN_BLURRING, 1.0, 100)  # category, severity, seed: chosen as one that the default detector finds


def table() -> np.ndarray:
    """(800, 1200, 3) float32: the table."""
    photo = data.coffee()
    size = (photo.shape[1] * TABLE, photo.shape[0] * TABLE)
    return cv2.resize(photo, size, interpolation=cv2.INTER_CUBIC).astype(np.float32)


def print_of_cat() -> np.ndarray:
    """(h, w, 4) float32: a photograph with a white border, and its alpha."""
    photo = cv2.resize(data.chelsea()[:, 60:440], (260, 206), interpolation=cv2.INTER_AREA)
    card = np.full((236, 290, 4), 245, np.float32)
    card[15:221, 15:275, :3] = photo
    card[..., 3] = 255
    return np.pad(card, ((3, 3), (3, 3), (0, 0)))


def with_print(scene: np.ndarray, card: np.ndarray, share: float) -> np.ndarray:
    """The table with the print on it, `share` of its way across, above a soft shadow."""
    eased = share * share * (3 - 2 * share)
    turn = math.radians(-16 + 30 * eased)
    x, y = 1010 - 290 * eased, 560 - 50 * math.sin(math.pi * eased)
    a, b = math.cos(turn), math.sin(turn)
    cx, cy = card.shape[1] / 2, card.shape[0] / 2
    place = np.array([[a, -b, x - a * cx + b * cy], [b, a, y - b * cx - a * cy]])
    size = (scene.shape[1], scene.shape[0])
    laid = cv2.warpAffine(card, place, size, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_CONSTANT)
    alpha = laid[..., 3:] / 255
    fall = np.array([[1.0, 0.0, 9.0], [0.0, 1.0, 12.0]])
    shadow = cv2.GaussianBlur(cv2.warpAffine(alpha, fall, size), (0, 0), 9)[..., None]
    dark = scene * (1 - 0.45 * shadow)
    return np.asarray(dark + alpha * (laid[..., :3] - dark))


def camera(rng: np.random.Generator) -> list[np.ndarray]:
    """Maps from the table to the picture: a slow push to the right, a little closer, by a hand not quite still."""
    hand = cv2.GaussianBlur(rng.standard_normal((FRAMES, 3)), (1, 31), 0, sigmaY=4.0)
    maps = []
    for index, (jitter_x, jitter_y, jitter_turn) in enumerate(hand):
        share = index / (FRAMES - 1)
        zoom = WIDTH / (1010 - 80 * share)
        turn = 0.012 * jitter_turn
        look_x, look_y = 560 + 70 * share + 14 * jitter_x, 385 + 12 * share + 12 * jitter_y
        a, b = zoom * math.cos(turn), zoom * math.sin(turn)
        maps.append(
            np.array(
                [
                    [a, -b, WIDTH / 2 - a * look_x + b * look_y],
                    [b, a, HEIGHT / 2 - b * look_x - a * look_y],
                ]
            )
        )
    return maps


def footage() -> np.ndarray:
    """(96, 360, 640, 3) uint8: the clip as a camera with a little sensor noise takes it."""
    rng = np.random.default_rng(SEED)
    scene, card = table(), print_of_cat()
    frames = []
    for index, look in enumerate(camera(rng)):
        share = float(np.clip((index - 10) / (FRAMES - 26), 0, 1))
        picture = cv2.GaussianBlur(with_print(scene, card, share), (0, 0), 0.6)
        seen = cv2.warpAffine(picture, look, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        noise = cv2.GaussianBlur(rng.standard_normal(seen.shape).astype(np.float32), (3, 3), 0.6) * 2.2
        frames.append(np.clip(np.rint(seen + noise), 0, 255).astype(np.uint8))
    return np.stack(frames)


def main(folder: Path) -> None:
    """Write both clips and their annotations."""
    frames = footage()
    times = np.arange(FRAMES) / FPS
    category, severity, seed = TRACE
    fake = inject(frames, times, category, severity=severity, rng=np.random.default_rng(seed))
    media = Media(width=WIDTH, height=HEIGHT, duration_s=FRAMES / FPS, fps=FPS, frames=FRAMES)
    rows: list[tuple[str, np.ndarray, Label, tuple[Trace, ...]]] = [
        ("coffee", frames, Label.REAL, ()),
        ("coffee_trace", fake.frames, Label.FAKE, (fake.trace.model_copy(update={"keyframes": ()}),)),
    ]
    samples = []
    for name, pictures, label, traces in rows:
        write_video(folder / f"{name}.mp4", pictures, fps=FPS, crf=23, preset="slow")
        samples.append(
            Sample(video_id=name, path=f"{name}.mp4", label=label, source="examples", media=media, traces=traces)
        )
        print(folder / f"{name}.mp4", (folder / f"{name}.mp4").stat().st_size // 1024, "KiB")
    write_reward_data(samples, folder / "all_data.json")
    print(fake.trace.explanation)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
