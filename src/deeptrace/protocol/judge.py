"""The paper's judge of explanations: the prompt, and how its score is read. Who asks is `deeptrace.evaluate`."""

from __future__ import annotations

import re

from deeptrace.errors import JudgeError

__all__ = ["judge_prompt", "read_judge_score"]

_EXAMPLES = (
    ("The clock hands are floating without support.", "The clock face is tilted.", "0"),
    ("The bottle cap is warped at the hinge.", "The bottle cap is warped at the hinge.", "1"),
    ("The lamp bulb flickers due to pixelation.", "The lamp bulb is pixelated but stable.", "0.5"),
)
_SCORE = re.compile(r"(?:score|rating)?\W{0,5}(?<!-)(0(?:\.0+)?|0?\.50*|1(?:\.0+)?)\W*", re.I)


def judge_prompt(predicted: str, truth: str) -> str:
    """What to ask of the judge: rubric and worked examples of the paper's explanation score (0, 0.5 or 1)."""
    examples = "\n\n".join(f"Prediction: {p}\nGround truth: {t}\nScore: {s}" for p, t, s in _EXAMPLES)
    return (
        "Rate how well a predicted explanation of an unnatural part of a video agrees with the ground truth. "
        "0: it is wrong, or there is none. 0.5: it names the same object, with a wrong reason. "
        "1: object and reason are both right. Answer with the score only.\n\n"
        f"{examples}\n\nPrediction: {' '.join(predicted.split())}\nGround truth: {' '.join(truth.split())}\nScore:"
    )


def read_judge_score(text: str) -> float:
    """The score 0, 0.5 or 1 that the judge's answer states.

    Raises:
        JudgeError: it states none of the three and nothing else; there is no substitute.
    """
    found = _SCORE.fullmatch(text.strip())
    if found is None:
        raise JudgeError("", f"the judge's answer {text.strip()[:80]!r} is not 0, 0.5 or 1")
    return float(found.group(1))
