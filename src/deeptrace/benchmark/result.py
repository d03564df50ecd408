"""What an evaluation found: the evaluation JSON as frozen types. What the data cannot tell is None, never 0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from deeptrace.schema import DetectorInfo

__all__ = [
    "CategoryScores",
    "ColumnGroups",
    "EvaluationResult",
    "GeneratorScores",
    "GroundedScores",
    "GroupScores",
    "Manifest",
    "Measured",
    "Metric",
    "PaperScores",
    "ReferenceScores",
    "Scores",
    "TextScores",
    "TraceScores",
    "VideoScores",
]

Number = int | float | None
T = TypeVar("T")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Metric(_Frozen):
    """One number of a run, and what it rests on.

    Attributes:
        value: None where the data cannot tell.
        interval: 95 %, from resampled videos; None where there is none.
        support: rows, videos or traces that the value is taken over; None where that is not counted.
    """

    value: Number = None
    interval: tuple[float, float] | None = None
    support: Number = None


class PaperScores(_Frozen, Generic[T]):
    """The paper's protocol by annotation row, 0 to 100 (see `deeptrace.metrics.paper`)."""

    overall: T
    accuracy: T
    fake_accuracy: T
    real_accuracy: T
    explanation: T
    bbox_iou: T
    bbox_distance: T
    time_distance: T


class VideoScores(_Frozen, Generic[T]):
    """REAL or FAKE by video: accuracies 0 to 100, the rest 0 to 1 over the videos with a stated probability.

    `frame_auroc` is over the frames, each with its clip's label, of videos whose frames or windows have scores of their
    own; None where none has.
    """

    accuracy: T
    fake_accuracy: T
    real_accuracy: T
    auroc: T
    average_precision: T
    tpr_at_fpr_1pct: T
    tpr_at_fpr_01pct: T
    ece: T
    brier: T
    frame_auroc: T | None = None


class GroundedScores(_Frozen, Generic[T]):
    """Traces and accusations in one number, 0 to 100 (see `deeptrace.metrics.traces`)."""

    overall: T
    trace_quality: T
    clean_share: T


class TraceScores(_Frozen, Generic[T]):
    """Traces matched one to one and ranked: 0 to 1, or seconds."""

    tiou: T
    viou: T
    matched_box_iou: T
    matched_tiou: T
    matched_viou: T
    onset_error_s: T
    offset_error_s: T
    category_jaccard: T
    recall_viou_30: T
    precision_viou_30: T
    false_traces_per_real_video: T
    map_viou_30: T
    map_viou_50: T


class TextScores(_Frozen, Generic[T]):
    """Explanations by counting words, 0 to 100; CIDEr to 1000."""

    bleu: T | None = None
    rouge_l: T | None = None
    meteor_like: T | None = None
    cider: T | None = None
    embedding_similarity: T | None = None


class Scores(_Frozen, Generic[T]):
    """All blocks of metrics; `text` is None where explanations were not compared."""

    paper: PaperScores[T]
    per_video: VideoScores[T]
    grounded: GroundedScores[T]
    traces: TraceScores[T]
    text: TextScores[T] | None = None


class GeneratorScores(_Frozen):
    """The videos of one source, or the mean over the generators (`macro`, without a label)."""

    label: str | None
    videos: int
    accuracy: Number
    explanation: Number
    bbox_iou: Number
    time_distance: Number
    tiou: Number
    viou: Number
    recall_viou_30: Number
    auroc: Number


class _TraceGroup(_Frozen):
    traces: int
    viou: Number
    recall_viou_30: Number


class CategoryScores(_TraceGroup):
    """The true traces of one category, or the mean over those that occur (`macro`)."""

    ap_viou_30: Number
    ap_viou_50: Number


class ReferenceScores(_Frozen):
    """What stands beside a run: a trivial baseline, or a second annotator.

    Attributes:
        unavailable: why it could not be computed; the rest is None then.
        videos: of the annotators' ceiling, over how many clips it is taken.
        agreement: of the two annotators.
    """

    unavailable: str | None = None
    videos: int | None = None
    paper: PaperScores[Number] | None = None
    per_video: VideoScores[Number] | None = None
    grounded: GroundedScores[Number] | None = None
    traces: TraceScores[Number] | None = None
    text: TextScores[Number] | None = None
    agreement: dict[str, Number] | None = None
    outcomes: dict[str, int] | None = None

    @property
    def scores(self) -> Scores[Metric] | None:
        """The metrics without intervals; None where it could not be computed."""
        if self.paper is None or self.per_video is None or self.grounded is None or self.traces is None:
            return None
        return _metrics(self.paper, self.per_video, self.grounded, self.traces, self.text, {}, {})


class GroupScores(_Frozen):
    """The videos of one group.

    Attributes:
        videos: number of them.
        accuracy: share that is called what it is, 0 to 100; one without a verdict is wrong.
        accused: share of the real ones that is called AI-generated, 0 to 100.
        found: share of the generated ones that is, 0 to 100.
        auroc: of `p_fake` within the group, 0 to 1.
    """

    videos: int
    accuracy: Metric
    accused: Metric
    found: Metric
    auroc: Metric


class ColumnGroups(_Frozen):
    """The groups of one trait.

    Attributes:
        groups: by name.
        without: videos whose group is not known.
        worst: group with the lowest accuracy, of those with five videos or more; None where there are not two.
        worst_gap: its accuracy less that of all others together.
        most_accused: group whose real videos are called AI-generated most often.
        most_accused_gap: that share less that of all others together.
    """

    groups: dict[str, GroupScores]
    without: int
    worst: str | None
    worst_gap: Metric | None
    most_accused: str | None
    most_accused_gap: Metric | None


