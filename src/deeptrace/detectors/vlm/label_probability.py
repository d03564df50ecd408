"""Where an answer says its label, and which tokens say the one or the other: the rule behind every model's `p_fake`.

The probability of FAKE is P(FAKE) / (P(FAKE) + P(REAL)) at the first token of the label in the answer. Tokens that
begin either word count for it: "F", "FA", " FAKE", '"Fake'.
"""

from __future__ import annotations

import re

from deeptrace.errors import AnswerError
from deeptrace.prompts import FINE_TUNING, AnswerForm, read_answer
from deeptrace.schema import Label

__all__ = ["begins_label", "label_place"]

_WORD = re.compile(r"[^A-Za-z]*([A-Za-z]+)")


def label_place(text: str, label: Label, form: AnswerForm = FINE_TUNING) -> int:
    """Index of the first letter of the word that the label of an answer was read from.

    It is found by the reader of answers, so that no word of the model's thoughts or of its explanation is taken for it.

    Args:
        text: what the model said, thoughts included.
        label: label that the answer was read as.
        form: answer form that the model was asked for.

    Raises:
        ValueError: the text is not read as `label`, or the label was read from other words than REAL and FAKE.
    """
    try:
        answer = read_answer(text, form=form)
    except AnswerError as error:
        raise ValueError("their tokens do not say the answer's label") from error
    if answer.label is not label or answer.label_at is None:
        raise ValueError("their tokens do not say the answer's label")
    return answer.label_at


def begins_label(token: str, label: Label) -> bool:
    """Whether `token` may be the first of `label`.

    >>> [begins_label(token, Label.FAKE) for token in ("F", " Fak", '"FAKE', "REAL", "Fast", "3")]
    [True, True, True, False, False, False]
    """
    word = _WORD.match(token)
    return word is not None and label.value.startswith(word.group(1).upper())
