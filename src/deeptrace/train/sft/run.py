"""A supervised fine-tuning from the config to a checkpoint that `hf:FOLDER` loads; run again, it goes on.

In between, the model is measured on the validation split by the benchmark's metrics; after the last step the best
checkpoint is written as a model, its probabilities are calibrated, and its card says what it is.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist
from accelerate import PartialState  # type: ignore[import-untyped]
from transformers import set_seed

from deeptrace.benchmark.calibrate import keep_calibration
from deeptrace.detectors.vlm.hf.processors import Processor, load_processor
from deeptrace.errors import DataError, DeeptraceError
from deeptrace.io.journal import Lines, read_lines
from deeptrace.io.run_store import ClaimedFolder
from deeptrace.metrics import evaluate_pairs
from deeptrace.schema import Media, Verdict
from deeptrace.train.sft.batches import Batches, Positions, estimated_lengths, plan_batches, plan_digest
from deeptrace.train.sft.config import SftConfig
from deeptrace.train.sft.trainer import CHECKPOINTS, LOG, SftTrainer, last_checkpoint
from deeptrace.train.vlm.examples import Example, read_examples
from deeptrace.train.vlm.frame_store import FrameStore
from deeptrace.train.vlm.model_card import data_facts, versions, write_card
from deeptrace.train.vlm.models import base_model, complete_folder, load_trainable, merge_adapters
from deeptrace.train.vlm.progress import Progress, Trackers, silent
from deeptrace.train.vlm.settings import detector_settings
from deeptrace.train.vlm.validation import ValidationVideos, calibration_at, keep_verdicts, predict_samples
from deeptrace.video import probe

__all__ = ["train_sft"]

MEASURED, MODEL = "measurements.jsonl", "model"
_BLOCKS = ("grounded", "per_video", "paper", "traces", "outcomes", "counts")


def selection(result: dict[str, Any], config: SftConfig) -> float:
    """By what the best checkpoint is chosen, higher is better: the grounded overall, ties by balanced accuracy.

    A form without boxes or times grounds nothing: then the balanced accuracy alone.
    """
    rates = [result["per_video"][name] for name in ("fake_accuracy", "real_accuracy")]
    known = [rate for rate in rates if rate is not None]
    balanced = sum(known) / len(known) if known else 0.0
    overall = result["grounded"]["overall"] if config.form.box and config.form.time else None
    return balanced if overall is None else float(overall) + balanced * 1e-6


@dataclass
class Validation:
    """Measures checkpoints on the validation split.

    Args:
        config: of the training; it has a validation.
        processor: of the model.
        process, processes: which of how many this one is.
        progress: told of each video.
        trackers: told of the measurements.

    Raises:
        DataError: the split cannot be read or has no video.
    """

    config: SftConfig
    processor: Processor
    process: int = 0
    processes: int = 1
    progress: Progress = silent
    trackers: Trackers | None = None

    def __post_init__(self) -> None:
        config = self.config
        if config.validation is None:
            raise AssertionError("a training without validation is not measured")
        self.videos = ValidationVideos.read(config.validation, most=config.validation_videos, seed=config.seed)

    def __call__(self, model: Any, step: int) -> dict[str, float]:
        """Measure, keep verdicts and numbers in the run's folder, and return `selection` and a few of them."""
        verdicts = self._verdicts(model)
        result = evaluate_pairs(self.videos.samples, verdicts, text=False)
        chosen = selection(result, self.config)
        if self.process == 0:
            keep_verdicts(self.config.out, step, self.videos, verdicts)
            kept = {"step": step, "selection": chosen, **{name: result[name] for name in _BLOCKS}}
            with Lines(self.config.out / MEASURED) as lines:
                lines.add(kept)
            if self.trackers is not None:
                self.trackers.log(step, {"validation": kept})
        return {"selection": chosen}

    def _verdicts(self, model: Any) -> list[Verdict]:
        config = self.config
        return predict_samples(
            model,
            self.processor,
            config.view,
            config.form,
            self.videos.samples,
            self.videos.root,
            name=f"{config.model.base} in training",
            answer_tokens=config.answer_tokens,
            process=self.process,
            processes=self.processes,
            alike=config.sharding == "fsdp" and self.processes > 1,
            progress=self.progress,
        )


