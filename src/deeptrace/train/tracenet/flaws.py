"""Fit the flaw ranker: an order of severity learned from nobody's marks.

A camera clip gets one synthetic trace of each kind; its place, time and manner stay, its severity rises (a ladder). The
ranker is the ridge regression of severity on the change of a clip's statistics against its clean self, so that what the
clip shows cancels out. Three things are held against it: the changes that benign edits (re-encoding, resizing, light)
make, the covariance with motion over camera footage, so that a still clip is not a better one, and its spread there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from deeptrace.detectors.tracenet.flaw_measures import expected_of
from deeptrace.detectors.tracenet.flaws import MEASURED, STATISTICS, FlawRanker, flaw_statistics
from deeptrace.detectors.tracenet.model import FLAWS_NAME, TraceNetModel
from deeptrace.detectors.tracenet.windows import read_windows
from deeptrace.errors import DataError, SynthError, VideoError
from deeptrace.io.atomic import atomic_path
from deeptrace.io.processes import worker_pool
from deeptrace.plural import plural
from deeptrace.schema import Category
from deeptrace.synth import Scene, inject
from deeptrace.train.tracenet.clips import Clip
from deeptrace.train.tracenet.feature_cache import KeptArrays, collected
from deeptrace.video import Frame, Video, open_video, video_from_array
from deeptrace.video.transforms.ops import Brightness, Recode, Resize

__all__ = [
    "BENIGN_EDITS",
    "LEVELS",
    "FlawExamples",
    "benign_edits",
    "clip_statistics",
    "fit_flaws",
    "flaw_examples",
    "held_out_figures",
    "ladder",
    "short_segment",
    "write_flaws",
]

LEVELS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
BENIGN_EDITS = ("crf 23", "crf 28", "size 3/4", "light 1.15")
"""Names of the edits that leave what a clip shows alone."""

_LEARNED_LEVELS = LEVELS[1::2]
_SEGMENT_S, _SEGMENT_FPS = 3.0, 8.0
_MOTION = tuple(f"{channel}.{name}" for channel in ("motion", "camera_motion") for name in ("q90", "q97"))


@dataclass(frozen=True)
class FlawExamples(KeptArrays):
    """What clips teach of severity; F numbers of each, see `flaw_statistics`.

    Attributes:
        severity: (N,) of each rung of each ladder.
        change: (N, F) of the statistics from the clean clip to the rung.
        benign: (B, F) of the statistics from the clip at its own size to each benign edit of it.
        camera: (C, F) statistics of the clips themselves.
    """

    severity: np.ndarray
    change: np.ndarray
    benign: np.ndarray
    camera: np.ndarray


def short_segment(clip: Clip, short_side: int | None = 256) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The first three seconds at 8 frames a second: frames (T, H, W, 3) RGB and times (T,) in seconds.

    Args:
        clip: the clip.
        short_side: pixels that the frames are resized to; None for the clip's own size.

    Raises:
        VideoError: the clip cannot be decoded.
    """
    with open_video(clip.path) as video:
        size = None
        if short_side is not None:
            scale = short_side / min(video.media.width, video.media.height)
            size = (round(video.media.width * scale / 2) * 2, round(video.media.height * scale / 2) * 2)
        frames = list(video.frames(max_fps=_SEGMENT_FPS, size=size, end_s=_SEGMENT_S))
    return np.stack([f.image for f in frames]), np.array([f.time_s for f in frames])


def ladder(
    scene: Scene, category: Category, seed: tuple[int, ...], levels: Sequence[float] = LEVELS[1:]
) -> Iterator[NDArray[np.uint8]]:
    """The clip (T, H, W, 3) with one trace at each severity above 0; fewer where the trace did not stay the same."""
    extent = None
    for severity in levels:
        rng = np.random.default_rng(seed)
        try:
            synthetic = inject(scene.frames, scene.times_s, category, severity=severity, rng=rng, scene=scene)
        except SynthError:
            return
        if extent is not None and synthetic.trace.interval != extent:
            return
        extent = synthetic.trace.interval
        yield synthetic.frames


