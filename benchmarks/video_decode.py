"""Reading frames for a detector against ffmpeg merely decoding the same file, one thread each, in the same run.

    python benchmarks/video_decode.py [--rounds 5] [FILE ...]

Without files, five seconds of camera movement over photographs with sensor noise are made at 1280x720 and 1920x1080
(x264, preset medium, crf 23, 24 fps). Needs the ffmpeg command as the peer, and scikit-image for the photographs.
Each row is the least processor time of its rounds, which neighbours on a shared machine disturb least.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from deeptrace.video import open_video, probe, write_video

FPS, SECONDS = 24, 5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", help="videos to read instead of made ones")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    if shutil.which("ffmpeg") is None:
        print("the peer of this benchmark, the ffmpeg command, is not installed", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        files = asked.files or [make_clip(Path(folder), *size) for size in ((1280, 720), (1920, 1080))]
        for path in files:
            measure(str(path), asked.rounds)
    return 0


def measure(path: str, rounds: int) -> None:
    media = probe(path)
    peer = "ffmpeg -f null (the peer)"
    ways: dict[str, Callable[[], object]] = {
        peer: lambda: subprocess.run(
            ["ffmpeg", "-v", "error", "-threads", "1", "-i", path, "-f", "null", "-"], check=True
        ),
        "every frame, native size": lambda: read(path),
        "8 fps at 256x256, exact": lambda: read(path, max_fps=8, size=(256, 256)),
        "8 fps at 256x256, fast": lambda: read(path, max_fps=8, size=(256, 256), fast=True),
        "8 fps at 256x256, fast, gray": lambda: read(path, max_fps=8, size=(256, 256), fast=True, format="gray"),
        "8 moments of the clip, 256x256": lambda: moments(path, media.duration_s),
        "open and close": lambda: open_video(path).close(),
    }
    least = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):  # interleaved, so that a busy spell does not fall on one way alone
        for name, way in ways.items():
            least[name] = min(least[name], cpu_seconds(way))
    print(f"\n{Path(path).name}: {media.width}x{media.height}, {media.duration_s:.1f} s, {media.fps or 0:.3g} fps")
    print(f"{'':34}{'cpu ms':>8}{'ratio':>8}")
    for name, seconds in least.items():
        print(f"{name:34}{seconds * 1e3:8.0f}{seconds / least[peer]:8.2f}")


def read(path: str, **how: object) -> int:
    with open_video(path) as video:
        return sum(1 for _ in video.frames(**how))  # type: ignore[arg-type]


def moments(path: str, duration_s: float) -> int:
    with open_video(path) as video:
        return len(video.frames_at([duration_s * (k + 0.5) / 8 for k in range(8)], size=(256, 256)))


def cpu_seconds(work: Callable[[], object]) -> float:
    begin = time.process_time() + _children()
    work()
    return time.process_time() + _children() - begin


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def make_clip(folder: Path, width: int, height: int) -> Path:
    path = folder / f"made_{height}p.mp4"
    write_video(path, scene(width, height), fps=FPS, crf=23, preset="medium")
    return path


def scene(width: int, height: int) -> Iterator[np.ndarray]:
    """A camera that pans, turns and zooms over photographs, a thing that moves by itself, and sensor noise."""
    from skimage import data

    photos = [cv2.resize(photo(), (960, 640)) for photo in (data.astronaut, data.coffee, data.chelsea)]
    wall = np.vstack([np.hstack(photos), np.hstack(photos[::-1])])
    wall = cv2.resize(wall, (width * 3 // 2, height * 3 // 2), interpolation=cv2.INTER_AREA)
    thing = cv2.resize(photos[1][100:500, 200:700], (width // 5, height // 5), interpolation=cv2.INTER_AREA)
    rng = np.random.default_rng(0)
    for k in range(FPS * SECONDS):
        t = k / (FPS * SECONDS)
        zoom, turn = 1 - 0.15 * t, 0.03 * np.sin(6 * t)
        cos, sin = zoom * np.cos(turn), zoom * np.sin(turn)
        x, y = width * (0.6 + 0.25 * t) - zoom * width / 2, height * (0.7 + 0.05 * np.sin(9 * t)) - zoom * height / 2
        camera = np.array([[cos, -sin, x], [sin, cos, y]])
        image = cv2.warpAffine(
            wall, camera, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT
        )
        left, top = int(width * 0.8 * (0.1 + 0.8 * t)), int(height * 0.8 * (0.5 + 0.3 * np.sin(7 * t)))
        image[top : top + height // 5, left : left + width // 5] = thing
        noise = rng.normal(0, 1.5, (height, width, 1))
        yield np.clip(image + noise, 0, 255).astype(np.uint8)


if __name__ == "__main__":
    raise SystemExit(main())
