"""Run a detector over one video or many, with every failure as an outcome."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, overload

from deeptrace.detectors import (
    DEFAULT_DETECTOR,
    BatchDetector,
    Detector,
    EvidenceCurves,
    EvidenceDetector,
    load_detector,
)
from deeptrace.errors import AnswerError, DeeptraceError, RefusalError, VideoError
from deeptrace.reward import scalar_reward, unrewarded
from deeptrace.trace import DetectorInfo, Outcome, Verdict
from deeptrace.video import Video, open_video

__all__ = [
    "VERDICT_ONLY",
    "Job",
    "Judged",
    "detect",
    "failed_verdict",
    "failure",
    "finished",
    "judge",
    "judge_opened",
    "opened",
    "overlay_name",
]

log = logging.getLogger(__name__)

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Job:
    """What to do with each video beside the verdict.

    Attributes:
        evidence: collect the detector's evidence curves.
        overlay_dir: folder for a copy of each video with its traces drawn in; None for no overlay.
    """

    evidence: bool = False
    overlay_dir: str | None = None


VERDICT_ONLY = Job()


@dataclass(frozen=True)
class Judged:
    """A verdict and, when asked for, the curves behind it."""

    verdict: Verdict
    curves: EvidenceCurves = field(default_factory=dict)


@overload
def detect(path_or_paths: PathLike, detector: str | Detector = ..., **settings: Any) -> Verdict: ...
@overload
def detect(path_or_paths: Sequence[PathLike], detector: str | Detector = ..., **settings: Any) -> list[Verdict]: ...
def detect(
    path_or_paths: PathLike | Sequence[PathLike], detector: str | Detector = DEFAULT_DETECTOR, **settings: Any
) -> Verdict | list[Verdict]:
    """Judge one video, or several in their order, in this process.

    A video that cannot be judged gives a verdict whose `outcome` and `error` say why; it does not raise. For folders,
    patterns, worker processes and resuming see `deeptrace.evaluate.DetectRun`.

    Args:
        path_or_paths: a path or URL, or a sequence of them.
        detector: a name (see `deeptrace detectors`), or a loaded detector, which saves loading it in every call.
        settings: of the detector, when it is given by name.

    Raises:
        UnknownDetectorError, SettingsError, MissingExtraError, ModelError: the detector cannot be loaded.
    """
    loaded = load_detector(detector, **settings) if isinstance(detector, str) else detector
    if isinstance(path_or_paths, (str, os.PathLike)):
        return judge(loaded, os.fspath(path_or_paths)).verdict
    paths = [os.fspath(path) for path in path_or_paths]
    if isinstance(loaded, BatchDetector):
        from deeptrace.evaluate.detect_batches import BatchPool  # which is made of what this module has

        with BatchPool(loaded, {}) as pool:
            found = dict(pool.run(dict.fromkeys(paths)))
        return [found[path].verdict for path in paths]
    return [judge(loaded, path).verdict for path in paths]


def judge(detector: Detector, path: str, job: Job = Job()) -> Judged:
    """The detector's verdict on the video at `path`, with reward and time filled in; never raises for a bad video."""
    started = time.perf_counter()
    try:
        video = opened(path)
    except (DeeptraceError, OSError, MemoryError) as error:
        elapsed_s = time.perf_counter() - started
        return Judged(failed_verdict(path, Outcome.DECODE_FAILED, error, info=detector.info, elapsed_s=elapsed_s))
    with video:
        return judge_opened(detector, video, job, started=started)


