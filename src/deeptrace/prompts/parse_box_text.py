"""Where a text writes the four numbers of a box, and what it says about them: names, corners, percent signs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from deeptrace.prompts.coordinates import Order, Unit
from deeptrace.prompts.parse_numbers import cut_in_a_number, number, percentage, plain

__all__ = ["Written", "find_boxes", "loose_numbers", "named_numbers", "plain_name", "unclosed", "written"]

Meaning = Order | Literal["corners"]


@dataclass(frozen=True, slots=True)
class Written:
    """Four numbers that a text or an object writes as a box.

    Attributes:
        numbers: in the order written, or in that of `order`.
        order: what the text itself says they are; "corners" for two points, each in the order of the space; None
            where it says nothing.
        unit: that the text itself gives them; None where it gives none.
        start, end: where they stand in the text.
    """

    numbers: tuple[float, float, float, float]
    order: Meaning | None = None
    unit: Unit | None = None
    start: int = 0
    end: int = 0


_N = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d{1,3})?"
_U = r"\s*(?:px|pixels?|%)?"
_NAME = r"(?:[xy][_ -]?(?:min|max|center|cent(?:er|re))|[xy][_ ]?[012]|c[xy]|left|top|right|bottom|width|height|[xywh])"
# x0=90 · "x": 10 · <x0>256</x0> · width is 5
_PAIR = re.compile(
    rf"(?<![A-Za-z])(?P<name>{_NAME})[\"'`*>]{{0,3}}\s*(?:[:=]|\bis\b|(?<=>))\s*[\"'`*]{{0,3}}(?P<value>{_N}{_U})", re.I
)
_FROM_TO = rf"(?:from\s+|between\s+)?({_N}){_U}\s*(?:-|~|to|and|,|\.\.)\s*({_N}){_U}"
_AXIS = rf"(?:[- ]?(?:axis|range|coordinates?))?(?:\s*(?:∈|\bin\b))?[\s\"':=\[(]{{0,8}}{_FROM_TO}"
_RANGES = re.compile(rf"(?<![A-Za-z])x{_AXIS}[\])\"']{{0,3}}\W{{0,4}}(?:and\s+)?(?<![A-Za-z])y{_AXIS}", re.I)
_FOUR_NAMES = re.compile(r"(?<![A-Za-z0-9])" + r"\W{1,4}".join([f"({_NAME})"] * 4) + r"(?![A-Za-z0-9])", re.I)
_FOUR = rf"[\[(]?\s*{_N}{_U}(?:[\s,;|]+{_N}{_U}){{3}}\s*[\])]?"
_AFTER_NAMES = re.compile(rf"[^\d\n]{{0,24}}?(?<![\d.])({_FOUR})", re.I)
_BEFORE_NAMES = re.compile(rf"(?<![\d.])({_FOUR})[^\d\n]{{0,24}}$", re.I)
_GROUP = re.compile(r"[\[({]([^\[\](){}]{1,400})[\])}]")
_RUN = re.compile(rf"(?<![\w.,:/-])({_N}{_U}(?:\s*[,|]\s*{_N}{_U}){{3}})(?![\w:/]|\s*[,|]\s*[-+.\d]|\.\d)", re.I)
_LOCATION = re.compile(r"(?:<loc\d{4}>\s*){4}")
_MARKED = re.compile(rf"<(?:box|bbox|det)>(\s*{_N}(?:[\s,]+{_N}){{3}}\s*)</(?:box|bbox|det)>", re.I)
_OF = r"\s*(?:of|:|=|is|~|≈|about|approximately)*\s*"
_CENTRE_AND_SIZE = re.compile(
    rf"\bcent(?:er(?:ed)?|red?)\s*(?:point\s*)?(?:at|on|around|:|=|is)?\s*\(?\s*({_N}{_U})\s*,\s*({_N}{_U})\s*\)?\W{{1,4}}(?:and\s+|with\s+)?(?:an?\s+|its\s+)?"
    rf"(?:size{_OF}({_N}{_U})\s*(?:x|×|by)\s*({_N}{_U})"
    rf"|w(?:idth)?{_OF}({_N}{_U})\W{{1,4}}(?:and\s+)?(?:an?\s+)?h(?:eight)?{_OF}({_N}{_U}))(?![\w.])",
    re.I,
)
# What may stand between two corners: "(1, 2) to (3, 4)", "top-left (1, 2), bottom-right (3, 4)".
_BETWEEN = re.compile(
    r"[\W_]{0,12}(?:(?:to|and|through|until|the|at|is|top|bottom|upper|lower|left|right|corner|its|x[12]|y[12])[\W_]{1,6}){0,8}",
    re.I,
)
_NO_NUMBERS = re.compile(rf"{_N}|px|pixels?|{_NAME}|[\s,;|:=%'\"*~-]", re.I)
_SIDES = re.compile(r"\b(?:w|h|width|height)\b", re.I)
_CENTRE = re.compile(r"\bcent(?:er|re)(?:ed|d)?\b", re.I)
_SIZE = re.compile(
    r"[\W_]{0,12}(?:(?:with|and|a|the|its|of|is)\s+){0,3}(?:size|width\s*(?:and|[,/x])\s*height|dimensions?)\b[\W_]{0,4}(?:of|is)?\W{0,3}",
    re.I,
)

_NAMED: tuple[tuple[Order | Literal["centre"], tuple[str, str, str, str]], ...] = (
    ("ltwh", ("left", "top", "width", "height")),
    ("ltwh", ("x", "y", "width", "height")),
    ("ltwh", ("x", "y", "w", "h")),
    ("ltwh", ("xmin", "ymin", "width", "height")),
    ("ltwh", ("xmin", "ymin", "w", "h")),
    ("ltwh", ("x0", "y0", "width", "height")),
    ("ltwh", ("x1", "y1", "width", "height")),
    ("xyxy", ("x0", "y0", "x1", "y1")),
    ("xyxy", ("x1", "y1", "x2", "y2")),
    ("xyxy", ("xmin", "ymin", "xmax", "ymax")),
    ("xyxy", ("left", "top", "right", "bottom")),
    ("centre", ("cx", "cy", "w", "h")),
    ("centre", ("cx", "cy", "width", "height")),
    ("centre", ("xcenter", "ycenter", "w", "h")),
    ("centre", ("xcenter", "ycenter", "width", "height")),
)


def plain_name(name: object) -> str:
    """A name without case, spaces and underscores: "X_min" as "xmin"."""
    return re.sub(r"[\s_-]", "", str(name).lower()).replace("centre", "center")


def named_numbers(fields: Mapping[str, Any]) -> Written | None:
    """The box that named numbers make; None where they are none, or not all of them are numbers.

    Args:
        fields: by `plain_name`.
    """
    for order, names in _NAMED:
        if not all(name in fields for name in names):
            continue
        parts = [fields[name] for name in names]
        if (found := written(parts, order=None if order == "centre" else order)) is None:
            return None
        if order != "centre":
            return found
        x, y, wide, high = found.numbers
        return Written((x - wide / 2, y - high / 2, wide, high), "ltwh", found.unit)
    return None


def written(parts: list[Any], *, order: Meaning | None = None, start: int = 0, end: int = 0) -> Written | None:
    """Four values as a box; hundredths of the frame where the last has a percent sign. None where one is no number."""
    values = [number(part) for part in parts]
    if len(values) != 4 or any(value is None for value in values):
        return None
    a, b, c, d = (float(value or 0.0) for value in values)
    if percentage(parts[3]) is not None:
        return Written((a / 100, b / 100, c / 100, d / 100), order, "fractions", start, end)
    return Written((a, b, c, d), order, None, start, end)


def find_boxes(text: str) -> list[Written]:
    """Boxes anywhere in a text, in order. Where two readings overlap, numbers that are named come first."""
    flat = plain(text)
    named = [*_ranges(flat), *_pairs(flat), *_listed_names(flat), *_locations(flat), *_marked(flat), *_centres(flat)]
    unnamed = [*_fours(flat), *_corners(flat), *_runs(flat)]
    chosen: list[Written] = []
    for hit in [*named, *unnamed]:
        if not any(hit.start < other.end and other.start < hit.end for other in chosen):
            chosen.append(hit)
    return sorted(chosen, key=lambda hit: hit.start)[:100]


def _ranges(flat: str) -> Iterator[Written]:
    """x from 100 to 300, y from 200 to 400."""
    for found in _RANGES.finditer(flat):
        x0, x1, y0, y1 = found.groups()
        if (box := written([x0, y0, x1, y1], order="xyxy", start=found.start(), end=found.end())) is not None:
            yield box


def _pairs(flat: str) -> Iterator[Written]:
    """x0=90, y0=142, x1=187, y1=251, in any order."""
    fields: dict[str, str] = {}
    start = end = 0
    for pair in _PAIR.finditer(flat):
        name = plain_name(pair.group("name"))
        if name in fields or pair.start() - end > 40:
            fields = {}
        start = start if fields else pair.start()
        fields[name], end = pair.group("value"), pair.end()
        if len(fields) >= 4 and (box := named_numbers(fields)) is not None:
            yield Written(box.numbers, box.order, box.unit, *_with_brackets(flat, start, end))
            fields = {}


def _listed_names(flat: str) -> Iterator[Written]:
    """[ymin, xmin, ymax, xmax] = [380, 180, 540, 410], or the names after the numbers."""
    for four in _FOUR_NAMES.finditer(flat):
        names = [plain_name(name) for name in four.groups()]
        behind = max(four.start() - 120, 0)
        after, before = _AFTER_NAMES.match(flat, four.end()), _BEFORE_NAMES.search(flat[behind : four.start()])
        if (chosen := after or before) is None:
            continue
        box = named_numbers(dict(zip(names, split_numbers(chosen.group(1)), strict=False)))
        if box is not None:
            shift = 0 if after else behind
            ends = (chosen.start(1) + shift, chosen.end(1) + shift)
            yield Written(box.numbers, box.order, box.unit, min(four.start(), ends[0]), max(four.end(), ends[1]))


def _locations(flat: str) -> Iterator[Written]:
    """<loc0100><loc0240><loc0250><loc0400>, PaliGemma's tokens."""
    for found in _LOCATION.finditer(flat):
        a, b, c, d = (float(place) for place in re.findall(r"\d{4}", found.group(0)))
        yield Written((a, b, c, d), "yxyx", "1024ths", found.start(), found.end())