def benign_edits(frames: NDArray[np.uint8], times_s: NDArray[np.float64]) -> Iterator[tuple[str, Video]]:
    """A clip (T, H, W, 3) after edits that leave its content alone, each with its name."""
    kept = [Frame(float(time), picture) for time, picture in zip(times_s, frames, strict=True)]
    smaller = Resize(min(frames.shape[1:3]) * 3 // 4)
    edits = (Recode("libx264", 23), Recode("libx264", 28), smaller, Brightness(1.15))
    for name, edit in zip(BENIGN_EDITS, edits, strict=True):
        edited = list(edit(kept, seed=0))
        yield name, video_from_array(np.stack([f.image for f in edited]), times_s=[f.time_s for f in edited])


def flaw_examples(
    model: TraceNetModel, clip: Clip, seed: tuple[int, ...], *, kinds: Sequence[Category] = tuple(Category)
) -> FlawExamples:
    """What one camera clip teaches: its ladders, its benign edits and itself. About 15 s of one core.

    Args:
        model: whose nets are asked.
        clip: camera footage.
        seed: of the synthetic traces.
        kinds: of the ladders; without any, about 3 s.

    Raises:
        VideoError: the clip cannot be decoded.
        SynthError: no trace can be put into it, or it is too short.
    """
    frames, times = short_segment(clip)
    scene = Scene.of(frames, times)
    clean = clip_statistics(model, _as_it_is(frames, times))
    severity, change = [], []
    for number, category in enumerate(kinds):
        rungs = list(ladder(scene, category, (*seed, number), _LEARNED_LEVELS))
        if len(rungs) < len(_LEARNED_LEVELS):
            continue
        severity += list(_LEARNED_LEVELS)
        change += [clip_statistics(model, _as_it_is(rung, times)) - clean for rung in rungs]
    own, own_times = short_segment(clip, None)
    at_own_size = clip_statistics(model, _as_it_is(own, own_times))
    benign = [clip_statistics(model, edited) - at_own_size for _, edited in benign_edits(own, own_times)]
    features = len(STATISTICS) + MEASURED
    return FlawExamples(
        np.array(severity), np.array(change).reshape(-1, features), np.array(benign), at_own_size.reshape(1, features)
    )


def _as_it_is(frames: NDArray[np.uint8], times_s: NDArray[np.float64]) -> Video:
    return video_from_array(frames, times_s=list(times_s), as_is=True)


def clip_statistics(model: TraceNetModel, video: Video) -> NDArray[np.float64]:
    """The statistics (F,) of a clip, the mean over its windows.

    Raises:
        SynthError: the clip has too few frames.
    """
    found, frames = [], []
    for window in read_windows(video, encoder=model.encoder):
        scores = model.score(window)
        if len(window.times_s) > 1:
            found.append(
                flaw_statistics(
                    window.evidence,
                    window.times_s,
                    clip=scores.clip,
                    present=scores.present,
                    where=scores.where,
                    kinds=scores.kinds,
                )
            )
            frames.append(len(window.times_s))
    if not found:
        raise SynthError(video.path, "too short for flaws to be measured")
    return np.asarray(np.average(np.stack(found), axis=0, weights=frames))


def write_flaws(
    model: Path,
    clips: Sequence[Clip],
    kept: Path,
    *,
    laddered: int,
    seed: int,
    workers: int,
    progress: Callable[[str, int, int], None],
) -> None:
    """Fit the ranker of an exported model and write it beside it; what clips teach is kept, so that it can go on.

    Args:
        model: folder of the exported model.
        clips: camera footage.
        kept: folder of what each clip teaches.
        laddered: how many clips get ladders; the others teach benign edits and how footage varies.
        seed: of the choice and of the traces.
        workers: processes.
        progress: called with what is being done, how much is done and how much there is.

    Raises:
        DataError: see `fit_flaws`.
    """
    order = [clips[index] for index in np.random.default_rng(seed).permutation(len(clips))]
    jobs = [
        (model, clip, (seed, number), number < laddered, kept / f"{clip.name}.npz") for number, clip in enumerate(order)
    ]
    with worker_pool(workers) as pool:
        collected([pool.submit(_keep_examples, *job) for job in jobs], "flaws measured", progress)
    parts = [FlawExamples.load(path) for *_, path in jobs if path.is_file()]
    if not parts:
        raise DataError(str(model), "not one clip of camera footage to learn flaws from")
    ranker = fit_flaws(FlawExamples.joined(parts))
    ranker = ranker.model_copy(update={"fitted_on": ranker.fitted_on | held_out_figures(parts)})
    with atomic_path(model / FLAWS_NAME) as scratch:
        scratch.write_text(ranker.model_dump_json(indent=1) + "\n")


def held_out_figures(parts: Sequence[FlawExamples]) -> dict[str, float]:
    """How well the ranker does on clips that it was not fitted on: every third is left out in turn.

    Returns:
        "held_out_gross_above_clean": share of the grossest rungs that are above their clean clip; 0.5 is chance.
        "held_out_benign_steps": median change of a benign edit over a step of a clip's own ladder (a fifth of it).
        "held_out_severity_of_gross": mean change from clean to gross. Nothing where there is too little to part.
    """
    gross, benign = [], []
    for third in range(3):
        learned = [part for index, part in enumerate(parts) if index % 3 != third]
        left = FlawExamples.joined([part for index, part in enumerate(parts) if index % 3 == third] or [parts[0]])
        try:
            weights = np.array(fit_flaws(FlawExamples.joined(learned)).weights)
        except (DataError, ValueError):
            return {}
        known = len(STATISTICS)
        gross.append(left.change[left.severity == LEVELS[-1], :known] @ weights)
        benign.append(np.abs(left.benign[:, :known] @ weights))
    rungs, edits = np.concatenate(gross), np.concatenate(benign)
    if not len(rungs) or not len(edits):
        return {}
    return {
        "held_out_gross_above_clean": float((rungs > 0).mean()),
        "held_out_benign_steps": float(np.median(edits) / (np.median(np.abs(rungs)) / (len(LEVELS) - 1))),
        "held_out_severity_of_gross": float(rungs.mean()),
    }


@cache
def _loaded(folder: Path) -> TraceNetModel:
    cv2.setNumThreads(1)
    return TraceNetModel.load(folder)


def _keep_examples(model: Path, clip: Clip, seed: tuple[int, ...], laddered: bool, path: Path) -> None:
    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(VideoError, SynthError):
        flaw_examples(_loaded(model), clip, seed, kinds=tuple(Category) if laddered else ()).save(path)


def fit_flaws(
    examples: FlawExamples,
    *,
    samples: NDArray[np.float64] | None = None,
    benign: float = 1000.0,
    motion: float = 100.0,
    motion_of_samples: float = 10_000.0,
    spread: float = 0.01,
    ridge: float = 10.0,
) -> FlawRanker:
    """The ranker that examples teach.

    Args:
        examples: of several camera clips.
        samples: (S, F) statistics of the samples of one generator, each less the mean of its prompt's, where the ranker
            is made for that generator: that motion goes with flaws among camera clips is one thing, that a generator
            tears what it moves is another, and a reward that sees it stills the generator.
        benign, motion, motion_of_samples, spread, ridge: how much is held against the changes of benign edits,
            covariance with motion over camera footage and over `samples`, spread over camera footage, and large
            weights. All statistics are standardised first.

    Raises:
        DataError: fewer than three clips, or no ladder.
    """
    if len(examples.camera) < 3 or not len(examples.severity):
        raise DataError(
            "flaws",
            f"{plural(len(examples.camera), 'clip')} and {plural(len(examples.severity), 'rung')} are too few to learn",
        )
    names = list(STATISTICS)
    change, edited, camera = (part[:, : len(names)] for part in (examples.change, examples.benign, examples.camera))
    typical = np.median(camera, axis=0)
    unit = camera.std(axis=0) + 1e-6
    change, edited, camera = change / unit, edited / unit, camera / unit
    centred = camera - camera.mean(axis=0)
    with_motion = _with_motion(centred)
    among = np.zeros((len(names), 0)) if samples is None else _with_motion(samples[:, : len(names)] / unit)
    against = (
        benign * edited.T @ edited / len(edited)
        + motion * with_motion @ with_motion.T
        + motion_of_samples * among @ among.T
        + spread * centred.T @ centred / len(centred)
        + ridge * change.var() * np.eye(len(names))
    )
    learned = np.linalg.solve(change.T @ change / len(change) + against, change.T @ examples.severity / len(change))
    scale = float((camera @ learned).std()) or 1.0
    weights = learned / scale / unit
    return FlawRanker(
        weights=tuple(weights.tolist()),
        typical=tuple(typical.tolist()),
        expected=expected_of(examples.camera[:, len(names) :]),
        fitted_on={
            "camera_clips": len(examples.camera),
            "rungs": len(examples.severity),
            "rung_above_clean": float((change * unit @ weights > 0).mean()),
        },
    )


def _with_motion(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariance (F, 4) of the statistics (N, F), whose means are 0, with those that say how much moves, in spreads."""
    moving = rows[:, [list(STATISTICS).index(name) for name in _MOTION]]
    return np.asarray(rows.T @ (moving / (moving.std(axis=0) + 1e-6)) / len(rows))
