"""Digits, signs and punctuation as models of all languages write them; to plain ASCII and to numbers."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Any

__all__ = ["cut_in_a_number", "number", "percentage", "plain", "value_of"]

_SIGNS = {
    "，、﹐": ",",
    "。．｡": ".",
    "：∶": ":",
    "；": ";",
    "【〔［": "[",
    "】〕］": "]",
    "（": "(",
    "）": ")",
    "“”„‟«»「」『』″": '"',
    "‘’‚‛′": "'",
    "‐‑‒–—―−－": "-",
    "〜～∼": "~",
    "│｜": "|",
    "\u00a0\u2002\u2003\u2007\u2009\u202f\u3000\u200b\ufeff▁": " ",
}


class _Plain(dict[int, str]):
    """Character by character; what is not listed is looked up once: digits of any script, full-width letters."""

    def __missing__(self, code: int) -> str:
        sign = chr(code)
        found = sign
        if 0xFF01 <= code <= 0xFF5E:
            found = chr(code - 0xFEE0)
        elif unicodedata.category(sign) == "Nd":
            found = str(unicodedata.decimal(sign))
        self[code] = found
        return found


_PLAIN = _Plain({ord(sign): plain for signs, plain in _SIGNS.items() for sign in signs})

_TOKEN = re.compile(r"[-+]?(?:\d[\d,]*(?:\.\d*)?|\.\d+)(?:e[-+]?\d{1,3})?(?![\d.])", re.I)
_BEFORE = re.compile(r"[\s~≈≃<>=≤≥±'\"(\[]{0,6}(?:about|around|approximately|approx\.?|ca\.?|circa)?\s*", re.I)
_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(?:,\d{3})+")


def plain(text: str) -> str:
    """`text` with full-width and foreign digits, quotes and punctuation in ASCII, and as long as it was.

    >>> plain("［１．５秒，２］"), plain("٣")
    ('[1.5秒,2]', '3')
    """
    return text if text.isascii() else text.translate(_PLAIN)


def value_of(token: str) -> float | None:
    """The finite value of a number as written; a comma is one of thousands ("1,024") or a decimal one ("0,9").

    >>> value_of("1.5"), value_of("0,9"), value_of("1,024"), value_of("1,2,3")
    (1.5, 0.9, 1024.0, None)
    """
    if "," in token:
        if "." in token or _THOUSANDS.fullmatch(token):
            token = token.replace(",", "")
        elif token.count(",") == 1:
            token = token.replace(",", ".")
        else:
            return None
    try:
        found = float(token)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _leading(text: str) -> tuple[float, str] | None:
    """The number that `text` opens with, and what follows it."""
    text = plain(text[:80])
    found = _TOKEN.match(text, before.end() if (before := _BEFORE.match(text)) else 0)
    if found is None or (value := value_of(found.group(0).rstrip(","))) is None:
        return None
    return value, text[found.end() :].lstrip()


def number(value: Any) -> float | None:
    """A finite number of a JSON value: 3, "3", "3px", "0,9"; None when it is none.

    Examples:
        >>> number("12.5"), number("0,9"), number(3), number(True), number("x0")
        (12.5, 0.9, 3.0, None, None)
    """
    if isinstance(value, str):
        found = _leading(value)
        return None if found is None else found[0]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        parsed = float(value)
    except OverflowError:
        return None
    return parsed if math.isfinite(parsed) else None


def percentage(value: Any) -> float | None:
    """The number before a percent sign, "45 %" as 45; None for a value without one."""
    found = _leading(value) if isinstance(value, str) else None
    return found[0] if found is not None and re.match(r"%|per\s?cent", found[1], re.I) else None


def cut_in_a_number(text: str) -> bool:
    """Whether `text` ends within what may be a number: further digits may have been to come."""
    return re.search(r"\d[.,:]?\Z", text[-3:]) is not None
