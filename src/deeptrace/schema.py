"""The words everything else speaks: Category, Trace, Verdict and Sample.

A `Verdict` is what any detector says of one video; its JSON is the line format of every `.jsonl` deeptrace writes.
A `Sample` is one video of a dataset with what is known of it. Both round-trip through JSON without loss.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    computed_field,
    field_validator,
    model_serializer,
    model_validator,
)

from deeptrace.geometry import Box, Interval, Keyframe, Tube, check_gaps
from deeptrace.plural import plural
from deeptrace.urls import public_text, public_url

__all__ = [
    "CAVEAT",
    "MIN_FRAMES",
    "Category",
    "ContentCredentials",
    "CredentialsState",
    "Decision",
    "DetectorInfo",
    "Label",
    "Media",
    "Outcome",
    "Sample",
    "SegmentScore",
    "StatedOrigin",
    "Trace",
    "Usage",
    "Verdict",
    "categories_of_tags",
    "decide",
]


MIN_FRAMES = 4
"""With fewer sampled frames there is no motion to measure: such a clip is undecidable, never REAL."""

CAVEAT = "A score is evidence, not proof."
"""What stands beside every verdict that people see."""


class Label(StrEnum):
    """REAL (camera footage) or FAKE (AI-generated). Fake is the positive class, everywhere."""

    REAL = "REAL"
    FAKE = "FAKE"


class Decision(StrEnum):
    """What people are told: AI-generated, real, or unclear where `p_fake` lies between the two thresholds."""

    GENERATED = "generated"
    UNCLEAR = "unclear"
    REAL = "real"

    @property
    def display_name(self) -> str:
        """In two words for people: "AI-generated", "unclear", "looks real"."""
        return {"generated": "AI-generated", "unclear": "unclear", "real": "looks real"}[self.value]


class Outcome(StrEnum):
    """How the work on one sample ended: exactly one of these.

    SCORED: with a label.
    UNDECIDABLE: the clip decodes but shows too little to tell: a picture, a few frames.
    DECODE_FAILED: not a video, damaged, or not to be reached.
    TIMED_OUT: stopped at the time limit.
    CRASHED: the process at work on it died, twice.
    TOO_LARGE: beyond a limit on size, or more than the memory holds.
    MODEL_FAILED: the detector, or the server behind it, did not run.
    REFUSED: the model declined to answer.
    PARSE_FAILED: the model's answer cannot be read as a verdict.
    JUDGE_FAILED: scored, but the LLM judge gave the explanation no score.
    """

    SCORED = "scored"
    UNDECIDABLE = "undecidable"
    DECODE_FAILED = "decode_failed"
    TIMED_OUT = "timed_out"
    CRASHED = "crashed"
    TOO_LARGE = "too_large"
    MODEL_FAILED = "model_failed"
    REFUSED = "refused"
    PARSE_FAILED = "parse_failed"
    JUDGE_FAILED = "judge_failed"

    @property
    def display_name(self) -> str:
        """In two or three words for people: "cannot be read"."""
        return _OUTCOME_NAMES.get(self, self.value.replace("_", " "))


_OUTCOME_NAMES = {
    Outcome.UNDECIDABLE: "cannot tell",
    Outcome.DECODE_FAILED: "cannot be read",
    Outcome.TIMED_OUT: "ran out of time",
    Outcome.MODEL_FAILED: "detector failed",
    Outcome.REFUSED: "model refused",
    Outcome.PARSE_FAILED: "answer not understood",
}


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
        weak: whether the score is below the detector's `min_score`: a guess, not a finding.
        gaps: times within its life at which it is not to be seen, in order and apart; in JSON only where there are any.
    """

    categories: tuple[Category, ...] = ()
    onset_s: float | None = Field(default=None, ge=0)
    offset_s: float | None = Field(default=None, ge=0)
    score: float | None = Field(default=None, ge=0, le=1)
    box: Box | None = None
    keyframes: tuple[Keyframe, ...] = ()
    explanation: str = ""
    weak: bool = False
    gaps: tuple[Interval, ...] = ()

    @model_serializer(mode="wrap")
    def _without_no_gaps(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = write(self)
        if not fields.get("gaps", True):
            del fields["gaps"]
        return fields

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_gaps(self.gaps)
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
        """A trace with the place and times of `tube`."""
        return cls(
            categories=tuple(categories),
            onset_s=tube.onset_s,
            offset_s=tube.offset_s,
            score=score,
            box=tube.box,
            keyframes=tube.keyframes,
            gaps=tube.gaps,
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
            keyframes = self.keyframes
        elif self.box is not None:
            keyframes = (Keyframe(time_s=interval.onset_s, box=self.box),)
        else:
            return None
        return Tube(onset_s=interval.onset_s, offset_s=interval.offset_s, keyframes=keyframes, gaps=self.gaps)


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

    @property
    def thresholds(self) -> tuple[float, float] | None:
        """`p_fake` below which a video looks real, and from which on it looks AI-generated; None if not calibrated.

        They are the settings `real_below` and `threshold`.
        """
        limits = [self.settings.get(name) for name in ("real_below", "threshold")]
        low, high = (float(limit) if isinstance(limit, (int, float)) else None for limit in limits)
        return None if low is None or high is None else (min(low, high), high)


def decide(
    label: Label | None, p_fake: float | None, detector: DetectorInfo | None, *, unfamiliar: bool = False
) -> Decision | None:
    """What people are told; None without a label.

    A detector without calibrated thresholds is taken at its word, its label: nobody knows how often that errs
    (`DetectorInfo.thresholds` is None). A label that the thresholds contradict is unclear.

    Args:
        label: the detector's.
        p_fake: calibrated probability; None where there is none.
        detector: the one that said it.
        unfamiliar: whether the video is unlike anything that the detector has learned from, which makes it unclear.
    """
    if label is None:
        return None
    if unfamiliar:
        return Decision.UNCLEAR
    limits = detector.thresholds if detector is not None and p_fake is not None else None
    if limits is None or p_fake is None:
        return Decision.GENERATED if label is Label.FAKE else Decision.REAL
    if label is Label.FAKE and p_fake >= limits[1]:
        return Decision.GENERATED
    return Decision.REAL if label is Label.REAL and p_fake < limits[0] else Decision.UNCLEAR


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


_ADDRESS = re.compile(r" at 0x[0-9a-f]{6,}")
"""Where an object lies in memory, which says nothing to people and differs from run to run."""


class Flaws(_Record):
    """How bad a clip's flaws are, apart from the question whether it was generated.

    Attributes:
        severity: in standard deviations of camera footage, of which the median has 0; higher is worse.
        parts: name of each kind of evidence to its share of the severity; they add up to it. A share may be negative.
        measures: name of each measure that is shown beside and has no share, in standard deviations of camera footage
            that moves as much; higher is worse.
    """

    severity: float
    parts: dict[str, float] = {}
    measures: dict[str, float] = {}


class SegmentScore(_Record):
    """How generated a piece of a clip looks by itself: what a detector knows before it makes one answer of all.

    Attributes:
        onset_s, offset_s: from and to, in seconds; a frame by itself ends where it begins.
        score: higher is more likely generated; comparable within one detector only.
    """

    onset_s: float = Field(ge=0)
    offset_s: float = Field(ge=0)
    score: float

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Self:
        if self.offset_s < self.onset_s:
            raise ValueError(f"expected onset_s <= offset_s but got {self.onset_s} and {self.offset_s}")
        return self


class CredentialsState(StrEnum):
    """What became of looking for Content Credentials in a file.

    ABSENT: the file has none.
    VALID: signature and content fit, and the signer is on the trust list that was given.
    UNTRUSTED: signature and content fit; nobody vouches for the signer.
    BROKEN: they do not fit: file or manifest was changed after signing, or the certificate does not hold.
    UNREADABLE: there is something, but not a manifest that can be read.
    ELSEWHERE: the file names an address that is said to have them; it is never fetched.
    NOT_CHECKED: nobody looked inside: the optional dependency is missing, or the video is no local file.
    """

    ABSENT = "absent"
    VALID = "valid"
    UNTRUSTED = "untrusted"
    BROKEN = "broken"
    UNREADABLE = "unreadable"
    ELSEWHERE = "elsewhere"
    NOT_CHECKED = "not_checked"


class StatedOrigin(StrEnum):
    """What Content Credentials state of a video: AI-generated as a whole, or in part."""

    GENERATED = "generated"
    PARTLY_GENERATED = "partly_generated"


class ContentCredentials(_Record):
    """What a file's signed manifest (C2PA) states; beside the detector's answer, never a part of it.

    A valid signature shows who states something and that the file is as they signed it, not that the statement is
    true. Most files, of cameras and of generators, have none, and any copy can be made without: absence says nothing.

    Attributes:
        state: what became of looking for them.
        reason: why they are broken, unreadable or not checked; one short clause.
        signer: organisation in the signing certificate; whoever made a certificate chose its words.
        signed_at: by a time stamp authority; None without one.
        generator: program that made the manifest, as it calls itself.
        origin: whether they state that the video is AI-generated; None where they state neither.
        ingredients: other files that the video was made from; None when not known.
    """

    state: CredentialsState
    reason: str | None = None
    signer: str | None = None
    signed_at: datetime | None = None
    generator: str | None = None
    origin: StatedOrigin | None = None
    ingredients: int | None = Field(default=None, ge=0)

    @property
    def words(self) -> str:
        """What `summary` says, without its title: for a table that has one."""
        return self.summary.removeprefix(f"{_CREDENTIALS_TITLE}: ")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def summary(self) -> str:
        """The line that every table and page shows.

        Examples:
            >>> ContentCredentials(state=CredentialsState.ABSENT).summary
            'Content Credentials: none'
            >>> ContentCredentials(state="untrusted", signer="A Studio", origin="generated").summary
            'Content Credentials: intact, signer not trusted; declared AI-generated; signed by A Studio'
        """
        parts = [_CREDENTIALS[self.state] + (f" ({self.reason})" if self.reason else "")]
        if self.origin is not None:
            parts.append(_ORIGINS[self.origin])
        if self.signer:
            broken = self.state is CredentialsState.BROKEN
            parts.append(f"naming {self.signer} as signer" if broken else f"signed by {self.signer}")
            parts[-1] += f" on {self.signed_at:%Y-%m-%d}" if self.signed_at else ""
        if self.generator:
            parts.append(f"made with {self.generator}")
        if self.ingredients:
            parts.append(plural(self.ingredients, "ingredient"))
        return f"{_CREDENTIALS_TITLE}: {'; '.join(parts)}"

    @model_validator(mode="before")
    @classmethod
    def _summary_follows(cls, row: Any) -> Any:
        return {key: value for key, value in row.items() if key != "summary"} if isinstance(row, dict) else row


_CREDENTIALS_TITLE = "Content Credentials"
_CREDENTIALS = {
    CredentialsState.ABSENT: "none",
    CredentialsState.VALID: "valid",
    CredentialsState.UNTRUSTED: "intact, signer not trusted",
    CredentialsState.BROKEN: "broken",
    CredentialsState.UNREADABLE: "unreadable",
    CredentialsState.ELSEWHERE: "kept elsewhere, not fetched",
    CredentialsState.NOT_CHECKED: "not checked",
}
_ORIGINS = {
    StatedOrigin.GENERATED: "declared AI-generated",
    StatedOrigin.PARTLY_GENERATED: "declared partly AI-generated",
}


class Verdict(_Record):
    """What a detector says of one video; one JSON object a line in every `.jsonl`.

    A REAL verdict may carry low-score traces: `label` follows the detector's threshold, which is in
    `detector.settings`. Any outcome but "scored" has `label`, `p_fake` and `reward` None and a one-line `error`.

    Attributes:
        video: path or URL, as the user gave it; a URL without user, password and signature.
        outcome: how the work ended.
        label: REAL or FAKE.
        p_fake: probability that the video is AI-generated, calibrated where the detector can say; None where not.
        traces: what gives it away, highest score first.
        reward: scalar in [0, 1], higher is better (see `deeptrace.reward`).
        media: facts of the video; None when it did not open.
        detector: the detector that said it.
        elapsed_s: wall time spent on this video.
        warnings: remarks for the reader, one line each.
        error: one line, for failed outcomes.
        raw: a language model's answer, verbatim.
        usage: what asking a language model took; None for other detectors.
        flaws: how bad its flaws are; None where the detector does not measure that.
        unfamiliar: whether the video is unlike anything that the detector has learned from, such as a test pattern is
            to one that knows camera footage: `p_fake` and `label` are a guess then, and the decision is "unclear".
        content_credentials: what is signed into the file; None for frames in memory. Never changes `p_fake`.
        segment_scores: of each frame or window, in their order, where the detector has such; what frame-level metrics
            are taken over.
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
    flaws: Flaws | None = None
    unfamiliar: bool = False
    content_credentials: ContentCredentials | None = None
    segment_scores: tuple[SegmentScore, ...] = ()

    @computed_field  # type: ignore[prop-decorator]
    @property
    def decision(self) -> Decision | None:
        """What people are told; see `decide`."""
        return decide(self.label, self.p_fake, self.detector, unfamiliar=self.unfamiliar)

    @model_validator(mode="before")
    @classmethod
    def _decision_follows(cls, row: Any) -> Any:
        return {key: value for key, value in row.items() if key != "decision"} if isinstance(row, dict) else row

    @field_validator("video")
    @classmethod
    def _no_secret_of_a_url(cls, video: str) -> str:
        return public_url(video)

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
        text = _ADDRESS.sub("", public_text(" ".join(error.split())))
        return cls(video=video, outcome=outcome, error=text or outcome.value, **known)


class Sample(_Record):
    """One video of a dataset and what is known of it.

    Attributes:
        video_id: unique in its dataset.
        path: relative to the dataset's root, absolute, or a URL.
        label: ground truth; None when not known.
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