def _marked(flat: str) -> Iterator[Written]:
    """<box>100 200 300 400</box>, as several models ground."""
    for found in _MARKED.finditer(flat):
        if (box := written(split_numbers(found.group(1)), start=found.start(), end=found.end())) is not None:
            yield box


def _brackets(flat: str) -> list[tuple[re.Match[str], list[str]]]:
    """Brackets that hold numbers and nothing else, with the numbers; a list of frames is none."""
    return [
        (bracket, split_numbers(bracket.group(1)))
        for bracket in _GROUP.finditer(flat)
        if not _NO_NUMBERS.sub("", bracket.group(1))
        and not re.search(r"\bframes?\W{0,3}$", flat[max(bracket.start() - 10, 0) : bracket.start()], re.I)
    ]


def _fours(flat: str) -> Iterator[Written]:
    """[1, 2, 3, 4]; several boxes in one bracket follow one another."""
    for bracket, values in _brackets(flat):
        start, end = _with_brackets(flat, *bracket.span())
        order: Order | None = "ltwh" if _SIDES.search(bracket.group(1)) else None  # [100, 200, w=50, h=60]
        for at in range(0, len(values), 4) if len(values) % 4 == 0 else ():
            first, last = start + at // 4, at + 4 >= len(values)
            box = written(values[at : at + 4], order=order, start=first, end=end if last else first + 1)
            if box is not None:
                yield box