class Counts(_Frozen):
    """How many videos, rows, traces and explanations the numbers rest on.

    `rows_without_length` are those that time distance leaves out: they have an onset, and nothing says how long the
    video is.
    """

    videos: int
    fake_videos: int
    real_videos: int
    rows: int
    true_traces: int
    predicted_traces: int
    with_probability: int
    explanation_rows: int
    explanation_unjudged: int
    rows_without_length: int = 0


class JudgeSummary(_Frozen):
    """What the LLM judge was asked, and what became of it."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str
    rows: int
    scored: int
    cached: int
    failed: int


class DataSource(_Frozen):
    """What was measured against."""

    name: str
    split: str
    sha256: str
    videos: int
    rows: int


class PredictionsFile(_Frozen):
    """A file of predictions that stands in for a detector; `space` is that of its boxes, where the user named one."""

    name: str
    sha256: str
    space: str | None = None


class JudgeSettings(_Frozen):
    """How the LLM judge was asked."""

    name: str
    rubric_sha256: str
    temperature: Number
    seed: int
    max_tokens: int | None


class Manifest(_Frozen):
    """What a run was: all that decides its numbers, and the circumstances beside it.

    Attributes:
        run: a hash of all that decides the numbers.
        format: version of this shape.
        data: what was measured against.
        detector: who predicted; None for a file.
        predictions: the file; None for a detector.
        sampling, pixel_budget, prompt: settings of the detector, repeated where readers of papers look for them.
        judge: of explanations; None without one.
        seeds, bootstrap: of what is random.
        made: when the run began, UTC.
        versions: of the packages that decide numbers.
        frames_seen: how many frames the detector looked at, least, median and most.
        predicted_by: who the verdicts say made them, at most five.
    """

    run: str
    format: int
    data: DataSource
    detector: DetectorInfo | None
    predictions: PredictionsFile | None
    sampling: dict[str, Any] | None
    pixel_budget: dict[str, Any] | None
    prompt: dict[str, Any] | None
    judge: JudgeSettings | None
    seeds: dict[str, int]
    bootstrap: dict[str, Any]
    made: str
    versions: dict[str, str]
    frames_seen: dict[str, Number] | None = None
    predicted_by: list[dict[str, Any]] | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values, as they lie in manifest.json."""
        return self.model_dump(mode="json", exclude_unset=True)


class Measured(_Frozen):
    """What was measured of a run's answers.

    Attributes:
        paper, per_video, grounded, traces, text: see their types; `scores` has them with intervals and support.
        by_generator, by_category, by_trace_length, by_box_size: the same metrics for parts of the data.
        outcomes: how many verdicts ended how, "missing" among them.
        counts: what the numbers rest on.
        intervals: "block.metric" to 95 % interval; None where there is no spread to speak of.
        support: "block.metric" to how many rows, videos or traces it is taken over.
    """

    paper: PaperScores[Number]
    per_video: VideoScores[Number]
    grounded: GroundedScores[Number]
    traces: TraceScores[Number]
    text: TextScores[Number]
    by_generator: dict[str, GeneratorScores]
    by_category: dict[str, CategoryScores]
    by_trace_length: dict[str, _TraceGroup]
    by_box_size: dict[str, _TraceGroup]
    outcomes: dict[str, int]
    counts: Counts
    intervals: dict[str, tuple[float, float] | None]
    support: dict[str, Number]

    @property
    def scores(self) -> Scores[Metric]:
        """Every metric with its interval and support."""
        blocks = (self.paper, self.per_video, self.grounded, self.traces, self.text)
        return _metrics(*blocks, self.intervals, self.support)


class EvaluationResult(Measured):
    """The evaluation JSON.

    Attributes:
        baselines: trivial predictions, by name.
        annotator_ceiling: two annotators scored against each other; None where no clip has two.
        judge: of explanations; None without one.
        latency: seconds a video.
        usage: what asking a language model took.
        manifest: what the run was.
        unmatched_predictions: rows of a predictions file that no sample has.
        repeated_predictions: samples with several rows, of which the last counts.
        seen_in_training: videos whose very bytes the detector's weights have learned from; None where that is not
            known: the card of the default detector's shipped weights lists them, no other detector says.
        by_group: by column of the user's table of groups; None without one.
    """

    baselines: dict[str, ReferenceScores]
    annotator_ceiling: ReferenceScores | None
    judge: JudgeSummary | None
    latency: dict[str, Number] | None
    usage: dict[str, Any] | None
    manifest: Manifest
    unmatched_predictions: int = 0
    repeated_predictions: int = 0
    seen_in_training: int | None = None
    by_group: dict[str, ColumnGroups] | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values, as they lie in evaluation.json."""
        return self.model_dump(mode="json", exclude_unset=True)


def _metrics(
    paper: PaperScores[Number],
    per_video: VideoScores[Number],
    grounded: GroundedScores[Number],
    traces: TraceScores[Number],
    text: TextScores[Number] | None,
    intervals: Mapping[str, tuple[float, float] | None],
    support: Mapping[str, Number],
) -> Scores[Metric]:
    def measured(block: str, values: BaseModel | None) -> dict[str, Metric] | None:
        if values is None:
            return None
        keys = {name: f"{block}.{name}" for name in type(values).model_fields}
        return {
            name: Metric(value=getattr(values, name), interval=intervals.get(key), support=support.get(key))
            for name, key in keys.items()
        }

    blocks = {"paper": paper, "per_video": per_video, "grounded": grounded, "traces": traces, "text": text}
    return Scores[Metric].model_validate({block: measured(block, values) for block, values in blocks.items()})
