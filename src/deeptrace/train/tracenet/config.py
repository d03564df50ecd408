"""Every choice of a TraceNet training, in one place."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic import Field

from deeptrace.detectors.tracenet.appearance import IMAGENET_MEAN, IMAGENET_STD, AppearanceNet, EncoderFacts
from deeptrace.train.config_file import FileConfig

__all__ = ["SHIPPED", "TRAIN", "TraceNetConfig", "encoder_of"]

TRAIN, SHIPPED = "train", "shipped"
"""What `TraceNetConfig.nets` may say beside a folder."""


class TraceNetConfig(FileConfig):
    """A training of TraceNet; the JSON file of `deeptrace train tracenet CONFIG` holds these fields.

    Attributes:
        data: folder with `all_data.json` (RewardData format) and the clips beside it; or several such folders, gathered
            at different times from different places ("eras"). With `nets` kept, each is also judged by what the others
            teach, and the thresholds come from that.
        edited: folder below `data` with matched pairs `PAIR__real.*` and `PAIR__METHOD.*`; "" for none. The edited
            versions count as generated, with their source as a negative of the same content.
        nets: "train"; or the folder of a model whose trace nets are kept, to the bit ("shipped": the model in the
            package): then the clip's probability and its thresholds alone are learned, in minutes.
        marks: with `nets` kept, learn the other half instead: what marked traces teach (the heat-map heads, when such
            traces are there, their kinds and scores), from the generated clips of all data folders; the rest of that
            model stays as it is, its probability and thresholds included.
        appearance: "shipped"; or an ONNX file of another image encoder (DINOv2, MobileCLIP ...) to read appearance off,
            see `detectors.tracenet.appearance.AppearanceNet`. It is copied beside the model.
        appearance_mean: red, green and blue that such an encoder expects taken off colours from 0 to 1.
        appearance_std: what it expects them divided by.
        out: where measurements, checkpoints, the log and the exported model go.
        seed: seed of every random choice.
        variants: how often each clip is measured: once as it is, once in one encoding for all, else degraded at random.
        injections: synthetic traces, each at two severities, put into each synthetic variant of a real clip.
        synthetic_variants: numbers of those variants.
        folds: cross-fitting folds, by generator and by source.
        heads: number of heat-map heads, averaged.
        head_steps: optimizer steps of each heat-map head.
        head_batch: windows in a batch of it.
        steps: optimizer steps of the presence net.
        synthetic: sets of three (see `batches.ROLES`) in a batch of the presence net.
        real: clips of camera footage in a batch.
        generated: marked generated clips in a batch.
        frames: neighbouring frames of an example.
        learning_rate: peak, one-cycle.
        texture_nuisance: how strongly the kernel machine of texture forgets what re-encoding changes.
        appearance_nuisance: the same for appearance.
        texture_dimensions: main directions that texture keeps.
        appearance_dimensions: main directions that each view of appearance keeps.
        kernel_sharpness: of both kernels: gamma times the total variance.
        kernel_penalty: of their errors (scikit-learn's C).
        flaw_clips: camera clips that get ladders of synthetic traces for the flaw ranker (see `flaws`); 0 for no
            ranker.
        workers: processes for measuring.
    """

    example = "examples/tracenet.json"

    data: Path | tuple[Path, ...]
    edited: str = "matched"
    nets: str = TRAIN
    marks: bool = False
    appearance: str = SHIPPED
    appearance_mean: tuple[float, float, float] = IMAGENET_MEAN
    appearance_std: tuple[float, float, float] = IMAGENET_STD
    out: Path = Path("out/tracenet")
    seed: int = 0
    variants: int = Field(default=5, ge=2)
    injections: int = Field(default=4, ge=0, le=9)
    synthetic_variants: tuple[int, ...] = (0, 2)
    folds: int = Field(default=4, ge=2)
    heads: int = Field(default=4, ge=1)
    head_steps: int = Field(default=200, ge=1)
    head_batch: int = Field(default=32, ge=2)
    steps: int = Field(default=600, ge=1)
    synthetic: int = Field(default=6, ge=0)
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
    flaw_clips: int = Field(default=60, ge=0)
    workers: int = Field(default=1, ge=1)

    def encoder(self) -> AppearanceNet | None:
        """What `appearance` names, loaded once in a process; None: the shipped net.

        Raises:
            ModelError: it is missing, or no image encoder.
        """
        if self.appearance == SHIPPED:
            return None
        return encoder_of(Path(self.appearance), self.appearance_mean, self.appearance_std)


@cache
def encoder_of(path: Path, mean: tuple[float, float, float], std: tuple[float, float, float]) -> AppearanceNet:
    """An image encoder, loaded once in a process.

    Raises:
        ModelError: it is missing, or no image encoder.
    """
    return AppearanceNet(path, EncoderFacts(mean=mean, std=std))
