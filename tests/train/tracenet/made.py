"""A few tiny clips with annotations, made by the tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from deeptrace.video import write_video

WIDTH, HEIGHT, FPS = 160, 120, 12.0


def write_clip(path: Path, seed: int, seconds: float = 1.5, flicker: bool = False) -> None:
    """A pan over smooth colour noise with a thing that moves by itself; with `flicker`, a part changes every frame."""
    rng = np.random.default_rng(seed)
    count = round(seconds * FPS)

    def noise(height: int, width: int) -> np.ndarray:
        smooth = cv2.GaussianBlur(rng.standard_normal((height, width, 3)).astype(np.float32), (0, 0), 2)
        return np.clip(128 + 40 * smooth / smooth.std(), 0, 255).astype(np.uint8)

    wall, thing = noise(HEIGHT, WIDTH + 2 * count), noise(40, 40) // 2 + 90
    pictures = []
    for k in range(count):
        picture = wall[:, 2 * k : 2 * k + WIDTH].copy()
        picture[60:100, 20 + 4 * k : 60 + 4 * k] = thing[:, : max(min(40, WIDTH - 20 - 4 * k), 0)]
        if flicker:
            picture[12:60, 80:144] = noise(48, 64)
        pictures.append(picture)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, iter(pictures), fps=FPS, crf=20, preset="veryfast")


def row(path: str, source: str, fake: bool, **fields: Any) -> dict[str, Any]:
    """A row of RewardData; with `box=(left, top, width, height)` in pixels it holds a trace."""
    box = fields.pop("box", None)
    trace = {
        "faketrace_bbox": dict(zip(("left", "top", "width", "height"), box, strict=True)) if box else None,
        "faketrace_first_frame": 2 if box else None,
        "faketrace_duration": 1.0 if box else None,
        "faketrace_explanations": "A part of the wall flickers." if box else "",
        "faketrace_check_applies": ["object_distortion"] if box else [],
    }
    return {
        "video_id": Path(path).stem,
        "video_type": "fake_video" if fake else "real_video",
        "video_path": path,
        "video_source": source,
        "video_width": WIDTH,
        "video_height": HEIGHT,
        "video_frame_rate": FPS,
        "video_frame_count": 18,
        "video_duration": 1.5,
        **trace,
        "split": "train",
        **fields,
    }


def make_data(root: Path, generators: int = 2, sources: int = 2, each: int = 2) -> Path:
    """A folder of RewardData with clips."""
    rows = []
    for group in range(generators + sources):
        fake = group < generators
        for number in range(each):
            path = f"{'generated' if fake else 'real'}/{group}_{number}.mp4"
            write_clip(root / path, 10 * group + number, flicker=fake)
            rows.append(row(path, f"group{group}", fake, **({"box": (80, 12, 64, 48)} if fake else {})))
    (root / "all_data.json").write_text(json.dumps(rows))
    return root
