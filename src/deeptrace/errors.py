"""Every error deeptrace raises, on one screen.

DeeptraceError                 anything below; `str()` is one line: subject: what is wrong. How to mend it.
├── VideoError                 a video cannot be used as asked            (subject: its path)
│   ├── VideoNotFoundError     no such file or object
│   ├── NotAVideoError         not a media file, or cut off before its index
│   ├── NoVideoStreamError     media without a picture: audio only, subtitles only
│   ├── NoFramesError          a video stream, but not one frame that decodes
│   └── VideoTooLargeError     more pixels a frame than the limit set
├── DataError                  a dataset, row or annotation makes no sense  (subject: file, row, field)
├── SynthError                 a clip offers nothing that a synthetic trace could hold on to
├── SettingsError              an option, setting or config makes no sense
├── MissingExtraError          an optional dependency is not installed
├── UnknownDetectorError       no detector has that name
├── ModelError                 a model could not be loaded or run
├── ServiceError               a remote service failed, after retries
├── AnswerError                a model's answer cannot be read as a verdict
│   └── RefusalError           the model declined to answer
└── JudgeError                 the explanation judge gave no usable score
"""

from __future__ import annotations

__all__ = [
    "AnswerError",
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
    "UnknownDetectorError",
    "VideoError",
    "VideoNotFoundError",
    "VideoTooLargeError",
]


class DeeptraceError(Exception):
    """Base of all: one clear line that names the input and the mend.

    Args:
        subject: what the error is about, as the user named it (a path, a row, an option). May be empty.
        problem: what is wrong with it.
        mend: what to do about it, as a sentence. May be empty.
    """

    def __init__(self, subject: str, problem: str, mend: str = "") -> None:
        self.subject, self.problem, self.mend = subject, problem, mend
        super().__init__(subject, problem, mend)

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
    """More pixels a frame than the limit set."""


class DataError(DeeptraceError):
    """A dataset, row or annotation that makes no sense; `subject` names file, row and field."""


class SynthError(DeeptraceError):
    """A clip offers nothing that a synthetic trace could hold on to; `subject` names the category."""


class SettingsError(DeeptraceError):
    """An option, setting or config that makes no sense."""


class MissingExtraError(DeeptraceError):
    """An optional dependency is not installed.

    Args:
        feature: what needs it, in the user's words.
        extra: the extra of deeptrace that brings it.
    """

    def __init__(self, feature: str, extra: str) -> None:
        self.feature, self.extra = feature, extra
        super().__init__(
            feature, "an optional dependency is missing", f"Install it with: pip install 'deeptrace[{extra}]'"
        )

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
