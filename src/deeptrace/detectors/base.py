"""What a detector is: something with an `info` that turns an opened video into a Verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from deeptrace.schema import DetectorInfo, Media, Verdict
from deeptrace.video import Video

__all__ = [
    "AnalysingDetector",
    "Analysis",
    "AskableDetector",
    "BatchDetector",
    "Detector",
    "Estimate",
    "EvidenceCurves",
    "Execution",
    "HeatMap",
    "Planner",
    "Prepared",
]

EvidenceCurves = dict[str, list[tuple[float, float]]]
"""What was measured over time: a name for people, with its unit, to points (seconds, value) rising in time."""


class Execution(StrEnum):
    """How a detector wants to be run over many clips; what its attribute `execution` says.

    PROCESSES: one clip at a time in each of several processes. What a detector gets that says nothing.
    THREADS: several clips at a time from threads of one process, as many as its attribute `concurrency` says: it mostly
        waits for a server, and may be called from several threads.
    BATCHES: one model in one process, asked about several clips at once while threads decode the next ones. What a
        `BatchDetector` gets.
    """

    PROCESSES = "processes"
    THREADS = "threads"
    BATCHES = "batches"


@runtime_checkable
class Detector(Protocol):
    """A detector of AI-generated video."""

    @property
    def info(self) -> DetectorInfo:
        """Name, version and every setting that changes an answer; goes into each verdict and manifest."""
        ...

    def detect(self, video: Video) -> Verdict:
        """The verdict on one opened video.

        `reward` and `elapsed_s` are filled in by the caller. A detector may be called from one thread at a time, unless
        its `execution` says THREADS.

        Raises:
            VideoError: the video cannot be decoded (becomes outcome `decode_failed`).
            ModelError, ServiceError: the model could not run (`model_failed`).
            RefusalError, AnswerError: the model's answer is not a verdict (`refused`, `parse_failed`).
        """
        ...


@dataclass(frozen=True)
class HeatMap:
    """Where in the frame a trace may lie, over one segment of a video.

    Attributes:
        times_s: (T,) seconds, rising: when the sampled frames are shown.
        heat: (T, rows, columns) float32 in [0, 1]: the chance that a trace lies there, given that the clip has one.
    """

    times_s: NDArray[np.float64]
    heat: NDArray[np.float32]


@dataclass(frozen=True)
class Analysis:
    """A verdict, and what it was read off.

    Attributes:
        verdict: on the clip.
        curves: what was measured over time; empty when not asked for or not available.
        heat: where traces may lie; empty when not asked for or not available. A video too long to be searched as a
            whole has several, with gaps between them.
    """

    verdict: Verdict
    curves: EvidenceCurves = field(default_factory=dict)
    heat: tuple[HeatMap, ...] = ()


@runtime_checkable
class AnalysingDetector(Detector, Protocol):
    """A detector that can also show, from the same pass, what its verdict was read off."""

    def analyse(self, video: Video, *, curves: bool = False, heat: bool = False) -> Analysis:
        """The verdict of `detect`, with evidence curves and heat where asked for and known.

        Raises:
            As `detect`.
        """
        ...


@runtime_checkable
class AskableDetector(Detector, Protocol):
    """A language model, which can be asked other things about a video than whether it is generated."""

    def ask(self, video: Video, question: str) -> str:
        """What it answers to a question in words. From one thread at a time, unless its `execution` says THREADS.

        Raises:
            VideoError: the video cannot be decoded.
            ModelError, ServiceError: the model could not run.
            RefusalError, AnswerError: it declined, or said nothing.
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
    """A detector whose model takes several videos at once, and whose preparation runs beside it in other threads."""

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
    """What analysing one clip will take, computed before a model is loaded. None is not known.

    Attributes:
        frames: shown to the model.
        size: (width, height) of them as the model sees them.
        visual_tokens: of all frames.
        prompt_tokens: of frames and question together.
        memory_gib: the model's weights, its cache and what it works with, for this clip alone.
        seconds: on this machine.
        warnings: remarks for the reader.
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
