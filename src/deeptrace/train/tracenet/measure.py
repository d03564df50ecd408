"""Measure every clip once and keep the numbers, so that training never decodes.

A clip is measured several times: as it is; in one encoding for all (what the held-out figures are stated for); and
after random changes of frame rate, size, codec and quality, drawn alike for both classes, so that none of these can
tell the classes apart. Real clips also get synthetic traces.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from deeptrace.detectors.tracenet.windows import RATE_FPS, SHORT_SIDE, Window, read_windows
from deeptrace.errors import DeeptraceError
from deeptrace.trace import Category
from deeptrace.train.tracenet.clips import Clip, Kind
from deeptrace.train.tracenet.config import TraceNetConfig
from deeptrace.train.tracenet.planted import PlantedSet, measure_set, seeded
from deeptrace.video import Video, open_video, write_video

__all__ = [
    "AS_IS",
    "ONE_ENCODING",
    "Measured",
    "load_measured",
    "make_variant",
    "measure_all",
    "planted_sets",
]

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
    problems: list[str] = []
    # spawned, not forked: a fork inherits locks of threads that it does not have, and hangs
    with ProcessPoolExecutor(config.workers, get_context("spawn"), _one_thread) as pool:
        jobs = [pool.submit(_measure_clip, clip, config) for clip in clips]
        for done, job in enumerate(jobs, start=1):
            problems += job.result()
            progress("measured", done, len(jobs))
    return problems


def load_measured(clip: Clip, variant: int, config: TraceNetConfig) -> Measured | None:
    """What was measured of a variant; None where it could not be."""
    path = _measured_path(clip, variant, config)
    if not path.is_file():
        return None
    with np.load(path) as data:
        return Measured(data["times_s"], data["evidence"], data["texture"], data["appearance"])


def planted_sets(clip: Clip, config: TraceNetConfig) -> Iterator[PlantedSet]:
    """The sets of synthetic traces measured in a real clip; those without any trace are left out."""
    for variant in config.planted_variants:
        path = _planted_path(clip, variant, config)
        if path.is_file() and (found := PlantedSet.load(path)).categories:
            yield found


def _one_thread() -> None:
    import cv2

    cv2.setNumThreads(1)


def _measure_clip(clip: Clip, config: TraceNetConfig) -> list[str]:
    problems = []
    for variant in range(config.variants):
        planted = clip.kind is Kind.REAL and variant in config.planted_variants and config.injections > 0
        wanted = [_measured_path(clip, variant, config)] + ([_planted_path(clip, variant, config)] if planted else [])
        if all(path.is_file() for path in wanted):
            continue
        rng = seeded(config.seed, clip.name, variant)
        try:
            with (
                tempfile.TemporaryDirectory() as scratch,
                make_variant(clip.path, variant, rng, Path(scratch)) as video,
            ):
                if not wanted[0].is_file():
                    _save(wanted[0], **_numbers_of(list(read_windows(video))))
                if planted and not wanted[1].is_file():
                    _save(wanted[1], **_planted(video, clip, variant, config))
        except DeeptraceError as error:
            problems.append(str(error))
    return problems


def make_variant(path: Path, variant: int, rng: np.random.Generator, scratch: Path) -> Video:
    """The clip as variant number `variant` shows it: AS_IS, in ONE_ENCODING, or changed at random (any other number).

    Args:
        path: the clip.
        variant: which.
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


def _planted(video: Video, clip: Clip, variant: int, config: TraceNetConfig) -> dict[str, np.ndarray]:
    """A set with other kinds than the clip's earlier variants have."""
    order = seeded(config.seed, clip.name, "kinds").permutation(len(Category))
    turned = np.roll(order, -config.injections * config.planted_variants.index(variant))
    kinds = [list(Category)[index] for index in turned[: config.injections]]
    return measure_set(video, _LONGEST_S, kinds, seeded(config.seed, clip.name, variant, "planted"))


def _measured_path(clip: Clip, variant: int, config: TraceNetConfig) -> Path:
    return config.out / "measured" / f"{clip.name}.v{variant}.npz"


def _planted_path(clip: Clip, variant: int, config: TraceNetConfig) -> Path:
    return config.out / "measured" / f"{clip.name}.v{variant}.sets.npz"


def _save(path: Path, **arrays: np.ndarray) -> None:
    part = path.with_suffix(".part.npz")
    np.savez(part, **arrays)  # type: ignore[arg-type]
    part.replace(path)
