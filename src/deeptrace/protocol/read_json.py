"""Reader of the JSON form, and of the many objects that models answer with instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deeptrace.errors import AnswerError
from deeptrace.geometry import Box
from deeptrace.protocol.answer import Answer
from deeptrace.protocol.boxes import BoxReader, number
from deeptrace.protocol.form import AnswerForm
from deeptrace.protocol.json_text import find_json
from deeptrace.protocol.labels import find_label, label_of_word, refuse_if_declined
from deeptrace.protocol.spaces import View
from deeptrace.protocol.times import read_time
from deeptrace.trace import Category, Label, Trace, categories_of_tags

__all__ = ["TraceFields", "read_json", "read_probability"]

_LABEL = (
    "label",
    "predicted_label",
    "verdict",
    "answer",
    "prediction",
    "classification",
    "class",
    "result",
    "decision",
)
_IS_FAKE = ("is_fake", "fake", "is_ai_generated", "ai_generated", "is_generated")
_P_FAKE = ("fake_probability", "p_fake", "probability_fake", "prob_fake", "fake_score")
_TRACES = ("traces", "unnatural_parts", "artifacts", "anomalies", "detections", "regions", "issues")
_BOX = ("box", "bbox", "box_2d", "bbox_2d", "bounding_box", "coordinates", "region", "location")
_ONSET = (
    "start_time",
    "onset_s",
    "onset",
    "start",
    "starting_time",
    "start_s",
    "begin",
    "time",
    "timestamp",
    "start_frame",
)
_OFFSET = ("end_time", "offset_s", "offset", "end", "ending_time", "end_s", "stop", "end_frame")
_WHY = ("explanation", "reason", "description", "why", "rationale", "reasoning")
_KINDS = ("categories", "category", "kind", "kinds", "type")
_SCORE = ("score", "confidence")


def read_json(text: str, form: AnswerForm, view: View) -> Answer | None:
    """Read an answer that holds a JSON object; None when `text` holds none.

    Raises:
        AnswerError: an object, but no readable label in it or around it.
        RefusalError: the model declined.
    """
    if (found := find_json(text)) is None:
        return None
    value, around, repaired = found
    warnings = ["the JSON was malformed: repaired"] if repaired else []
    fields = _keys(value) if isinstance(value, dict) else {}
    label = _label(fields, around)
    p_fake = read_probability(_first(fields, _P_FAKE), warnings)
    if p_fake is not None and (p_fake >= 0.5) != (label is Label.FAKE) and p_fake != 0.5:
        warnings.append(f"fake probability {p_fake:g} contradicts the label {label}")
    reader = TraceFields(form, view)
    listed = value if isinstance(value, list) else _first(fields, _TRACES)
    if isinstance(listed, list):
        traces = [trace for row in listed[:1000] if isinstance(row, Mapping) for trace in reader.read(_keys(row))]
        if any(not isinstance(row, Mapping) for row in listed):
            warnings.append("a listed trace is no object: left out")
    else:
        traces = reader.read(fields, single=True, label=label)
    if label is Label.REAL and traces:
        warnings.append("a REAL answer that names unnatural parts: they are kept")
    return Answer(label, tuple(traces), p_fake, (*warnings, *reader.warnings))


class TraceFields:
    """Reads the fields of one trace, whatever they are called, and collects warnings."""

    def __init__(self, form: AnswerForm, view: View) -> None:
        self.form, self.view = form, view
        self.boxes = BoxReader(form.space, view)
        self._odd: list[str] = []

    @property
    def warnings(self) -> list[str]:
        """What was odd so far."""
        return [*self._odd, *self.boxes.warnings]

    def read(self, fields: Mapping[str, Any], *, single: bool = False, label: Label | None = None) -> list[Trace]:
        """The traces of one object: one, or one a box when its box field holds several.

        With `single`, the object is the whole answer: it is a trace when it says where, when or, of a FAKE, why.
        """
        found = self.boxes.read(_first(fields, _BOX))
        onset, offset = self._time(fields, _ONSET), self._time(fields, _OFFSET)
        if onset is not None and offset is not None and offset < onset:
            self._odd.append(f"end {offset:g} s lies before start {onset:g} s: left out")
            offset = None
        why = _first(fields, _WHY)
        explanation = " ".join(why.split()) if isinstance(why, str) else ""
        placed = any(box is not None for box in found) or onset is not None or offset is not None
        if single and not placed and not (label is Label.FAKE and (explanation or found)):
            return []
        score = number(_first(fields, _SCORE))
        return [
            Trace(
                categories=self._categories(fields),
                onset_s=onset,
                offset_s=offset,
                score=score if score is not None and 0 <= score <= 1 else None,
                box=box,
                explanation=explanation,
            )
            for box in found or list[Box | None]([None])
        ]

    def _time(self, fields: Mapping[str, Any], keys: tuple[str, ...]) -> float | None:
        value = _first(fields, keys)
        stated = read_time(value, unit=self.form.times, view=self.view)
        if stated is None and value not in (None, "", "null", "None", "none", "N/A"):
            self._odd.append(f"{keys[0]} {str(value)[:40]!r} is not readable")
        return stated

    def _categories(self, fields: Mapping[str, Any]) -> tuple[Category, ...]:
        value = _first(fields, _KINDS)
        tags = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        known, unknown = categories_of_tags(tag for tag in tags if isinstance(tag, str))
        if unknown:
            self._odd.append(f"unknown categories: {', '.join(tag[:30] for tag in unknown[:5])}")
        return known


def read_probability(value: Any, warnings: list[str]) -> float | None:
    """A probability out of 0.9, "0.9", "90%" or 90 (as percent, with a warning); None, with one, when unreadable."""
    if value in (None, "", "null", "None"):
        return None
    stated = number(value)
    if stated is None or not 0 <= stated <= 100:
        warnings.append(f"fake probability {str(value)[:40]!r} is not readable")
        return None
    if isinstance(value, str) and "%" not in value:
        warnings.append(f"fake probability is the text {value[:40]!r}")
    if stated > 1:
        warnings.append(f"fake probability {stated:g} read as percent")
        return stated / 100
    return stated


def _label(fields: Mapping[str, Any], around: str) -> Label:
    stated = _first(fields, _LABEL)
    if isinstance(stated, str) and stated.strip():
        exact = label_of_word(stated)
        return exact if exact is not None else find_label(stated)[0]
    fake = _first(fields, _IS_FAKE)
    if isinstance(fake, str):
        fake = {"true": True, "yes": True, "false": False, "no": False}.get(fake.strip().lower())
    if isinstance(fake, bool):
        return Label.FAKE if fake else Label.REAL
    if around.strip(" \t\r\n`"):
        return find_label(around)[0]
    for why in _WHY:
        if isinstance(fields.get(why), str):
            refuse_if_declined(fields[why])
    raise AnswerError("", "the JSON of the answer has no label")


def _keys(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(key).strip().lower().replace(" ", "_").replace("-", "_"): value for key, value in row.items()}


def _first(fields: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    return next((fields[key] for key in keys if fields.get(key) is not None), None)
