"""Hard negatives that change whole frames: what cameras, editors, codecs and platforms do to real footage.

Titles, captions and logos that editors lay over footage are among them, still or coming and going.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from deeptrace.synth.affine import Affine, about

__all__ = [
    "brightness_steps",
    "caption",
    "color_shift",
    "cut",
    "fade",
    "global_blur",
    "global_warp",
    "letterbox",
    "logo",
    "noise",
    "recompress",
    "refocus",
    "repeat_frames",
    "resample",
    "shake",
    "sharpen",
    "zoom_pan",
]

# Every hard negative: (frames (T, H, W, 3) uint8, rng, strength in 0..1) -> new frames of the same shape.


def _warped(frames: np.ndarray, maps: list[Affine]) -> np.ndarray:
    size = (frames.shape[2], frames.shape[1])
    flags = cv2.INTER_CUBIC
    return np.stack(
        [
            cv2.warpAffine(frame, m, size, flags=flags, borderMode=cv2.BORDER_REFLECT)
            for frame, m in zip(frames, maps, strict=True)
        ]
    )


def _middle(frames: np.ndarray) -> tuple[float, float]:
    return (frames.shape[2] - 1) / 2, (frames.shape[1] - 1) / 2


def zoom_pan(frames: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """A slow zoom and pan over the clip, as in documentaries."""
    count, width = len(frames), frames.shape[2]
    most = 1.02 + 0.35 * strength * float(rng.uniform(0.4, 1.0))
    start, stop = (1.0, most) if rng.random() < 0.5 else (most, 1.0)
    heading = float(rng.uniform(0, 2 * math.pi))
    maps = []
    for share in np.linspace(0, 1, count):
        zoom = start + (stop - start) * share
        room = 0.4 * (zoom - 1) * width
        shift = (room * math.cos(heading) * share, room * math.sin(heading) * share)
        maps.append(about(_middle(frames), zoom=zoom, shift=shift))
    return _warped(frames, maps)


def shake(frames: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """A hand-held camera: small smooth shifts and turns."""
    count, width = len(frames), frames.shape[2]
    walk = cv2.GaussianBlur(rng.standard_normal((count, 3)), (1, 7), 0, sigmaY=1.2)
    reach = (0.003 + 0.015 * strength) * width
    zoom = 1.0 + 4 * reach / width
    maps = [
        about(_middle(frames), turn=0.012 * strength * c, zoom=zoom, shift=(reach * a, reach * b)) for a, b, c in walk
    ]
    return _warped(frames, maps)


def resample(frames: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Made smaller and brought back, as an upload does."""
    height, width = frames.shape[1:3]
    factor = 1.0 / (1.1 + 1.4 * strength * float(rng.uniform(0.4, 1.0)))
    size = (max(8, round(width * factor)), max(8, round(height * factor)))
    down = (cv2.INTER_AREA, cv2.INTER_LINEAR)[int(rng.integers(2))]
    up = (cv2.INTER_CUBIC, cv2.INTER_LINEAR, cv2.INTER_LANCZOS4)[int(rng.integers(3))]
    return np.stack(
        [cv2.resize(cv2.resize(f, size, interpolation=down), (width, height), interpolation=up) for f in frames]
    )


def global_warp(frames: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """The whole picture bends smoothly: a lens, a rolling shutter, or slow water over the camera."""
    count, height, width = frames.shape[:3]
    reach = (0.004 + 0.02 * strength) * width
    knots = rng.uniform(-1, 1, (3, 4, 4, 2)).astype(np.float32)
    moves = rng.random() < 0.6
    rates, phases = rng.uniform(0.02, 0.12, 2), rng.uniform(0, 2 * math.pi, 2)
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    out = []
    for index in range(count):
        grid = knots[0].copy()
        if moves:
            for i in range(2):
                grid += knots[i + 1] * math.sin(2 * math.pi * rates[i] * index + phases[i])
        field = cv2.resize(grid * np.float32(reach / 2), (width, height), interpolation=cv2.INTER_CUBIC)
        xmap, ymap = xs + field[..., 0], ys + field[..., 1]
        out.append(cv2.remap(frames[index], xmap, ymap, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT))
    return np.stack(out)


def global_blur(frames: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """The same softness over the whole clip."""
    sigma = (0.3 + 1.5 * strength * float(rng.uniform(0.5, 1.0))) * frames.shape[2] / 256
    return np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in frames])


