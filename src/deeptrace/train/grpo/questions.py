"""Clips of a dataset as questions: what the model is shown and asked, and what is true."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deeptrace.detectors.transformers.encode import Encoded
from deeptrace.protocol import AnswerForm, question
from deeptrace.train.grpo.truth import Truth
from deeptrace.train.mllm.examples import Example
from deeptrace.train.mllm.frames import FrameStore

__all__ = ["Question", "questions_of"]


@dataclass(frozen=True)
class Question:
    """A clip that is asked about.

    Attributes:
        key: the video's id.
        ask: decodes the clip, and gives its tensors with the question's, and what answers are compared with; called
            when they are needed, for they are large.
    """

    key: str
    ask: Callable[[], tuple[Encoded, Truth]]


def questions_of(examples: Sequence[Example], store: FrameStore, form: AnswerForm) -> list[Question]:
    """One question an example; the truth has all traces of its video, as far as the form can say them."""

    def asker(example: Example) -> Callable[[], tuple[Encoded, Truth]]:
        def ask() -> tuple[Encoded, Truth]:
            clip = store.clip(example.path)
            encoded = store.encoder.encode(clip.frames, clip.times_s, question(form))
            view = clip.view((encoded.plan.width, encoded.plan.height))
            return encoded, Truth.of(example.sample, form=form, view=view)

        return ask

    return [Question(example.sample.video_id, asker(example)) for example in examples]
