"""AnswerForm: what a model is asked for, and in which words it answers: the paper's forms, ablations, a JSON form."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from deeptrace.errors import SettingsError
from deeptrace.prompts.coordinates import SPACES, CoordinateSpace, View
from deeptrace.prompts.parse_times import TimeUnit
from deeptrace.schema import Category

__all__ = ["FINE_TUNING", "JSON", "ZERO_SHOT", "AnswerForm", "Style", "answer_schema", "question"]


class Style(StrEnum):
    """The wording: the fine-tuned checkpoints' sentences, the zero-shot question's tags, or a JSON object."""

    SENTENCE = "sentence"
    TAGS = "tags"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """What is asked for, and how it is written.

    Attributes:
        style: the wording of question and answer.
        box: ask where (False: the "without box" ablation the reviewers asked for).
        time: ask when (False: the paper's "w/o time").
        explanation: ask why (False: the paper's "w/o explanation").
        space: what the numbers of a box mean.
        times: how a time is stated.
    """

    style: Style = Style.SENTENCE
    box: bool = True
    time: bool = True
    explanation: bool = True
    space: CoordinateSpace = SPACES["pixels"]
    times: TimeUnit = TimeUnit.SECONDS

    def without(self, *parts: str) -> AnswerForm:
        """The ablation that drops `parts`, of "box", "time" and "explanation".

        Raises:
            ValueError: some other part.

        Examples:
            >>> form = FINE_TUNING.without("box", "time")
            >>> form.box, form.time, form.explanation
            (False, False, True)
            >>> FINE_TUNING.without("colour")
            Traceback (most recent call last):
                ...
            ValueError: expected parts of box, time and explanation but got ['colour']
        """
        if unknown := set(parts) - {"box", "time", "explanation"}:
            raise ValueError(f"expected parts of box, time and explanation but got {sorted(unknown)}")
        return replace(
            self,
            box=self.box and "box" not in parts,
            time=self.time and "time" not in parts,
            explanation=self.explanation and "explanation" not in parts,
        )

    def in_space(self, space: CoordinateSpace) -> AnswerForm:
        """The same form with boxes in `space`.

        Examples:
            >>> form = FINE_TUNING.in_space(SPACES["permille"])
            >>> "[x0, y0, x1, y1] format with values from 0 to 1000" in question(form)
            True
        """
        return replace(self, space=space)


FINE_TUNING = AnswerForm()
"""What the published checkpoints were trained on: sentences, pixels of the original video, seconds."""
ZERO_SHOT = AnswerForm(style=Style.TAGS)
"""What the paper asks models that were not trained for it."""
JSON = AnswerForm(style=Style.JSON)
"""One JSON object; made for constrained decoding (`answer_schema`)."""


def question(form: AnswerForm = FINE_TUNING) -> str:
    """The question to send; for the paper's forms in pixels and seconds it is the paper's text, verbatim.

    Examples:
        >>> question().startswith("<video> Decide whether the video is AI-generated or real")
        True
        >>> question(FINE_TUNING.without("box", "time", "explanation")).endswith("reply with FAKE.")
        True
    """
    return {Style.SENTENCE: _ask_sentence, Style.TAGS: _ask_tags, Style.JSON: _ask_json}[form.style](form)


def _listing(parts: list[str]) -> str:
    if len(parts) <= 2:
        return " and ".join(parts)
    return f"{', '.join(parts[:-1])}, and {parts[-1]}"


def _when(form: AnswerForm, seconds: str, frames: str) -> str:
    if form.times is TimeUnit.FRAMES:
        return frames
    return f"{seconds} as mm:ss.ss" if form.times is TimeUnit.CLOCK else seconds


def _ask_sentence(form: AnswerForm) -> str:
    parts = []
    if form.box:
        parts.append(f"the coordinates of the unnatural parts in {form.space.wording}")
    if form.time:
        subject = "them" if form.box else "the unnatural parts"
        parts.append(_when(form, f"the starting time of {subject}", f"the number of the first frame of {subject}"))
    if form.explanation:
        parts.append("an explanation")
    ending = f"reply with FAKE, and provide {_listing(parts)}." if parts else "reply with FAKE."
    return (
        "<video> Decide whether the video is AI-generated or real by detecting unnatural parts. If you don't detect "
        "any unnatural parts and think the video is real, reply with REAL. Otherwise, if you detect any, " + ending
    )


def _ask_tags(form: AnswerForm) -> str:
    parts, tags = [], []
    if form.box:
        parts.append(f"the area coordinates in {form.space.wording}")
        tags.append("<coordinates> </coordinates>")
    if form.time:
        fake = "when you think it becomes fake"
        parts.append(_when(form, f"the starting time of {fake}", f"the number of the frame {fake}"))
        tags.append("<start_time> </start_time>")
    if form.explanation:
        parts.append("an explanation")
        tags.append("<explanation> </explanation>")
    opening = "Decide whether the video is AI-generated or real. If you think it is real, reply 'REAL'. Otherwise, "
    if not parts:
        return f"{opening}reply 'FAKE'."
    return f"{opening}reply 'FAKE' and provide {_listing(parts)}. Encapsulate your answers using {_listing(tags)}."


def _ask_json(form: AnswerForm) -> str:
    time = {
        TimeUnit.SECONDS: "times in seconds",
        TimeUnit.CLOCK: "times as mm:ss.ss",
        TimeUnit.FRAMES: "times as frame numbers counted from 0",
    }[form.times]
    parts = []
    if form.box:
        parts.append(f'"box" as [{", ".join(form.space.names)}]{form.space.wording.partition("format")[2]}')
    if form.time:
        parts.append(f'"start_time" and "end_time" ({time})')
    parts.append(f'"categories" (any of {", ".join(Category)})')
    if form.explanation:
        parts.append('"explanation" (one or two plain sentences)')
    return (
        "Decide whether the video is AI-generated or real by detecting unnatural parts. Answer with one JSON object "
        'and nothing else: {"label": "REAL" or "FAKE", "fake_probability": a number from 0 to 1, "traces": [...]}. '
        f"Give one trace for each unnatural part, with {_listing(parts)}; null for what you cannot tell. If you detect "
        'no unnatural part and think the video is real, answer with the label "REAL" and an empty list of traces.'
    )


def answer_schema(form: AnswerForm = JSON, *, view: View | None = None, max_traces: int = 6) -> dict[str, Any]:
    """JSON Schema of the JSON form for constrained decoding (vLLM, SGLang, OpenAI `json_schema` with `strict`).

    Every field is required and nullable instead of optional, and nothing else is allowed, as strict modes demand.

    Args:
        form: which parts are asked for, and in which space.
        view: bounds the numbers of a box and the times to the frame and the video, where it knows them.
        max_traces: longest list of traces; the data have at most 6 a video.

    Examples:
        >>> schema = answer_schema(JSON.without("explanation"), view=View(duration_s=5.0))
        >>> sorted(schema["properties"])
        ['fake_probability', 'label', 'traces']
        >>> schema["properties"]["traces"]["items"]["properties"]["start_time"]["maximum"]
        5.0
    """
    fields: dict[str, Any] = {}
    if form.box:
        fields["box"] = {"type": ["array", "null"], "items": _box_number(form, view), "minItems": 4, "maxItems": 4}
    if form.time:
        stated: dict[str, Any] = {"type": ["number", "null"], "minimum": 0}
        if form.times is TimeUnit.CLOCK:
            stated = {"type": ["string", "null"], "pattern": r"^\d{2,}:\d{2}\.\d{2}$"}
        elif form.times is TimeUnit.FRAMES:
            stated["type"] = ["integer", "null"]
        elif view is not None and view.duration_s is not None:
            stated["maximum"] = view.duration_s
        fields |= {"start_time": stated, "end_time": stated}
    fields["categories"] = {"type": "array", "items": {"type": "string", "enum": [str(kind) for kind in Category]}}
    if form.explanation:
        fields["explanation"] = {"type": "string"}
    top = {
        "label": {"type": "string", "enum": ["REAL", "FAKE"]},
        "fake_probability": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
        "traces": {"type": "array", "items": _strict(fields), "maxItems": max_traces},
    }
    return _strict(top)


def _strict(fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


def _box_number(form: AnswerForm, view: View | None) -> dict[str, Any]:
    bounds: dict[str, Any] = {"type": "number", "minimum": 0}
    try:
        return bounds | {"maximum": max(form.space.scale(view or View()))}
    except SettingsError:  # the frame's size is not known: no upper bound
        return bounds
