"""transformers' Trainer with our batches, our loss and our measurements; every step can be gone on from.

The loss is on answers alone: logits of a few positions at a time, never of a whole row. With a vocabulary of 152,000
the logits of one VideoLLaMA 3 sample (14,400 positions) are 8.8 GB in float32, three times that with their gradient; an
answer has 60 positions.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from types import MethodType
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.modeling_outputs import CausalLMOutput

from deeptrace.io.journal import Lines
from deeptrace.train.sft.batches import Batches
from deeptrace.train.sft.config import SftConfig
from deeptrace.train.vlm.models import base_model, restore_weights

__all__ = ["CHECKPOINTS", "IGNORED", "SftTrainer", "answer_loss", "last_checkpoint", "learn_answers_only"]

IGNORED = -100


def answer_loss(
    hidden: torch.Tensor, head: torch.nn.Module, labels: torch.Tensor, *, chunk: int = 1024, count: Any = None
) -> torch.Tensor:
    """Cross entropy of the next tokens, over the labelled positions alone.

    Args:
        hidden: (B, L, D), the language model's last states.
        head: makes logits of them.
        labels: (B, L), `IGNORED` where nothing is learned; position k is predicted from k - 1.
        chunk: positions whose logits are there at a time, in the backward pass too.
        count: what the sum is divided by; the number of labelled positions by default.

    Returns:
        A scalar in float32. Without a labelled position it is 0, with gradients of 0.
    """
    wanted = labels[:, 1:] != IGNORED
    states, targets = hidden[:, :-1][wanted], labels[:, 1:][wanted]
    if not len(targets):
        return hidden.sum(dtype=torch.float32) * 0.0
    total = hidden.new_zeros((), dtype=torch.float32)
    for start in range(0, len(targets), chunk):
        part = slice(start, start + chunk)
        total = total + checkpoint(_sum_of, states[part], targets[part], head, use_reentrant=False)
    return total / (len(targets) if count is None else count)


def learn_answers_only(model: PreTrainedModel, *, chunk: int) -> None:
    """Give a model of transformers a `forward` that computes this loss when it gets labels; without, its own.

    It runs inside the model's own call, so that wrappers (DDP, FSDP, PEFT) gather the head's weights as always.
    """
    stock = type(model).forward

    @wraps(stock)  # `generate` looks at the signature
    def forward(self: Any, *args: Any, labels: torch.Tensor | None = None, **inputs: Any) -> Any:
        if labels is None:
            return stock(self, *args, **inputs)
        count = inputs.pop("num_items_in_batch", None)
        hidden = self.model(*args, **inputs, use_cache=False)[0]
        return CausalLMOutput(loss=answer_loss(hidden, self.lm_head, labels, chunk=chunk, count=count))

    model.forward = MethodType(forward, model)


def _sum_of(states: torch.Tensor, targets: torch.Tensor, head: torch.nn.Module) -> torch.Tensor:
    return cross_entropy(head(states).float(), targets, reduction="sum")


CHECKPOINTS = "checkpoints"
LOG = "log.jsonl"
_HOURS_TO_WAIT = 6

OnStep = Callable[[int, int, Mapping[str, Any]], object]


class SftTrainer(Trainer):
    """One pass over planned batches.

    Args:
        model: of `load_trainable`.
        batches: of the whole training.
        config: of it.
        processes: that train together.
        measure: called on every process at each checkpoint; returns numbers with `selection`, higher is better, on the
            first. None measures nothing.
        on_step: called with step, steps in all, and the step's figures (loss, grad_norm, learning_rate, seconds), on
            the first process.
        complete: called with each checkpoint's folder on the first process.
    """

    def __init__(
        self,
        model: Any,
        batches: Batches,
        config: SftConfig,
        *,
        processes: int,
        measure: Callable[[Any, int], dict[str, float]] | None = None,
        on_step: OnStep = lambda _step, _steps, _figures: None,
        complete: Callable[[Path], object] = lambda _folder: None,
    ) -> None:
        steps = len(batches) // (processes * config.accumulate)
        inner = base_model(model)
        if config.loss_chunk is not None:
            learn_answers_only(inner, chunk=config.loss_chunk)
        super().__init__(
            model=model,
            args=training_arguments(config, inner, steps, processes),
            train_dataset=batches,
            data_collator=_only,
            callbacks=[
                _Log(config.out / LOG, on_step),
                _MeasureWhatIsSaved(measure is not None),
                _StopWhenTold(),
                _Complete(complete),
            ],
        )
        self.remove_callback(PrinterCallback)  # progress is shown by the command line
        self._measure = measure
        # Our loss and transformers' divide by the number of learned tokens of the whole step, over all processes.
        self.model_accepts_loss_kwargs = True
        self._loss_shifts_labels = True

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Measure the model; see `measure`."""
        if self._measure is None:
            return {}
        model: Any = self.model
        found = self._measure(model, self.state.global_step)
        metrics = {f"eval_{name}": value for name, value in found.items()}
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        model.train()
        return metrics

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        """Put a checkpoint's weights back.

        Raises:
            ModelError: see `restore_weights`. FSDP's checkpoints have the model's own names and are strict as they are.
        """
        if self.is_fsdp_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            restore_weights(self.model if model is None else model, Path(resume_from_checkpoint))


