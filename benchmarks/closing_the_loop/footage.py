"""The second world that the generator learns: small crops of camera footage, to be gone on with from their beginning.

A prompt is the first frame and how it is moving: the optical flow to the next frame, and the first frame carried along
by it. What really came after is known, but no clip is the only right one. Footage is parted by source: one part teaches
the generator and is what it is trained on with the reward, one teaches the measures that the reward never sees, one is
the test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from closing_the_loop.generator import Condition, Scenes
from closing_the_loop.world import FPS, FRAMES, SIDE
from deeptrace.data import read_reward_data, resolve_path
from deeptrace.detectors.tracenet.evidence import looked_up, optical_flow, places
from deeptrace.errors import VideoError
from deeptrace.schema import Label, Sample
from deeptrace.video import open_video

__all__ = ["PARTS", "Footage", "carried_along", "condition_from_start", "cropped", "read_footage"]

PARTS = ("train", "judges", "test")

_SHORT_SIDE, _LONGEST = 72, 3 * FRAMES  # pixels and frames of a clip that are kept
_SMALLEST_CROP = 48
_FLOW_SIDE = 192  # flow is measured on crops enlarged to it
_STILL, _CUT = 4.0, 40.0  # grey levels from first to last frame, and from frame to frame
_TRIES = 200


@dataclass(frozen=True)
class Footage:
    """Clips of one part.

    Attributes:
        clips: (T, h, w, 3) uint8 each, short side 72, 8 frames a second, T at least FRAMES.
    """

    clips: Sequence[np.ndarray]

    def draw(self, rng: np.random.Generator, count: int) -> Scenes:
        """So many random crops with what they begin with; see `draw_clips`."""
        frames = self.draw_clips(rng, count)
        return Scenes(condition_from_start(frames), frames)

    def draw_clips(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """(count, FRAMES, SIDE, SIDE, 3) uint8: random crops in which something moves and no cut falls."""
        return np.stack([self._crop(rng) for _ in range(count)])

    def _crop(self, rng: np.random.Generator) -> np.ndarray:
        for _ in range(_TRIES):
            (crop,) = cropped((self.clips[int(rng.integers(len(self.clips)))],), rng)
            steps = np.abs(np.diff(crop.astype(np.float32), axis=0)).mean(axis=(1, 2, 3))
            if steps.max() < _CUT and np.abs(crop[-1].astype(np.float32) - crop[0]).mean() >= _STILL:
                break
        return crop


def cropped(clips: Sequence[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """The same random part of clips (T, h, w, 3) of one shape, mirrored or not: (FRAMES, SIDE, SIDE, 3) each."""
    count, height, width = clips[0].shape[:3]
    start = int(rng.integers(count - FRAMES + 1))
    side = int(rng.integers(_SMALLEST_CROP, min(height, width) + 1))
    top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    turn = -1 if rng.random() < 0.5 else 1
    parts = [clip[start : start + FRAMES, top : top + side, left : left + side][:, :, ::turn] for clip in clips]
    return [np.stack([cv2.resize(f, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for f in part]) for part in parts]


def condition_from_start(frames: np.ndarray) -> Condition:
    """The condition that clips (B, FRAMES, SIDE, SIDE, 3) uint8 begin with: their first two frames, as flow."""
    carried, paths = zip(*(carried_along(clip[0], clip[1]) for clip in frames), strict=True)
    first = frames[:, 0].astype(np.float32) / 255
    return Condition(
        torch.from_numpy(first.transpose(0, 3, 1, 2).copy()),
        torch.from_numpy(np.stack(paths)),
        torch.from_numpy(np.ascontiguousarray((np.stack(carried) - first[:, None]).transpose(0, 1, 4, 2, 3))),
    )


def carried_along(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a clip would be if everything went on as it begins: neither turning, nor uncovering, nor changing.

    Args:
        first, second: its first frames (SIDE, SIDE, 3) uint8.

    Returns:
        The first frame carried along (FRAMES, SIDE, SIDE, 3) in [0, 1], and how far (2, FRAMES, SIDE, SIDE), in shares
        of half the side.
    """
    gray = [cv2.resize(cv2.cvtColor(f, cv2.COLOR_RGB2GRAY), (_FLOW_SIDE, _FLOW_SIDE)) for f in (first, second)]
    back = cv2.resize(optical_flow(gray[1], gray[0]), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    back *= np.float32(SIDE / _FLOW_SIDE)
    picture = first.astype(np.float32) / 255
    shifts = [np.float32(index) * back for index in range(FRAMES)]
    moved = np.stack([looked_up(picture, places(SIDE) + shift) for shift in shifts])
    paths = np.stack(shifts).transpose(3, 0, 1, 2) * np.float32(2 / SIDE)
    return moved, np.clip(paths, -1, 1)


def read_footage(corpus: Path, corpus2: Path, kept: Path) -> dict[str, Footage]:
    """The camera footage of both corpora as `PARTS`; read once, then from the folder `kept`.

    The first corpus is "train"; every second source of the second one is "judges", the others "test".
    """
    found = {}
    for part in PARTS:
        path = kept / f"{part}.npz"
        if not path.is_file():
            folder = corpus if part == "train" else corpus2
            _write(_of_part(folder, part), folder, path)
        with np.load(path) as arrays:
            found[part] = Footage([arrays[name] for name in arrays.files])
    return found


def _of_part(folder: Path, part: str) -> list[Sample]:
    extra = {row["file"]: row.get("kind") or "camera" for row in _manifest(folder)}
    samples = {s.path: s for s in read_reward_data(folder) if s.label is Label.REAL and extra[s.path] == "camera"}
    if part == "train":
        return list(samples.values())
    sources = sorted({str(s.source) for s in samples.values()})
    wanted = set(sources[PARTS.index(part) - 1 :: 2])
    return [s for s in samples.values() if str(s.source) in wanted]


def _manifest(folder: Path) -> list[dict[str, str]]:
    import csv

    with (folder / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _write(samples: Sequence[Sample], folder: Path, path: Path) -> None:
    clips = {}
    for number, sample in enumerate(samples):
        try:
            frames = _small(resolve_path(sample, folder))
        except VideoError:
            continue
        if len(frames) >= FRAMES:
            clips[f"{number:04d}"] = frames
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npz")
    np.savez(part, **clips)  # type: ignore[arg-type]
    part.replace(path)


def _small(path: Path) -> np.ndarray:
    with open_video(path) as video:
        scale = _SHORT_SIDE / min(video.media.width, video.media.height)
        size = (round(video.media.width * scale), round(video.media.height * scale))
        frames = [f.image for f in video.frames(max_fps=FPS, size=size, end_s=_LONGEST / FPS)]
    return np.stack(frames)
