"""A model as a policy: clips as questions to it, answers sampled, and how likely each of their tokens was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig

from deeptrace.detectors.vlm.hf.processors import ModelInputs, Processor, collate
from deeptrace.prompts import AnswerForm, question
from deeptrace.train.grpo.ground_truth import GroundTruth
from deeptrace.train.vlm.attention import attention
from deeptrace.train.vlm.examples import Example
from deeptrace.train.vlm.frame_store import FrameStore
from deeptrace.train.vlm.models import base_model

__all__ = ["Answers", "Policy", "Question", "questions_of"]

_ALONG_TOKENS = "mm_token_type_ids"
_VISUAL = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")


@dataclass(frozen=True)
class Question:
    """A clip that is asked about.

    Attributes:
        key: the video's id.
        ask: decodes the clip, and gives its tensors with the question's, and what answers are compared with; called
            when they are needed, for they are large.
    """

    key: str
    ask: Callable[[], tuple[ModelInputs, GroundTruth]]


def questions_of(examples: Sequence[Example], store: FrameStore, form: AnswerForm) -> list[Question]:
    """One question an example; the ground truth has all traces of its video, as far as the form can say them."""

    def asker(example: Example) -> Callable[[], tuple[ModelInputs, GroundTruth]]:
        def ask() -> tuple[ModelInputs, GroundTruth]:
            clip = store.clip(example.path)
            model_inputs = store.processor.process(clip.frames, clip.times_s, question(form))
            view = clip.view((model_inputs.plan.width, model_inputs.plan.height))
            return model_inputs, GroundTruth.of(example.sample, form=form, view=view)

        return ask

    return [Question(example.sample.video_id, asker(example)) for example in examples]


@dataclass(frozen=True)
class Answers:
    """Several answers to one question.

    Attributes:
        model_inputs: clip and question, as the model takes them.
        tokens: of each answer, its end token included, each (C_i,).
        texts: the same as text, without special tokens.
        finished: whether the answer ended by itself, not at the limit.
    """

    model_inputs: ModelInputs
    tokens: tuple[Tensor, ...]
    texts: tuple[str, ...]
    finished: tuple[bool, ...]


class Policy:
    """A causal model over clips and text.

    Args:
        model: of transformers, or one with PEFT adapters.
        processor: of its checkpoint.
        temperature: of sampling. Probabilities are those of the distribution that is sampled from, hence no top-k, no
            top-p and no repetition penalty, whatever the checkpoint's own generation settings say.
        max_tokens: longest answer.
        reference: a frozen copy of the model as it was; None to take the adapters off instead.
    """

    def __init__(
        self,
        model: Any,
        processor: Processor,
        *,
        temperature: float = 1.0,
        max_tokens: int = 256,
        reference: Any = None,
    ) -> None:
        self.model, self.processor, self.reference = model, processor, reference
        self.temperature, self.max_tokens = temperature, max_tokens
        ends = model.generation_config.eos_token_id
        ends = processor.tokenizer.eos_token_id if ends is None else ends
        config = base_model(model).config
        # A frame's token in an answer would stand for a frame that is not there: the model could not read it back.
        self._never = [int(found) for name in _VISUAL if (found := getattr(config, name, None)) is not None]
        self._ends = [int(end) for end in (ends if isinstance(ends, (list, tuple)) else [ends])]

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        found: torch.device = next(iter(self.model.parameters())).device
        return found

    @torch.no_grad()
    def sample(self, model_inputs: ModelInputs, count: int, *, seed: int) -> Answers:
        """`count` answers, the same ones for the same seed and weights."""
        settings = GenerationConfig(
            do_sample=True,
            temperature=self.temperature,
            top_k=0,
            top_p=1.0,
            max_new_tokens=self.max_tokens,
            repetition_penalty=1.0,
            suppress_tokens=self._never or None,
            eos_token_id=self._ends,
            pad_token_id=self.processor.pad_id,
        )
        batch = self._moved(collate([model_inputs] * count, pad_id=self.processor.pad_id, side="left"))
        training = self.model.training
        self.model.eval()  # gradient checkpointing, which training may have on, forbids the cache
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), attention(base_model(self.model), "sdpa"):
            torch.manual_seed(seed)
            found = self.model.generate(**batch, generation_config=settings)
        self.model.train(training)
        said = [self._ended(row) for row in found[:, batch["input_ids"].shape[1] :].cpu()]
        return Answers(
            model_inputs,
            tuple(tokens for tokens, _ in said),
            tuple(self.processor.tokenizer.decode(tokens, skip_special_tokens=True) for tokens, _ in said),
            tuple(finished for _, finished in said),
        )

    def logps(self, answers: Answers, rows: Sequence[int]) -> Tensor:
        """Log-probabilities (B, C) of the tokens of some answers, with gradient; 0 beyond an answer's end."""
        return self._logps(self.model, answers, rows)

    @torch.no_grad()
    def reference_logps(self, answers: Answers, rows: Sequence[int]) -> Tensor:
        """The same under the reference, without gradient."""
        model = self.model if self.reference is None else self.reference
        without: AbstractContextManager[Any] = model.disable_adapter() if self.reference is None else nullcontext()
        with without:
            return self._logps(model, answers, rows)

    @staticmethod
    def mask(answers: Answers, rows: Sequence[int]) -> Tensor:
        """1 for the tokens of some answers, (B, C)."""
        return _padded([torch.ones(len(answers.tokens[row])) for row in rows])

    def _logps(self, model: Any, answers: Answers, rows: Sequence[int]) -> Tensor:
        """Log-probabilities (B, C); the head is applied to the answers' positions alone, not to those of a clip."""
        samples = [_said(answers.model_inputs, answers.tokens[row]) for row in rows]
        batch = self._moved(collate(samples, pad_id=self.processor.pad_id, side="right"))
        start = len(answers.model_inputs.input_ids)
        whole: Any = base_model(model)
        hidden = whole.base_model(**batch, use_cache=False).last_hidden_state[:, start - 1 : -1]
        logits = whole.get_output_embeddings()(hidden).float() / self.temperature
        logits[..., self._never] = -torch.inf
        found = logits.gather(2, batch["input_ids"][:, start:, None])[..., 0] - logits.logsumexp(dim=2)
        mask = self.mask(answers, rows).to(found.device)
        return torch.where(mask > 0, found, torch.zeros_like(found))

    def _moved(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor.to(self.device) for name, tensor in batch.items()}

    def _ended(self, row: Tensor) -> tuple[Tensor, bool]:
        """A row of generated tokens up to its first end token, and whether it has one."""
        ends = torch.isin(row, torch.tensor(self._ends)).nonzero()
        return (row[: int(ends[0]) + 1], True) if len(ends) else (row, False)


def _said(model_inputs: ModelInputs, tokens: Tensor) -> ModelInputs:
    """The sample with an answer's very tokens: text read back into tokens need not give the same ones."""
    tensors = dict(model_inputs.tensors)
    if _ALONG_TOKENS in tensors:
        tensors[_ALONG_TOKENS] = torch.cat([tensors[_ALONG_TOKENS], torch.zeros_like(tokens)])
    return replace(model_inputs, input_ids=torch.cat([model_inputs.input_ids, tokens]), tensors=tensors)


def _padded(rows: Sequence[Tensor]) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
