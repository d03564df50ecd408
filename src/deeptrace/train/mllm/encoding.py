"""An example as a model takes it: frames from the store, augmented, with the answer that is true of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deeptrace.detectors.frames import moments
from deeptrace.detectors.transformers.encode import Encoded, Encoder
from deeptrace.errors import DataError, SettingsError
from deeptrace.protocol import View, question, write_answer
from deeptrace.trace import Media
from deeptrace.train.mllm.augment import augment
from deeptrace.train.mllm.examples import Example
from deeptrace.train.mllm.frames import FrameStore, sampling
from deeptrace.train.mllm.settings import AugmentSettings, FormSettings, ViewSettings

__all__ = ["encode_example", "estimated_lengths"]

_TOKENS_A_FRAME = 12
"""Most tokens around a frame: its time in words, its marks."""
_TOKENS_A_CHAT = 48
"""Most tokens of the chat template around question and answer."""


def encode_example(
    example: Example,
    store: FrameStore,
    form: FormSettings,
    augmentation: AugmentSettings,
    rng: np.random.Generator,
) -> Encoded:
    """The example's question, frames and answer.

    Raises:
        VideoError: the clip does not decode.
        DataError: the answer cannot be written of this video.
        ModelError: the frames cannot be shown to the model.
    """
    clip, traces = augment(store.clip(example.path), example.traces, augmentation, rng)
    height, width = clip.frames.shape[1:3]
    plan = store.encoder.plan(len(clip.frames), width, height)
    try:
        answer = write_answer(example.label, traces, form=form.form, view=clip.view((plan.width, plan.height)))
    except (SettingsError, ValueError) as error:
        raise DataError(f"video {example.sample.video_id}", str(error)) from error
    return store.encoder.encode(clip.frames, clip.times_s, question(form.form), answer)


def estimated_lengths(
    examples: Sequence[Example], encoder: Encoder, view: ViewSettings, form: FormSettings, media: dict[str, Media]
) -> list[int]:
    """Tokens of each example, seldom too few: from the facts of its file, before anything is decoded.

    Args:
        examples: with or without traces.
        encoder: of the model.
        view: what it sees.
        form: what it answers.
        media: facts of the files, by path.
    """
    asked = len(encoder.tokenizer(question(form.form))["input_ids"])
    found = []
    for example in examples:
        facts = media[example.path]
        shown = len(moments(facts.duration_s, sampling(view)))
        plan = encoder.plan(shown, facts.width, facts.height)
        answer = write_answer(example.label, example.traces, form=form.form, view=View.of(facts))
        said = len(encoder.tokenizer(answer)["input_ids"])
        found.append(plan.visual_tokens + asked + said + shown * _TOKENS_A_FRAME + _TOKENS_A_CHAT)
    return found
