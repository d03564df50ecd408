"""What a detector is: something with an `info` that turns an opened video into a Verdict."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from deeptrace.trace import DetectorInfo, Verdict
from deeptrace.video import Video

__all__ = ["Detector", "EvidenceCurves", "EvidenceDetector"]

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
