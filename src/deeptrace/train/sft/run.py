"""A supervised fine-tuning from the config to a checkpoint that `hf:FOLDER` loads; run again, it goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist
from accelerate import PartialState  # type: ignore[import-untyped]
from transformers import set_seed

from deeptrace.data.jsonio import atomic_path
from deeptrace.detectors.transformers.encode import Encoder, load_encoder
from deeptrace.errors import DataError, DeeptraceError, SettingsError
from deeptrace.folder_lock import FolderLock
from deeptrace.trace import Media
from deeptrace.train.mllm.encoding import estimated_lengths
from deeptrace.train.mllm.examples import Example, read_examples
from deeptrace.train.mllm.frames import FrameStore, pixel_budget
from deeptrace.train.mllm.models import base_model, complete_folder, load_trainable
from deeptrace.train.mllm.packing import Positions
from deeptrace.train.mllm.settings import detector_settings
from deeptrace.train.sft.batches import Batches, plan_batches, plan_digest
from deeptrace.train.sft.config import SftConfig
from deeptrace.train.sft.finish import finish
from deeptrace.train.sft.measure import Validation
from deeptrace.train.sft.trainer import CHECKPOINTS, SftTrainer, last_checkpoint
from deeptrace.video import probe

__all__ = ["Trained", "train_sft"]

RUN = "run.json"
# What may differ when a run goes on: nothing that decides what is learned.
_FREE = frozenset(
    {"out", "workers", "prefetch", "keep", "save_every", "evaluate", "validation_videos", "merge", "device"}
)

Progress = Callable[[str, int, int], object]


@dataclass(frozen=True)
class Trained:
    """What became of a run.

    Attributes:
        folder: the checkpoint for `hf:FOLDER`; None when the run was stopped before its end.
        steps: done, and in all.
        unusable: clips that were left out, with the reason.
    """

    folder: Path | None
    steps: tuple[int, int]
    unusable: dict[str, str]


def train_sft(config: SftConfig, progress: Progress = lambda _what, _done, _total: None) -> Trained:
    """Fine-tune, measure, choose, calibrate, export.

    Under torchrun or `accelerate launch` every process calls this; one writes.

    Args:
        config: everything.
        progress: called on the first process with what is done ("decoded", "trained"), how much, and of how much.

    Raises:
        DataError, ModelError, MissingExtraError, SettingsError: as their parts; another run writes into the folder.
    """
    state = PartialState(cpu=config.device == "cpu")
    with FolderLock(config.out) if state.is_main_process else nullcontext():
        return _train(config, state, progress)


def _train(config: SftConfig, state: PartialState, progress: Progress) -> Trained:
    first, processes = state.is_main_process, state.num_processes
    told: Progress = progress if first else (lambda _what, _done, _total: None)
    set_seed(config.seed)
    base = config.model.base
    encoder = load_encoder(base, budget=pixel_budget(config.view), times=config.view.times)
    store = FrameStore(config.view, encoder)
    validation = None
    if config.validation is not None:
        validation = Validation(config, encoder, state.process_index, processes)
    examples = read_examples(config.data, per=config.form.per)
    broken = _decode(store, examples, state, told)
    examples = [example for example in examples if example.path not in broken]
    if not examples:
        raise DataError(config.data[0].path, "not one clip of the mixture decodes")
    plan = plan_batches(examples, _lengths(examples, encoder, config), config, processes)
    if first:
        _claim(config, plan_digest(plan, examples), processes)
    state.wait_for_everyone()
    model = load_trainable(config.model)
    positions = None if config.pack_tokens is None else Positions(base_model(model).config)
    detector = detector_settings(config.view, config.form)
    trainer = SftTrainer(
        model,
        Batches(plan, examples, store, config, positions),
        config,
        processes=processes,
        measure=validation if config.evaluate else None,
        on_step=lambda step, steps, _loss: told("trained", step, steps),
        complete=lambda folder: complete_folder(folder, base, encoder, detector),
    )
    earlier = last_checkpoint(config.out)
    trainer.train(resume_from_checkpoint=None if earlier is None else str(earlier))
    done, steps = trainer.state.global_step, trainer.state.max_steps
    unusable = {path: str(error) for path, error in broken.items()}
    if done < steps:
        return Trained(None, (done, steps), unusable)
    best = trainer.state.best_model_checkpoint
    chosen = Path(best) if best else config.out / CHECKPOINTS / f"checkpoint-{steps}"
    if first:
        finish(config, chosen, encoder, validation, examples, unusable)
    state.wait_for_everyone()
    return Trained(config.out / "model", (done, steps), unusable)


def _decode(
    store: FrameStore, examples: Sequence[Example], state: PartialState, progress: Progress
) -> dict[str, DeeptraceError]:
    """Fill the frame cache, each process a share; without one, open each clip. Returns what cannot be used."""
    paths = list(dict.fromkeys(example.path for example in examples))
    own = paths[state.process_index :: state.num_processes]
    if store.view.cache is not None:
        broken = store.fill(own, lambda done: progress("decoded", done, len(own)))
    else:
        broken = {}
        for done, path in enumerate(own, 1):
            try:
                probe(path)
            except DeeptraceError as error:
                broken[path] = error
            progress("decoded", done, len(own))
    if state.num_processes == 1:
        return broken
    shares: list[Any] = [None] * state.num_processes
    dist.all_gather_object(shares, broken)
    return {path: error for share in shares for path, error in share.items()}


def _lengths(examples: Sequence[Example], encoder: Encoder, config: SftConfig) -> list[int]:
    """Tokens of each example where the plan needs to know them."""
    if config.pack_tokens is None and not config.group_lengths:
        return [0] * len(examples)
    media: dict[str, Media] = {}
    for example in examples:
        if example.path not in media:
            media[example.path] = example.sample.media or probe(example.path)
    return estimated_lengths(examples, encoder, config.view, config.form, media)


def _claim(config: SftConfig, digest: str, processes: int) -> None:
    """Note in the run's folder what it is; refuse a folder that holds another run.

    Raises:
        SettingsError: it does; the message names what differs.
        DataError: the folder cannot be written.
    """
    stated = {
        "config": json.loads(config.model_dump_json()),
        "plan_sha256": digest,
        "processes": processes,
    }
    file = config.out / RUN
    if file.is_file():
        before = json.loads(file.read_text(encoding="utf-8"))
        changed = [
            name
            for name, value in stated["config"].items()
            if name not in _FREE and before["config"].get(name) != value
        ]
        changed += ["the number of processes"] if before["processes"] != processes else []
        changed += ["the data"] if not changed and before["plan_sha256"] != digest else []
        if changed:
            raise SettingsError(str(config.out), f"holds a run with another {', '.join(changed)}", "Use a new folder.")
    with atomic_path(file) as scratch:
        scratch.write_text(json.dumps(stated, indent=1) + "\n", encoding="utf-8")
