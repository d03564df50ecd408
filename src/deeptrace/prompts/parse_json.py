"""Reader of the JSON form, and of the many objects that models answer with instead."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from deeptrace.errors import AnswerError
from deeptrace.geometry import Box
from deeptrace.prompts.answer import Answer
from deeptrace.prompts.coordinates import Order, View
from deeptrace.prompts.find_json import FoundJson
from deeptrace.prompts.parse_box_text import named_numbers, plain_name
from deeptrace.prompts.parse_boxes import BoxReader
from deeptrace.prompts.parse_labels import Reading, find_label, label_of_word, refuse_if_declined
from deeptrace.prompts.parse_numbers import number, percentage
from deeptrace.prompts.parse_prose import nth, prose, trace_of
from deeptrace.prompts.parse_times import Span, TimeUnit, doubts, read_span, read_time
from deeptrace.prompts.template import AnswerForm
from deeptrace.schema import Category, Label, Trace, categories_of_tags

__all__ = ["TraceFields", "names_parts", "read_json", "read_probability"]


def _names(names: str) -> tuple[str, ...]:
    return tuple(names.split())


# What models call the fields of their objects, in the form that `_keys` brings them to.
_LABEL = _names(
    "label predicted_label final_label overall_label verdict final_verdict overall_verdict final_decision "
    "final_prediction final_classification predicted_class answer final_answer prediction classification class "
    "result decision conclusion judgment judgement assessment authenticity status video_label response "
    "output category type 标签 结论 判断 判断结果 结果 答案 라벨 판정 정답"
)
_LABEL_LIKE = re.compile(r"\w+_(?:label|verdict|authenticity|classification|prediction|decision|conclusion|answer)")
_IS_FAKE = _names("is_fake fake is_ai_generated ai_generated is_generated is_synthetic is_deepfake generated")
_IS_REAL = _names("is_real real is_authentic authentic is_genuine genuine")
_P_FAKE = _names(
    "fake_probability p_fake probability_fake prob_fake fake_score probability_of_fake fake_prob "
    "ai_probability ai_generated_probability fake_confidence fake_likelihood"
)
_P_REAL = _names("real_probability p_real probability_real prob_real real_score probability_of_real real_prob")
_TRACES = _names(
    "traces trace unnatural_part detection finding anomaly artifact "
    "issue unnatural_parts artifacts anomalies detections regions issues parts "
    "unnatural_regions "
    "objects findings evidence unnatural_areas boxes bboxes bounding_boxes 异常 이상"
)
_BOX = _names(
    "box bbox box_2d bbox_2d bounding_box boundingbox coordinates coords coordinate region area location "
    "position where rect rectangle zone area_coordinates boxes bboxes bounding_boxes 坐标 位置 좌표 위치"
)
_BOX_LIKE = re.compile(r"(?:\w+_)?(?:b?box|coord(?:inate)?s?|location|region|area|roi|bounds|polygon|rect)(?:_\w+)?")
_BOX_WITH_ORDER = re.compile(r"(?:b?box(?:es)?_?(?:2d_?)?)?(xyxy|xywh|ltwh|tlwh|yxyx)")
_ORDERS: dict[str, Order] = {"xyxy": "xyxy", "xywh": "ltwh", "ltwh": "ltwh", "tlwh": "ltwh", "yxyx": "yxyx"}
_ONSET = _names(
    "start_time onset_s onset start starting_time start_s start_sec start_seconds begin begin_time time "
    "timestamp time_s start_timestamp start_ms start_time_ms timestamp_ms time_ms start_frame frame "
    "frame_index frame_number frame_idx from t_start t0 onset_time appears_at when "
    "开始时间 起始时间 时间 시작_시간 시작시간 시간"
)
_OFFSET = _names(
    "end_time offset_s offset end ending_time end_s end_sec end_seconds stop end_timestamp end_ms "
    "end_time_ms end_frame to until t_end offset_time 结束时间 종료_시간 종료시간"
)
_SPAN = _names(
    "time_range time_span timespan time_interval time_window frame_range interval span segment times timestamps frames"
)
_WHY = _names(
    "explanation reason description why rationale reasoning details issue anomaly artifact note comment "
    "原因 解释 理由 说明 描述 이유 설명"
)
_KINDS = _names("categories category kind kinds type")
_SCORE = _names("score confidence")
_UNSTATED = (None, "", "null", "None", "none", "N/A", "n/a", "unknown", "-")
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def names_parts(found: FoundJson) -> bool:
    """Whether a JSON value in a text is an answer: it names a label, a place, a time or a list of traces."""
    rows = found.value if isinstance(found.value, list) else [found.value]
    known = {*_LABEL, *_IS_FAKE, *_IS_REAL, *_P_FAKE, *_TRACES, *_BOX, *_ONSET, *_SPAN}
    return any(known & _keys(row).keys() or _BOX_WITH_ORDER.fullmatch(key) for row in rows for key in _keys(row))


def read_json(text: str, found: FoundJson, form: AnswerForm, view: View, label: Reading | None = None) -> Answer:
    """Read an answer that holds a JSON object, or a list of objects.

    What the object leaves out, label and time, is read from the text around it.

    Args:
        text: the answer.
        found: the JSON in it.
        form, view: see `read_answer`.
        label: the label, where it has been read already.

    Raises:
        AnswerError: no readable label in the object or around it.
        RefusalError: the model declined.
    """
    warnings = ["the JSON was malformed: repaired"] if found.repaired else []
    if found.cut:
        warnings.append("the answer stops within its JSON")
    around = f"{text[: found.start]}\n{text[found.end :]}".replace("```json", " ").replace("```", " ")
    fields, rows = _unwrapped(found.value)
    read = label or _label(fields, rows, around)
    at = _label_place(text, found, read) if label is None and read.at is None else read.at
    p_fake = _probability(fields, warnings)
    p_fake = read.p_fake if p_fake is None else p_fake
    if p_fake is not None and (p_fake >= 0.5) != (read.label is Label.FAKE) and p_fake != 0.5:
        warnings.append(f"fake probability {p_fake:g} contradicts the label {read.label}")
    reader = TraceFields(form, view)
    if rows is None:
        traces = reader.read(fields, single=True, label=read.label)
    else:
        objects = [_keys(row) for row in rows[:1000] if isinstance(row, Mapping)]
        traces = [trace for row in objects if not _is_a_label(row) for trace in reader.read(row)]
        traces += [Trace(box=box) for row in rows[:1000] if isinstance(row, list) for box in reader.boxes.read(row)]
        traces += [trace for row in rows[:100] if isinstance(row, str) for trace in _said_in(row, reader, warnings)]
        traces = reader.timed(traces, fields)
        if any(not isinstance(row, (Mapping, list, str)) for row in rows):
            warnings.append("a listed trace is no object: left out")
    if read.label is Label.REAL:
        traces = [trace for trace in traces if trace.box is not None or trace.onset_s is not None]
        if traces:
            warnings.append("a REAL answer that names unnatural parts: they are kept")
    elif around.strip():
        traces = _completed(traces, around, form, view)
    return Answer(read.label, tuple(traces), p_fake, (*warnings, *reader.warnings), at)


def _is_a_label(row: Mapping[str, Any]) -> bool:
    """Whether a row says the label and nothing of a place or time: {"label": "FAKE"} beside the traces."""
    known = {*_LABEL, *_IS_FAKE, *_IS_REAL, *_P_FAKE, *_P_REAL, *_SCORE}
    return known >= row.keys() and _row_label(row) is not None


def _said_in(row: str, reader: TraceFields, warnings: list[str]) -> list[Trace]:
    """The traces of a row that is a text: "The hand melts at 3.0 s in [100, 200, 300, 400]"."""
    said = prose(row, reader.form, reader.view, reader.boxes)[0]
    boxes = said.boxes or tuple(reader.boxes.read(row)) or (None,)
    return [trace_of(box, nth(said.spans, i), None, said.why, reader.view, warnings) for i, box in enumerate(boxes)]


def _completed(traces: list[Trace], around: str, form: AnswerForm, view: View) -> list[Trace]:
    """The traces with the time and reason that the text around the JSON states, where none of them has any."""
    said = prose(around, form, view, BoxReader(form.space, view))[0]
    onset, offset = said.spans[0] if said.spans else (None, None)
    if onset is not None and all(trace.onset_s is None for trace in traces):
        traces = [trace.model_copy(update={"onset_s": onset, "offset_s": offset}) for trace in traces]
    if said.why and not any(trace.explanation for trace in traces):
        traces = [trace.model_copy(update={"explanation": said.why}) for trace in traces]
    return traces


def _unwrapped(value: Any) -> tuple[dict[str, Any], list[Any] | None]:
    """The fields of the answer, and its rows of traces; None for rows where the object itself is the one trace."""
    for _ in range(3):
        if isinstance(value, list):
            return {}, value
        fields = _keys(value)
        inner = next((fields[key] for key in _LABEL if isinstance(fields.get(key), Mapping)), None)
        if inner is not None:
            fields = {**_keys(inner), **{key: part for key, part in fields.items() if part is not inner}}
        rows = next((fields[key] for key in _TRACES if isinstance(fields.get(key), list)), None)
        one = next((fields[key] for key in _TRACES if isinstance(fields.get(key), Mapping)), None)
        if rows is not None and rows and not any(isinstance(row, Mapping) for row in rows):
            rows = None if any(key in fields for key in _BOX) else rows  # "boxes" beside a time: one object
        if rows is not None or one is not None:
            return fields, rows if rows is not None else [one]
        inside = next((part for part in fields.values() if isinstance(part, Mapping) or _are_rows(part)), None)
        if inside is None or _states(fields):
            return fields, None
        value = inside
    return ({}, value) if isinstance(value, list) else (_keys(value), None)


def _are_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, Mapping) for row in value)


def _states(fields: Mapping[str, Any]) -> bool:
    """Whether an object itself states a label, place or time, and is no mere wrapper of one that does."""
    stated = (*_LABEL, *_IS_FAKE, *_IS_REAL, *_P_FAKE, *_BOX, *_SPAN, *_ONSET)
    return any(fields.get(key) is not None and not isinstance(fields[key], Mapping) for key in stated) or any(
        key in fields for key in _BOX
    )


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
        found = self._boxes(fields)
        spans = self._spans(fields, len(found))
        why = _first(fields, _WHY)
        explanation = " ".join(why.split()) if isinstance(why, str) else ""
        if (
            not explanation
            and not single
            and isinstance(part := fields.get("label"), str)
            and label_of_word(part) is None
        ):
            explanation = " ".join(part.split())
        placed = any(box is not None for box in found) or any(time is not None for span in spans for time in span)
        if single and not placed and not (label is Label.FAKE and (explanation or found)):
            return []
        return [
            Trace(
                categories=self._categories(fields),
                onset_s=span[0],
                offset_s=span[1],
                score=_score(_first(fields, _SCORE)),
                box=box,
                explanation=explanation,
            )
            for box, span in zip(found or list[Box | None]([None]), spans, strict=True)
        ]

    def timed(self, traces: list[Trace], fields: Mapping[str, Any]) -> list[Trace]:
        """The traces with the time that the object around them states, where none of them has any."""
        (onset, offset), *_ = self._spans(fields, 0)
        if onset is None or any(trace.onset_s is not None for trace in traces):
            return traces
        return [trace.model_copy(update={"onset_s": onset, "offset_s": offset}) for trace in traces]

    def _boxes(self, fields: Mapping[str, Any]) -> list[Box | None]:
        for key, value in fields.items():
            if value is not None and (ordered := _BOX_WITH_ORDER.fullmatch(key)) is not None:
                return self.boxes.read(value, order=_ORDERS[ordered.group(1)])
        if (value := _first(fields, _BOX)) is not None:
            return self.boxes.read(value)
        alike = (
            part for key, part in fields.items() if _BOX_LIKE.fullmatch(key) and isinstance(part, (list, dict, str))
        )
        if (value := next((part for part in alike if re.search(r"\d", str(part))), None)) is not None:
            return self.boxes.read(value)  # "bbox_pixels", "area_of_interest"
        plain = {plain_name(key): value for key, value in fields.items() if isinstance(value, (int, float, str))}
        box = named_numbers(plain)
        return [] if box is None else [self.boxes.box(box)]

    def _spans(self, fields: Mapping[str, Any], boxes: int) -> list[Span]:
        """Start and end of each box: one for all, unless the start is a list with as many as there are boxes."""
        listed = _first(fields, (*_ONSET, *_SPAN))
        if isinstance(listed, list) and len(listed) == boxes > 1:
            each = [read_span(value, unit=self.form.times, view=self.view) for value in listed]
            return [self._checked(*span) for span in each]
        (onset, until), (offset, _) = self._time(fields, _ONSET), self._time(fields, _OFFSET)
        if onset is None and until is None:
            onset, until = self._time(fields, _SPAN)
        span = self._checked(onset, until if offset is None else offset)
        return [span] * max(boxes, 1)

    def _checked(self, onset: float | None, offset: float | None) -> Span:
        if onset is not None and offset is not None and offset < onset:
            self._odd.append(f"end {offset:g} s lies before start {onset:g} s: left out")
            offset = None
        self._odd += [line for line in doubts(onset, offset, self.view) if line not in self._odd]
        return onset, offset

    def _time(self, fields: Mapping[str, Any], keys: tuple[str, ...]) -> Span:
        key = next((key for key in keys if fields.get(key) is not None), None)
        if key is None:
            return None, None
        value, unit = fields[key], TimeUnit.FRAMES if "frame" in key else self.form.times
        if key.endswith("_ms") and (thousandths := number(value)) is not None:
            return read_time(thousandths / 1000), None
        stated = read_span(value, unit=unit, view=self.view)
        if stated == (None, None) and not (isinstance(value, (str, list)) and (not value or value in _UNSTATED)):
            self._odd.append(f"{keys[0]} {str(value)[:40]!r} is not readable")
        return stated

    def _categories(self, fields: Mapping[str, Any]) -> tuple[Category, ...]:
        value = _first(fields, _KINDS)
        tags = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        tags = [tag for tag in tags if isinstance(tag, str) and label_of_word(tag) is None]
        known, unknown = categories_of_tags(tags)
        if unknown:
            self._odd.append(f"unknown categories: {', '.join(tag[:30] for tag in unknown[:5])}")
        return known


def _score(value: Any) -> float | None:
    share = percentage(value)
    score = number(value) if share is None else share / 100
    return score if score is not None and 0 <= score <= 1 else None


def read_probability(value: Any, warnings: list[str]) -> float | None:
    """A probability out of 0.9, "0.9", "0,9", "90%" or 90 (percent, with a warning); None, with one, if unreadable.

    A little more than 1 is a rounding of 1; what lies clearly above 1 and below 2 is no percentage and unreadable.

    Examples:
        >>> warnings = []
        >>> [read_probability(stated, warnings) for stated in (0.3, "30%", 1.0000001, "high")]
        [0.3, 0.3, 1.0, None]
        >>> len(warnings)
        1
    """
    if value in _UNSTATED:
        return None
    share = percentage(value)
    stated = number(value) if share is None else share / 100
    if stated is None or not -0.01 <= stated <= 100 or 1.01 < stated < 2:
        warnings.append(f"fake probability {str(value)[:40]!r} is not readable")
        return None
    if isinstance(value, str) and share is None:
        warnings.append(f"fake probability is the text {value[:40]!r}")
    if not 0 <= stated <= 1.01:
        warnings.append(
            f"fake probability {stated:g} read as percent" if stated > 1 else f"fake probability {stated:g} read as 0"
        )
        return max(stated / 100, 0.0)
    return min(stated, 1.0)


def _probability(fields: Mapping[str, Any], warnings: list[str]) -> float | None:
    """The probability of FAKE, out of that of either label, or of both as keys: {"REAL": 0.1, "FAKE": 0.9}."""
    if (value := _first(fields, _P_FAKE)) is not None:
        return read_probability(value, warnings)
    if (value := _first(fields, _P_REAL)) is not None:
        real = read_probability(value, warnings)
        return None if real is None else 1.0 - real
    shares = _shares(fields)
    return None if shares is None else shares[0] / sum(shares)


def _shares(fields: Mapping[str, Any]) -> tuple[float, float] | None:
    """Probabilities of FAKE and REAL where the labels are keys."""
    found = [fields.get("fake", fields.get("ai_generated")), fields.get("real", fields.get("authentic"))]
    if any(isinstance(value, bool) for value in found):
        return None
    fake, real = (read_probability(value, []) for value in found)
    return None if fake is None or real is None or fake + real <= 0 else (fake, real)


def _label(fields: Mapping[str, Any], rows: list[Any] | None, around: str) -> Reading:
    if (read := _own_label(fields)) is not None:
        return read
    if around.strip(" \t\r\n`"):
        try:
            return find_label(around)
        except AnswerError:
            if not any(_own_label(_keys(row)) for row in rows or () if isinstance(row, Mapping)):
                raise
    found = {
        read.label for row in rows or () if isinstance(row, Mapping) and (read := _row_label(_keys(row))) is not None
    }
    if len(found) > 1:
        raise AnswerError("", "the rows of the answer name both REAL and FAKE")
    if found:
        return Reading(found.pop())
    for why in _WHY:
        if isinstance(fields.get(why), str):
            refuse_if_declined(fields[why])
    raise AnswerError("", "the JSON of the answer has no label")


def _own_label(fields: Mapping[str, Any]) -> Reading | None:
    """The label in an object's own fields; None where they have none.

    Raises:
        AnswerError: a field of that name, which names both labels or neither.
    """
    keys = (*_LABEL, *filter(_LABEL_LIKE.fullmatch, fields))
    texts = [value for key in keys if isinstance(value := _single(fields.get(key)), str) and value.strip()]
    for text in texts:
        if (exact := label_of_word(text)) is not None:
            return Reading(exact)
    truths = [(_truth(fields.get(key)), Label.FAKE, Label.REAL) for key in _IS_FAKE]
    truths += [(_truth(fields.get(key)), Label.REAL, Label.FAKE) for key in _IS_REAL]
    for truth, yes, no in truths:
        if truth is not None:
            return Reading(yes if truth else no)
    if (shares := _shares(fields)) is not None and shares[0] != shares[1]:
        return Reading(Label.FAKE if shares[0] > shares[1] else Label.REAL)
    return replace(find_label(texts[0]), at=None) if texts else None


def _row_label(fields: Mapping[str, Any]) -> Reading | None:
    try:
        return _own_label(fields)
    except AnswerError:
        return None  # "label": "distorted hand"


def _single(value: Any) -> Any:
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _truth(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, str)):
        return _TRUTH.get(str(value).strip().lower())
    return None


def _label_place(text: str, found: FoundJson, read: Reading) -> int | None:
    """Where the word of the label stands as the value of a label field."""
    keys = "|".join(re.escape(key).replace("_", "[_ -]?") for key in _LABEL)
    field = re.compile(
        rf"(?<![A-Za-z_])(?:{keys})[\"'”’\\]*\s*[:=：][^{{}}\n]{{0,40}}?(?<![A-Za-z])({read.label})(?![A-Za-z])", re.I
    )
    place = field.search(text, found.start, found.end)
    return None if place is None else place.start(1)


def _keys(row: Mapping[Any, Any]) -> dict[str, Any]:
    return dict(_named(row))


def _named(row: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in row.items():
        snake = re.sub(r"(?<=[a-z])(?=[A-Z][A-Za-z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", str(key).strip())
        yield snake.lower().replace(" ", "_").replace("-", "_"), value


def _first(fields: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    return next((fields[key] for key in keys if fields.get(key) is not None), None)
