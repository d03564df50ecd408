"""JSON out of a model's text: the standard library's reader first, `json_repair` where the text says that it is JSON.

`json_repair` mends what models break (quotes, commas, comments, brackets) and is generous: it makes JSON of anything,
and takes a number that the text stops in for a whole one. So it is shown only what opens as an object does, and
nothing that may be half a value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import json_repair

from deeptrace.prompts.parse_numbers import plain

__all__ = ["FoundJson", "find_json"]

_FENCE = re.compile(r"```[a-zA-Z0-9_]*[ \t]*\n?(.*?)(?:```|\Z)", re.S)
_OPENS_JSON = re.compile(r"\{\s*(?:[\"'“‘\\]|[A-Za-z_]\w*\s*:)|\[\s*\{\s*(?:[\"'“‘\\]|[A-Za-z_]\w*\s*:)")
_DECODER = json.JSONDecoder(strict=False)  # raw newlines in strings
_TRIES = 16  # opening brackets looked at; an answer has its object early, garbage has brackets without end
_REPAIRED = 20_000  # characters; answers are shorter, and the repair of nested garbage takes time
_DEEPEST = 40
# "time": 00:01.5 · "p": 90 % · t: 1.5 seconds, without quotes
_UNQUOTED = re.compile(
    r"([\"']\s*:\s*|[{,\n]\s*[A-Za-z_]\w*\s*:\s*)"
    r"([-+~]?\d[\d.]*(?:(?::\d+)+(?:\.\d+)?|\s*(?:%|percent|ms|seconds?|secs?|s|min)\b)|[-+~]?\d[\d.]*\s*%)(?=\s*[,}\]\n]|\s*\Z)"
)
_NO_ZERO = re.compile(r"([:,\[]\s*)(?=\.\d)")  # "p": .85
# What a text that is cut off may stop in: a number, a sign, a bare word, a number in quotes.
_HALF = re.compile(r"([:,\[]\s*)(?:[-+]?\d[\d.:eE+-]*|[-+]|[a-zA-Z]+|[\"'][\s\d.,:]*)\Z")


@dataclass(frozen=True, slots=True)
class FoundJson:
    """A JSON value in a text.

    Attributes:
        value: an object, or a list of objects.
        start, end: where it stands.
        repaired: whether it was malformed.
        cut: whether the text stops within it.
    """

    value: dict[str, Any] | list[dict[str, Any]]
    start: int
    end: int
    repaired: bool = False
    cut: bool = False


def find_json(text: str) -> FoundJson | None:
    """The first JSON object, or list of objects, in `text`; several that follow one another are a list.

    A number that the text stops in is left out, and what it was to be is null.

    Examples:
        >>> find_json('Here: {"label": "FAKE"}. Anything else?')
        FoundJson(value={'label': 'FAKE'}, start=6, end=23, repaired=False, cut=False)
        >>> find_json('{"label": "FAKE", "start_time": 1')  # perhaps 12
        FoundJson(value={'label': 'FAKE', 'start_time': None}, start=0, end=33, repaired=True, cut=True)
        >>> print(find_json("no answer, [1, 2]"))
        None
    """
    for start, end in _spans(text):
        if (found := _strict(text, start, end)) is not None:
            return found
    for start, end in _spans(text):
        if (found := _repaired(text, start, end) or _strict(text, start, end, within=True)) is not None:
            return found
    return None if text.isascii() or (flat := plain(text)) == text else find_json(flat)


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Where to look: in a fence, then everywhere; of several fences each may hold a part of the answer."""
    fences = [found.span(1) for found in _FENCE.finditer(text) if found.group(1).strip()]
    if len(fences) == 1:
        yield fences[0]
    yield 0, len(text)


def _strict(text: str, start: int, end: int, *, within: bool = False) -> FoundJson | None:
    """Well-formed JSON; that of an object that is broken or cut off only with `within`: it is not the whole of it."""
    values: list[tuple[Any, int, int]] = []
    at = start
    for _ in range(_TRIES):
        opening = re.compile(r"[{\[]").search(text, at, end)
        if opening is None:
            break
        at = opening.end()
        try:
            value, after = _DECODER.raw_decode(text[:end], opening.start())
        except (ValueError, RecursionError):
            if not within and _OPENS_JSON.match(text, opening.start(), end):
                break
            continue
        if (useful := _useful(value)) is not None:
            values.append((useful, opening.start(), after))
            at = after
    if not values:
        return None
    found = values[0][0] if len(values) == 1 else [row for value, _, _ in values for row in _rows(value)]
    return FoundJson(found, values[0][1], values[-1][2])


def _repaired(text: str, start: int, end: int) -> FoundJson | None:
    opening = _OPENS_JSON.search(text, start, end)
    if opening is None or _depth(text[opening.start() : end]) > _DEEPEST:
        return None
    tail = text[opening.start() : min(end, opening.start() + _REPAIRED)]
    closes = max(tail.rfind("}"), tail.rfind("]"))
    # Cut off where the fence or the text ends with more open than closed and nothing that closes after it.
    cut = end == len(text) and (closes < 0 or tail[closes + 1 :].strip() != "") and _opened(tail) > 0
    body = _without_half_a_value(tail) if cut else tail[: closes + 1] if closes >= 0 else tail
    try:
        value = json_repair.loads(_UNQUOTED.sub(r'\1"\2"', _NO_ZERO.sub(r"\g<1>0", body)), skip_json_loads=True)
    except (ValueError, RecursionError, IndexError, TypeError, AttributeError):
        return None
    if isinstance(value, list):
        value = [part for part in value if isinstance(part, dict) and part]
    if (useful := _useful(value)) is None:
        return None
    return FoundJson(
        useful, opening.start(), opening.start() + (len(tail) if cut else len(body)), repaired=True, cut=cut
    )


def _without_half_a_value(tail: str) -> str:
    """The text without the number or bare word that it stops in, which may go on; what was to come is null."""
    return _HALF.sub(r"\1null", tail)


def _useful(value: Any) -> dict[str, Any] | list[dict[str, Any]] | None:
    if isinstance(value, dict):
        return value or None
    if isinstance(value, list) and value and all(isinstance(part, dict) for part in value):
        return value
    return None


def _rows(value: dict[str, Any] | list[dict[str, Any]]) -> list[dict[str, Any]]:
    return value if isinstance(value, list) else [value]


def _opened(tail: str) -> int:
    return sum(map(tail.count, "{[")) - sum(map(tail.count, "}]"))


def _depth(text: str) -> int:
    """How deep the brackets of a text nest, those in strings included."""
    deepest = depth = 0
    for bracket in re.findall(r"[{}\[\]]", text[:_REPAIRED]):
        depth = depth + 1 if bracket in "{[" else max(depth - 1, 0)
        deepest = max(deepest, depth)
    return deepest