def _corners(flat: str) -> Iterator[Written]:
    """(1, 2), (3, 4), and a centre with a size."""
    taken = None
    for (bracket, first), (other, last) in pairwise(_brackets(flat)):
        if bracket is taken or not len(first) == len(last) == 2:
            continue
        before = flat[max(bracket.start() - 24, 0) : bracket.start()]
        between = flat[bracket.end() : other.start()]
        start, end = bracket.start(), other.end()
        if _CENTRE.search(before):
            named = dict(zip(("cx", "cy", "w", "h"), [*first, *last], strict=True))
            if _SIZE.fullmatch(between) and (box := named_numbers(named)) is not None:
                yield Written(box.numbers, box.order, box.unit, start, end)
        elif _BETWEEN.fullmatch(between):
            taken = other
            if (box := written([*first, *last], order="corners", start=start, end=end)) is not None:
                yield box


def _centres(flat: str) -> Iterator[Written]:
    """A centre with a size that stands in no bracket: "center (200, 300), size 200 x 200", "width 200, height 100"."""
    for found in _CENTRE_AND_SIZE.finditer(flat):
        stated = [part for part in found.groups() if part is not None]
        box = named_numbers(dict(zip(("cx", "cy", "w", "h"), stated, strict=True)))
        if box is not None:
            yield Written(box.numbers, box.order, box.unit, found.start(), found.end())


