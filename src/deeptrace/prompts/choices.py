"""Questions about a video that have one right answer among few, and how an answer to one is read.

A `Question` is asked in words of its own, and answered by yes or no or by the letter of an option. Hallucination
checks, counterfactual descriptions and anomaly questions are such (`deeptrace.data.exporters.questions`).
"""

from __future__ import annotations

import re
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from deeptrace.prompts.parse import without_thoughts

__all__ = ["YES_NO", "Question", "asked_text", "read_choice"]

YES_NO = ("yes", "no")
_LETTERS = "ABCDEFGH"


class Question(BaseModel):
    """One question about one video.

    Attributes:
        id: unique among the questions of a file.
        kind: what it is asked for, as "basic", "hallucinated", "counterfactual", "anomaly".
        pair: id that a basic question and its hallucinated one share; "" for a question alone.
        aspect: what it is about, as "kind", "place", "time".
        video_id, path, source: of the video.
        text: the question, without its options.
        options: `YES_NO`, or two to eight descriptions.
        answer: the right one of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    kind: str
    pair: str = ""
    aspect: str = ""
    video_id: str
    path: str
    source: str = "unknown"
    text: str
    options: tuple[str, ...]
    answer: str

    @model_validator(mode="after")
    def _answerable(self) -> Self:
        if self.answer not in self.options or len(set(self.options)) != len(self.options):
            raise ValueError(f"expected the answer to be one of different options but got {self.answer!r}")
        if not 2 <= len(self.options) <= len(_LETTERS):
            raise ValueError(f"expected 2 to {len(_LETTERS)} options but got {len(self.options)}")
        return self


def asked_text(question: Question) -> str:
    """What a model is asked.

    Examples:
        >>> about = {"id": "1", "kind": "anomaly", "video_id": "v", "path": "v.mp4", "text": "What is wrong?"}
        >>> print(asked_text(Question(**about, options=("a cup melts", "nothing"), answer="nothing")))
        What is wrong?
        A. a cup melts
        B. nothing
        Answer with the letter of one of them, and nothing else.
    """
    if question.options == YES_NO:
        return f"{question.text} Answer yes or no, and nothing else."
    listed = "\n".join(f"{letter}. {option}" for letter, option in zip(_LETTERS, question.options, strict=False))
    return f"{question.text}\n{listed}\nAnswer with the letter of one of them, and nothing else."


def read_choice(text: str, question: Question) -> str | None:
    """The option that an answer chooses; None where it chooses none, or several.

    What comes first counts ("No, it does not", "B. the cup"), else what is named alone: one word of the two, one letter
    after "answer", one option in full.

    Examples:
        >>> about = {"id": "1", "kind": "basic", "video_id": "v", "path": "v.mp4", "text": "Does it melt?"}
        >>> one = Question(**about, options=YES_NO, answer="yes")
        >>> read_choice("No, it doesn't.", one), read_choice("It may.", one)
        ('no', None)
        >>> other = Question(**about, options=("a cup melts", "nothing"), answer="nothing")
        >>> read_choice("(B)", other), read_choice("The answer is A.", other), read_choice("Nothing", other)
        ('nothing', 'a cup melts', 'nothing')
    """
    said = " ".join(without_thoughts(text).split()).strip(" *_`\"'")
    if question.options == YES_NO:
        words = re.findall(r"\b(yes|no)\b", said.lower())
        first = re.match(r"(?:answer\s*[:=]\s*)?\W*(yes|no)\b", said.lower())
        if first:
            return first[1]
        return words[0] if len(set(words)) == 1 else None
    letters = _LETTERS[: len(question.options)]
    first = re.match(rf"\W*([{letters}])(?:\W|$)", said) if not re.match(r"A [a-z]", said) else None
    named = [first[1]] if first else re.findall(rf"(?i:answer|option|choice)\W+(?:is\W+)?([{letters}])(?:\W|$)", said)
    if named:
        return question.options[letters.index(named[0])] if len(set(named)) == 1 else None
    found = [option for option in question.options if option.lower().strip(" .") in said.lower()]
    longest = [option for option in found if not any(option is not other and option in other for other in found)]
    return longest[0] if len(longest) == 1 else None
