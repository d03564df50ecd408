"""Every error deeptrace raises, on one screen.

DeeptraceError                 anything below; `str()` is one line: subject: what is wrong. How to mend it.
├── VideoError                 a video cannot be used as asked            (subject: its path)
│   ├── VideoNotFoundError     no such file or object
│   ├── NotAVideoError         not a media file, or cut off before its index
│   ├── NoVideoStreamError     media without a picture: audio only, subtitles only
│   ├── NoFramesError          a video stream, but not one frame that decodes
│   └── VideoTooLargeError     more pixels a frame than the limit allows
├── UndecidableError           a clip shows too little to tell: a picture, a few frames (subject: its path)
├── DataError                  a dataset, row or annotation is invalid       (subject: file, row, field)
├── SynthError                 a clip has nothing to attach a synthetic trace to
├── SettingsError              an option, setting or config is invalid
│   └── ConfigError            a config has several faults, `faults` holds an error for each
├── MissingExtraError          an optional dependency is not installed
├── UnknownDetectorError       no detector has that name
├── ModelError                 a model could not be loaded or run
├── ServiceError               a remote service failed, after retries
├── AnswerError                a model's answer cannot be read as a verdict
│   └── RefusalError           the model declined to answer
└── JudgeError                 the explanation judge gave no usable score
"""

from __future__ import annotations

from collections.abc import Sequence

from deeptrace.plural import plural
from deeptrace.urls import public_text, public_url

__all__ = [
    "DISTRIBUTION",
    "AnswerError",
    "ConfigError",
    "DataError",
    "DeeptraceError",
    "JudgeError",
    "MissingExtraError",
    "ModelError",
    "NoFramesError",
    "NoVideoStreamError",
    "NotAVideoError",
    "RefusalError",
    "ServiceError",
    "SettingsError",
    "SynthError",
    "UndecidableError",
    "UnknownDetectorError",
    "VideoError",
    "VideoNotFoundError",
    "VideoTooLargeError",
    "install_command",
]

DISTRIBUTION = "deeptrace-video"
"""What package indexes and installers call this project; `deeptrace` there belongs to somebody else."""


def install_command(extra: str) -> str:
    """The command that brings an extra of deeptrace.

    Examples:
        >>> install_command("bench")
        "pip install 'deeptrace-video[bench]'"
    """
    return f"pip install '{DISTRIBUTION}[{extra}]'"


class DeeptraceError(Exception):
    """Base of all: one clear line that names the input and the mend, and no secret of a URL.

    Args:
        subject: what the error is about, as the user named it (a path, a row, an option). May be empty.
        problem: what is wrong with it.
        mend: what to do about it, as a sentence. May be empty.
    """

    def __init__(self, subject: str, problem: str, mend: str = "") -> None:
        self.subject, self.problem, self.mend = public_url(subject), public_text(problem), mend
        super().__init__(self.subject, self.problem, self.mend)

    def __str__(self) -> str:
        line = f"{self.subject}: {self.problem}" if self.subject else self.problem
        line = f"{line.rstrip('.')}. {self.mend}" if self.mend else line
        return " ".join(line.split())


class VideoError(DeeptraceError):
    """A video cannot be used as asked; `subject` is its path or URL."""


class VideoNotFoundError(VideoError):
    """No such file or object."""


class NotAVideoError(VideoError):
    """Not a media file, or one cut off before its index."""


class NoVideoStreamError(VideoError):
    """A media file without a picture."""


class NoFramesError(VideoError):
    """A video stream of which not one frame decodes."""


class VideoTooLargeError(VideoError):
    """More pixels a frame than the limit allows."""


class UndecidableError(DeeptraceError):
    """A clip that decodes, but shows too little to tell; `subject` is its path or URL."""

    @classmethod
    def of_frames(cls, subject: str, seen: int, needed: int) -> UndecidableError:
        """The error for a clip of too few frames."""
        return cls(subject, f"shows only {plural(seen, 'frame')}, too few to tell: at least {needed} are needed")


class DataError(DeeptraceError):
    """A dataset, row or annotation that is invalid; `subject` names file, row and field."""


class SynthError(DeeptraceError):
    """A clip has nothing to attach a synthetic trace to; `subject` names the category."""


class SettingsError(DeeptraceError):
    """An option, setting or config that is invalid."""


class ConfigError(SettingsError):
    """A config, or what it names, has several faults.

    Attributes:
        faults: an error for each.
    """

    faults: tuple[DeeptraceError, ...] = ()

    @classmethod
    def of(cls, subject: str, faults: Sequence[DeeptraceError]) -> DeeptraceError:
        """The error of one or several faults; one alone is itself.

        Examples:
            >>> both = ConfigError.of("sft.json", [SettingsError("a", "is missing"), SettingsError("b", "is 0")])
            >>> str(both)
            'sft.json: 2 faults: a: is missing; b: is 0'
            >>> str(ConfigError.of("sft.json", both.faults[:1]))
            'a: is missing'
        """
        if len(faults) == 1:
            return faults[0]
        found = cls(subject, f"{len(faults)} faults: {'; '.join(str(fault) for fault in faults)}")
        found.faults = tuple(faults)
        return found


class MissingExtraError(DeeptraceError):
    """An optional dependency is not installed.

    Args:
        feature: what needs it, in the user's words.
        extra: the extra of deeptrace that brings it.
    """

    def __init__(self, feature: str, extra: str) -> None:
        self.feature, self.extra = feature, extra
        super().__init__(feature, "an optional dependency is missing", f"Install it with: {install_command(extra)}")

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        return type(self), (self.feature, self.extra)


class UnknownDetectorError(DeeptraceError):
    """No detector has that name."""


class ModelError(DeeptraceError):
    """A model could not be loaded or run."""


class ServiceError(DeeptraceError):
    """A remote service failed, after retries."""


class AnswerError(DeeptraceError):
    """A model's answer cannot be read as a verdict."""


class RefusalError(AnswerError):
    """The model declined to answer."""


class JudgeError(DeeptraceError):
    """The explanation judge gave no usable score."""
