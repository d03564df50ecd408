"""Reader of answers whose parts have names: tags, "Start time: ..", lists, tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from deeptrace.geometry import Box
from deeptrace.plural import plural
from deeptrace.prompts.answer import Answer
from deeptrace.prompts.coordinates import View
from deeptrace.prompts.parse_boxes import BoxReader
from deeptrace.prompts.parse_labels import Reading, find_label
from deeptrace.prompts.parse_numbers import cut_in_a_number, plain
from deeptrace.prompts.parse_prose import Prose, joined, nth, prose, trace_of
from deeptrace.prompts.parse_times import Span, read_span, read_spans
from deeptrace.prompts.template import AnswerForm
from deeptrace.schema import Label, Trace

__all__ = ["NOTHING", "SQUARE_TAG", "TAG", "TAG_MARK", "read_fields", "read_tags"]

Kind = Literal["box", "start", "end", "why", "label"]
_MOST = 200  # parts of an answer that are read

_TAG_NAMES: dict[Kind, str] = {
    "box": r"(?:area[_ ])?coord(?:inate)?s?|bbox(?:_2d)?|bounding[_ ]?box|坐标|座標|좌표",
    "start": r"start(?:ing)?(?:[_ ]?time)?|time(?:stamp)?|onset|开始时间|起始时间|開始時間|開始時刻|시작[_ ]?시간",
    "end": r"end(?:ing)?(?:[_ ]?time)?|结束时间|終了時間|종료[_ ]?시간",
    "why": r"explanations?|reason|description|解释|說明|説明|설명|原因|理由",
}
_FIELD_NAMES: dict[Kind, str] = {
    "box": r"(?:area|box|bounding[ -]box|location)?\s*coord(?:inate)?s?|(?:unnatural\s+)?(?:area|region|part)s?"
    r"|location|bounding[ _-]?box(?:es)?|b?box(?:es)?(?:_2d)?|position|where"
    r"|坐标|座標|区域|區域|位置|边界框|領域|좌표|영역|위치|координаты|область|koordinaten|coordenadas|coordonnées|coordinate",
    "start": r"(?:start(?:ing)?|begin(?:ning)?|onset)(?:[ _-]?(?:time|at|frame))?|time(?:stamp)?s?(?:[ _-]?range)?"
    r"|when"
    r"|开始时间|起始时间|开始|时间|開始時[間刻]|時[間刻]|시작\s?시[간각]|시작|시간|시각|время(?:\s+начала)?|начало"
    r"|startzeit(?:punkt)?|beginn|zeit(?:punkt)?|(?:tiempo|hora|momento)(?:\s+de\s+inicio)?|inicio|(?:tempo\s+de\s+)?início"
    r"|(?:temps|heure|instant)(?:\s+de\s+début)?|début|(?:tempo\s+di\s+)?inizio|ora\s+di\s+inizio",
    "end": r"(?:end(?:ing)?|stop)(?:[ _-]?(?:time|at|frame))?|结束时间|終了時[間刻]|종료\s?시간|конец|ende|fin",
    "why": r"explanations?|reason(?:s|ing)?|description|why|rationale|justification"
    r"|原因|解释|解釋|理由|说明|說明|説明|이유|설명|причина|объяснение|пояснение|erklärung|begründung|grund|explicación|razón|motivo"
    r"|explication|raison|explicação|spiegazione",
    "label": r"(?:final\s+)?(?:label|verdict|answer|classification|prediction|conclusion|decision|confidence)"
    r"|标签|结论|判断|判定|结果|答案|結論|結果|回答|정답|답|결론|판정|라벨|ответ|вердикт|вывод|antwort|urteil|respuesta|réponse|resposta"
    r"|risposta",
}


def _named(names: dict[Kind, str]) -> str:
    return "|".join(f"(?P<{kind}>{pattern})" for kind, pattern in names.items())


_ANY_TAG = "|".join(_TAG_NAMES.values())
_ATTRIBUTES = r"(?:\s(?P<attributes>[^<>]{0,200}?))?\s*/?"  # <coordinates x0="1" .. />, <start_time value="1.5"/>
TAG = re.compile(
    rf"<\s*(?:{_named(_TAG_NAMES)}){_ATTRIBUTES}>(?P<body>.*?)(?=<\s*/?\s*(?:{_ANY_TAG})(?:\s[^<>]{{0,200}}|/)?>|\Z)",
    re.I | re.S,
)
TAG_MARK = rf"<\s*/?\s*(?:{_ANY_TAG})(?:\s[^<>]{{0,200}}|\s*/)?>"
"""Any of the tags, opening or closing; a pattern, to be read without case."""
SQUARE_TAG = re.compile(rf"\[(/?(?:{_ANY_TAG}))\]", re.I)
"""[coordinates] .. [/coordinates]: tags in other brackets."""
_CLOSING_TAG = re.compile(rf"<\s*/\s*(?:{_ANY_TAG})\s*>", re.I)
# "**Start time:** 1.5 s", "2. Area - [..]", "| coordinates | [..] |", and several on a line
_FIELD = re.compile(
    r"(?:^|(?<=[.;,|)\]])\s)[\s>#*_`•·|(-]{0,8}(?P<item>\d{1,2}[.)][ \t]*)?[*_`\"']{0,3}"
    rf"(?:{_named(_FIELD_NAMES)})"
    r"\s*(?:\([^)\n\d]{0,40}\))?[*_`\"']{0,3}\s*(?:[:=|]|\s-\s)[*_`\"']{0,3}",
    re.I | re.M,
)
_ROW = re.compile(r"^\s*\|(.+)\|\s*$")
NOTHING = re.compile(
    r"[\s\"'*_`.<\[(-]*(?:n\s*/?\s*a|none|null|unknown|not\s+applicable|无|없음)[\s\"'*_`.>\])-]*", re.I
)


@dataclass(frozen=True, slots=True)
class _Event:
    """A part that a tag or field states; `cut` where the text stops within its number."""

    kind: Kind
    body: str
    start: int
    end: int
    cut: bool = False


def read_tags(text: str, form: AnswerForm, view: View, label: Reading | None = None) -> Answer:
    """Read `FAKE <coordinates>[..]</coordinates> <start_time>T</start_time> <explanation>..</explanation>`.

    Tags may be unclosed, several groups may follow one another, and one pair of tags may hold several boxes or times.
    What no tag holds is read from the text around them.

    Args:
        text: the answer.
        form, view: see `read_answer`.
        label: the label, where it has been read already.

    Raises:
        AnswerError, RefusalError: no readable label outside the tags.
    """
    events = []
    for found, _ in zip(TAG.finditer(text), range(_MOST), strict=False):
        kind = _kind(found)
        if not found.group("body").strip() and (inner := TAG.match(text, found.end())) and _kind(inner) == kind:
            continue  # <coordinates><bbox>..</bbox></coordinates>: the inner one states it
        unclosed = found.end() == len(text)
        body = found.group("body").strip()
        if kind != "why" and found.group("attributes") and not re.search(r"\d", plain(body)):
            body = found.group("attributes")
        events.append(_Event(kind, body, *found.span(), unclosed and cut_in_a_number(text)))
    around = _CLOSING_TAG.sub(lambda closing: " " * len(closing.group(0)), _without(text, events))
    return _of_events(events, around, label or find_label(around), form, view)


def read_fields(text: str, form: AnswerForm, view: View, label: Reading | None = None) -> Answer | None:
    """Read "Coordinates: [..]", "Start time: T", "Explanation: .." by name, as lines, a list or a table.

    Returns:
        None where the text names neither place nor time nor reason so.

    Raises:
        AnswerError, RefusalError: no readable label outside the explanation.
    """
    events = [event for event in _table(text) or _fields(text) if event.kind != "label"]
    if not any(event.kind == "why" or re.search(r"\d", plain(event.body)) for event in events):
        return None
    # What explains names neither label nor place.
    read = label or find_label(_without(text, [event for event in events if event.kind == "why"]))
    return _of_events(events, _without(text, events), read, form, view)


def _without(text: str, events: list[_Event]) -> str:
    """The text with blanks in the place of what the events state; a sentence ends there. It is as long as it was."""
    for event in events:
        text = f"{text[: event.start]}\n{' ' * (event.end - event.start - 1)}{text[event.end :]}"
    return text


def _kind(found: re.Match[str]) -> Kind:
    kinds: tuple[Kind, ...] = ("box", "start", "end", "why", "label")
    return next(kind for kind in kinds if found.groupdict().get(kind) is not None)


def _fields(text: str) -> list[_Event]:
    found = [field for field, _ in zip(_field_names(plain(text)), range(_MOST), strict=False)]
    events = []
    ends = [*(field.start() for field in found[1:]), len(text)]
    for field, end in zip(found, ends, strict=bool(found)):
        kind = _kind(field)
        body = text[field.end() : end]
        if (
            kind == "box"
            and len(re.findall(r"\n[^\n]*\d[^\n\d]+\d", body)) > 1
            and not body.partition("\n")[0].strip(" *_`")
        ):
            continue  # the heading of a list, which is read as prose is
        if kind != "why":  # the first line that says something
            body = re.match(r"[\s|*`]*[^\n]*", body).group(0)  # type: ignore[union-attr]
        cut = kind != "why" and _opens(body) and cut_in_a_number(text)
        events.append(_Event(kind, body.strip(" \t\n|*`"), field.start(), field.end() + len(body), cut))
    return events


def _field_names(flat: str) -> Iterator[re.Match[str]]:
    """The names of fields with what leads up to them, in order.

    What looks like the number of a list's item may end a bracket: "(0, 0, 2, 2) Start time: 1.5 s".
    """
    at = 0
    while (field := _FIELD.search(flat, at)) is not None:
        line = flat[flat.rfind("\n", 0, field.start()) + 1 : field.start()]
        if (field["item"] or "").rstrip().endswith(")") and _opens(line):
            at = field.end("item") - 1
            continue
        yield field
        at = field.end()


def _opens(body: str) -> bool:
    return sum(map(body.count, "[({")) > sum(map(body.count, "])}"))


def _table(text: str) -> list[_Event]:
    """The rows of a table whose head names the fields."""
    heads: list[Kind | None] = []
    events: list[_Event] = []
    at = 0
    for line in text.split("\n"):
        row = _ROW.match(line)
        cells = row.group(1).split("|") if row else []
        names = [re.match(rf"[\s*_`]*(?:{_named(_FIELD_NAMES)})[\s*_`]*(?:\(.*\))?\s*$", cell, re.I) for cell in cells]
        if sum(name is not None for name in names) >= 2:
            heads = [None if name is None else _kind(name) for name in names]
        elif heads and len(cells) == len(heads) and not set(line) <= set("|-: \t"):
            stated = zip(heads, cells, strict=True)
            events += [_Event(kind, cell.strip(" *`"), at, at + len(line)) for kind, cell in stated if kind]
        at += len(line) + 1
    return events


def _of_events(events: list[_Event], around: str, read: Reading, form: AnswerForm, view: View) -> Answer:
    warnings = list(read.warnings)
    reader = BoxReader(form.space, view)
    rest = joined(prose(around, form, view, reader)) if around.strip() else Prose()
    traces = [trace for group in _groups(events) for trace in _group(group, rest, form, view, reader, warnings)]
    if read.label is Label.REAL:
        traces = [trace for trace in traces if trace.box is not None or trace.onset_s is not None]
        if traces:
            warnings.append("a REAL answer that names unnatural parts: they are kept")
    return Answer(read.label, tuple(traces), read.p_fake, (*warnings, *reader.warnings), read.at)


def _groups(events: list[_Event]) -> list[list[_Event]]:
    """The events of each trace: one group where every kind stands in one run, else a new one where a kind comes again.

    In several groups, what is stated once, before the first place or after the last, belongs to all.
    """
    runs = [
        event.kind
        for event, before in zip(events, [None, *events], strict=False)
        if before is None or before.kind != event.kind
    ]
    if len(runs) == len(set(runs)):
        return [events] if events else []
    groups: list[list[_Event]] = [[]]
    for event in events:
        if any(event.kind == other.kind for other in groups[-1]):
            groups.append([])
        groups[-1].append(event)
    places = [event.start for event in events if event.kind == "box"] or [event.start for event in events]
    for kind in dict.fromkeys(event.kind for event in events if event.kind != "box"):
        only = [event for event in events if event.kind == kind]
        if len(only) == 1 and (only[0].start < places[0] or only[0].start > places[-1]):
            groups = [group if only[0] in group else [*group, only[0]] for group in groups]
    return groups


def _group(
    events: list[_Event], rest: Prose, form: AnswerForm, view: View, reader: BoxReader, warnings: list[str]
) -> list[Trace]:
    boxes: list[Box | None] = []
    spans: list[Span] = []
    ends: list[float | None] = []
    reasons: list[str] = []
    for event in events:
        nothing = NOTHING.fullmatch(event.body) is not None or not event.body.strip(" .-\"'*`")
        if event.kind == "box":
            boxes += (reader.read_text(event.body) if not nothing else []) or [None]
        elif event.kind == "why":
            reasons.append("" if NOTHING.fullmatch(event.body) else " ".join(event.body.split()))
        elif event.cut:
            warnings.append(f"the answer stops within the time {event.body[:40]!r}: left out")
            spans.append((None, None))
        elif event.kind == "end":
            ends.append(None if nothing else read_span(event.body, unit=form.times, view=view)[0])
        else:
            stated = read_spans(event.body, unit=form.times, view=view)
            spans += stated or [(None, None)]
            if not stated and not nothing:
                warnings.append(f"start time {event.body[:40]!r} is not readable")
    boxes, spans = boxes or list(rest.boxes), spans or list(rest.spans)
    count = max(len(boxes) or len(spans), len(reasons))
    if boxes and len(spans) > max(count, 1):
        warnings.append(f"{plural(len(spans), 'time')} for {plural(count, 'place')}: the first are taken")
    return [
        trace_of(nth(boxes, i), nth(spans, i), nth(ends, i), nth(reasons, i) or "", view, warnings)
        for i in range(count)
    ]
