"""A detector over one clip, with every failure as an outcome: what all executors do for each clip."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from deeptrace.detectors import AnalysingDetector, Analysis, Detector, EvidenceCurves
from deeptrace.errors import (
    AnswerError,
    DeeptraceError,
    RefusalError,
    UndecidableError,
    VideoError,
    VideoTooLargeError,
)
from deeptrace.metrics.reward import scalar_reward, unrewarded
from deeptrace.schema import MIN_FRAMES, DetectorInfo, Media, Outcome, Verdict
from deeptrace.urls import file_name, public_text, same_clip, shown_name
from deeptrace.video import Video

__all__ = [
    "VERDICT_ONLY",
    "Clip",
    "Job",
    "analyse",
    "clip_name",
    "failed_verdict",
    "failure",
    "finished",
    "open_clip",
    "overlay_name",
]

log = logging.getLogger(__name__)

Clip = str | os.PathLike[str] | Video
"""A path or URL, or a video that is open already, one made of frames in memory among them."""


@dataclass(frozen=True)
class Job:
    """What to do with each clip beside the verdict.

    Attributes:
        evidence: collect the detector's evidence curves.
        heat: collect the detector's map of where traces may lie.
        overlay_dir: folder for a copy of each video with its traces drawn in; None for no overlay.
    """

    evidence: bool = False
    heat: bool = False
    overlay_dir: str | None = None


VERDICT_ONLY = Job()


def clip_name(clip: Clip) -> str:
    """What results call a clip: the path or URL as given, or the name of a video in memory."""
    return clip.path if isinstance(clip, Video) else os.fspath(clip)


def open_clip(clip: Clip) -> Video:
    """The clip as an open video.

    Raises:
        DeeptraceError, OSError, MemoryError: it cannot be opened.
    """
    if isinstance(clip, Video):
        return clip
    path = os.fspath(clip)
    try:
        path.encode()
    except UnicodeEncodeError:
        raise VideoError("", "its name is not valid UTF-8", "Rename the file.") from None
    from deeptrace.video import open_video  # with the decoders, which who only sends clips to workers does not need

    return open_video(path)


def analyse(
    detector: Detector, clip: Clip, job: Job = VERDICT_ONLY, *, opener: Callable[[], Video] | None = None
) -> Analysis:
    """What the detector says of one clip, with reward and time filled in; a failure is an outcome, never an exception.

    Args:
        detector: called from this thread.
        clip: a path is opened and closed again; an open video stays open.
        job: what to do beside the verdict.
        opener: opens the clip in another way than `open_clip`; the clip is then merely what results call it.
    """
    started = time.perf_counter()
    name = clip_name(clip)
    try:
        video = open_clip(clip) if opener is None else opener()
    except (DeeptraceError, OSError, MemoryError) as error:
        return failure(name, error, info=detector.info, elapsed_s=time.perf_counter() - started)
    try:
        try:
            if isinstance(detector, AnalysingDetector) and (job.evidence or job.heat):
                found = detector.analyse(video, curves=job.evidence, heat=job.heat)
            else:
                found = Analysis(detector.detect(video))
        except Exception as error:  # noqa: BLE001  somebody's model at work: what goes wrong there is an outcome
            return failure(name, error, info=detector.info, video=video, elapsed_s=time.perf_counter() - started)
        return finished(video, found, job, time.perf_counter() - started, info=detector.info)
    finally:
        if video is not clip:
            video.close()


_OUTCOMES: tuple[tuple[type[Exception], Outcome], ...] = (
    (VideoTooLargeError, Outcome.TOO_LARGE),
    (MemoryError, Outcome.TOO_LARGE),
    (UndecidableError, Outcome.UNDECIDABLE),
    (VideoError, Outcome.DECODE_FAILED),
    (OSError, Outcome.DECODE_FAILED),
    (RefusalError, Outcome.REFUSED),
    (AnswerError, Outcome.PARSE_FAILED),
)


def failure(
    name: str,
    error: Exception,
    *,
    info: DetectorInfo,
    video: Video | None = None,
    media: Media | None = None,
    elapsed_s: float | None = None,
) -> Analysis:
    """The failed outcome that an exception is.

    Args:
        name: of the clip.
        error: of opening the clip, or of a detector at work.
        info: the detector's.
        video: the clip where it opened; its facts are kept where the clip itself is sound.
        media: those facts as a detector has added to them; None for the video's own.
        elapsed_s: seconds spent on it.
    """
    opening = video is None
    outcome = next((kind for known, kind in _OUTCOMES if isinstance(error, known)), Outcome.MODEL_FAILED)
    if opening and outcome is Outcome.MODEL_FAILED:
        outcome = Outcome.DECODE_FAILED
    said: Exception | str = error
    if isinstance(error, MemoryError):
        said = str(error) or "needs more memory than it may have"
    elif not opening and not isinstance(error, DeeptraceError):
        log.debug("detector failed on %s", name, exc_info=error)
        said = f"{type(error).__name__}: {error}"
        outcome = Outcome.MODEL_FAILED
    kept = (media or video.media) if video is not None and outcome is Outcome.UNDECIDABLE else None
    verdict = failed_verdict(name, outcome, said, info=info, media=kept, elapsed_s=elapsed_s)
    credentials = None if video is None else video.content_credentials()
    return Analysis(verdict.model_copy(update={"content_credentials": credentials}))


def finished(video: Video, found: Analysis, job: Job, elapsed_s: float, *, info: DetectorInfo) -> Analysis:
    """Add reward, time, warnings and Content Credentials, and draw the overlay if asked; a failed one is a warning.

    A label on a clip of a few frames in all, whoever gave it, becomes the outcome `undecidable`; what is no verdict, or
    none that a file can hold, `model_failed`.
    """
    if (fault := _fault(found)) is not None:
        return failure(video.path, fault, info=info, video=video, elapsed_s=elapsed_s)
    verdict = found.verdict
    if verdict.label is not None and _shows_too_little(verdict):
        assert verdict.media is not None
        error = UndecidableError.of_frames(video.path, verdict.media.frames or 0, MIN_FRAMES)
        info = verdict.detector or info
        return failure(video.path, error, info=info, video=video, media=verdict.media, elapsed_s=elapsed_s)
    warnings = list(verdict.warnings) + [text for text in video.warnings if text not in verdict.warnings]
    if verdict.label is not None and job.overlay_dir is not None:
        try:
            _write_overlay(video, verdict, Path(job.overlay_dir))
        except Exception as error:
            log.debug("overlay failed on %s", video.path, exc_info=True)
            warnings.append(f"the overlay is missing: {error}")
    facts = {
        "video": shown_name(video.path),
        "reward": None if unrewarded(verdict) else scalar_reward(verdict),
        "elapsed_s": elapsed_s,
        "warnings": tuple(warnings),
        "content_credentials": video.content_credentials(),
    }
    return replace(found, verdict=verdict.model_copy(update=facts), curves=_finite(found.curves))


def _fault(found: object) -> Exception | None:
    """Why what a detector gave is of no use; None where it is a verdict that can be sent and kept."""
    verdict = found.verdict if isinstance(found, Analysis) else found
    if not isinstance(verdict, Verdict):
        return TypeError(f"expected a Verdict of the detector but got {type(verdict).__name__}")
    try:
        verdict.model_dump_json()
    except ValueError as error:  # half of a surrogate pair, which a model's JSON can escape
        return ValueError(f"the verdict cannot be written as JSON: {error}")
    return None


def _shows_too_little(verdict: Verdict) -> bool:
    """Whether a detector that looked at frames was shown a clip of too few; a constant answer looks at none."""
    media = verdict.media
    return media is not None and bool(media.sampled_times_s) and media.frames is not None and media.frames < MIN_FRAMES


def _finite(curves: EvidenceCurves) -> EvidenceCurves:
    """The curves without points that JSON cannot carry."""
    return {
        name: [(float(at), float(value)) for at, value in points if math.isfinite(at) and math.isfinite(value)]
        for name, points in curves.items()
    }


_MOST_ERROR = 2000
"""Characters of an error: some exceptions quote all that they were given, and every table shows it."""


def failed_verdict(
    path: str,
    outcome: Outcome,
    error: Exception | str,
    *,
    info: DetectorInfo | None = None,
    media: Media | None = None,
    elapsed_s: float | None = None,
) -> Verdict:
    """A failed outcome for `path`, its name made printable and the repetition of it in the error taken off."""
    name, text = shown_name(path), str(error) or type(error).__name__
    text = public_text(text).encode("utf-8", "backslashreplace").decode().removeprefix(f"{name}: ")
    text = text if len(text) <= _MOST_ERROR else f"{text[: _MOST_ERROR - 1]}…"
    return Verdict.failed(name, outcome, text, detector=info, media=media, elapsed_s=elapsed_s)


def overlay_name(path: str) -> str:
    """A file name for the overlay of `path`: its stem made safe, and a digest so that two folders' names never meet."""
    stem = re.sub(r"[^\w.-]+", "_", Path(file_name(path)).stem, flags=re.ASCII).strip("._")[:80] or "video"
    return f"{stem}.{hashlib.sha256(same_clip(path).encode()).hexdigest()[:8]}.mp4"


def _write_overlay(video: Video, verdict: Verdict, folder: Path) -> None:
    from deeptrace.video.overlay import draw_overlay

    folder.mkdir(parents=True, exist_ok=True)
    draw_overlay(video, verdict, folder / overlay_name(video.path))
