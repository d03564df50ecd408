"""Every choice of a TraceNet training, in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from deeptrace.train.config_file import read_config

__all__ = ["TraceNetConfig"]


class TraceNetConfig(BaseModel):
    """A training of TraceNet; the JSON file of `deeptrace train tracenet CONFIG` holds these fields.

    Attributes:
        data: folder with `all_data.json` (RewardData format) and the clips beside it.
        edited: folder below `data` with matched pairs `PAIR__real.*` and `PAIR__METHOD.*`; "" for none. The edited
            versions count as generated, with their source as a negative of the same content.
        out: where measurements, checkpoints, the log and the exported model go.
        seed: of everything.
        variants: how often each clip is measured: once as it is, once in one encoding for all, else degraded at random.
        injections: synthetic traces, each at two severities, planted into each planted variant of a real clip.
        planted_variants: numbers of those variants.
        folds: cross-fitting folds, by generator and by source.
        spots: spot nets, averaged.
        spot_steps, spot_batch: optimizer steps of each, and windows in a batch.
        steps: optimizer steps of the presence net.
        planted, real, generated: sets of three (see `batches.ROLES`), clips of camera footage, and marked
            generated clips in a batch of it.
        frames: neighbouring frames of an example of it.
        learning_rate: peak, one-cycle.
        texture_nuisance, appearance_nuisance: how strongly each kernel machine forgets what re-encoding changes.
        texture_dimensions, appearance_dimensions: main directions each keeps.
        kernel_sharpness: of both kernels: gamma times the total variance.
        kernel_penalty: of their errors (scikit-learn's C).
        workers: processes for measuring.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path
    edited: str = "matched"
    out: Path = Path("out/tracenet")
    seed: int = 0
    variants: int = Field(default=5, ge=2)
    injections: int = Field(default=4, ge=0, le=9)
    planted_variants: tuple[int, ...] = (0, 2)
    folds: int = Field(default=4, ge=2)
    spots: int = Field(default=4, ge=1)
    spot_steps: int = Field(default=200, ge=1)
    spot_batch: int = Field(default=32, ge=2)
    steps: int = Field(default=600, ge=1)
    planted: int = Field(default=6, ge=0)
    real: int = Field(default=2, ge=1)
    generated: int = Field(default=1, ge=0)
    frames: int = Field(default=8, ge=4)
    learning_rate: float = Field(default=3e-3, gt=0)
    texture_nuisance: float = Field(default=10.0, ge=0)
    texture_dimensions: int = Field(default=200, ge=1)
    appearance_nuisance: float = Field(default=0.0, ge=0)
    appearance_dimensions: int = Field(default=200, ge=1)
    kernel_sharpness: float = Field(default=0.6, gt=0)
    kernel_penalty: float = Field(default=1.0, gt=0)
    workers: int = Field(default=1, ge=1)

    @classmethod
    def read(cls, path: str | Path, **changes: Any) -> TraceNetConfig:
        """The config in a JSON file, with `changes` on top; relative folders are relative to the working directory.

        Raises:
            SettingsError: the file is missing, no JSON, or holds a field that makes no sense.
        """
        return read_config(cls, path, "examples/tracenet.json", **changes)
