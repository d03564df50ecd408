"""The words and tokens around the frames: chat template, the place of the video, the answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deeptrace.errors import ModelError

__all__ = ["CHATML", "Piece", "beginning", "chat", "times_in_words", "tokens"]

Piece = str | tuple[int, int]
"""Text, or a token id and how many times it stands."""

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'video' %}VIDEO{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""For checkpoints whose own template is missing; VIDEO stands for how the family writes a video."""

_ANSWER = "an answer that stands here"


def chat(tokenizer: Any, template: str, question: str, answer: str | None, video: str) -> tuple[str, str, str]:
    """The conversation around a video, as text before it, after it up to the answer, and the answer with its end.

    The end of the turn belongs to the answer, so that a model learns to stop; the newline behind it does not, as the
    model has stopped by then.

    Args:
        tokenizer: whose `apply_chat_template` renders.
        template: Jinja.
        question: what is asked after the video.
        answer: what the model says; "" comes back where it is None.
        video: how the template writes a video.

    Raises:
        ModelError: the template does not write a video so, or does not end with the answer.
    """
    asked = [
        {"role": "user", "content": [{"type": "video"}, {"type": "text", "text": question.removeprefix("<video> ")}]}
    ]

    def render(messages: list[dict[str, Any]], *, prompt: bool) -> str:
        text = tokenizer.apply_chat_template(
            messages, chat_template=template, tokenize=False, add_generation_prompt=prompt
        )
        return str(text)

    before, found, after = render(asked, prompt=True).partition(video)
    if not found:
        raise ModelError("chat template", f"it writes no {video} for a video", "Is this a checkpoint for video?")
    if answer is None:
        return before, after, ""
    _, found, end = render([*asked, {"role": "assistant", "content": _ANSWER}], prompt=False).rpartition(_ANSWER)
    if not found:
        raise ModelError("chat template", "it does not write out what the assistant says")
    return before, after, answer + (end.rstrip("\n") or tokenizer.eos_token or "")


def tokens(tokenizer: Any, pieces: Sequence[Piece]) -> list[int]:
    """Token ids of texts and repeated tokens one after the other.

    Special tokens end a text for the tokenizer, so this equals the tokens of the whole text written out.
    """
    ids: list[int] = []
    for piece in pieces:
        if isinstance(piece, str):
            ids += tokenizer(piece, add_special_tokens=False)["input_ids"] if piece else []
        else:
            ids += [piece[0]] * piece[1]
    return ids


def times_in_words(times_s: Sequence[float]) -> str:
    """When the frames were taken, for models that have no other way to know."""
    return f"The frames of the video were taken at {', '.join(f'{time_s:.3f}' for time_s in times_s)} seconds."


def beginning(tokenizer: Any) -> list[int]:
    """The token that begins every text, where the tokenizer writes one (Llama 2's does)."""
    first = tokenizer("", add_special_tokens=True)["input_ids"][:1]
    return first if first and first[0] == tokenizer.bos_token_id else []
