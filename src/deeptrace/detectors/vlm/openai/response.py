"""A chat completion -> a verdict: refusals, filters, cut-off and empty answers each as what they are."""

from __future__ import annotations

import re
from typing import Any

from deeptrace.detectors.vlm.openai.budget import Shown
from deeptrace.detectors.vlm.openai.logprobs import fake_probability
from deeptrace.detectors.vlm.openai.settings import Options
from deeptrace.errors import AnswerError, RefusalError
from deeptrace.net.chat_client import Completion, HttpStatusError
from deeptrace.prompts import View, verdict_of_text
from deeptrace.schema import DetectorInfo, Outcome, Usage, Verdict

__all__ = ["is_refusal", "text_of_completion", "verdict_of_completion"]

_REFUSAL_CODES = frozenset({"content_filter", "content_policy_violation", "moderation_blocked", "invalid_prompt"})
_REFUSAL_WORDS = re.compile(r"content (?:filter|policy|management policy)|usage polic|flagged|moderation", re.I)


def is_refusal(error: HttpStatusError) -> bool:
    """Whether the server declined for what the clip shows, not for how it was asked."""
    if error.status not in (400, 403, 422):
        return False
    return error.error.get("code") in _REFUSAL_CODES or _REFUSAL_WORDS.search(error.problem) is not None


def verdict_of_completion(
    completion: Completion,
    *,
    video: str,
    shown: Shown,
    view: View,
    options: Options,
    info: DetectorInfo,
    warnings: tuple[str, ...] = (),
) -> Verdict:
    """The verdict on `video` that a chat completion states; an answer that states none is an outcome."""
    choice = completion.choice
    message, finish = choice["message"], str(choice.get("finish_reason") or "")
    text, refusal = _text(message.get("content")), message.get("refusal")
    known: dict[str, Any] = {
        "media": shown.media,
        "detector": info,
        "usage": _usage(completion, shown, options),
        "warnings": (*shown.warnings, *warnings),
    }
    if isinstance(refusal, str) and refusal.strip():
        error = f"the model declined to answer ({refusal.strip()[:200]!r})"
        return Verdict.failed(video, Outcome.REFUSED, error, raw=refusal, **known)
    if finish.startswith("content_filter"):
        error = "the server's content filter stopped the answer"
        return Verdict.failed(video, Outcome.REFUSED, error, raw=text or None, **known)
    cut = finish == "length"
    if not text.strip():
        error = "the answer is empty"
        if cut:
            error += f": all of max_tokens={options.max_tokens} went into thoughts. Allow it more: --set max_tokens=N"
        return Verdict.failed(video, Outcome.PARSE_FAILED, error, raw=text or None, **known)
    earlier = known.pop("warnings")
    verdict = verdict_of_text(text, video=video, form=options.answer_form, view=view, **known)
    if verdict.label is None:
        more = f" It was cut off at max_tokens={options.max_tokens}. Allow it more: --set max_tokens=N" if cut else ""
        return verdict.model_copy(update={"warnings": earlier, "error": f"{verdict.error}{more and '.'}{more}"})
    said = [*earlier, *verdict.warnings]
    if cut:
        said.append(f"the answer was cut off at max_tokens={options.max_tokens}")
    p_fake = verdict.p_fake
    try:
        measured = fake_probability(choice.get("logprobs"), verdict.label, options.answer_form)
        p_fake = p_fake if measured is None else measured
    except ValueError as error:
        said.append(f"the server's logprobs are unusable: {error}")
    return verdict.model_copy(update={"p_fake": p_fake, "warnings": tuple(said)})


def text_of_completion(completion: Completion, *, max_tokens: int | None) -> str:
    """What a model says to a question in words.

    Args:
        completion: of the server.
        max_tokens: that it was allowed, for the error.

    Raises:
        RefusalError: it declined.
        AnswerError: it said nothing.
    """
    message, finish = completion.choice["message"], str(completion.choice.get("finish_reason") or "")
    text, refusal = _text(message.get("content")), message.get("refusal")
    if (isinstance(refusal, str) and refusal.strip()) or finish.startswith("content_filter"):
        raise RefusalError("", f"the model declined to answer ({str(refusal or finish).strip()[:200]!r})")
    if not text.strip():
        cut = f": all of max_tokens={max_tokens} went into thoughts" if finish == "length" else ""
        raise AnswerError("", f"the answer is empty{cut}", "Allow it more: --set max_tokens=N." if cut else "")
    return text


def _text(content: Any) -> str:
    """The text of a message, which some servers send in parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return "".join(text for text in texts if isinstance(text, str))


def _usage(completion: Completion, shown: Shown, options: Options) -> Usage:
    stated = completion.body.get("usage")
    counts = stated if isinstance(stated, dict) else {}
    asked, said = (_count(counts.get(name)) for name in ("prompt_tokens", "completion_tokens"))
    served = completion.body.get("model")
    return Usage(
        requests=completion.requests,
        frames=len(shown.frames),
        frame_size=shown.size,
        visual_tokens=shown.visual_tokens,
        prompt_tokens=asked,
        completion_tokens=said,
        cost=options.cost(asked, said),
        served_model=served[:200] if isinstance(served, str) else None,
    )


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