def _runs(flat: str) -> Iterator[Written]:
    """100, 200, 300, 400 without a bracket; exactly four."""
    for found in _RUN.finditer(flat):
        cut = found.end() == len(flat) and unclosed(flat)
        if cut or re.search(r"[\d.]\s*[,|]\s*$", flat[max(found.start() - 6, 0) : found.start()]):
            continue
        if (box := written(split_numbers(found.group(1)), start=found.start(), end=found.end())) is not None:
            yield box


def split_numbers(text: str) -> list[str]:
    """The numbers of a bracket, each with its percent sign.

    A comma is a decimal one where another sign parts the numbers ("0,1; 0,2; 0,3; 0,4"), and one of thousands where
    that makes four of more ("1,024, 200, 1,280, 400").
    """
    if len(parts := re.split(r"[;|]", text.strip())) == 4 and all(part.count(",") <= 1 for part in parts):
        text = re.sub(r"(?<=\d),(?=\d)", ".", text)
    values = _split(text)
    if len(values) > 4 and len(values) % 4:
        joined = _split(re.sub(r"(?<![\d.])([1-9]\d{0,2}),(?=\d{3}(?!\d))", r"\1", text))
        values = joined if len(joined) == 4 else values
    return values


def _split(text: str) -> list[str]:
    found = re.findall(rf"(?<![A-Za-z0-9_.])({_N}\s*%?)(?![\d.])(?![a-wyzA-WYZ_]*\d)", text)
    return [value for value in found if number(value) is not None]


def loose_numbers(text: str) -> list[Written]:
    """Boxes of a text that stands in the place of a box: numbers by fours, however they are parted."""
    flat = plain(text[:4000])
    values = split_numbers(flat)
    if not values or len(values) % 4 or unclosed(flat):
        return []
    boxes = (written(values[at : at + 4]) for at in range(0, min(len(values), 400), 4))
    return [box for box in boxes if box is not None]


def unclosed(flat: str) -> bool:
    """Whether a text ends within a number and an open bracket: it was cut off, and the number may be, too."""
    return cut_in_a_number(flat) and sum(map(flat.count, "[({")) > sum(map(flat.count, "])}"))


def _with_brackets(flat: str, start: int, end: int) -> tuple[int, int]:
    """The place with the brackets, tags and quotes that close around it."""
    before = re.search(r"(?:[\[({<][\s\"']{0,2}){1,2}$", flat[max(start - 6, 0) : start])
    after = re.match(r"(?:\s*</\w{1,8}>|(?:[\s\"']{0,2}[\])}]){1,2})", flat[end : end + 14])
    return start - (len(before.group(0)) if before else 0), end + (after.end() if after else 0)
