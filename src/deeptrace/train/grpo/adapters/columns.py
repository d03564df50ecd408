"""A batch as the trainers hand it over: completions as text or messages, ground truth as a column of JSON text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from deeptrace.errors import SettingsError
from deeptrace.train.grpo.ground_truth import GroundTruth
from deeptrace.train.grpo.reward import RewardWeights, ScoredAnswer, Similarity, score_answer

__all__ = ["batch_truths", "score_batch", "text_of", "truth_of"]


def batch_truths(columns: Mapping[str, Any], column: str, count: int, caller: str) -> list[GroundTruth]:
    """The ground truth of each of `count` completions.

    Raises:
        SettingsError: no such column, or not one for each completion.
        DataError: one of them is not ground truth.
    """
    if column not in columns:
        known = ", ".join(sorted(columns)) or "none"
        raise SettingsError(caller, f"no column {column!r} among: {known}", "Fill it with Truth.to_json, or name it.")
    found = columns[column]
    if not isinstance(found, Sequence) or isinstance(found, (str, bytes)) or len(found) != count:
        raise SettingsError(caller, f"expected a truth for each of {count} completions in column {column!r}")
    return [truth_of(item) for item in found]


def score_batch(
    completions: Sequence[Any], truths: Sequence[GroundTruth], weights: RewardWeights, similarity: Similarity
) -> list[ScoredAnswer]:
    """Each completion's answer with its reward."""
    return [
        score_answer(text_of(completion), truth, weights=weights, similarity=similarity)
        for completion, truth in zip(completions, truths, strict=True)
    ]


def truth_of(item: Any) -> GroundTruth:
    """Ground truth, given as a `Truth` or as its text.

    Raises:
        DataError: the text is not what `Truth.to_json` writes.
        SettingsError: it is something else.
    """
    if isinstance(item, GroundTruth):
        return item
    if isinstance(item, str):
        return _parsed(item)
    raise SettingsError("truth", f"expected the text of Truth.to_json but got {type(item).__name__}")


@lru_cache(maxsize=4096)  # every answer of a group, and every epoch, has the same
def _parsed(text: str) -> GroundTruth:
    return GroundTruth.from_json(text)


def text_of(completion: Any) -> str:
    """The text of a completion: a string, or a conversation whose last message it is.

    Raises:
        SettingsError: neither.
    """
    if isinstance(completion, str):
        return completion
    if isinstance(completion, Sequence) and completion and isinstance(completion[-1], Mapping):
        content = completion[-1].get("content")
        if isinstance(content, str):
            return content
        if isinstance(content, Sequence):  # parts, as multimodal chats have them
            return "".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    raise SettingsError("completion", f"expected text or messages but got {type(completion).__name__}")
