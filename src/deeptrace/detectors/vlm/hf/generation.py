"""Ask the model about a batch: the answers' texts, and how sure it was of each label."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from deeptrace.detectors.vlm.hf.constrained import Automaton, TokenTable, answer_pattern, token_bytes
from deeptrace.detectors.vlm.hf.processors import ModelInputs, Processor, collate
from deeptrace.detectors.vlm.hf.settings import Options
from deeptrace.detectors.vlm.label_probability import begins_label, label_place
from deeptrace.errors import SettingsError
from deeptrace.metrics.logistic import expit
from deeptrace.prompts import AnswerForm
from deeptrace.schema import Label

__all__ = ["Said", "Writer"]


@dataclass(frozen=True)
class Said:
    """One answer.

    Attributes:
        text: without special tokens.
        tokens: number of tokens, without the one that ends it.
        cut: whether it stopped at the most tokens allowed.
        prompt_tokens: of the question with its frames.
    """

    text: str
    tokens: int
    cut: bool
    prompt_tokens: int
    _ids: list[int]
    _odds: torch.Tensor
    _tokenizer: Any

    def fake_probability(self, label: Label, form: AnswerForm) -> float:
        """P(FAKE) / (P(FAKE) + P(REAL)) at the first token of the label (see `begins_label`), in [0, 1].

        Args:
            label: label that the answer was read as.
            form: answer form that the model was asked for.

        Raises:
            ValueError: the answer does not say the label in words.
        """
        place = label_place(self.text, label, form)
        ends = range(len(self._ids))
        step = bisect_right(ends, place, key=lambda end: len(self._read(end + 1)))
        return float(expit(float(self._odds[min(step, len(self._odds) - 1)])))

    def _read(self, count: int) -> str:
        return _text(self._tokenizer, self._ids[:count])


def _text(tokenizer: Any, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


class Writer:
    """Writes answers with one model.

    Args:
        model: that generates.
        processor: of its checkpoint.
        options: settings.

    Raises:
        SettingsError, ModelError: constrained decoding is not possible with these settings, or with this tokenizer.
    """

    def __init__(self, model: Any, processor: Processor, options: Options) -> None:
        self._model, self._processor, self._options = model, processor, options
        if options.constrained and (least := self._table.automaton.distance(0)) > options.max_new_tokens:
            raise SettingsError(
                f"hf: max_new_tokens={options.max_new_tokens}",
                "is less than a constrained answer may need",
                f"Allow it {least} or more.",
            )

    def write(self, samples: Sequence[ModelInputs]) -> list[Said]:
        """The answers to a batch of clips; each the same as on its own, up to rounding."""
        batch = collate(samples, pad_id=self._processor.pad_id, side="left")
        prompt = batch["input_ids"].shape[1]
        odds = _LabelOdds(*self._label_tokens)
        processors = LogitsProcessorList([odds])
        if self._options.constrained:
            from deeptrace.detectors.vlm.hf.constrained.masks import ConstrainedAnswers

            budget = self._options.max_new_tokens
            processors.append(ConstrainedAnswers(self._table, prompt=prompt, budget=budget, ends=self._ends))
        if self._options.temperature > 0:
            torch.manual_seed(self._options.seed)
        with torch.inference_mode():
            found = self._model.generate(
                **self._on_device(batch), generation_config=self._how(), logits_processor=processors
            )
        written, sure = found[:, prompt:].tolist(), torch.stack(odds.rows, dim=1).cpu()
        return [self._said(row, sure[place], samples[place]) for place, row in enumerate(written)]

    def _said(self, row: list[int], odds: torch.Tensor, sample: ModelInputs) -> Said:
        stop = next((place for place, token in enumerate(row) if token in self._ends), None)
        ids = row[:stop]
        text = _text(self._processor.tokenizer, ids)
        return Said(text, len(ids), stop is None, len(sample.input_ids), ids, odds, self._processor.tokenizer)

    def _how(self) -> GenerationConfig:
        """Settings of `generate`; those of the checkpoint (Qwen's repetition penalty) are set aside."""
        options = self._options
        sampled = {"do_sample": True, "temperature": options.temperature, "top_k": 0, "top_p": 1.0}
        return GenerationConfig(
            max_new_tokens=options.max_new_tokens,
            num_beams=1,
            repetition_penalty=1.0,
            no_repeat_ngram_size=0,
            eos_token_id=self._ends,
            pad_token_id=self._processor.pad_id,
            **(sampled if options.temperature > 0 else {"do_sample": False}),
        )

    def _on_device(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The batch where the model is, numbers of pixels in the model's dtype."""
        device, dtype = self._model.device, self._model.dtype
        return {name: values.to(device, dtype if name in _PIXELS else None) for name, values in batch.items()}

    @cached_property
    def _ends(self) -> list[int]:
        """Tokens that end an answer, by the checkpoint and by its tokenizer."""
        stated = self._model.generation_config.eos_token_id
        found = stated if isinstance(stated, list) else [stated]
        return sorted({int(token) for token in (*found, self._processor.tokenizer.eos_token_id) if token is not None})

    @cached_property
    def _tokens(self) -> list[bytes | None]:
        return token_bytes(self._processor.tokenizer)

    @cached_property
    def _label_tokens(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens that begin FAKE, and those that begin REAL."""
        words = [(index, data.decode("utf-8", "replace")) for index, data in enumerate(self._tokens) if data]
        fake, real = (
            torch.tensor([index for index, word in words if begins_label(word, label)], device=self._model.device)
            for label in (Label.FAKE, Label.REAL)
        )
        return fake, real

    @cached_property
    def _table(self) -> TokenTable:
        return TokenTable(Automaton(answer_pattern(self._options.answer_form)), self._tokens)


_PIXELS = frozenset({"pixel_values", "pixel_values_videos", "image_pixel_values"})


class _LabelOdds(LogitsProcessor):
    """Keeps, at every token, the log of P(FAKE) / P(REAL) in the model's own scores; changes nothing."""

    def __init__(self, fake: torch.Tensor, real: torch.Tensor) -> None:
        self._fake, self._real = fake, real
        self.rows: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:  # noqa: ARG002
        sides = (scores[:, side.to(scores.device)].float().logsumexp(dim=-1) for side in (self._fake, self._real))
        fake, real = sides
        self.rows.append(fake - real)
        return scores
