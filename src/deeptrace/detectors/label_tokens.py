"""Where an answer says its label, and which tokens say the one or the other: the rule behind every model's `p_fake`.

The probability of FAKE is P(FAKE) / (P(FAKE) + P(REAL)) at the first token of the label in the answer. Tokens that
begin either word count for it: "F", "FA", " FAKE", '"Fake'.
"""

from __future__ import annotations

import math
import re

from deeptrace.trace import Label

__all__ = ["begins_label", "label_place", "logit", "probability"]

# `_` is kept out so that the JSON key "fake_probability" is no label.
_LABEL = re.compile(r"(?<![A-Za-z_])(?:REAL|FAKE)(?![A-Za-z_])", re.I)
_WORD = re.compile(r"[^A-Za-z]*([A-Za-z]+)")
_THOUGHTS_END = "</think>"


def label_place(text: str, label: Label) -> int:
    """Index of the first letter of the label that `text` states, after the model's thoughts.

    Raises:
        ValueError: the first label in the text is not `label`.
    """
    thought = text.rfind(_THOUGHTS_END)
    found = _LABEL.search(text, thought + len(_THOUGHTS_END) if thought >= 0 else 0)
    if found is None or Label(found.group().upper()) is not label:
        raise ValueError("their tokens do not say the answer's label")
    return found.start()


def begins_label(token: str, label: Label) -> bool:
    """Whether `token` may be the first of `label`.

    >>> [begins_label(token, Label.FAKE) for token in ("F", " Fak", '"FAKE', "REAL", "Fast", "3")]
    [True, True, True, False, False, False]
    """
    word = _WORD.match(token)
    return word is not None and label.value.startswith(word.group(1).upper())


def logit(p: float, limit: float = 30.0) -> float:
    """ln(p / (1 - p)), at most `limit` in size.

    >>> logit(0.5), logit(1.0)
    (0.0, 30.0)
    """
    if p <= 0.0 or p >= 1.0:
        return math.copysign(limit, p - 0.5)
    return max(-limit, min(limit, math.log(p) - math.log1p(-p)))


def probability(value: float) -> float:
    """The inverse of `logit`, without overflow.

    >>> probability(0.0), probability(-1000.0)
    (0.5, 0.0)
    """
    if value >= 0:
        return 1.0 / (1.0 + math.exp(-value))
    small = math.exp(value)
    return small / (1.0 + small)
