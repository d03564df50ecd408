"""Every choice of a GRPO training, in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from deeptrace.train.config_file import read_config
from deeptrace.train.grpo.settings import LearnSettings
from deeptrace.train.grpo.weights import RewardWeights
from deeptrace.train.mllm.settings import DataPart, FormSettings, ModelSettings, Settings, ViewSettings

__all__ = ["GrpoConfig"]


class GrpoConfig(Settings):
    """A training with grounded rewards; the JSON file of `deeptrace train grpo CONFIG` holds these fields.

    Attributes:
        model: where it starts, best a checkpoint of `deeptrace train sft`, and which weights learn.
        data: videos that are asked about.
        validation: videos that checks are measured on; None to go without.
        validation_videos: at most this many of it, drawn once; None for all.
        out: where the log, the state and the checkpoints go.
        view: what the model sees; frames are kept in `out`/frames where it names no cache.
        form: what it is asked; as it was trained.
        learn: how it learns.
        weights: of the reward.
        steps: optimizer steps, times `learn.updates`.
        questions: a step, over all processes.
        learning_rate: after `warmup` steps of a linear rise.
        weight_decay: of AdamW.
        save_every: steps between states to go on from.
        check_every: steps between checks on `validation`; the checkpoint with the best grounded overall is kept, and
            there is always one check at the end.
        merge: write adapters into the base's weights at the end.
        seed: of the order of questions, the sampling and new adapters.
    """

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

    @classmethod
    def read(cls, path: str | Path, **changes: Any) -> GrpoConfig:
        """The config in a JSON file, with `changes` on top; relative folders are relative to the working directory.

        Raises:
            SettingsError: the file is missing, no JSON, or holds a field that makes no sense.
        """
        return read_config(cls, path, "examples/grpo_qwen2_5_vl_7b.json", **changes)
