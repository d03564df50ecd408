"""JSON out of a model's text: fences, prose around it, single quotes, trailing commas, an end that is cut off."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

__all__ = ["find_json"]

_FENCE = re.compile(r"```[a-zA-Z0-9_]*\s*(.*?)(?:```|\Z)", re.S)
_TRAILING_COMMA = re.compile(r",(?=\s*[}\]])")
_DECODER = json.JSONDecoder()
_TRIES = 8  # opening brackets looked at; an answer has its object early, garbage has brackets without end


def find_json(text: str) -> tuple[Any, str, bool] | None:
    """The first JSON object, or list of objects, in `text`.

    Returns:
        The value, the text around it, and whether it had to be repaired. None when there is none.
    """
    for body in _candidates(text):
        for start in _openings(body):
            try:
                value, end = _DECODER.raw_decode(body, start)
            except (ValueError, RecursionError):
                continue
            if _useful(value):
                return value, f"{body[:start]} {body[end:]}", False
    for body in _candidates(text):
        for start in _openings(body):
            value = _repaired(body[start:])
            if _useful(value):
                return value, body[:start], True
    return None


def _candidates(text: str) -> Iterator[str]:
    for found in _FENCE.finditer(text):
        if found.group(1).strip():
            yield found.group(1)
    yield text


def _openings(body: str) -> list[int]:
    return [found.start() for found, _ in zip(re.finditer(r"[{\[]", body), range(_TRIES), strict=False)]


def _useful(value: Any) -> bool:
    if isinstance(value, dict):
        return bool(value)
    return isinstance(value, list) and bool(value) and all(isinstance(part, dict) for part in value)


def _repaired(tail: str) -> Any:
    closed = _TRAILING_COMMA.sub("", _closed(tail))
    try:
        return _DECODER.raw_decode(closed)[0]
    except (ValueError, RecursionError):
        pass
    if len(closed) > 20_000:  # the parser below is for short Python literals
        return None
    try:
        return ast.literal_eval(
            re.sub(r"\bnull\b", "None", re.sub(r"\btrue\b", "True", re.sub(r"\bfalse\b", "False", closed)))
        )
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _closed(tail: str) -> str:
    """`tail` up to the end of its first value; where it stops early, the open string and brackets are closed."""
    stack: list[str] = []
    quote = ""
    skip = False
    for index, char in enumerate(tail):
        if skip:
            skip = False
        elif quote:
            skip = char == "\\"
            quote = "" if char == quote else quote
        elif char == '"' or (char == "'" and re.search(r"[\[{:,]\s*$", tail[max(index - 8, 0) : index])):
            quote = char
        elif char in "{[":
            stack.append("}" if char == "{" else "]")
        elif char in "}]":
            if not stack or stack.pop() != char:
                return tail[:index]
            if not stack:
                return tail[: index + 1]
    cut = tail[:-1] if skip else tail
    cut = (cut + quote).rstrip()
    cut = re.sub(r'(?:,\s*"[^"]*"\s*:?|:|,)\s*$', lambda m: ": null" if m.group(0).strip() == ":" else "", cut)
    return cut + "".join(reversed(stack))