def measurement_of(out: Path, step: int) -> dict[str, Any] | None:
    """The kept numbers of a checkpoint, the last ones where it was measured twice."""
    return next((row for row in reversed(list(read_lines(out / MEASURED))) if row["step"] == step), None)


_NOT_THE_MODEL = ("optimizer*", "scheduler*", "rng_state*", "trainer_state.json", "training_args.bin", "scaler*")


def finish(
    config: SftConfig,
    chosen: Path,
    processor: Processor,
    validation: Validation | None,
    examples: Sequence[Example],
    unusable: dict[str, str],
) -> None:
    """Write `OUT/model` (and `OUT/adapter`, where adapters were trained), each a folder for `hf:FOLDER`.

    Args:
        config: of the training.
        chosen: the checkpoint.
        processor: of the base.
        validation: what it was measured on.
        examples: what it was trained on.
        unusable: clips that were left out.
    """
    folders = [config.out / MODEL]
    base, detector = config.model.base, detector_settings(config.view, config.form)
    if config.model.tuning == "full":
        _copy(chosen, folders[0])
    else:
        folders.insert(0, config.out / "adapter")
        _copy(chosen, folders[0])
        if config.merge:
            merge_adapters(config.model, chosen, folders[1])
            complete_folder(folders[1], base, processor, detector)
        else:
            folders.pop()
    step = _step_of(chosen)
    calibration = None
    if validation is not None and config.evaluate:
        calibration = calibration_at(config.out, step, validation.videos, form=detector["form"])
    facts = {
        "name": config.out.name,
        "base": base,
        "method": f"supervised fine-tuning, {config.model.tuning}",
        "step": step,
        "data": data_facts(examples),
        "unusable": unusable,
        "validation": measurement_of(config.out, step),
        "calibration": None if calibration is None else calibration.model_dump(mode="json"),
        "config": json.loads(config.model_dump_json()),
        "versions": versions(),
    }
    for folder in folders:
        write_card(folder, facts)
        if calibration is not None:
            keep_calibration(calibration, folder)


def _copy(checkpoint: Path, folder: Path) -> None:
    if folder.is_dir():
        shutil.rmtree(folder)
    shutil.copytree(checkpoint, folder, ignore=shutil.ignore_patterns(*_NOT_THE_MODEL))


# What may differ when a run goes on: nothing that decides what is learned.
_FREE = frozenset(
    {"out", "workers", "prefetch", "keep", "save_every", "evaluate", "validation_videos", "merge", "device", "log_to"}
)


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


def train_sft(config: SftConfig, progress: Progress = silent) -> Trained:
    """Fine-tune, measure, choose, calibrate, export.

    Under torchrun or `accelerate launch` every process calls this; one writes.

    Args:
        config: settings of the whole training.
        progress: called on the first process, see `Progress`; what is done is "loading the model", "decoding", "step"
            (with loss and learning rate), "measuring" and "writing the model".

    Raises:
        DataError, ModelError, MissingExtraError, SettingsError: as their parts; a folder that `ClaimedFolder` refuses.
    """
    state = PartialState(cpu=config.device == "cpu")
    first = state.is_main_process
    with (
        _claimed(config, state.num_processes) if first else nullcontext() as folder,
        Trackers(config.log_to if first else (), config.out, config.model_dump(mode="json")) as trackers,
    ):
        return _train(config, folder, state, progress if first else silent, trackers)


def _claimed(config: SftConfig, processes: int) -> ClaimedFolder:
    """The folder as this run's; the same command goes on with it."""
    stated = config.model_dump(mode="json")
    decides = {name: value for name, value in stated.items() if name not in _FREE} | {"processes": processes}
    about = {name: stated[name] for name in sorted(_FREE)}
    files = (CHECKPOINTS, LOG, MODEL)
    return ClaimedFolder(config.out, "train sft", decides, resume=True, about=about, files=files)


