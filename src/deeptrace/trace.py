"""The words everything else speaks: Category, Trace, Verdict and Sample.

A `Verdict` is what any detector says of one video; its JSON is the line format of every `.jsonl` deeptrace writes.
A `Sample` is one video of a dataset with what is known of it. Both round-trip through JSON without loss.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from deeptrace.geometry import Box, Interval, Keyframe, Tube, hull

__all__ = [
    "Category",
    "DetectorInfo",
    "Label",
    "Media",
    "Outcome",
    "Sample",
    "Trace",
    "Usage",
    "Verdict",
    "categories_of_tags",
]


class Label(StrEnum):
    """REAL (camera footage) or FAKE (AI-generated). Fake is the positive class, everywhere."""

    REAL = "REAL"
    FAKE = "FAKE"


class Outcome(StrEnum):
    """How the work on one sample ended: exactly one of these."""

    SCORED = "scored"
    DECODE_FAILED = "decode_failed"
    MODEL_FAILED = "model_failed"
    REFUSED = "refused"
    PARSE_FAILED = "parse_failed"
    JUDGE_FAILED = "judge_failed"


class Category(StrEnum):
    """The nine kinds of deepfake trace (paper, data section), most frequent first."""

    OBJECT_DISTORTION = "object_distortion"
    SUDDEN_BLURRING = "sudden_blurring"
    OBJECT_TRAJECTORY = "object_trajectory"
    REDUNDANT_OBJECT = "redundant_object"
    OBJECT_MERGING = "object_merging"
    OBJECT_SPLITTING = "object_splitting"
    BACKGROUND_DISTORTION = "background_distortion"
    OBJECT_DISAPPEARANCE = "object_disappearance"
    UNEXPECTED_MOVE = "unexpected_move"

    @property
    def display_name(self) -> str:
        """The name for people: "Object distortion"."""
        return self.value.replace("_", " ").capitalize()

    @property
    def meaning(self) -> str:
        """One plain clause on what a viewer sees."""
        return _MEANING[self]


_MEANING = {
    Category.OBJECT_DISTORTION: "an object's shape bends, melts or stretches as no such object does",
    Category.SUDDEN_BLURRING: "an object or face abruptly loses sharpness",
    Category.OBJECT_TRAJECTORY: "a thing moves along a path that it could not take",
    Category.REDUNDANT_OBJECT: "something extra appears: a third arm, a second tree",
    Category.OBJECT_MERGING: "separate objects fuse into one",
    Category.OBJECT_SPLITTING: "one object divides into parts",
    Category.BACKGROUND_DISTORTION: "the background warps or ripples, often where something passes",
    Category.OBJECT_DISAPPEARANCE: "something visible vanishes",
    Category.UNEXPECTED_MOVE: "a thing that should stand still moves by itself",
}

# Words of the annotation tool's tags (RewardData, `faketrace_check_applies`), looked for in this order:
# "disappear" stands before "appear", which it contains, and "overlap background distortion" before "distortion".
_TAG_WORDS: tuple[tuple[str, Category], ...] = (
    ("background", Category.BACKGROUND_DISTORTION),
    ("disappear", Category.OBJECT_DISAPPEARANCE),
    ("still thing", Category.UNEXPECTED_MOVE),
    ("unexpected move", Category.UNEXPECTED_MOVE),
    ("weird motion", Category.OBJECT_TRAJECTORY),
    ("trajectory", Category.OBJECT_TRAJECTORY),
    ("blur", Category.SUDDEN_BLURRING),
    ("merg", Category.OBJECT_MERGING),
    ("split", Category.OBJECT_SPLITTING),
    ("appearance", Category.REDUNDANT_OBJECT),
    ("redundant", Category.REDUNDANT_OBJECT),
    ("extra", Category.REDUNDANT_OBJECT),
    ("distortion", Category.OBJECT_DISTORTION),
)


def categories_of_tags(tags: Iterable[str]) -> tuple[tuple[Category, ...], tuple[str, ...]]:
    """Map annotation-tool tags, or category names, to categories.

    "None of the above" maps to no category. Order of first mention is kept, repeats are dropped.

    Returns:
        The categories, and the tags that map to none and are not "None of the above".
    """
    found: dict[Category, None] = {}
    unknown: list[str] = []
    for tag in tags:
        text = " ".join(tag.replace("_", " ").lower().split())
        if text.startswith("none of the above") or not text:
            continue
        category = next((category for word, category in _TAG_WORDS if word in text), None)
        if category is None:
            unknown.append(tag)
        else:
            found[category] = None
    return tuple(found), tuple(unknown)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Trace(_Record):
    """One deepfake trace: where, when, which kinds, why.

    A part that is not known is None: a model may name a box without a time, an annotator may leave no text. Blank
    text is the empty string.

    Attributes:
        categories: kinds, most certain first; may be empty.
        onset_s: first moment, in seconds of the video's timestamps.
        offset_s: end (exclusive), in the same seconds.
        score: the detector's confidence in [0, 1]; None for annotations.
        box: union of the trace's boxes over its life, fractions.
        keyframes: the box over time, rising in time; may be empty.
        explanation: one or two plain sentences.
    """

    categories: tuple[Category, ...] = ()
    onset_s: float | None = Field(default=None, ge=0)
    offset_s: float | None = Field(default=None, ge=0)
    score: float | None = Field(default=None, ge=0, le=1)
    box: Box | None = None
    keyframes: tuple[Keyframe, ...] = ()
    explanation: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.onset_s is not None and self.offset_s is not None and self.offset_s < self.onset_s:
            raise ValueError(f"expected offset_s >= onset_s but got {self.onset_s} and {self.offset_s}")
        if any(a.time_s >= b.time_s for a, b in zip(self.keyframes, self.keyframes[1:], strict=False)):
            raise ValueError("expected keyframes with rising times but two are equal or out of order")
        return self

    @classmethod
    def from_tube(
        cls,
        tube: Tube,
        *,
        categories: Iterable[Category] = (),
        score: float | None = None,
        explanation: str = "",
    ) -> Trace:
        """A trace that lives where and when `tube` does."""
        return cls(
            categories=tuple(categories),
            onset_s=tube.onset_s,
            offset_s=tube.offset_s,
            score=score,
            box=hull(key.box for key in tube.keyframes),
            keyframes=tube.keyframes,
            explanation=explanation,
        )

    @property
    def interval(self) -> Interval | None:
        """When, or None when onset or offset is not known."""
        if self.onset_s is None or self.offset_s is None:
            return None
        return Interval(onset_s=self.onset_s, offset_s=self.offset_s)

    @property
    def tube(self) -> Tube | None:
        """Where and when, or None when either is not known. Without keyframes the box stands still."""
        interval = self.interval
        if interval is None:
            return None
        if self.keyframes:
            return Tube(onset_s=interval.onset_s, offset_s=interval.offset_s, keyframes=self.keyframes)
        return None if self.box is None else Tube.constant(self.box, interval)


class Media(_Record):
    """Facts of the decoded video, as it is shown (rotation applied).

    Attributes:
        width: pixels across.
        height: pixels down.
        duration_s: seconds.
        fps: average frames per second; None when the file does not say and one frame tells nothing.
        frames: number of frames; None when the file does not say.
        sampled_times_s: timestamps of the frames that the detector saw.
    """

    width: int = Field(gt=0)
    height: int = Field(gt=0)
    duration_s: float = Field(ge=0)
    fps: float | None = Field(default=None, gt=0)
    frames: int | None = Field(default=None, ge=0)
    sampled_times_s: tuple[float, ...] = ()


class DetectorInfo(_Record):
    """Who said it: name, version, and every setting that changes the answer."""

    name: str
    version: str
    settings: dict[str, Any] = Field(default_factory=dict)


class Usage(_Record):
    """What asking a language model about one video took. A count that is not known is None.

    Attributes:
        requests: questions sent for this answer, retries included.
        frames: frames shown.
        frame_size: (width, height) of them, in pixels, as sent.
        visual_tokens: of all frames, by the model's published rule, computed before asking.
        prompt_tokens: of the question with its frames, as the server counts them.
        completion_tokens: of the answer, thoughts included, as the server counts them.
        cost: by the prices given in the detector's settings, in their currency.
        served_model: the model that the server says answered.
    """

    requests: int = Field(ge=0)
    frames: int | None = Field(default=None, ge=0)
    frame_size: tuple[int, int] | None = None
    visual_tokens: int | None = Field(default=None, ge=0)
    prompt_tokens: int | None = Field(default=None, ge=0)
    completion_tokens: int | None = Field(default=None, ge=0)
    cost: float | None = Field(default=None, ge=0)
    served_model: str | None = None


class Verdict(_Record):
    """What a detector says of one video; one JSON object a line in every `.jsonl`.

    A REAL verdict may carry low-score traces: `label` follows the detector's threshold, which is in
    `detector.settings`. Any outcome but "scored" has `label`, `p_fake` and `reward` None and a one-line `error`.

    Attributes:
        video: path or URL, as the user gave it.
        outcome: how the work ended.
        label: REAL or FAKE.
        p_fake: probability that the video is AI-generated, calibrated where the detector can say; None where not.
        traces: what gives it away, highest score first.
        reward: scalar in [0, 1], higher is better (see `deeptrace.reward`).
        media: facts of the video; None when it did not open.
        detector: who said it.
        elapsed_s: wall time spent on this video.
        warnings: what the reader should know, one line each.
        error: one line, for failed outcomes.
        raw: a language model's answer, verbatim.
        usage: what asking a language model took; None for other detectors.
    """

    video: str
    outcome: Outcome
    label: Label | None = None
    p_fake: float | None = Field(default=None, ge=0, le=1)
    traces: tuple[Trace, ...] = ()
    reward: float | None = Field(default=None, ge=0, le=1)
    media: Media | None = None
    detector: DetectorInfo | None = None
    elapsed_s: float | None = Field(default=None, ge=0)
    warnings: tuple[str, ...] = ()
    error: str | None = None
    raw: str | None = None
    usage: Usage | None = None

    @model_validator(mode="after")
    def _failure_is_no_number(self) -> Self:
        if self.outcome is Outcome.SCORED or self.outcome is Outcome.JUDGE_FAILED:
            if self.label is None:
                raise ValueError(f"expected a label with outcome {self.outcome.value!r} but got none")
        elif self.label is not None or self.p_fake is not None or self.reward is not None:
            raise ValueError(f"expected no label, p_fake or reward with outcome {self.outcome.value!r}")
        elif not self.error:
            raise ValueError(f"expected a one-line error with outcome {self.outcome.value!r} but got none")
        return self

    @classmethod
    def failed(cls, video: str, outcome: Outcome, error: str, **known: Any) -> Verdict:
        """A failed outcome; `error` is folded to one line, `known` are fields that are known all the same."""
        return cls(video=video, outcome=outcome, error=" ".join(error.split()) or outcome.value, **known)


class Sample(_Record):
    """One video of a dataset and what is known of it.

    Attributes:
        video_id: unique in its dataset.
        path: relative to the dataset's root, absolute, or a URL.
        label: the truth; None when not known.
        source: generator of a generated video, or origin of a real one.
        split: "train", "val", "test" or whatever the dataset says.
        prompt: text the video was generated from.
        media: facts as the dataset states them; None when it does not.
        traces: true traces, one an annotation row.
        extra: fields of the dataset that deeptrace gives no meaning, kept for a lossless round trip.
    """

    video_id: str
    path: str
    label: Label | None = None
    source: str | None = None
    split: str | None = None
    prompt: str | None = None
    media: Media | None = None
    traces: tuple[Trace, ...] = ()
    extra: dict[str, Any] = Field(default_factory=dict)
