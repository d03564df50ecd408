"""Times as models write them, to seconds and back: 1.2, "1.2s", "00:01.2", "1m 2s", "1.5 - 3.0", "frame 12"."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any

from deeptrace.prompts.coordinates import View
from deeptrace.prompts.parse_numbers import plain, value_of

__all__ = ["Moment", "Span", "TimeUnit", "doubts", "find_moments", "read_span", "read_spans", "read_time", "write_time"]

Span = tuple[float | None, float | None]
"""Start and end in seconds; None for what is not stated."""


class TimeUnit(StrEnum):
    """How an answer states a time; a bare number is seconds, or a frame number under FRAMES."""

    SECONDS = "seconds"
    CLOCK = "clock"
    FRAMES = "frames"


_N = r"(?:\d[\d,]*\.\d+|\d+(?:,\d+)?|\.\d+)"
_WORDS = {"half a": 0.5, "one": 1.0, "two": 2.0, "three": 3.0, "four": 4.0, "five": 5.0, "six": 6.0}
_IN_WORDS = rf"(?:{'|'.join(_WORDS)})(?=[\s-])"
# Latin and Cyrillic units end with the word; CJK ones may have the next word glued to them.
_END = r"(?![A-Za-z\u0400-\u04ff])"
_HOUR = rf"(?:(?:hours?|hrs?|h|час\w*|ч){_END}|小时|時間|시간)"
_MINUTE = rf"(?:(?:minutes?|minuten?|minutos?|mins?|m|мин\w*|м){_END}|分钟?|分|분|'(?![A-Za-z]))"
_SECOND = rf"(?:(?:seconds?|secondes?|segundos?|secondi|sekunden?|secs?|sek|s|сек\w*|с){_END}|秒钟?|초|\"(?!\w))"
_MILLI = rf"(?:(?:milliseconds?|millis|msecs?|ms|мс){_END}|毫秒|밀리초)"
_NTH = r"(?:-(?:й|я|ой|ей|ю)|[ªº]|ème|e)?"  # "на 3-й секунде", "à la 3e seconde"
_GAP = r"[\s-]{0,2}(?:and\s|et\s|und\s|и\s|,\s)?\s?"
_MOMENT = re.compile(
    r"(?<![A-Za-z0-9_.])(?:"
    # 00:00:01:500 and 00:01:500 (three digits at the end are milliseconds), 01:02:03.5, 00:01.5
    rf"(?:(?P<h3>\d{{1,3}}):)?(?P<m3>\d{{1,4}}):(?P<s3>\d{{1,2}}):(?P<ms3>\d{{3}})(?!\d)"
    rf"|(?:(?P<ch>\d{{1,4}}):)?(?P<cm>\d{{1,6}}):(?P<cs>\d+(?:[.,]\d+)?)"
    # 1h 2m 3.5s, PT1M2.5S (ISO 8601), 1 min and 12 sec, 2 s 500 ms, half a second
    rf"|(?:PT)?(?=(?:{_N}|{_IN_WORDS}){_NTH}[\s-]{{0,2}}(?:{_HOUR}|{_MINUTE}|{_SECOND}|{_MILLI}))"
    rf"(?:(?P<h>{_N})[\s-]{{0,2}}{_HOUR}{_GAP})?(?:(?P<m>{_N})[\s-]{{0,2}}{_MINUTE}{_GAP})?"
    rf"(?:(?P<s>{_N}|{_IN_WORDS}){_NTH}[\s-]{{0,2}}{_SECOND}{_GAP})?(?:(?P<ms>{_N})[\s-]{{0,2}}{_MILLI})?"
    r"|(?:at\s+|第\s*)?(?:seconds?|segundos?|secondes?|secondo|sekunden?|секунд\w*)\s*[#:=]?\s*(?P<after>\d+(?:\.\d+)?)(?![\d.]*\s*[A-Za-z])"
    r"|(?:frames?|кадр\w*|帧|프레임)\s*(?:no\.?|number|num|#|index|idx)?\s*[:#=]?\s*(?P<f>\d{1,9})(?!\s*(?:fps|per\b))"
    r"|(?:第\s*)?(?P<f2>\d{1,9})(?:st|nd|rd|th)?[\s-]*(?:frames?\b(?!\s+(?:per|a)\b)|кадр|帧|번째\s*프레임|프레임)"
    rf"|(?P<bare>{_N})(?![\d:]|\s*(?:fps|frames?\s+(?:per|a)|hz|px|%))"
    r")",
    re.I,
)
_NUMBERED = re.compile(r"^[ \t]*\d{1,2}[.)][ \t]+(?=\S)", re.M)  # the lines of a list
_TO = re.compile(
    r"\s*(?:-+>?|~|→|to|until|till|through|thru|bis|and|und|et|y|e|и|à|a|hasta|至|到|부터|에서|до|по)\s*"
    r"(?:about\s+|around\s+|~\s*|the\s+)?(?:frames?\s+)?",
    re.I,
)
_BETWEEN = re.compile(
    r"\b(?:between|from|von|zwischen|entre|tra|fra|между)\s*(?:about\s+|around\s+)?$|从\s*$|с\s*$", re.I
)
_AT_ZERO = re.compile(
    r"\b(?:very\s+)?(?:beginning|start|outset)\b|\bfirst\s+(?:frame|second|moment|instant|few|part)|\bthroughout\b"
    r"|\b(?:whole|entire|full|complete)\s+(?:video|clip|duration|length|sequence|time)|\ball\s+(?:along|the\s+time|frames)"
    r"|\bimmediately\b|\binstantly\b|\bfrom\s+the\s+get-go|\balways\b|从头|最初から|始めから|冒頭|一开始|开头|开始时|全程|整个视频|始终|처음|시작부터|전체|내내"
    r"|с\s+(?:самого\s+)?начала|в\s+начале|\bvon\s+anfang\s+an\b|\bdès\s+le\s+début\b|\bdesde\s+el\s+(?:principio|inicio|comienzo)\b"
    r"|\bdesde\s+o\s+(?:início|começo)\b|\bdall'inizio\b",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Moment:
    """A time in a text.

    Attributes:
        start, end: where it stands in the text.
        kind: "time" for one with a unit or a colon, "frame", or "bare" for a mere number.
        value: seconds, or the number itself for the other two.
    """

    start: int
    end: int
    kind: str
    value: float


def find_moments(text: str) -> list[Moment]:
    """All times, frame numbers and bare numbers that `text` states, in order."""
    text = plain(text[:4000])
    moments = (_moment(found, text) for found in _MOMENT.finditer(text))
    return [moment for moment in moments if moment is not None]


def _moment(found: re.Match[str], text: str) -> Moment | None:
    part = found.groupdict()
    shown = re.sub(r"\s(?:and|et|und|и)$", "", found.group(0).rstrip(" ,-"))
    at = (found.start(), found.start() + len(shown))
    if _minus_before(text, found.start()):
        return None
    if part["ms3"]:
        clock = _number(part["h3"]) * 3600 + _number(part["m3"]) * 60 + _number(part["s3"])
        return Moment(*at, "time", clock + _number(part["ms3"]) / 1000)
    if part["cs"]:
        return Moment(*at, "time", _number(part["ch"]) * 3600 + _number(part["cm"]) * 60 + _decimal(part["cs"]))
    if part["f"] or part["f2"]:
        return Moment(*at, "frame", float(part["f"] or part["f2"]))
    if part["bare"]:
        value = _decimal(part["bare"])
        return None if math.isnan(value) else Moment(*at, "bare", value)
    if part["after"]:
        return Moment(*at, "time", float(part["after"]))
    hours, minutes, seconds = (_decimal(part[name]) for name in ("h", "m", "s"))
    value = hours * 3600 + minutes * 60 + seconds + _number(part["ms"]) / 1000
    return None if math.isnan(value) else Moment(*at, "time", value)


def _number(token: str | None) -> float:
    """Of a whole number; a comma is one of thousands where it can be."""
    if not token:
        return 0.0
    value = value_of(token)
    return math.nan if value is None else value


def _decimal(token: str | None) -> float:
    """Of seconds, minutes and hours: a comma is a decimal one ("1,250 s" is 1.25 s)."""
    if token and (word := _WORDS.get(" ".join(token.lower().split()))) is not None:
        return word
    return _number(token.replace(",", ".") if token and token.count(",") == 1 and "." not in token else token)


def read_time(value: Any, *, unit: TimeUnit = TimeUnit.SECONDS, view: View | None = None) -> float | None:
    """Seconds of a stated time, or None when it states none; of a range, its start.

    A unit that is written ("ms", "s", "min", "frame", a colon) wins over `unit`, which tells what a bare number is.
    A time in seconds wins over a frame number beside it. "From the beginning" is 0.

    Args:
        value: a number, or text such as "1.2", "1,2 s", "1m 2s", "starting at 00:01.2", "frame 12".
        unit: what a bare number means.
        view: turns frame numbers into seconds: by the timestamps of the frames shown, else by the frame rate.

    Examples:
        >>> [read_time(text) for text in (1.2, "1.2s", "00:01.2", "1200 ms", "starting at 1.2 seconds")]
        [1.2, 1.2, 1.2, 1.2, 1.2]
        >>> read_time("frame 12", view=View(fps=24.0)), read_time(12, unit=TimeUnit.FRAMES, view=View(fps=24.0))
        (0.5, 0.5)
        >>> print(read_time("soon"), read_time(-1))
        None None
    """
    return read_span(value, unit=unit, view=view)[0]


def read_span(value: Any, *, unit: TimeUnit = TimeUnit.SECONDS, view: View | None = None) -> Span:
    """Start and end that a value states: "1.5 - 3.0", [1.5, 3.0], {"start": 1.5, "end": 3.0}; see `read_time`.

    Args:
        value: of an answer, decoded: a number, a text, a list of one or two, or an object.
        unit: in which bare numbers are.
        view: of the clip, whose rate turns frames into seconds.

    Returns:
        Seconds; None for an end that is not stated or cannot be read. Nothing is raised.
    """
    if isinstance(value, dict):
        low = {str(key).lower(): part for key, part in value.items()}
        ends = [next((low[key] for key in keys if key in low), None) for keys in (_FROM, _UNTIL)]
        return read_time(ends[0], unit=unit, view=view), read_time(ends[1], unit=unit, view=view)
    if isinstance(value, (list, tuple)):
        if len(value) not in (1, 2):
            return None, None
        first = read_span(value[0], unit=unit, view=view)
        return first if len(value) == 1 else (first[0], read_time(value[1], unit=unit, view=view))
    spans = read_spans(value, unit=unit, view=view)
    return spans[0] if spans else (None, None)


_FROM = ("start", "start_time", "from", "begin", "onset", "start_s", "time", "seconds")
_UNTIL = ("end", "end_time", "to", "until", "offset", "end_s")


def read_spans(value: Any, *, unit: TimeUnit = TimeUnit.SECONDS, view: View | None = None) -> list[Span]:
    """All times that a number or text states, in seconds, each with its end where it is a range; see `read_span`."""
    view = view or View()
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return []
    if not isinstance(value, str):
        time = _frame_time(value, view) if unit is TimeUnit.FRAMES else _sane(value)
        return [] if time is None else [(time, None)]
    text = plain(value[:200])
    if "\n" in text.strip():
        text = _NUMBERED.sub("", text)
    moments = _of_one_kind(find_moments(text), text)
    if not moments:
        return [(0.0, None)] if _AT_ZERO.search(text) else []
    spans: list[Span] = []
    until: int | None = None
    for index, moment in enumerate(moments):
        time = _seconds(moment, unit, view)
        if time is None or index == until or (spans and spans[-1][0] == time):
            continue
        after = moments[index + 1] if index + 1 < len(moments) else None
        if after is not None and _is_range(text, moment, after):
            until = index + 1
            end = _seconds(after, unit, view)
            spans.append((time, end if end is not None and end >= time else None))
        else:
            spans.append((time, None))
    return spans


def _is_range(text: str, first: Moment, last: Moment) -> bool:
    between = _TO.fullmatch(text[first.end : last.start])
    if between is None:
        return False
    if between.group(0).strip().lower() in (
        "and",
        "und",
        "et",
        "y",
        "e",
        "и",
        "a",
    ):  # "1 and 2" are two times, "between 1 and 2" is one
        return _BETWEEN.search(text[: first.start]) is not None
    return True


def _of_one_kind(moments: list[Moment], text: str) -> list[Moment]:
    """The moments that count: times where there are any, else frames, else bare numbers.

    A bare number at the head of a range has the unit of its end: "1-2 s".
    """
    for head, tail in pairwise(moments):
        if head.kind == "bare" and tail.kind != "bare" and _is_range(text, head, tail):
            moments = [Moment(m.start, m.end, tail.kind, m.value) if m is head else m for m in moments]
    for head, tail in pairwise(moments):
        if head.kind == "frame" and tail.kind == "bare" and _is_range(text, head, tail):
            moments = [Moment(m.start, m.end, "frame", m.value) if m is tail else m for m in moments]
    for kind in ("time", "frame", "bare"):
        if chosen := [moment for moment in moments if moment.kind == kind]:
            return chosen
    return []


def _seconds(moment: Moment, unit: TimeUnit, view: View) -> float | None:
    if moment.kind == "frame" or (moment.kind == "bare" and unit is TimeUnit.FRAMES):
        return _frame_time(moment.value, view)
    return _sane(moment.value)


def doubts(onset_s: float | None, offset_s: float | None, view: View) -> list[str]:
    """Warnings on times that lie beyond the end of the video; none where its length is not known."""
    if view.duration_s is None:
        return []
    late = [
        (name, time)
        for name, time in (("start", onset_s), ("end", offset_s))
        if time is not None and time > view.duration_s + 0.05
    ]
    return [f"{name} {time:g} s lies beyond the end of the video, at {view.duration_s:g} s" for name, time in late]


def write_time(time_s: float, *, unit: TimeUnit = TimeUnit.SECONDS, view: View | None = None) -> str:
    """A time as an answer states it, to a hundredth of a second: "1.2", "00:01.20" or the frame number "12".

    Under FRAMES it is the frame nearest in time, counted from 0 among the frames shown (or at the frame rate).

    Raises:
        ValueError: FRAMES, and `view` knows neither frame times nor a frame rate.

    Examples:
        >>> write_time(1.2), write_time(61.2, unit=TimeUnit.CLOCK)
        ('1.2', '01:01.20')
        >>> write_time(0.4, unit=TimeUnit.FRAMES, view=View(frame_times_s=(0.0, 0.5, 1.0)))
        '1'
    """
    view = view or View()
    if unit is TimeUnit.CLOCK:
        minutes, hundredths = divmod(round(time_s * 100), 6000)
        return f"{minutes:02d}:{hundredths // 100:02d}.{hundredths % 100:02d}"
    if unit is TimeUnit.FRAMES:
        if view.frame_times_s:
            return str(min(range(len(view.frame_times_s)), key=lambda i: abs(view.frame_times_s[i] - time_s)))
        if not view.fps:
            raise ValueError("expected a view with frame times or a frame rate to write a time as a frame")
        return str(round(time_s * view.fps))
    return f"{time_s:.2f}".rstrip("0").rstrip(".")


def _frame_time(number: float, view: View) -> float | None:
    if not math.isfinite(number) or number < 0:
        return None
    if view.frame_times_s:
        index = int(number)
        return view.frame_times_s[index] if index < len(view.frame_times_s) else None
    return _sane(number / view.fps) if view.fps else None


def _sane(seconds: float) -> float | None:
    """Finite, not negative, and under 12 days: anything else is no time in a video."""
    try:
        value = float(seconds)
    except OverflowError:
        return None
    return value if 0 <= value < 1e6 else None


def _minus_before(text: str, start: int) -> bool:
    return start > 0 and text[start - 1] == "-" and (start == 1 or not text[start - 2].isalnum())
