"""Measure every clip once and keep the numbers, so that training never decodes.

A clip is measured several times: as it is; in one encoding for all (what the held-out figures are stated for); and
after random changes of frame rate, size, codec and quality, drawn alike for both classes, so that none of these can
tell the classes apart. Real clips also get synthetic traces.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from deeptrace.detectors.tracenet.evidence import GRID, evidence_of
from deeptrace.detectors.tracenet.windows import RATE_FPS, SHORT_SIDE, Window, analysis_size, read_windows
from deeptrace.errors import DeeptraceError, SynthError
from deeptrace.geometry import Box
from deeptrace.synth import Scene, inject
from deeptrace.trace import Category
from deeptrace.train.tracenet.clips import Clip, Kind
from deeptrace.train.tracenet.config import TraceNetConfig
from deeptrace.video import Frame, Video, open_video, write_video

__all__ = [
    "AS_IS",
    "ONE_ENCODING",
    "Measured",
    "Planted",
    "coverage",
    "load_measured",
    "load_planted",
    "make_variant",
    "measure_all",
]

AS_IS, ONE_ENCODING = 0, 1
_LONGEST_S = 6.2
_PLANTED_FRAMES = 20
_PLANTED_SIZE = 256


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


@dataclass(frozen=True)
class Planted:
    """A real stretch with one synthetic trace.

    Attributes:
        evidence: (T, channels, GRID, GRID) float16.
        target: (T, GRID, GRID) uint8, the share of each cell that the trace's box covers, times 255.
        category: which kind.
        severity: 0 to 1.
        times_s: (T,).
        trace: onset_s, offset_s, x0, y0, x1, y1.
    """

    evidence: np.ndarray
    target: np.ndarray
    category: Category
    severity: float
    times_s: np.ndarray
    trace: np.ndarray


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


def load_planted(clip: Clip, config: TraceNetConfig) -> Iterator[Planted]:
    """The synthetic traces in variants of a real clip."""
    for variant in range(config.planted_variants):
        path = _planted_path(clip, variant, config)
        if path.is_file():
            with np.load(path) as data:
                for category in Category:
                    if f"{category}.evidence" in data:
                        yield Planted(
                            evidence=data[f"{category}.evidence"],
                            target=data[f"{category}.target"],
                            category=category,
                            severity=float(data[f"{category}.severity"]),
                            times_s=data["times_s"],
                            trace=data[f"{category}.trace"],
                        )


def coverage(box: Box) -> np.ndarray:
    """The share of each grid cell (GRID, GRID) that `box` covers."""
    edges = np.arange(GRID + 1) / GRID
    across = np.clip(np.minimum(edges[1:], box.x1) - np.maximum(edges[:-1], box.x0), 0, None) * GRID
    down = np.clip(np.minimum(edges[1:], box.y1) - np.maximum(edges[:-1], box.y0), 0, None) * GRID
    return np.asarray(down[:, None] * across[None, :], np.float32)


def _one_thread() -> None:
    import cv2

    cv2.setNumThreads(1)


def _measure_clip(clip: Clip, config: TraceNetConfig) -> list[str]:
    problems = []
    for variant in range(config.variants):
        planted = clip.kind is Kind.REAL and variant < config.planted_variants and config.injections > 0
        wanted = [_measured_path(clip, variant, config)] + ([_planted_path(clip, variant, config)] if planted else [])
        if all(path.is_file() for path in wanted):
            continue
        rng = _rng(config.seed, clip.name, variant)
        try:
            with (
                tempfile.TemporaryDirectory() as scratch,
                make_variant(clip.path, variant, rng, Path(scratch)) as video,
            ):
                if not wanted[0].is_file():
                    _save(wanted[0], **_numbers_of(list(read_windows(video))))
                if planted and not wanted[1].is_file():
                    _save(wanted[1], **_plant(video, config.injections, rng))
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


def _plant(video: Video, injections: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Synthetic traces in one stretch of a video, each of another kind, measured."""
    width, height = analysis_size(video.media)
    shrink = _PLANTED_SIZE / max(width, height)
    size = (round(width * shrink / 2) * 2, round(height * shrink / 2) * 2)
    frames = list(video.frames(max_fps=RATE_FPS, size=size, end_s=_LONGEST_S, fast=True))
    start = int(rng.integers(0, max(len(frames) - _PLANTED_FRAMES, 0) + 1))
    chosen = frames[start : start + _PLANTED_FRAMES]
    pictures = np.stack([frame.image for frame in chosen])
    times = np.array([frame.time_s - chosen[0].time_s for frame in chosen])
    out: dict[str, np.ndarray] = {"times_s": times}
    try:
        scene = Scene.of(pictures, times)
    except DeeptraceError:
        return out
    for index in rng.permutation(len(Category))[:injections]:
        category = list(Category)[index]
        severity = float(rng.uniform(0.3, 1.0))
        try:
            planted = inject(pictures, times, category, severity=severity, rng=rng, scene=scene)
        except SynthError:
            continue  # this clip offers nothing that such a trace could hold on to
        tube, box = planted.trace.tube, planted.trace.box
        assert tube is not None
        assert box is not None
        # straight to the maps: a reader would pace the frames anew, by slots that start elsewhere
        with_trace = (Frame(time_s=float(t), image=picture) for t, picture in zip(times, planted.frames, strict=True))
        evidence = np.stack([frame.maps for frame in evidence_of(with_trace)])
        boxes = [tube.box_at(float(time)) for time in times]
        target = np.stack([np.zeros((GRID, GRID), np.float32) if b is None else coverage(b) for b in boxes])
        out[f"{category}.evidence"] = evidence.astype(np.float16)
        out[f"{category}.target"] = np.round(target * 255).astype(np.uint8)
        out[f"{category}.severity"] = np.array(severity)
        out[f"{category}.trace"] = np.array([tube.onset_s, tube.offset_s, *box.as_tuple()])
    return out


def _rng(seed: int, name: str, variant: int) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed}/{name}/{variant}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def _measured_path(clip: Clip, variant: int, config: TraceNetConfig) -> Path:
    return config.out / "measured" / f"{clip.name}.v{variant}.npz"


def _planted_path(clip: Clip, variant: int, config: TraceNetConfig) -> Path:
    return config.out / "measured" / f"{clip.name}.v{variant}.planted.npz"


def _save(path: Path, **arrays: np.ndarray) -> None:
    part = path.with_suffix(".part.npz")
    np.savez(part, **arrays)  # type: ignore[arg-type]
    part.replace(path)