def training_arguments(config: SftConfig, model: PreTrainedModel, steps: int, processes: int) -> TrainingArguments:
    """Arguments of transformers' Trainer."""
    on_gpu = config.device == "auto" and torch.cuda.is_available()
    sharded: dict[str, Any] = {}
    if config.sharding == "fsdp" and processes > 1:  # transformers refuses it in a process alone
        sharded = {"fsdp": True, "fsdp_config": _fsdp(model)}
    args = TrainingArguments(
        output_dir=str(config.out / CHECKPOINTS),
        max_steps=steps,
        per_device_train_batch_size=1,  # of planned batches
        gradient_accumulation_steps=config.accumulate,
        train_sampling_strategy="sequential",
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.schedule,
        warmup_steps=round(config.warmup * steps),
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        optim=config.optimizer,
        bf16=on_gpu and config.model.dtype == "float32",
        use_cpu=not on_gpu,
        seed=config.seed,
        data_seed=config.seed,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_steps=config.save_every,
        save_total_limit=config.keep,
        metric_for_best_model="selection" if config.validation is not None and config.evaluate else None,
        greater_is_better=True,
        dataloader_num_workers=config.workers,
        dataloader_prefetch_factor=config.prefetch if config.workers else None,
        dataloader_persistent_workers=config.workers > 0,
        dataloader_pin_memory=on_gpu,
        remove_unused_columns=False,
        average_tokens_across_devices=True,
        ddp_find_unused_parameters=False,
        ddp_timeout=_HOURS_TO_WAIT * 3600,  # the others wait while one measures
        disable_tqdm=True,
        report_to="none",
        save_only_model=False,
        **sharded,
    )
    if args.parallel_mode.name == "NOT_DISTRIBUTED":
        args._n_gpu = min(args.n_gpu, 1)  # several GPUs without torchrun would be DataParallel
    return args


def last_checkpoint(out: Path) -> Path | None:
    """The newest whole checkpoint: its state is written last, so one that was broken off has none."""
    found = [
        (int(folder.name.rpartition("-")[2]), folder)
        for folder in (out / CHECKPOINTS).glob("checkpoint-*")
        if (folder / "trainer_state.json").is_file()
    ]
    return max(found)[1] if found else None


def _fsdp(model: PreTrainedModel) -> dict[str, Any]:
    """FSDP2: each layer of the language model and of the vision tower is a unit."""
    layers: set[str] = set()
    for module in model.modules():
        if isinstance(module, PreTrainedModel):
            split: Any = module._no_split_modules
            layers.update(split or ())
    return {"version": 2, "transformer_layer_cls_to_wrap": sorted(layers), "state_dict_type": "FULL_STATE_DICT"}


def _only(batches: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    (batch,) = batches
    return batch


class _Log(TrainerCallback):
    """A line a step in a file; a run that goes on drops what lies beyond its checkpoint."""

    def __init__(self, path: Path, on_step: OnStep) -> None:
        self._path, self._on_step = path, on_step
        self._since = time.monotonic()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        self._since = time.monotonic()
        if state.is_world_process_zero:
            with Lines(self._path) as lines:
                lines.keep(lambda row: row["step"] <= state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:  # noqa: ARG002
        if not state.is_world_process_zero or logs is None or "loss" not in logs:
            return
        now = time.monotonic()
        line: dict[str, Any] = {"step": state.global_step}
        for name in ("loss", "grad_norm", "learning_rate"):
            if name in logs:
                line[name] = logs[name] if math.isfinite(logs[name]) else None  # JSON knows no NaN
        line["seconds"] = round(now - self._since, 4)
        self._since = now
        with Lines(self._path) as lines:
            lines.add(line)
        self._on_step(state.global_step, state.max_steps, line)


class _MeasureWhatIsSaved(TrainerCallback):
    """Every planned checkpoint is measured; it stands before `_StopWhenTold`, whose checkpoint is for going on."""

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:  # noqa: ARG002
        if state.global_step >= state.max_steps:
            control.should_save = True
        control.should_evaluate = self._wanted and control.should_save
        return control


class _StopWhenTold(TrainerCallback):
    """SIGTERM or Ctrl-C: finish the step, keep it, end. With several processes all stop at one step."""

    def __init__(self) -> None:
        self.told = False
        self._before: dict[int, Any] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._hear)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:  # noqa: ARG002
        told = torch.tensor(float(self.told), device=args.device)
        if dist.is_initialized():
            dist.all_reduce(told, op=dist.ReduceOp.MAX)
        if bool(told):
            self.told = True
            control.should_training_stop = True
            control.should_save = True
            control.should_evaluate = False
        return control

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, _number: int, _frame: Any) -> None:
        self.told = True


class _Complete(TrainerCallback):
    """Checkpoints get what `hf:FOLDER` needs beside the weights."""

    def __init__(self, complete: Callable[[Path], object]) -> None:
        self._complete = complete

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        if state.is_world_process_zero:
            self._complete(Path(args.output_dir) / f"checkpoint-{state.global_step}")
