"""Ground truth: what an answer is compared with, and the text in which a trainer's dataset carries it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from deeptrace.errors import DataError
from deeptrace.prompts import FINE_TUNING, AnswerForm, Style, View, plain_explanation
from deeptrace.schema import Label, Sample, Trace

__all__ = ["GroundTruth", "sayable"]


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """A video's annotation, and how an answer about it is to be read.

    Attributes:
        sample: label, traces and, where known, media.
        form: answer form that was asked for.
        view: what the model was shown: the frame size of pixel boxes, the times of numbered frames.
    """

    sample: Sample
    form: AnswerForm = FINE_TUNING
    view: View = field(default_factory=View)

    @classmethod
    def of(cls, sample: Sample, *, form: AnswerForm = FINE_TUNING, view: View | None = None) -> GroundTruth:
        """The ground truth of a sample; without `view`, the model was shown the whole video as it is.

        Raises:
            DataError: the sample's label is not known.
        """
        if sample.label is None:
            raise DataError(sample.video_id, "no label, so there is no ground truth to reward against", "Leave it out.")
        return cls(sample.model_copy(update={"extra": {}}), form, view or View.of(sample.media))

    @classmethod
    def from_json(cls, text: str | bytes) -> GroundTruth:
        """The ground truth in a dataset's column.

        Raises:
            DataError: the text is not what `Truth.to_json` writes.
        """
        try:
            found = _ADAPTER.validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise DataError(
                f"truth column, {where}".rstrip(", "), first["msg"], "Write it with Truth.to_json."
            ) from None
        return cls.of(found.sample, form=found.form, view=found.view)

    def to_json(self) -> str:
        """One line of text: a dataset's column, or verl's `ground_truth`."""
        return _ADAPTER.dump_json(self).decode()

    @property
    def is_fake(self) -> bool:
        """Whether the video is generated."""
        return self.sample.label is Label.FAKE

    @property
    def duration_s(self) -> float:
        """Length of the video in seconds; NaN where not known."""
        known = self.sample.media.duration_s if self.sample.media is not None else self.view.duration_s
        return known or math.nan

    @property
    def traces(self) -> tuple[Trace, ...]:
        """The true traces, as far as an answer in this form can say them."""
        return sayable(self.sample.traces, self.form)


_ADAPTER: TypeAdapter[GroundTruth] = TypeAdapter(GroundTruth)


def sayable(traces: tuple[Trace, ...], form: AnswerForm) -> tuple[Trace, ...]:
    """`traces` without what an answer in `form` does not say: only the JSON form says when a trace ends.

    A moving box becomes the union of its life, which is what an answer names.
    """
    ends = form.time and form.style is Style.JSON

    def kept(trace: Trace) -> dict[str, Any]:
        box = trace.box if trace.box is not None or trace.tube is None else trace.tube.box
        return {
            "box": box if form.box else None,
            "onset_s": trace.onset_s if form.time else None,
            "offset_s": trace.offset_s if ends else None,
            "explanation": plain_explanation(trace.explanation) if form.explanation else "",
        }

    return tuple(Trace(**kept(trace)) for trace in traces)
