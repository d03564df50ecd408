"""Small real files for the data tests: clips with and without sound, in any size, rate and length."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest


def pictures(seed: int, frames: int, size: tuple[int, int]) -> np.ndarray:
    """(T, H, W, 3) uint8: a few soft blobs of their own colours that drift; every seed another scene."""
    rng = np.random.default_rng(seed)
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    out = np.zeros((frames, height, width, 3))
    for _ in range(6):
        centre, drift = rng.uniform(0, 1, 2), rng.uniform(-0.4, 0.4, 2)
        spread, colour = rng.uniform(0.08, 0.3), rng.uniform(0, 255, 3)
        for t in range(frames):
            cx, cy = (centre + drift * t / max(frames - 1, 1)) * (width, height)
            blob = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * (spread * height) ** 2))
            out[t] = out[t] * (1 - blob[..., None]) + colour * blob[..., None]
    return np.clip(out, 0, 255).astype(np.uint8)


def encode(
    path: Path,
    images: np.ndarray,
    *,
    fps: float = 8,
    audio: bool = False,
    crf: int = 23,
    tags: dict[str, str] | None = None,
) -> Path:
    """Write an MP4 with x264, and with a second of AAC for each second of picture where asked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        container.metadata.update(tags or {})
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.options = {"crf": str(crf), "preset": "ultrafast"}
        stream.height, stream.width, stream.pix_fmt = images.shape[1], images.shape[2], "yuv420p"
        sound = container.add_stream("aac", rate=16_000, layout="mono") if audio else None
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
        if sound is not None:
            samples = int(len(images) / fps * 16_000)
            for start in range(0, samples, 1024):
                wave = np.sin(np.arange(start, min(start + 1024, samples)) / 9)[None].astype(np.float32)
                frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = 16_000, start, Fraction(1, 16_000)
                container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
    return path


@dataclass
class Shelf:
    """A dataset on disk in the making: clips and their rows."""

    root: Path
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(
        self,
        video_id: str,
        *,
        fake: bool,
        source: str,
        seed: int,
        size: tuple[int, int] = (96, 64),
        fps: float = 8,
        frames: int = 8,
        split: str = "train",
        images: np.ndarray | None = None,
        row: dict[str, Any] | None = None,
        **encoding: Any,
    ) -> dict[str, Any]:
        path = f"{'videos' if fake else 'real_videos'}/{video_id}.mp4"
        images = pictures(seed, frames, size) if images is None else images
        encode(self.root / path, images, fps=fps, **encoding)
        fields: dict[str, Any] = {
            "video_id": video_id,
            "video_type": "fake_video" if fake else "real_video",
            "video_path": path,
            "video_source": source,
            "video_width": images.shape[2],
            "video_height": images.shape[1],
            "video_frame_rate": fps,
            "video_frame_count": len(images),
            "video_duration": len(images) / fps,
            "split": split,
        }
        if fake:
            fields |= {
                "faketrace_bbox": {"left": 10, "top": 10, "width": 20, "height": 20},
                "faketrace_first_frame": 1,
                "faketrace_duration": 0.5,
                "faketrace_explanations": "It melts.",
                "faketrace_check_applies": ["merging"],
            }
        self.rows.append(fields | (row or {}))
        return self.rows[-1]

    def write(self) -> Path:
        (self.root / "all_data.json").write_text(json.dumps(self.rows), encoding="utf-8")
        return self.root


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "set")


@pytest.fixture(scope="session")
def balanced(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Builds a set of 24 fake and 24 real clips of 3 sources each; `vary(fake, source_number, i)` sets them apart."""

    def build(name: str, vary: Callable[[bool, int, int], dict[str, Any]]) -> Path:
        shelf = Shelf(tmp_path_factory.mktemp(name))
        for i in range(48):
            fake, source = i % 2 == 0, (i // 2) % 3
            maker = ("Pika", "Kling", "Sora")[source] if fake else ("LLaVA", "Panda", "Kinetics")[source]
            settings = {"frames": 8 + (i // 6) % 3} | vary(fake, source, i)
            shelf.add(f"{maker}{i}", fake=fake, source=maker, seed=i, **settings)
        return shelf.write()

    return build
