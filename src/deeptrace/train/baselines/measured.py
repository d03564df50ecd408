"""Measure every clip once, decoded once for all baselines, and keep the numbers by the file's content."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deeptrace.detectors.baselines.backbones import backbone_digest, load_backbone
from deeptrace.detectors.baselines.footage import FOOTAGE_VERSION, read_footage
from deeptrace.detectors.baselines.measures import ENCODED, Measured, measure
from deeptrace.errors import DeeptraceError
from deeptrace.io.fingerprint import sha256_of
from deeptrace.io.processes import worker_pool
from deeptrace.train.tracenet.clips import Clip
from deeptrace.train.tracenet.feature_cache import ONE_ENCODING, collected, make_variant, save_arrays
from deeptrace.video import Video, open_video
from deeptrace.video.transforms.presets import degrade_file

__all__ = ["AS_THEY_ARE", "Kept", "measure_clips"]

AS_THEY_ARE = ""
"""The change of clips that are not changed."""

Progress = Callable[[str, int, int], None]

_DIGITS = 20


@dataclass(frozen=True)
class Kept:
    """Clips that could be measured, and what was measured of them.

    Attributes:
        clips: N clips.
        measured: N results by name of the measure.
        problems: a line for each clip that could not be measured.
    """

    clips: list[Clip]
    measured: list[Measured]
    problems: tuple[str, ...] = ()

    def of(self, chosen: np.ndarray) -> Kept:
        """Those of some clips alone: `chosen` is (clips,) bool."""
        at = np.flatnonzero(chosen)
        return Kept([self.clips[i] for i in at], [self.measured[i] for i in at])


def measure_clips(
    clips: Sequence[Clip],
    names: Sequence[str],
    folder: Path,
    progress: Progress,
    *,
    change: str = AS_THEY_ARE,
    workers: int = 1,
    backbone: str | None = None,
) -> Kept:
    """Measure what is not measured yet, and read the rest.

    Args:
        clips: to measure.
        names: of the measures.
        folder: where results are kept, a file for each content and change; an interrupted run goes on from there.
        progress: told of each clip what is being done, how much, and of how much.
        change: name of a degradation that clips get before, already in one encoding; AS_THEY_ARE for none.
        workers: processes.
        backbone: folder of the encoder whose embeddings are wanted; None for the one in the package.

    Raises:
        ModelError, MissingExtraError: the encoder cannot be loaded.
    """
    if backbone is not None:
        load_backbone(backbone)
    kept_as = _kept_as(names, backbone)
    folder.mkdir(parents=True, exist_ok=True)
    what = f"measured, {change}" if change else "measured"
    ended: list[Path | str] = []
    if workers == 1:
        _one_thread()
        for clip in clips:
            ended.append(_measure(clip, kept_as, folder, change, backbone))
            progress(what, len(ended), len(clips))
    else:
        with worker_pool(workers, _one_thread) as pool:
            jobs = [pool.submit(_measure, clip, kept_as, folder, change, backbone) for clip in clips]
            ended = collected(jobs, what, progress)
    used, measured, problems = list[Clip](), list[Measured](), list[str]()
    for clip, found in zip(clips, ended, strict=True):
        if isinstance(found, str):
            problems.append(found)
            continue
        with np.load(found) as data:
            measured.append({name: data[key].astype(np.float32) for name, key in kept_as.items()})
        used.append(clip)
    return Kept(used, measured, tuple(problems))


def _kept_as(names: Sequence[str], backbone: str | None) -> dict[str, str]:
    """What each measure is called in the file of a clip: those of another encoder by that encoder."""
    mark = "" if backbone is None else f"@{backbone_digest(backbone)}"
    return {name: f"{name}{mark if name in ENCODED else ''}" for name in names}


def _measure(clip: Clip, kept_as: dict[str, str], folder: Path, change: str, backbone: str | None) -> Path | str:
    """The file that holds the measures of a clip, made where need be; or a line that says why there is none."""
    path = folder / f"{sha256_of(clip.path)[:_DIGITS]}.{change or 'as_is'}.{FOOTAGE_VERSION}.npz"
    found: dict[str, np.ndarray] = {}
    if path.is_file():
        with np.load(path) as data:
            found = dict(data)
    missing = [name for name, key in kept_as.items() if key not in found]
    if not missing:
        return path
    try:
        with _changed(clip, change) as video:
            footage = read_footage(video)
        for name, value in measure(footage, missing, backbone).items():
            found[kept_as[name]] = value.astype(np.float16 if name in ENCODED else np.float32)
    except DeeptraceError as error:
        return str(error)
    save_arrays(path, **found)
    return path


@contextmanager
def _changed(clip: Clip, change: str) -> Iterator[Video]:
    if not change:
        with open_video(clip.path) as video:
            yield video
        return
    with tempfile.TemporaryDirectory() as scratch:
        with make_variant(clip.path, ONE_ENCODING, np.random.default_rng(0), Path(scratch)) as video:
            degrade_file(video, Path(scratch) / "degraded.mp4", change, seed=0)
        with open_video(Path(scratch) / "degraded.mp4") as degraded:
            yield degraded


def _one_thread() -> None:
    import cv2

    cv2.setNumThreads(1)
