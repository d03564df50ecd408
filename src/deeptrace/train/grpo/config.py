"""Every choice of a GRPO training, in one place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from deeptrace.errors import DeeptraceError, SettingsError
from deeptrace.train.config_file import FileConfig, Parts
from deeptrace.train.grpo.reward import RewardWeights
from deeptrace.train.vlm.checks import training_faults
from deeptrace.train.vlm.progress import Tracker
from deeptrace.train.vlm.settings import DataPart, FormSettings, ModelSettings, Settings, ViewSettings, tiny_fields

__all__ = ["GrpoConfig", "LearnSettings", "Lengths"]

Lengths = Literal["answer", "constant"]
"""What the sum over an answer's tokens is divided by, see `trainer`."""


class LearnSettings(Settings):
    """How the policy learns.

    Attributes:
        group: answers sampled to each question.
        temperature: of sampling.
        max_tokens: longest answer.
        updates: optimizer steps on the same answers; beyond the first the ratio is clipped.
        clip_low: how far below 1 the ratio of new to old probability still moves the policy.
        clip_high: how far above 1; more than `clip_low` leaves room for rare words (DAPO).
        kl: weight of the KL to the model at the start; 0 needs no reference.
        normalise: divide advantages by the group's standard deviation.
        lengths: what an answer's sum over tokens is divided by: its own length, or the longest allowed (Dr. GRPO).
        rows: answers in one forward pass.
        max_gradient: norm to which the gradient is clipped.
    """

    group: int = Field(default=8, ge=2)
    temperature: float = Field(default=1.0, gt=0)
    max_tokens: int = Field(default=256, ge=1)
    updates: int = Field(default=1, ge=1)
    clip_low: float = Field(default=0.2, gt=0, lt=1)
    clip_high: float = Field(default=0.28, gt=0)
    kl: float = Field(default=0.02, ge=0)
    normalise: bool = True
    lengths: Lengths = "answer"
    rows: int = Field(default=4, ge=1)
    max_gradient: float = Field(default=1.0, gt=0)


class GrpoConfig(FileConfig):
    """A training with grounded rewards; the JSON file of `deeptrace train grpo CONFIG` holds these fields.

    Attributes:
        model: where it starts, best a checkpoint of `deeptrace train sft`, and which weights learn.
        data: videos that are asked about.
        validation: videos that checks are measured on; None to go without.
        validation_videos: most videos of the validation that are measured, drawn once; None for all.
        out: where the log, the state and the checkpoints go.
        view: what the model sees; frames are kept in `out`/frames where it names no cache.
        form: what it is asked; as it was trained.
        learn: how it learns.
        weights: of the reward.
        steps: optimizer steps, times `learn.updates`.
        questions: clips asked about in a step, over all processes.
        learning_rate: of AdamW, from the end of `warmup` on.
        warmup: steps in which the learning rate rises to that, linearly.
        weight_decay: of AdamW.
        save_every: steps between states to go on from.
        check_every: steps between checks on `validation`; the checkpoint with the best grounded overall is kept, and
            there is always one check at the end.
        merge: write adapters into the base's weights at the end.
        seed: of the order of questions, the sampling and new adapters.
        log_to: where figures go beside `out`/log.jsonl: "tensorboard", "wandb".
    """

    example = "examples/grpo_qwen2_5_vl_7b.json"

    model: ModelSettings
    data: list[DataPart] = Field(min_length=1)
    validation: DataPart | None = None
    validation_videos: int | None = Field(default=None, ge=1)
    out: Path = Path("out/grpo")
    view: ViewSettings = ViewSettings()
    form: FormSettings = FormSettings()
    learn: LearnSettings = LearnSettings()
    weights: RewardWeights = RewardWeights()
    steps: int = Field(default=200, ge=1)
    questions: int = Field(default=8, ge=1)
    learning_rate: float = Field(default=1e-6, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    warmup: int = Field(default=10, ge=0)
    save_every: int = Field(default=10, ge=1)
    check_every: int = Field(default=50, ge=0)
    merge: bool = True
    seed: int = 0
    log_to: tuple[Tracker, ...] = ()

    @classmethod
    def tiny(cls, base: Path, out: Path, **changes: Any) -> GrpoConfig:
        """A training of seconds, to try it, from what `SftConfig.tiny` has taught a tiny model.

        An untaught one only stammers: all its answers have one reward, and there is nothing to learn from.

        Args:
            base: folder of the taught model.
            out: folder of the run.
            changes: fields to replace.

        Raises:
            DataError: the clips are not here.
        """
        fields: dict[str, Any] = {
            "learn": {"group": 8, "rows": 8, "max_tokens": 48},
            "steps": 16,
            "questions": 2,
            "learning_rate": 2e-4,
            "warmup": 0,
            "check_every": 0,
            "save_every": 5,
        }
        return cls.model_validate(tiny_fields(base, out) | fields | changes)

    @classmethod
    def faults(cls, parts: Parts, *, offline: bool) -> list[DeeptraceError]:
        """See `FileConfig.faults`: data, splits, clips, base, question and packages."""
        faults = training_faults(parts, offline=offline, taught=True)
        processes, questions = int(os.environ.get("WORLD_SIZE", "1")), parts.get("questions")
        if isinstance(questions, int) and questions % processes:
            faults.append(SettingsError("questions", f"{questions} a step cannot be shared by {processes} processes"))
        return faults