def refocus(frames: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """The camera hunts for focus: the whole picture softens and comes back."""
    count = len(frames)
    middle, width = float(rng.uniform(0, count)), float(rng.uniform(0.08, 0.35)) * count
    most = (0.5 + 2.5 * strength) * frames.shape[2] / 256
    out = []
    for index, frame in enumerate(frames):
        sigma = most * math.exp(-(((index - middle) / width) ** 2))
        out.append(cv2.GaussianBlur(frame, (0, 0), sigma) if sigma > 0.2 else frame)
    return np.stack(out)


def sharpen(frames: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """An unsharp mask."""
    amount = 0.2 + 1.0 * strength * float(rng.uniform(0.4, 1.0))
    sigma = 1.2 * frames.shape[2] / 256
    return np.stack([cv2.addWeighted(f, 1 + amount, cv2.GaussianBlur(f, (0, 0), sigma), -amount, 0) for f in frames])


def noise(frames: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Sensor noise, stronger where the picture is dark."""
    sigma = 1.0 + 9.0 * strength * float(rng.uniform(0.4, 1.0))
    height, width = frames.shape[1:3]
    tile = rng.standard_normal((height + 64, width + 64, 3), dtype=np.float32) * np.float32(sigma)
    if rng.random() < 0.5:
        tile = cv2.GaussianBlur(tile, (0, 0), 0.6) * 1.6
    out = []
    for frame in frames:
        dy, dx = (int(v) for v in rng.integers(0, 64, 2))
        way = (1, -1)[int(rng.integers(2))]
        gain = 1.3 - 0.6 * frame.astype(np.float32) / 255
        grainy = frame + gain * tile[dy : dy + height, dx : dx + width][:, ::way]
        out.append(np.clip(np.rint(grainy), 0, 255).astype(np.uint8))
    return np.stack(out)


def recompress(frames: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Coded again with blocks of 8 x 8, a little differently from frame to frame."""
    quality = round(88 - 60 * strength * float(rng.uniform(0.4, 1.0)))
    out = []
    for frame in frames:
        setting = [cv2.IMWRITE_JPEG_QUALITY, int(np.clip(quality + rng.integers(-4, 5), 8, 95))]
        _, coded = cv2.imencode(".jpg", frame, setting)
        out.append(np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), dtype=np.uint8))
    return np.stack(out)


def brightness_steps(frames: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Exposure that changes in steps or flashes."""
    count = len(frames)
    gains = np.ones(count)
    for _ in range(int(rng.integers(1, 4))):
        at, step = int(rng.integers(0, count)), 0.5 * strength * float(rng.uniform(-1, 1))
        length = count if rng.random() < 0.6 else int(rng.integers(1, 4))
        gains[at : at + length] *= 1 + step
    return _scaled(frames, gains[:, None])


def color_shift(frames: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Another white balance, contrast and gamma, or one that drifts."""
    start, stop = 1 + 0.35 * strength * rng.uniform(-1, 1, (2, 3))
    share = np.linspace(0, 1, len(frames))[:, None] * (rng.random() < 0.5)
    gamma = 1 + 0.4 * strength * float(rng.uniform(-1, 1))
    table = (255 * (np.arange(256) / 255) ** gamma).astype(np.float32)
    return _scaled(frames, start + (stop - start) * share, table)


def _scaled(frames: np.ndarray, gains: np.ndarray, table: np.ndarray | None = None) -> np.ndarray:
    """Each frame times its gains (T, 1) or (T, 3), after a tone curve (256,)."""
    curve = np.arange(256, dtype=np.float32) if table is None else table
    out = []
    for frame, gain in zip(frames, np.broadcast_to(gains, (len(frames), 3)), strict=True):
        tables = np.clip(np.rint(curve[:, None] * gain), 0, 255).astype(np.uint8)
        out.append(cv2.LUT(frame, tables.reshape(1, 256, 3)))
    return np.stack(out)


def fade(frames: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """From or to black or white."""
    count = len(frames)
    length = max(2, round(count * float(rng.uniform(0.1, 0.35))))
    share = np.ones(count, np.float32)
    ramp = np.linspace(1 - (0.5 + 0.5 * strength), 1, length, dtype=np.float32)
    if rng.random() < 0.5:
        share[:length] = ramp
    else:
        share[-length:] = ramp[::-1]
    goal = np.float32(0 if rng.random() < 0.7 else 255)
    mixed = [goal + s * (frame.astype(np.float32) - goal) for frame, s in zip(frames, share, strict=True)]
    return np.stack([np.clip(np.rint(m), 0, 255).astype(np.uint8) for m in mixed])


def letterbox(frames: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Black or blurred bars, the picture made smaller between them."""
    height, width = frames.shape[1:3]
    share = 0.06 + 0.2 * strength * float(rng.uniform(0.4, 1.0))
    wide = rng.random() < 0.6
    inner = (
        (width, max(8, round(height * (1 - 2 * share)))) if wide else (max(8, round(width * (1 - 2 * share))), height)
    )
    x, y = (width - inner[0]) // 2, (height - inner[1]) // 2
    blurred = rng.random() < 0.4
    out = []
    for frame in frames:
        back = cv2.GaussianBlur(frame, (0, 0), width / 24) // 2 if blurred else np.zeros_like(frame)
        back[y : y + inner[1], x : x + inner[0]] = cv2.resize(frame, inner, interpolation=cv2.INTER_AREA)
        out.append(back)
    return np.stack(out)


def repeat_frames(frames: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Frames dropped on the way: the one before is shown again."""
    count = len(frames)
    source = np.arange(count)
    if rng.random() < 0.4:
        period = int(rng.integers(2, 5))
        source = source // period * period
    else:
        lost = rng.random(count) < 0.08 + 0.3 * strength
        for i in range(1, count):
            if lost[i]:
                source[i] = source[i - 1]
    return frames[source].copy()


def cut(frames: np.ndarray, rng: np.random.Generator, _strength: float) -> np.ndarray:
    """An edit: from some frame on another part of the clip, mirrored or closer up."""
    count = len(frames)
    if count < 6:
        return frames.copy()
    at = int(rng.integers(2, count - 2))
    out = frames.copy()
    rest = count - at
    start = int(rng.integers(0, max(1, at - 1)))
    tail = frames[(start + np.arange(rest)) % count]
    kind = int(rng.integers(3))
    if kind == 0:
        tail = tail[:, :, ::-1]
    else:
        zoom = float(rng.uniform(1.3, 1.9))
        reach = (zoom - 1) / 2
        shift = (
            reach * frames.shape[2] * float(rng.uniform(-0.9, 0.9)),
            reach * frames.shape[1] * float(rng.uniform(-0.9, 0.9)),
        )
        tail = _warped(tail, [about(_middle(frames), zoom=zoom, shift=shift)] * rest)
        if kind == 2:
            tail = tail[:, :, ::-1]
    out[at:] = tail
    return out


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
