"""Which examples make which batch, planned for the whole training, and the batches as a dataset.

An example is as a model takes it: frames from the store, augmented, with the answer that is true of them. Packed,
several samples share one row, none seeing another: no padding, full kernels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import AutoModel

from deeptrace.detectors.vlm.hf.processors import IGNORED, ModelInputs, Processor, collate, labels
from deeptrace.errors import DataError, SettingsError
from deeptrace.prompts import View, question, write_answer
from deeptrace.schema import Media
from deeptrace.train.sft.config import SftConfig
from deeptrace.train.vlm.augment import augment
from deeptrace.train.vlm.examples import Example, epoch_order
from deeptrace.train.vlm.frame_store import FrameStore
from deeptrace.train.vlm.settings import AugmentSettings, FormSettings, ViewSettings

__all__ = ["Batches", "Positions", "estimated_lengths", "pack", "plan_batches", "plan_digest", "plan_packs"]

_TOKENS_A_FRAME = 12
"""Most tokens around a frame: its time in words, its marks."""
_TOKENS_A_CHAT = 48
"""Most tokens of the chat template around question and answer."""


def example_inputs(
    example: Example,
    store: FrameStore,
    form: FormSettings,
    augmentation: AugmentSettings,
    rng: np.random.Generator,
) -> ModelInputs:
    """The example's question, frames and answer.

    Raises:
        VideoError: the clip does not decode.
        DataError: the answer cannot be written of this video.
        ModelError: the frames cannot be shown to the model.
    """
    clip, traces = augment(store.clip(example.path), example.traces, augmentation, rng)
    height, width = clip.frames.shape[1:3]
    plan = store.processor.plan(len(clip.frames), width, height)
    try:
        answer = write_answer(example.label, traces, form=form.form, view=clip.view((plan.width, plan.height)))
    except (SettingsError, ValueError) as error:
        raise DataError(f"video {example.sample.video_id}", str(error)) from error
    return store.processor.process(clip.frames, clip.times_s, question(form.form), answer)


def estimated_lengths(
    examples: Sequence[Example], processor: Processor, view: ViewSettings, form: FormSettings, media: dict[str, Media]
) -> list[int]:
    """Tokens of each example, seldom too few: from the facts of its file, before anything is decoded.

    Args:
        examples: with or without traces.
        processor: of the model.
        view: frames that it sees.
        form: form of its answers.
        media: facts of the files, by path.
    """
    asked = len(processor.tokenizer(question(form.form))["input_ids"])
    found = []
    for example in examples:
        facts = media[example.path]
        shown = len(view.moments(facts.duration_s))
        plan = processor.plan(shown, facts.width, facts.height)
        answer = write_answer(example.label, example.traces, form=form.form, view=View.of(facts))
        said = len(processor.tokenizer(answer)["input_ids"])
        found.append(plan.visual_tokens + asked + said + shown * _TOKENS_A_FRAME + _TOKENS_A_CHAT)
    return found


PACKABLE = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "video_llama_3")
"""Architectures whose positions are known well enough to pack; their vision towers keep clips apart anyway."""

_TO_POSITIONS = ("video_grid_thw", "second_per_grid_ts", "mm_token_type_ids")


class Positions:
    """The positions of a sample's tokens, as the model itself would count them.

    Args:
        config: of the model.

    Raises:
        SettingsError: samples of this architecture cannot be packed.
    """

    def __init__(self, config: Any) -> None:
        if config.model_type not in PACKABLE:
            known = ", ".join(PACKABLE)
            raise SettingsError("packing", f"is not known for {config.model_type}", f"It is for {known}.")
        kind: Any = AutoModel._model_mapping[type(config)]
        self._counter: Any = None
        if hasattr(kind, "get_rope_index"):  # a method of the model that needs its config and none of its weights
            self._counter = kind.__new__(kind)
            torch.nn.Module.__init__(self._counter)
            self._counter.config = config

    def of(self, sample: ModelInputs) -> torch.Tensor:
        """(1, L) for plain positions, (4, L) for positions in the text and in (time, height, width)."""
        plain = torch.arange(len(sample.input_ids))[None]
        if self._counter is None:
            return plain
        known = {name: sample.tensors[name] for name in _TO_POSITIONS if name in sample.tensors}
        known["mm_token_type_ids"] = known["mm_token_type_ids"][None]
        three, _ = self._counter.get_rope_index(sample.input_ids[None], **known)
        return torch.cat([plain, three[:, 0]])


def pack(samples: Sequence[ModelInputs], positions: Positions) -> dict[str, torch.Tensor]:
    """One row of all samples, with labels, as `forward` takes it. No mask: positions from 0 set the samples apart.

    Returns:
        `input_ids`, `labels` (1, L), `position_ids` (1, L) or (4, 1, L); the other tensors concatenated.
    """
    placed = torch.cat([positions.of(sample) for sample in samples], dim=1)
    labels = [sample.input_ids.clone() for sample in samples]
    for row, sample in zip(labels, samples, strict=True):
        row[: sample.answer_start] = IGNORED
    batch = {
        "input_ids": torch.cat([sample.input_ids for sample in samples])[None],
        "labels": torch.cat(labels)[None],
        "position_ids": placed if len(placed) == 1 else placed[:, None],
    }
    for name in samples[0].tensors:
        if name != "mm_token_type_ids":
            batch[name] = torch.cat([sample.tensors[name] for sample in samples])
    return batch


def plan_packs(lengths: Sequence[int], capacity: int, *, window: int = 64) -> list[list[int]]:
    """Which samples share a row: first fit by falling length, within windows of `window` samples of the given order.

    Every sample is in one pack; one longer than `capacity` is alone in its own.

    Returns:
        Packs of indices into `lengths`; windows keep their order, so a shuffled order stays one.
    """
    packs: list[list[int]] = []
    for start in range(0, len(lengths), window):
        open_packs: list[tuple[int, list[int]]] = []
        for index in sorted(range(start, min(start + window, len(lengths))), key=lambda k: -lengths[k]):
            for number, (used, members) in enumerate(open_packs):
                if used + lengths[index] <= capacity:
                    open_packs[number] = (used + lengths[index], [*members, index])
                    break
            else:
                open_packs.append((lengths[index], [index]))
        packs += [members for _, members in open_packs]
    return packs


_LENGTH_WINDOW = 32


@dataclass(frozen=True, slots=True)
class Draw:
    """One example drawn once.

    Attributes:
        example: its index.
        number: of the draw in the whole training; seeds its augmentation.
    """

    example: int
    number: int


def plan_batches(
    examples: Sequence[Example], lengths: Sequence[int], config: SftConfig, processes: int
) -> list[list[Draw]]:
    """The batches of all epochs, in order: a pure function of its arguments.

    Batch k is for process k % `processes`. Steps are whole: the last one is filled up with what an epoch more would
    begin with.
    """
    plan: list[list[Draw]] = []
    drawn = 0
    step = processes * config.accumulate
    for epoch in range(config.epochs + 1):
        order = epoch_order(examples, config.data, seed=config.seed, epoch=epoch, balance=config.balance)
        draws = [Draw(index, drawn + k) for k, index in enumerate(order)]
        drawn += len(draws)
        batches = _grouped(draws, lengths, config, epoch)
        if epoch == config.epochs:
            while len(plan) % step:  # the data may be fewer than a step takes
                plan += batches[: step - len(plan) % step]
            break
        plan += batches
    return plan


def plan_digest(plan: Sequence[Sequence[Draw]], examples: Sequence[Example]) -> str:
    """A hash of what is learned in which order; a run goes on only with the same."""
    named = [(e.sample.video_id, str(e.label), [t.model_dump_json() for t in e.traces]) for e in examples]
    draws = [[(draw.example, draw.number) for draw in batch] for batch in plan]
    return hashlib.sha256(repr((named, draws)).encode()).hexdigest()


def _grouped(draws: list[Draw], lengths: Sequence[int], config: SftConfig, epoch: int) -> list[list[Draw]]:
    if config.pack_tokens is not None:
        packs = plan_packs([lengths[draw.example] for draw in draws], config.pack_tokens)
        return [[draws[k] for k in members] for members in packs]
    size = config.batch
    if not config.group_lengths:
        return [draws[k : k + size] for k in range(0, len(draws), size)]
    batches = []
    for start in range(0, len(draws), size * _LENGTH_WINDOW):
        window = sorted(draws[start : start + size * _LENGTH_WINDOW], key=lambda draw: lengths[draw.example])
        batches += [window[k : k + size] for k in range(0, len(window), size)]
    rng = np.random.default_rng([config.seed, epoch, 1])
    return [batches[k] for k in rng.permutation(len(batches))]


class Batches(Dataset[dict[str, torch.Tensor]]):
    """The planned batches, made when asked for, by worker processes too.

    Args:
        plan: of `plan_batches`.
        examples: that it draws from.
        store: of frames; its processor prepares them.
        config: of the training.
        positions: for packed rows; None pads.
    """

    def __init__(
        self,
        plan: Sequence[Sequence[Draw]],
        examples: Sequence[Example],
        store: FrameStore,
        config: SftConfig,
        positions: Positions | None,
    ) -> None:
        self.plan, self.examples, self.store = plan, examples, store
        self.config, self.positions = config, positions

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """A batch as the model's `forward` takes it, with labels.

        Raises:
            VideoError, DataError, ModelError: as `example_inputs`.
        """
        config = self.config
        made = [
            example_inputs(
                self.examples[draw.example],
                self.store,
                config.form,
                config.augment,
                np.random.default_rng([config.seed, draw.number, 2]),
            )
            for draw in self.plan[index]
        ]
        if self.positions is not None:
            return pack(made, self.positions)
        return collate(made, pad_id=self.store.processor.pad_id, side="right") | {"labels": labels(made, side="right")}
