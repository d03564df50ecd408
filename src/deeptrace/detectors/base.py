"""What a detector is: something with an `info` that turns an opened video into a Verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from deeptrace.trace import DetectorInfo, Media, Verdict
from deeptrace.video import Video

__all__ = ["BatchDetector", "Detector", "Estimate", "EvidenceCurves", "EvidenceDetector", "Planner", "Prepared"]

EvidenceCurves = dict[str, list[tuple[float, float]]]
"""What was measured over time: a name for people, with its unit, to points (seconds, value) rising in time."""


@runtime_checkable
class Detector(Protocol):
    """A detector of AI-generated video."""

    @property
    def info(self) -> DetectorInfo:
        """Name, version and every setting that changes an answer; goes into each verdict and manifest."""
        ...

    def detect(self, video: Video) -> Verdict:
        """Judge one opened video.

        `reward` and `elapsed_s` are filled in by the caller. A detector may be called from one thread at a time.

        Raises:
            VideoError: the video cannot be decoded (becomes outcome `decode_failed`).
            ModelError, ServiceError: the model could not run (`model_failed`).
            RefusalError, AnswerError: the model's answer is none (`refused`, `parse_failed`).
        """
        ...


@runtime_checkable
class EvidenceDetector(Detector, Protocol):
    """A detector that can also show what it measured over time."""

    def detect_with_evidence(self, video: Video) -> tuple[Verdict, EvidenceCurves]:
        """The verdict of `detect` and, from the same pass, curves of what it measured, for the report and for people.

        Raises:
            As `detect`.
        """
        ...


class Prepared(Protocol):
    """One video made ready for a batch: decoded, and in the shape that the model takes."""

    @property
    def length(self) -> int:
        """How long it is for the model, in whatever unit: videos of like length go into one batch."""
        ...


@runtime_checkable
class BatchDetector(Detector, Protocol):
    """A detector whose model judges several videos at once, and whose preparation runs beside it in other threads."""

    @property
    def batch_size(self) -> int:
        """Most videos at a time."""
        ...

    def prepare(self, video: Video) -> Prepared:
        """Decode what the model will see of one video. May be called from several threads at a time.

        Raises:
            VideoError: the video cannot be decoded.
            DeeptraceError: it cannot be put into the model's shape.
        """
        ...

    def detect_batch(self, prepared: Sequence[Any]) -> list[Verdict]:
        """One verdict for each of what `prepare` returned, in order; the same as one at a time gives.

        A video that fails alone is a verdict with that outcome. Called from one thread at a time.

        Raises:
            ModelError: the model could not run.
        """
        ...


@dataclass(frozen=True, slots=True)
class Estimate:
    """What judging one clip will take, computed before a model is loaded. None is not known.

    Attributes:
        frames: shown to the model.
        size: (width, height) of them as the model sees them.
        visual_tokens: of all frames.
        prompt_tokens: of frames and question together.
        memory_gib: the model's weights, its cache and what it works with, for this clip alone.
        seconds: on this machine.
        warnings: what the reader should know.
    """

    frames: int
    size: tuple[int, int]
    visual_tokens: int | None = None
    prompt_tokens: int | None = None
    memory_gib: float | None = None
    seconds: float | None = None
    warnings: tuple[str, ...] = ()


class Planner(Protocol):
    """What can say beforehand what a detector's work will take."""

    @property
    def info(self) -> DetectorInfo:
        """Of the detector planned for."""
        ...

    def estimate(self, media: Media) -> Estimate:
        """What one clip will take, from its facts alone.

        Raises:
            DeeptraceError: the model could not take this clip.
        """
        ...
