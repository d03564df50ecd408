"""How sure the model was of its label: the probability of FAKE against REAL where it wrote the one or the other."""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import accumulate
from typing import Any

from deeptrace.detectors.vlm.label_probability import begins_label, label_place
from deeptrace.prompts import FINE_TUNING, AnswerForm
from deeptrace.schema import Label

__all__ = ["fake_probability"]


def fake_probability(logprobs: Any, label: Label, form: AnswerForm = FINE_TUNING) -> float | None:
    """P(FAKE) / (P(FAKE) + P(REAL)) at the first token of the label in the answer, in [0, 1].

    Tokens that begin either word count for it (see `begins_label`). A server lists the likeliest few tokens only: when
    the other word is not among them, its share is taken to be as large as it can be, so no answer is surer
    than the list shows.

    Args:
        logprobs: the `logprobs` of a chat completion's choice.
        label: label that the answer was read as.
        form: answer form that the model was asked for.

    Returns:
        The probability; None when the server gave no logprobs.

    Raises:
        ValueError: they are invalid: not in the documented shape, no probabilities, or of another text.
    """
    if logprobs is None or (isinstance(logprobs, dict) and logprobs.get("content") is None):
        return None
    rows = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and isinstance(row.get("token"), str) for row in rows
    ):
        raise ValueError("they are not a list of tokens")
    ends = list(accumulate(len(row["token"]) for row in rows))
    text = "".join(row["token"] for row in rows)
    listed = _listed(rows[bisect_right(ends, label_place(text, label, form))])
    share = {side: sum(p for token, p in listed.items() if begins_label(token, side)) for side in Label}
    unlisted = min(max(1.0 - sum(listed.values()), 0.0), min(listed.values()))
    fake, real = (share[side] or unlisted for side in (Label.FAKE, Label.REAL))
    if share[label] <= 0.0:
        raise ValueError("the token of the label has no probability")
    return fake / (fake + real)


def _listed(row: dict[str, Any]) -> dict[str, float]:
    """Probabilities by token: the alternatives and the token chosen."""
    top = row.get("top_logprobs") or []
    if not isinstance(top, list):
        raise ValueError("the alternatives are not a list")
    found: dict[str, float] = {}
    for entry in [*top, row]:
        token = entry.get("token") if isinstance(entry, dict) else None
        value = entry.get("logprob") if isinstance(entry, dict) else None
        if not isinstance(token, str) or isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError("an alternative has no token or no logprob")
        if not value <= 1e-3:  # NaN as well; rounding lifts a certain token a little above 0
            raise ValueError(f"{value:g} is not the logarithm of a probability")
        found.setdefault(token, math.exp(value))
    if sum(found.values()) > 1.02:
        raise ValueError("the probabilities add up to more than 1")
    return found
