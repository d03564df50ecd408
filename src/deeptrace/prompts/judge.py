"""The paper's judge of explanations: the prompt, and how its score is read. `deeptrace.benchmark.judge` asks."""

from __future__ import annotations

import re

from deeptrace.errors import AnswerError, JudgeError
from deeptrace.prompts.parse import without_thoughts

__all__ = ["judge_prompt", "read_judge_score"]

_EXAMPLES = (
    ("The clock hands are floating without support.", "The clock face is tilted.", "0"),
    ("The bottle cap is warped at the hinge.", "The bottle cap is warped at the hinge.", "1"),
    ("The lamp bulb flickers due to pixelation.", "The lamp bulb is pixelated but stable.", "0.5"),
)
_SCORE = re.compile(
    r"\W*(?:(?:the\s+|my\s+|final\s+)*(?:score|rating|answer)\b\W*(?:is\b)?)?\W{0,5}(?<!-)(0(?:\.0+)?|0?\.50*|1(?:\.0+)?)(?:\s*/\s*1(?:\.0)?)?\W*",
    re.I,
)


def judge_prompt(predicted: str, truth: str) -> str:
    """What to ask of the judge: rubric and worked examples of the paper's explanation score (0, 0.5 or 1).

    Examples:
        >>> judge_prompt("It melts.", "The cup melts.").splitlines()[-3:]
        ['Prediction: It melts.', 'Ground truth: The cup melts.', 'Score:']
    """
    examples = "\n\n".join(f"Prediction: {p}\nGround truth: {t}\nScore: {s}" for p, t, s in _EXAMPLES)
    return (
        "Rate how well a predicted explanation of an unnatural part of a video agrees with the ground truth. "
        "0: it is wrong, or there is none. 0.5: it names the same object, with a wrong reason. "
        "1: object and reason are both right. Answer with the score only.\n\n"
        f"{examples}\n\nPrediction: {' '.join(predicted.split())}\nGround truth: {' '.join(truth.split())}\nScore:"
    )


def read_judge_score(text: str) -> float:
    """The score 0, 0.5 or 1 that the judge's answer states, after its thoughts where it thinks aloud.

    Raises:
        JudgeError: it states anything but one of the three; there is no substitute.

    Examples:
        >>> read_judge_score("0.5"), read_judge_score("<think>0?</think> The score is 1.")
        (0.5, 1.0)
        >>> read_judge_score("Rather good.")
        Traceback (most recent call last):
            ...
        deeptrace.errors.JudgeError: the judge's answer 'Rather good.' is not 0, 0.5 or 1
    """
    try:
        said = without_thoughts(text)
    except AnswerError as error:
        raise JudgeError("", f"no score: {error.problem}") from None
    found = _SCORE.fullmatch(said.strip())
    if found is None:
        raise JudgeError("", f"the judge's answer {text.strip()[:80]!r} is not 0, 0.5 or 1")
    return float(found.group(1))