def _train(
    config: SftConfig, folder: ClaimedFolder | None, state: PartialState, progress: Progress, trackers: Trackers
) -> Trained:
    processes = state.num_processes
    set_seed(config.seed)
    processor = load_processor(config.model.base, request=config.view, times=config.view.times)
    store = FrameStore(config.view, processor)
    validation = None
    if config.validation is not None:
        validation = Validation(config, processor, state.process_index, processes, progress, trackers)
    examples = read_examples(config.data, per=config.form.per)
    broken = _decode(store, examples, state, progress)
    examples = [example for example in examples if example.path not in broken]
    if not examples:
        raise DataError(config.data[0].path, "not one clip of the mixture decodes")
    plan = plan_batches(examples, _lengths(examples, processor, config), config, processes)
    if folder is not None:
        folder.pin(data=plan_digest(plan, examples))
    state.wait_for_everyone()
    progress("loading the model", 0, None)
    model = load_trainable(config.model)
    positions = None if config.pack_tokens is None else Positions(base_model(model).config)
    trainer = _trainer(config, model, Batches(plan, examples, store, config, positions), validation, progress, trackers)
    earlier = last_checkpoint(config.out)
    progress("step", _step_of(earlier), len(plan) // (processes * config.accumulate))
    trainer.train(resume_from_checkpoint=None if earlier is None else str(earlier))
    done, steps = trainer.state.global_step, trainer.state.max_steps
    unusable = {path: str(error) for path, error in broken.items()}
    if done < steps:
        return Trained(None, (done, steps), unusable)
    best = trainer.state.best_model_checkpoint
    chosen = Path(best) if best else config.out / CHECKPOINTS / f"checkpoint-{steps}"
    if state.is_main_process:
        progress("writing the model", 0, None)
        finish(config, chosen, processor, validation, examples, unusable)
    state.wait_for_everyone()
    return Trained(config.out / MODEL, (done, steps), unusable)


def _trainer(
    config: SftConfig,
    model: Any,
    batches: Batches,
    validation: Validation | None,
    progress: Progress,
    trackers: Trackers,
) -> SftTrainer:
    processor, detector = batches.store.processor, detector_settings(config.view, config.form)

    def on_step(step: int, steps: int, figures: Mapping[str, Any]) -> None:
        progress("step", step, steps, loss=figures["loss"], lr=figures.get("learning_rate"))
        trackers.log(step, figures)

    return SftTrainer(
        model,
        batches,
        config,
        processes=PartialState().num_processes,
        measure=validation if config.evaluate else None,
        on_step=on_step,
        complete=lambda folder: complete_folder(folder, config.model.base, processor, detector),
    )


def _step_of(checkpoint: Path | None) -> int:
    return 0 if checkpoint is None else int(checkpoint.name.rpartition("-")[2])


def _decode(
    store: FrameStore, examples: Sequence[Example], state: PartialState, progress: Progress
) -> dict[str, DeeptraceError]:
    """Fill the frame cache, each process a share; without one, open each clip. Returns what cannot be used."""
    paths = list(dict.fromkeys(example.path for example in examples))
    own = paths[state.process_index :: state.num_processes]
    if store.view.cache is not None:
        broken = store.fill(own, lambda done: progress("decoding", done, len(own)))
    else:
        broken = {}
        for done, path in enumerate(own, 1):
            try:
                probe(path)
            except DeeptraceError as error:
                broken[path] = error
            progress("decoding", done, len(own))
    if state.num_processes == 1:
        return broken
    shares: list[Any] = [None] * state.num_processes
    dist.all_gather_object(shares, broken)
    return {path: error for share in shares for path, error in share.items()}


def _lengths(examples: Sequence[Example], processor: Processor, config: SftConfig) -> list[int]:
    """Tokens of each example where the plan needs to know them."""
    if config.pack_tokens is None and not config.group_lengths:
        return [0] * len(examples)
    media: dict[str, Media] = {}
    for example in examples:
        if example.path not in media:
            media[example.path] = example.sample.media or probe(example.path)
    return estimated_lengths(examples, processor, config.view, config.form, media)
