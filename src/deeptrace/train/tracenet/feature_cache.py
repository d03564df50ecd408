"""Measure every clip once and keep the numbers, so that training never decodes.

A clip is measured several times: as it is; in one encoding for all (what the held-out figures are stated for); and
after random changes of frame rate, size, codec and quality, drawn alike for both classes, so that none of these can
tell the classes apart.

Real clips also get synthetic traces, which teach the trace net *presence*: a set is one segment of a real clip,
measured as it is, with traces of several kinds in it, each at two severities and at the same place, and after hard
negatives. Whatever else may happen to a file (here: coding in blocks) happens to a whole set, so that within it nothing
differs but the trace.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from deeptrace.detectors.tracenet.evidence import GRID, evidence_of
from deeptrace.detectors.tracenet.temporal_extent import coverage
from deeptrace.detectors.tracenet.windows import RATE_FPS, SHORT_SIDE, Window, analysis_size, read_windows
from deeptrace.errors import DeeptraceError, SynthError
from deeptrace.io.atomic import atomic_path
from deeptrace.io.processes import worker_pool
from deeptrace.schema import Category
from deeptrace.synth import AFTER, BEFORE, REGION, Injection, Scene, hard_negative, inject
from deeptrace.train.tracenet.clips import Clip, Kind
from deeptrace.train.tracenet.config import TRAIN, TraceNetConfig
from deeptrace.video import Frame, Video, open_video, write_video

__all__ = [
    "AS_IS",
    "ONE_ENCODING",
    "KeptArrays",
    "Measured",
    "collected",
    "load_measured",
    "load_trait",
    "make_variant",
    "measure_all",
    "save_arrays",
    "synthetic_sets",
]

T = TypeVar("T")

FRAMES = 16
"""Neighbouring frames of a set."""

_RECODED = 0.5
_HIGH = (0.5, 1.0)
_LOWER = (0.25, 0.6)  # the lower severity, as a share of the higher


@dataclass(frozen=True)
class SyntheticSet:
    """What was measured of one segment; evidence is (T, channels, GRID, GRID) float16, read when asked for.

    Attributes:
        path: of the .npz file.
        categories: one for each trace.
        severities: (traces, 2), the lower first.
        hard_negatives: number of hard negatives.
    """

    path: Path
    categories: tuple[Category, ...]
    severities: np.ndarray
    hard_negatives: int

    @classmethod
    def load(cls, path: Path) -> SyntheticSet:
        """Read what is small."""
        with np.load(path) as data:
            kinds = tuple(list(Category)[int(i)] for i in data["categories"])
            return cls(path, kinds, data["severities"], int(data["decoys"]))

    def base(self) -> np.ndarray:
        """The segment as it was."""
        return self._array("base")

    def trace(self, index: int, level: int) -> tuple[np.ndarray, np.ndarray]:
        """With trace number `index` at the lower (0) or higher (1) severity; and its ground truth (T, GRID, GRID)."""
        truth = self._array(f"target{index}.{level}")
        return self._array(f"trace{index}.{level}"), truth.astype(np.float32) / 255

    def hard_negative(self, index: int) -> np.ndarray:
        """After hard negative number `index`."""
        return self._array(f"decoy{index}")

    def _array(self, name: str) -> np.ndarray:
        with np.load(self.path) as data:
            return np.asarray(data[name])


def measure_set(
    video: Video, longest_s: float, kinds: Sequence[Category], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """The arrays of a set; one without traces where the video has nothing to attach a trace to.

    Args:
        video: camera footage.
        longest_s: seconds of it to choose a segment from.
        kinds: of the traces to put in.
        rng: source of every choice.
    """
    frames = list(video.frames(max_fps=RATE_FPS, size=analysis_size(video.media), end_s=longest_s, fast=True))
    start = int(rng.integers(0, max(len(frames) - FRAMES, 0) + 1))
    chosen = frames[start : start + FRAMES]
    pictures = np.stack([frame.image for frame in chosen])
    times = np.array([frame.time_s - chosen[0].time_s for frame in chosen])
    coding = int(rng.integers(2**32)) if rng.random() < _RECODED else None
    measured = partial(_evidence, times=times, coding=coding)
    out: dict[str, np.ndarray] = {"times_s": times, "base": measured(pictures)}
    found: list[tuple[Category, tuple[float, float]]] = []
    try:
        scene = Scene.of(pictures, times)
    except DeeptraceError:
        scene = None
    for kind in kinds if scene is not None else ():
        high = float(rng.uniform(*_HIGH))
        levels = (high * float(rng.uniform(*_LOWER)), high)
        state = int(rng.integers(2**32))
        try:
            pair = [
                inject(pictures, times, kind, severity=level, rng=np.random.default_rng(state), scene=scene)
                for level in levels
            ]
        except SynthError:
            continue
        for level, synthetic in enumerate(pair):
            out[f"trace{len(found)}.{level}"] = measured(synthetic.frames)
            out[f"target{len(found)}.{level}"] = _target(synthetic, times)
        found.append((kind, levels))
    for number, group in enumerate((REGION, BEFORE + AFTER)):
        out[f"decoy{number}"] = measured(hard_negative(pictures, times, rng, kinds=group, count=1).frames)
    return out | {
        "categories": np.array([list(Category).index(kind) for kind, _ in found], int),
        "severities": np.array([levels for _, levels in found]).reshape(-1, 2),
        "decoys": np.array(2),
    }


def seeded(*parts: object) -> np.random.Generator:
    """A generator whose seed is the parts' text: the same wherever and in whatever order it is made."""
    digest = hashlib.sha256("/".join(str(part) for part in parts).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def _evidence(pictures: np.ndarray, times: np.ndarray, coding: int | None) -> np.ndarray:
    """Maps of `pictures`, coded in blocks before where `coding` is the seed of that."""
    if coding is not None:
        pictures = hard_negative(pictures, times, np.random.default_rng(coding), kinds=("recompress",), count=1).frames
    # straight to the maps: a reader would pace the frames again, by slots that start elsewhere
    frames = (Frame(time_s=float(t), image=picture) for t, picture in zip(times, pictures, strict=True))
    return np.stack([frame.maps for frame in evidence_of(frames)]).astype(np.float16)


def _target(synthetic: Injection, times: np.ndarray) -> np.ndarray:
    """(T, GRID, GRID) uint8: the share of each cell that the trace's box covers, times 255."""
    assert synthetic.trace.tube is not None
    boxes = [synthetic.trace.tube.box_at(float(time)) for time in times]
    cover = np.stack([np.zeros((GRID, GRID), np.float32) if box is None else coverage(box) for box in boxes])
    return np.asarray(np.round(cover * 255), np.uint8)


class KeptArrays:
    """What a dataclass of arrays and numbers takes to be kept in an .npz file."""

    def save(self, path: Path) -> None:
        """Write to an .npz file, whole or not at all."""
        with atomic_path(path) as scratch:
            np.savez_compressed(scratch, **vars(self))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read from an .npz file."""
        record: Any = cls
        numbers = {field.name for field in fields(record) if field.type == "float"}
        with np.load(path) as data:
            kept: Self = record(**{n: float(data[n]) if n in numbers else data[n] for n in data.files})
        return kept

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """All rows of several that hold arrays alone."""
        return cls(**{name: np.concatenate([vars(part)[name] for part in parts]) for name in vars(parts[0])})


AS_IS, ONE_ENCODING = 0, 1
_LONGEST_S = 6.2


@dataclass(frozen=True)
class Measured:
    """One variant of one clip.

    Attributes:
        times_s: (T,).
        evidence: (T, channels, GRID, GRID) float16.
        texture: (windows, D) float32, one row for each window of LENGTH frames.
        appearance: (windows, A) float32, likewise.
    """

    times_s: np.ndarray
    evidence: np.ndarray
    texture: np.ndarray
    appearance: np.ndarray


def measure_all(clips: list[Clip], config: TraceNetConfig, progress: Callable[[str, int, int], None]) -> list[str]:
    """Measure what is not measured yet, in `config.workers` processes.

    Returns:
        One line for each clip that could not be measured; the rest is on disk.
    """
    folder = config.out / "measured"
    folder.mkdir(parents=True, exist_ok=True)
    with worker_pool(config.workers, _one_thread) as pool:
        jobs = [pool.submit(_measure_clip, clip, config) for clip in clips]
        return [problem for problems in collected(jobs, "measured", progress) for problem in problems]


def collected(jobs: Sequence[Future[T]], what: str, progress: Callable[[str, int, int], None]) -> list[T]:
    """The results of `jobs` in their order; `progress` is told of each what is being done, how much, and of how much.

    Raises:
        Exception: the first that a job ended with.
    """
    found = []
    for job in jobs:
        found.append(job.result())
        progress(what, len(found), len(jobs))
    return found


def load_measured(clip: Clip, variant: int, config: TraceNetConfig) -> Measured | None:
    """What was measured of a variant; None where it could not be."""
    path = _measured_path(clip, variant, config)
    if not path.is_file():
        return None
    with np.load(path) as data:
        return Measured(data["times_s"], data["evidence"], data["texture"], data["appearance"])


def load_trait(clip: Clip, variant: int, config: TraceNetConfig, trait: str) -> np.ndarray | None:
    """One array of `Measured` alone, (windows, D); None where the variant could not be measured."""
    path = _measured_path(clip, variant, config)
    if not path.is_file():
        return None
    with np.load(path) as data:
        return np.asarray(data[trait])


def synthetic_sets(clip: Clip, config: TraceNetConfig) -> Iterator[SyntheticSet]:
    """The sets of synthetic traces measured in a real clip; those without any trace are left out."""
    for variant in config.synthetic_variants:
        path = _synthetic_path(clip, variant, config)
        if path.is_file() and (found := SyntheticSet.load(path)).categories:
            yield found


def _one_thread() -> None:
    import cv2

    cv2.setNumThreads(1)


def _measure_clip(clip: Clip, config: TraceNetConfig) -> list[str]:
    problems = []
    for variant in range(config.variants):
        trains = config.nets == TRAIN and config.injections > 0
        synthetic = trains and clip.kind is Kind.REAL and variant in config.synthetic_variants
        wanted = [_measured_path(clip, variant, config)] + (
            [_synthetic_path(clip, variant, config)] if synthetic else []
        )
        if all(path.is_file() for path in wanted):
            continue
        rng = seeded(config.seed, clip.name, variant)
        try:
            with (
                tempfile.TemporaryDirectory() as scratch,
                make_variant(clip.path, variant, rng, Path(scratch)) as video,
            ):
                if not wanted[0].is_file():
                    save_arrays(wanted[0], **_numbers_of(list(read_windows(video, encoder=config.encoder()))))
                if synthetic and not wanted[1].is_file():
                    save_arrays(wanted[1], **_synthetic(video, clip, variant, config))
        except DeeptraceError as error:
            problems.append(str(error))
    return problems


def make_variant(path: Path, variant: int, rng: np.random.Generator, scratch: Path) -> Video:
    """The clip as variant number `variant` shows it: AS_IS, in ONE_ENCODING, or changed at random (any other number).

    Args:
        path: the clip.
        variant: number of the variant.
        rng: of the random changes.
        scratch: folder for the new file, which must outlive the returned video.
    """
    if variant == AS_IS:
        return open_video(path)
    if variant == ONE_ENCODING:
        rate, short, quality, codec = RATE_FPS, SHORT_SIDE, 23, "libx264"
    else:
        rate = float(rng.choice([6, 8, 10, 12, 15, 24, 30], p=[0.12, 0.14, 0.12, 0.12, 0.12, 0.13, 0.25]))
        short = int(rng.integers(100, 193)) * 2
        quality = int(rng.integers(18, 33))
        codec = "libx265" if rng.random() < 0.15 else "libx264"
    target = scratch / "variant.mp4"
    with open_video(path) as source:
        scale = short / min(source.media.width, source.media.height)
        size = (round(source.media.width * scale / 2) * 2, round(source.media.height * scale / 2) * 2)
        frames = source.frames(max_fps=rate, size=size, end_s=_LONGEST_S)
        write_video(target, frames, fps=rate, crf=quality, codec=codec, preset="veryfast")  # type: ignore[arg-type]
    return open_video(target)


def _numbers_of(windows: list[Window]) -> dict[str, np.ndarray]:
    fresh = [(w.times_s[w.fresh :], w.evidence[w.fresh :]) for w in windows]
    texture = [w.texture for w in windows if w.texture is not None]
    appearance = [w.appearance for w in windows if w.appearance is not None]
    return {
        "times_s": np.concatenate([times for times, _ in fresh]),
        "evidence": np.concatenate([maps for _, maps in fresh]).astype(np.float16),
        "texture": np.stack(texture) if texture else np.zeros((0, 0), np.float32),
        "appearance": np.stack(appearance) if appearance else np.zeros((0, 0), np.float32),
    }


def _synthetic(video: Video, clip: Clip, variant: int, config: TraceNetConfig) -> dict[str, np.ndarray]:
    """A set with other kinds than the clip's earlier variants have."""
    order = seeded(config.seed, clip.name, "kinds").permutation(len(Category))
    turned = np.roll(order, -config.injections * config.synthetic_variants.index(variant))
    kinds = [list(Category)[index] for index in turned[: config.injections]]
    return measure_set(video, _LONGEST_S, kinds, seeded(config.seed, clip.name, variant, "planted"))


def _measured_path(clip: Clip, variant: int, config: TraceNetConfig) -> Path:
    return config.out / "measured" / f"{clip.name}.v{variant}.npz"


def _synthetic_path(clip: Clip, variant: int, config: TraceNetConfig) -> Path:
    return config.out / "measured" / f"{clip.name}.v{variant}.sets.npz"


def save_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Write an .npz file, whole or not at all."""
    with atomic_path(path) as scratch:
        np.savez(scratch, **arrays)  # type: ignore[arg-type]