def opened(path: str) -> Video:
    """The video at `path`, open.

    Raises:
        DeeptraceError, OSError, MemoryError: it cannot be opened.
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        raise VideoError("", "its name is not valid UTF-8", "Rename the file.") from None
    return open_video(path)


def judge_opened(detector: Detector, video: Video, job: Job = Job(), *, started: float | None = None) -> Judged:
    """As `judge`, for a video that is open already, frames in memory among them.

    Args:
        detector, video: called from this thread only.
        job: what to do beside the verdict.
        started: when the work began, by `time.perf_counter`; None for now.
    """
    began = time.perf_counter() if started is None else started
    try:
        if job.evidence and isinstance(detector, EvidenceDetector):
            verdict, curves = detector.detect_with_evidence(video)
        else:
            verdict, curves = detector.detect(video), {}
    except Exception as error:  # noqa: BLE001  somebody's model at work: what goes wrong there is an outcome
        return failure(video.path, error, info=detector.info, elapsed_s=time.perf_counter() - began)
    return finished(video, Judged(verdict, _finite(curves)), job, time.perf_counter() - began)


def failure(path: str, error: Exception, *, info: DetectorInfo, elapsed_s: float | None = None) -> Judged:
    """The failed outcome that an exception of a detector at work is."""
    outcome = next((kind for known, kind in _OUTCOMES if isinstance(error, known)), Outcome.MODEL_FAILED)
    said: Exception | str = error
    if not isinstance(error, (DeeptraceError, MemoryError)):
        log.debug("detector failed on %s", path, exc_info=error)
        said = f"{type(error).__name__}: {error}"
    return Judged(failed_verdict(path, outcome, said, info=info, elapsed_s=elapsed_s))


_OUTCOMES: tuple[tuple[type[Exception], Outcome], ...] = (
    (VideoError, Outcome.DECODE_FAILED),
    (MemoryError, Outcome.DECODE_FAILED),
    (RefusalError, Outcome.REFUSED),
    (AnswerError, Outcome.PARSE_FAILED),
)


def finished(video: Video, judged: Judged, job: Job, elapsed_s: float) -> Judged:
    """Add reward, time and warnings, and draw the overlay if asked; one that fails becomes a warning."""
    verdict = judged.verdict
    warnings = list(verdict.warnings) + [text for text in video.warnings if text not in verdict.warnings]
    if verdict.label is not None and job.overlay_dir is not None:
        try:
            _write_overlay(video, verdict, Path(job.overlay_dir))
        except Exception as error:
            log.debug("overlay failed on %s", video.path, exc_info=True)
            warnings.append(f"the overlay is missing: {error}")
    facts = {
        "video": video.path,
        "reward": None if unrewarded(verdict) else scalar_reward(verdict),
        "elapsed_s": elapsed_s,
        "warnings": tuple(warnings),
    }
    return replace(judged, verdict=verdict.model_copy(update=facts))


def _finite(curves: EvidenceCurves) -> EvidenceCurves:
    """The curves without points that JSON cannot carry."""
    return {
        name: [(float(at), float(value)) for at, value in points if math.isfinite(at) and math.isfinite(value)]
        for name, points in curves.items()
    }


def failed_verdict(
    path: str,
    outcome: Outcome,
    error: Exception | str,
    *,
    info: DetectorInfo | None = None,
    elapsed_s: float | None = None,
) -> Verdict:
    """A failed outcome for `path`, its name made printable and the repetition of it in the error taken off."""
    name = path.encode("utf-8", "backslashreplace").decode()
    text = str(error) or type(error).__name__
    text = text.removeprefix(f"{path}: ").encode("utf-8", "backslashreplace").decode()
    return Verdict.failed(name, outcome, text, detector=info, elapsed_s=elapsed_s)


def overlay_name(path: str) -> str:
    """A file name for the overlay of `path`: its stem made safe, and a digest so that two folders' names never meet."""
    stem = re.sub(r"[^\w.-]+", "_", Path(path.rstrip("/")).stem, flags=re.ASCII).strip("._")[:80] or "video"
    return f"{stem}.{hashlib.sha256(path.encode()).hexdigest()[:8]}.mp4"


def _write_overlay(video: Video, verdict: Verdict, folder: Path) -> None:
    from deeptrace.video.overlay import draw_overlay

    folder.mkdir(parents=True, exist_ok=True)
    draw_overlay(video, verdict, folder / overlay_name(video.path))
