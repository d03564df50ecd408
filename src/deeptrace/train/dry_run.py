"""What a training of a language model would take, before a weight is loaded: rows, tokens, steps, memory, folder.

Nothing is asked of a network. Tokens and memory need the base's small files, from its folder or the hub's cache on this
machine; where they are not, the rest is said all the same.

Memory is that of one process on its device, the sum of

    weights       of the model; of the reference, too, where reinforcement keeps a whole one
    gradients     of what learns
    optimizer     two numbers a weight that learns
    activations   of the longest row: of each layer its input with `checkpointing`, else all that its backward pass
                  needs; logits and their gradient in float32

with fragments and libraries left out, a few GiB on a GPU.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch
import transformers

from deeptrace.benchmark.ground_truth import read_ground_truth
from deeptrace.data import resolve_path
from deeptrace.detectors.vlm.hf.planner import Shape
from deeptrace.detectors.vlm.hf.processors import Processor, load_processor
from deeptrace.detectors.vlm.hf.processors.checkpoint import read_config
from deeptrace.errors import DataError, DeeptraceError, ModelError
from deeptrace.plural import plural
from deeptrace.schema import Label, Media
from deeptrace.train.grpo.config import GrpoConfig
from deeptrace.train.sft.batches import estimated_lengths, plan_batches
from deeptrace.train.sft.config import SftConfig
from deeptrace.train.vlm.examples import Example, read_examples
from deeptrace.train.vlm.progress import Progress, silent
from deeptrace.train.vlm.settings import DataPart, ModelSettings
from deeptrace.video import probe

__all__ = ["DryRun", "SplitCounts", "dry_run"]

_GIB = 2**30
_ADAM = 2
_HIDDEN_KEPT, _INNER_KEPT = 14, 4
"""Tensors of a layer that its backward pass needs, of the hidden size and of the inner one of its MLP."""
_FOUR_BITS = 0.5 * 1.125
"""Bytes of a weight in 4 bits; an eighth more for scales and what stays as it is."""


@dataclass(frozen=True)
class SplitCounts:
    """One dataset of a training.

    Attributes:
        path: of the data.
        split: of it.
        role: "train" or "validation".
        clips, fake, real: videos, and of each label.
        rows: examples that they give; of a validation, as many as clips.
        missing: clips whose file is not there.
    """

    path: str
    split: str
    role: str
    clips: int
    fake: int
    real: int
    rows: int
    missing: int


@dataclass(frozen=True)
class DryRun:
    """What a training would take.

    Attributes:
        splits: counts of the data.
        tokens: fewest, median and most tokens of a row; None where there is no tokenizer.
        steps: of the optimizer; None where it depends on tokens that are not known.
        memory: GiB by what takes them; empty where the model's config is not known.
        weights: of the model, and those that learn; None likewise.
        notes: why something is not known, and what else to know.
    """

    splits: tuple[SplitCounts, ...]
    tokens: tuple[int, int, int] | None
    steps: int | None
    memory: dict[str, float] = field(default_factory=dict)
    weights: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()


def dry_run(config: SftConfig | GrpoConfig, progress: Progress = silent) -> DryRun:
    """What a training with this config would take.

    Raises:
        DataError: the data cannot be read.
    """
    per = config.form.per if isinstance(config, SftConfig) else "video"
    splits = [_counts(part, "train", per) for part in config.data]
    if config.validation is not None:
        splits.append(_counts(config.validation, "validation", "video"))
    notes: list[str] = []
    if config.validation_videos is not None:
        notes.append(f"of the validation at most {plural(config.validation_videos, 'clip is', 'clips are')} measured")
    here = [example for example in read_examples(config.data, per=per) if _is_here(example.path)]
    media, broken = _media(here, progress)
    notes += broken
    here = [example for example in here if example.path in media]
    if not here:
        raise DataError(config.data[0].path, "not one clip of the mixture is there")
    lengths: list[int] | None = None
    memory, weights = dict[str, float](), None
    try:
        processor = load_processor(config.model.base, request=config.view, times=config.view.times)
        lengths = _lengths(config, here, processor, media)
        model = _meta_model(config.model.base)
        memory, weights = _memory(config, model, lengths), _weights(config.model, model)
    except DeeptraceError as error:
        notes.append(f"tokens and memory are not known: {error}")
    steps = config.steps if isinstance(config, GrpoConfig) else _steps(config, here, lengths)
    tokens = None if lengths is None else (min(lengths), round(median(lengths)), max(lengths))
    return DryRun(tuple(splits), tokens, steps, memory, weights, tuple(notes))


# -- rows, tokens, steps -----------------------------------------------------------------------------------------------


def _counts(part: DataPart, role: str, per: Any) -> SplitCounts:
    truth = read_ground_truth(part.path, split=part.split)
    labels = Counter(sample.label for sample in truth.samples)
    rows = len(truth.samples) if per == "video" else sum(max(len(sample.traces), 1) for sample in truth.samples)
    missing = sum(not _is_here(resolve_path(sample, truth.root)) for sample in truth.samples)
    return SplitCounts(
        part.path, part.split, role, len(truth.samples), labels[Label.FAKE], labels[Label.REAL], rows, missing
    )


def _is_here(path: str) -> bool:
    return "://" in path or os.path.isfile(path)


def _media(examples: Sequence[Example], progress: Progress) -> tuple[dict[str, Media], list[str]]:
    """Facts of each file that opens, and a line for each that does not."""
    found: dict[str, Media] = {}
    broken: dict[str, str] = {}
    for done, example in enumerate(examples, start=1):
        if example.path not in found and example.path not in broken:
            try:
                found[example.path] = example.sample.media or probe(example.path)
            except DeeptraceError as error:
                broken[example.path] = f"left out: {error}"
        progress("looking at clips", done, len(examples))
    return found, list(broken.values())


def _lengths(
    config: SftConfig | GrpoConfig, examples: Sequence[Example], processor: Processor, media: dict[str, Media]
) -> list[int]:
    """Tokens of each row; reinforcement may say as many as it is allowed."""
    if isinstance(config, SftConfig):
        return estimated_lengths(examples, processor, config.view, config.form, media)
    bare = [Example(one.sample, Label.REAL, (), one.path, one.part) for one in examples]
    asked = estimated_lengths(bare, processor, config.view, config.form, media)
    return [length + config.learn.max_tokens for length in asked]


def _steps(config: SftConfig, examples: Sequence[Example], lengths: list[int] | None) -> int | None:
    if lengths is None and (config.pack_tokens is not None or config.group_lengths):
        return None
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    plan = plan_batches(examples, lengths or [0] * len(examples), config, processes)
    return len(plan) // (processes * config.accumulate)


# -- memory ------------------------------------------------------------------------------------------------------------


def _meta_model(base: str) -> Any:
    """The model without its weights."""
    try:
        config = transformers.AutoConfig.for_model(**read_config(base))
        with torch.device("meta"):
            return transformers.AutoModelForMultimodalLM.from_config(config)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise ModelError(base, f"its config cannot be used: {error}") from error


def _weights(settings: ModelSettings, model: Any) -> tuple[int, int]:
    """How many there are, and how many learn."""
    shape = Shape.of(model)
    every = shape.vision + shape.language
    if settings.tuning == "full":
        return every, shape.language if settings.freeze_vision else every
    adapters = sum(
        settings.rank * (layer.in_features + layer.out_features)
        for name, layer in model.named_modules()
        if isinstance(layer, torch.nn.Linear) and _is_target(name, settings.targets)
    )
    return every + adapters, adapters


def _is_target(name: str, targets: str | list[str]) -> bool:
    """As peft reads them."""
    if isinstance(targets, str):
        return re.fullmatch(targets, name) is not None
    return any(name == ending or name.endswith(f".{ending}") for ending in targets)


def _memory(config: SftConfig | GrpoConfig, model: Any, lengths: Sequence[int]) -> dict[str, float]:
    """GiB by what takes them."""
    settings, shape = config.model, Shape.of(model)
    every, learned = _weights(settings, model)
    stored = 2 if settings.dtype == "bfloat16" else 4
    of_learned = stored if settings.tuning == "full" else 4  # adapters are float32
    weights = (every - learned) * (_FOUR_BITS if settings.tuning == "qlora" else stored) + learned * of_learned
    if isinstance(config, GrpoConfig) and config.learn.kl and settings.tuning == "full":
        weights += every * stored
    states = 1 if isinstance(config, SftConfig) and "8bit" in config.optimizer else of_learned
    found = {
        "weights": weights,
        "gradients": learned * of_learned,
        "optimizer": learned * states * _ADAM,
        "activations": _activations(config, shape, int(model.config.get_text_config().vocab_size), lengths),
    }
    return {name: size / _GIB for name, size in found.items()}


def _activations(config: SftConfig | GrpoConfig, shape: Shape, words: int, lengths: Sequence[int]) -> float:
    """Bytes, of the longest row that is passed through the model at once."""
    if isinstance(config, SftConfig):
        tokens = max(max(lengths), config.pack_tokens or 0) * config.batch
        said = tokens if config.loss_chunk is None else min(config.loss_chunk, tokens)
    else:
        tokens = max(lengths) * config.learn.rows
        said = config.learn.max_tokens * config.learn.rows
    mixed = torch.cuda.is_available() or config.model.dtype == "bfloat16"
    layer = _HIDDEN_KEPT * shape.hidden + _INNER_KEPT * shape.inner
    kept = shape.layers * shape.hidden + layer if config.model.checkpointing else shape.layers * layer
    return float(tokens * kept * (2 if mixed else 4) + said * words * 4 * 2)
