"""What travels: the clips of a request, the result of each, and errors. The server's own shape; see `docs/serve.md`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from deeptrace.schema import DetectorInfo, Outcome, Verdict

__all__ = [
    "MOST_CLIPS",
    "ApiError",
    "ClipRef",
    "ClipResult",
    "Clips",
    "DenseBody",
    "Frames",
    "Parts",
    "Reason",
    "ScoreBody",
    "ScoreReply",
    "Work",
    "reason_of",
]


T = TypeVar("T")


class Reason(StrEnum):
    """Why a clip has no reward, for programs; the sentence for people is `error`."""

    NOT_ALLOWED = "not_allowed"
    NOT_FOUND = "not_found"
    TOO_LARGE = "too_large"
    UNREADABLE = "unreadable"
    TIMED_OUT = "timed_out"
    CRASHED = "crashed"
    NOT_SCORED = "not_scored"


_REASONS = {
    Outcome.DECODE_FAILED: Reason.UNREADABLE,
    Outcome.TIMED_OUT: Reason.TIMED_OUT,
    Outcome.CRASHED: Reason.CRASHED,
    Outcome.TOO_LARGE: Reason.TOO_LARGE,
}


def reason_of(outcome: Outcome) -> Reason:
    """The reason that a failed outcome is, for programs."""
    return _REASONS.get(outcome, Reason.NOT_SCORED)


MOST_CLIPS, MOST_FRAMES = 4096, 100_000
"""What a body may list at all, whatever the settings; reading stops there, and at the first error."""
Clips = Annotated[list[T], Field(max_length=MOST_CLIPS, fail_fast=True)]
Frames = Annotated[list[str], Field(min_length=1, max_length=MOST_FRAMES, fail_fast=True)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ClipRef(_Body):
    """One clip: exactly one of `path`, `url`, `base64` and `frames`.

    Attributes:
        path: a file on the server's disk, below one of its roots.
        url: http(s), on one of the server's hosts.
        base64: the bytes of a video file.
        frames: images of one size (PNG, JPEG or WebP), each in base64, in order.
        fps: how fast `frames` are shown; only with them.
        name: what the result's `video` says; by default the path or URL.
    """

    path: str | None = Field(default=None, min_length=1, max_length=4096)
    url: str | None = Field(default=None, min_length=1, max_length=8192)
    base64: str | None = None
    frames: Frames | None = None
    fps: float | None = Field(default=None, gt=0, le=1000)
    name: str | None = Field(default=None, max_length=300)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in ("path", "url", "base64", "frames") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"expected one of path, url, base64, frames but got {' and '.join(given) or 'none'}")
        if self.fps is not None and self.frames is None:
            raise ValueError("fps is for frames; files say their own")
        return self


class _Request(_Body):
    deadline_s: float | None = Field(default=None, gt=0, description="Give up after so many seconds.")


class ScoreBody(_Request):
    """Clips to be scored."""

    clips: Annotated[Clips[ClipRef], Field(min_length=1)]


class DenseBody(_Request):
    """One clip to be mapped.

    Attributes:
        clip: the clip to map.
        size: (height, width) of the map; the clip's own when not given.
        times_s: the map's moments; those of the clip's frames when not given.
    """

    clip: ClipRef
    size: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]] | None = None
    times_s: Annotated[list[float], Field(min_length=1, max_length=MOST_FRAMES, fail_fast=True)] | None = None


class Parts(_Body):
    """What a reward is made of; see `deeptrace.reward.ScalarReward`."""

    reward: float
    authenticity: float
    trace_factor: float
    trace_cost: float
    cost_by_category: dict[str, float]
    authenticity_weight: float
    flaw_factor: float
    flaw_severity: float | None
    flaws: dict[str, float]
    measures: dict[str, float]


class ClipResult(Verdict):
    """A verdict with the parts of its reward.

    Attributes:
        parts: what the reward is made of; null without one.
        reason: why there is none; null with one.
    """

    parts: Parts | None = None
    reason: Reason | None = None

    @classmethod
    def without_reward(
        cls, name: str, outcome: Outcome, reason: Reason, error: str, detector: DetectorInfo | None = None
    ) -> ClipResult:
        """A failed outcome; the same words as `Verdict.failed`."""
        verdict = Verdict.failed(name, outcome, error, detector=detector)
        return cls(**dict(verdict), reason=reason)


class ScoreReply(BaseModel):
    """One result a clip, in the order of the request."""

    results: list[ClipResult]


class ApiError(BaseModel):
    """Why a request as a whole was declined.

    Attributes:
        detail: one line for people.
        code: one word for programs.
    """

    detail: str
    code: Literal[
        "bad_request", "busy", "draining", "failed", "no_key", "not_found", "timed_out", "too_large", "unprocessable"
    ]


@dataclass(frozen=True)
class Work:
    """A clip that lies ready for a worker.

    Attributes:
        name: what the result's `video` says.
        path: the file.
        kind: a video file, images one after another (see `frames_file`), or a numpy array (T, H, W, 3) uint8.
        fps: of images and arrays.
        map_to: where to write a dense map; None for none.
        map_size: see `DenseBody.size`.
        map_times_s: see `DenseBody.times_s`.
    """

    name: str
    path: str
    kind: Literal["video", "images", "array"] = "video"
    fps: float | None = None
    map_to: str | None = None
    map_size: tuple[int, int] | None = None
    map_times_s: tuple[float, ...] | None = None

    def as_json(self) -> dict[str, Any]:
        """For the pipe to a worker."""
        return dict(self.__dict__)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Work:
        """The other way round."""
        size, times = fields["map_size"], fields["map_times_s"]
        plain = {name: value for name, value in fields.items() if name not in ("map_size", "map_times_s")}
        return cls(
            **plain,
            map_size=None if size is None else (size[0], size[1]),
            map_times_s=None if times is None else tuple(times),
        )
