"""Every choice of a supervised fine-tuning, in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from deeptrace.errors import DeeptraceError
from deeptrace.train.config_file import FileConfig, Parts
from deeptrace.train.vlm.checks import training_faults
from deeptrace.train.vlm.progress import Tracker
from deeptrace.train.vlm.settings import (
    AugmentSettings,
    DataPart,
    FormSettings,
    ModelSettings,
    ViewSettings,
    tiny_fields,
)

__all__ = ["SftConfig"]


class SftConfig(FileConfig):
    """A supervised fine-tuning; the JSON file of `deeptrace train sft CONFIG` holds these fields.

    Attributes:
        model: what is trained, and which of its weights learn.
        view: what it sees of a clip.
        form: what it is asked, and how it answers.
        augment: changes of what it is shown, under which the answer stays true.
        data: datasets of the mixture; put a `deeptrace synth` folder beside RewardData to mix synthetic traces in.
        validation: what checkpoints are measured on, and the probabilities calibrated; None for neither.
        validation_videos: most videos of the validation that are measured, drawn once; None for all.
        out: where checkpoints, the log, the measurements and the trained model go.
        seed: seed of every random choice.
        epochs: passes over the mixture.
        balance: draw the rarer label again until both come as often.
        batch: examples a process takes at a time, when they are not packed.
        pack_tokens: tokens of a packed row; None pads instead. One process takes one row at a time.
        group_lengths: without packing, put examples of like length in a batch.
        accumulate: batches or rows a process adds up before a step.
        loss_chunk: positions of answers whose logits are there at a time; None for transformers' own loss, with
            logits of every position over the whole vocabulary.
        learning_rate: peak of AdamW's.
        schedule: way of the learning rate, from its peak to 0; "constant" leaves it there.
        warmup: share of all steps in which the learning rate rises to its peak.
        weight_decay: of AdamW.
        max_grad_norm: norm to which the gradient is clipped.
        optimizer: transformers' name: "adamw_torch_fused", "adamw_torch", "adamw_bnb_8bit", ...
        workers: processes that prepare batches ahead, for each training process; 0 prepares in the process itself.
        prefetch: batches that each of these processes prepares ahead.
        save_every: steps between checkpoints; also at the end, and when the run is asked to stop.
        evaluate: measure each planned checkpoint on the validation split, and keep the best.
        keep: checkpoints kept, beside the best.
        answer_tokens: longest answer when measured.
        sharding: over several processes: "ddp" keeps the whole model in each, "fsdp" a part (FSDP2). One process alone
            keeps the whole model, whatever is asked for.
        merge: write adapters into the base's weights at the end.
        device: "cpu" to keep off the GPUs.
        log_to: where figures go beside `out`/log.jsonl: "tensorboard", "wandb".
    """

    example = "examples/sft_qwen2_5_vl_7b.json"

    model: ModelSettings
    view: ViewSettings = ViewSettings()
    form: FormSettings = FormSettings()
    augment: AugmentSettings = AugmentSettings()
    data: list[DataPart] = Field(min_length=1)
    validation: DataPart | None = None
    validation_videos: int | None = Field(default=None, ge=1)
    out: Path
    seed: int = 0
    epochs: int = Field(default=1, ge=1)
    balance: bool = False
    batch: int = Field(default=1, ge=1)
    pack_tokens: int | None = Field(default=None, ge=64)
    group_lengths: bool = False
    accumulate: int = Field(default=1, ge=1)
    loss_chunk: int | None = Field(default=1024, ge=1)
    learning_rate: float = Field(default=1e-5, gt=0)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: float = Field(default=0.03, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    optimizer: str = "adamw_torch_fused"
    workers: int = Field(default=0, ge=0)
    prefetch: int = Field(default=2, ge=1)
    save_every: int = Field(default=200, ge=1)
    keep: int = Field(default=2, ge=1)
    evaluate: bool = True
    answer_tokens: int = Field(default=256, ge=1)
    sharding: Literal["ddp", "fsdp"] = "ddp"
    merge: bool = True
    device: Literal["auto", "cpu"] = "auto"
    log_to: tuple[Tracker, ...] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.pack_tokens is not None and (self.batch > 1 or self.group_lengths):
            raise ValueError("pack_tokens: rows are packed, so batch must be 1 and group_lengths false")
        if self.model.tuning == "qlora" and self.sharding == "fsdp":
            raise ValueError("sharding: 4-bit weights are not sharded here; use ddp")
        if self.model.tuning == "lora" and self.sharding == "fsdp" and self.model.dtype == "bfloat16":
            raise ValueError("sharding: adapters are float32, and fsdp wants one dtype; set model.dtype to float32")
        return self

    @classmethod
    def tiny(cls, out: Path, **changes: Any) -> SftConfig:
        """A training of seconds, to try it: a tiny base in `out`/base learns the example clips.

        Raises:
            DataError: the clips are not here.
        """
        fields: dict[str, Any] = {
            "batch": 2,
            "epochs": 120,
            "learning_rate": 3e-3,
            "schedule": "linear",
            "optimizer": "adamw_torch",
            "save_every": 60,
            "answer_tokens": 48,
            "device": "cpu",
        }
        return cls.model_validate(tiny_fields(out / "base", out) | fields | changes)

    @classmethod
    def faults(cls, parts: Parts, *, offline: bool) -> list[DeeptraceError]:
        """See `FileConfig.faults`: data, splits, clips, base, question and packages."""
        return training_faults(parts, offline=offline)
