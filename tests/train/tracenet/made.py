"""A few tiny clips with annotations, made by the tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from deeptrace.detectors.tracenet.appearance import DIMENSIONS
from deeptrace.detectors.tracenet.evidence import CHANNELS, GRID
from deeptrace.detectors.tracenet.temporal_extent import coverage
from deeptrace.detectors.tracenet.texture import texture_names
from deeptrace.geometry import Box
from deeptrace.schema import Category, Trace
from deeptrace.train.tracenet.clips import Clip, Kind
from deeptrace.train.tracenet.config import TraceNetConfig
from deeptrace.video import write_video

WIDTH, HEIGHT, FPS = 160, 120, 12.0
FRAMES = 20
BOX = Box(x0=6 / GRID, y0=10 / GRID, x1=18 / GRID, y1=24 / GRID)
TRACE = Trace(categories=(Category.OBJECT_MERGING,), box=BOX, onset_s=0.0, offset_s=9.0, score=1.0, explanation="x")


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


def make_data(root: Path, generators: int = 2, sources: int = 2, each: int = 2, names: str = "group") -> Path:
    """A folder of RewardData with clips; `names` begins the names of generators and sources."""
    rows = []
    for group in range(generators + sources):
        fake = group < generators
        for number in range(each):
            path = f"{'generated' if fake else 'real'}/{group}_{number}.mp4"
            write_clip(root / path, 10 * group + number, flicker=fake)
            rows.append(row(path, f"{names}{group}", fake, **({"box": (80, 12, 64, 48)} if fake else {})))
    (root / "all_data.json").write_text(json.dumps(rows))
    return root


def evidence(lift: float = 6.0) -> np.ndarray:
    """(FRAMES, channels, GRID, GRID): a residual of `lift` in BOX, luma and motion that point to the right."""
    maps = np.random.default_rng(0).normal(0, 0.05, (FRAMES, len(CHANNELS), GRID, GRID))
    maps[:, CHANNELS.index("residual")] += lift * coverage(BOX)
    maps[:, 0] += np.linspace(-0.5, 0.5, GRID)
    maps[:, CHANNELS.index("motion_x")] += 2.0
    return maps.astype(np.float16)


def write_measured(config: TraceNetConfig) -> list[Clip]:
    """Clips of every kind with what was measured of them, written as `measure` writes it; the real one has a set."""
    folder = config.out / "measured"
    folder.mkdir()
    times = np.arange(FRAMES) / 8
    clips = []
    for kind, name in ((Kind.GENERATED, "g1"), (Kind.GENERATED, "g2"), (Kind.REAL, "r1"), (Kind.EDITED, "e1")):
        clips.append(Clip(name, Path(name), kind, name, "", (TRACE,) if kind is Kind.GENERATED else ()))
        traits = {
            "texture": np.zeros((1, len(texture_names())), np.float32),
            "appearance": np.zeros((1, DIMENSIONS), np.float32),
        }
        for variant in range(config.variants):
            np.savez(folder / f"{name}.v{variant}.npz", times_s=times, evidence=evidence(), **traits)
    target = np.repeat(np.round(255 * coverage(BOX))[None], FRAMES, 0).astype(np.uint8)
    np.savez(
        folder / "r1.v0.sets.npz",
        **{
            "times_s": times, "base": evidence(0.0), "decoy0": evidence(0.0), "decoy1": evidence(0.0),
            "trace0.0": evidence(5.0), "trace0.1": evidence(), "target0.0": target, "target0.1": target,
            "categories": np.array([list(Category).index(Category.SUDDEN_BLURRING)]),
            "severities": np.array([[0.3, 0.8]]), "decoys": np.array(2),
        },
    )  # fmt: skip
    return clips
