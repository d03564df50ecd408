"""Choices that every training of a language model has: which model, what it sees, what it is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

import deeptrace
from deeptrace.data.exporters.conversations import Per
from deeptrace.errors import DataError
from deeptrace.prompts import AnswerForm, Style, TimeUnit, coordinate_space
from deeptrace.video.sampling import FrameRequest

__all__ = [
    "AugmentSettings",
    "DataPart",
    "FormSettings",
    "ModelSettings",
    "Settings",
    "ViewSettings",
    "detector_settings",
    "tiny_fields",
]


class Settings(BaseModel):
    """A part of a config; unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelSettings(Settings):
    """The model and which of its weights learn.

    Attributes:
        base: folder of a checkpoint, or its id on the hub.
        tuning: "full" for all weights; "lora" for low-rank adapters; "qlora" for adapters on a base in 4 bits.
        rank: of the adapters.
        alpha: weight of the adapters, times 1 / rank.
        dropout: share of the adapters' inputs that is left out at random.
        targets: names of the layers that get adapters, as a regular expression over their full names or a list of
            endings; by default every linear layer of the language model.
        dtype: of the weights: "bfloat16" halves memory, and small steps of a full tuning are partly lost in rounding;
            "float32" computes in bfloat16 all the same where a GPU does ("mixed"). Adapters are always float32.
        freeze_vision: leave the vision tower as it is.
        attention: "varlen" for our variable-length attention (vision windows, packed samples), "sdpa" for
            transformers' own; any other name is passed on.
        checkpointing: recompute activations in the backward pass instead of keeping them.
    """

    base: str
    tuning: Literal["full", "lora", "qlora"] = "full"
    rank: int = Field(default=16, ge=1)
    alpha: int = Field(default=32, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: str | list[str] = r"(.*language_model|model\.layers)\..*\.(q|k|v|o|qkv|gate|up|gate_up|down)_proj"
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    freeze_vision: bool = False
    attention: str = "varlen"
    checkpointing: bool = True


class ViewSettings(FrameRequest):
    """What the model sees of a clip, and where decoded frames are kept.

    Attributes:
        times: "text" to write the frames' times into the question where the architecture has another way.
        cache: folder for decoded frames; None decodes each time.
        cache_quality: of the JPEG frames in it, 1 to 100; 101 for PNG, which loses nothing and is five times as large.
    """

    fps: float | None = Field(default=2.0, gt=0)
    max_frames: int | None = Field(default=20, ge=1)
    times: Literal["auto", "text"] = "auto"
    cache: Path | None = None
    cache_quality: int = Field(default=95, ge=1, le=101)


class FormSettings(Settings):
    """What is asked and answered; the paper's ablations drop parts.

    Attributes:
        box: whether an answer says where.
        time: whether it says when.
        explanation: whether it says why.
        style: wording, see `prompts.Style`.
        space: coordinate space of boxes, by name (`prompts.SPACES`).
        times: unit of times.
        per: "row" for one example a trace, as in the paper; "video" for all traces of a video in one answer.
    """

    box: bool = True
    time: bool = True
    explanation: bool = True
    style: Style = Style.SENTENCE
    space: str = "pixels"
    times: TimeUnit = TimeUnit.SECONDS
    per: Per = "row"

    @property
    def form(self) -> AnswerForm:
        """As the protocol takes it.

        Raises:
            SettingsError: no such coordinate space.
        """
        return AnswerForm(
            style=self.style,
            box=self.box,
            time=self.time,
            explanation=self.explanation,
            space=coordinate_space(self.space),
            times=self.times,
        )


class DataPart(Settings):
    """One dataset of the mixture.

    Attributes:
        path: RewardData folder or annotation file; `deeptrace synth` writes such folders.
        split: which of its videos.
        repeat: how often its examples come in an epoch; below 1 a new random share of them each epoch.
    """

    path: str
    split: str = "train"
    repeat: float = Field(default=1.0, gt=0)


class AugmentSettings(Settings):
    """Changes of what is shown under which boxes and times stay true.

    Attributes:
        chance: of each of the two changes, for each example.
        least_time: temporal crop: least share of the clip that is kept; 1 for none.
        least_side: crop of the frame, which moves the coordinates: least share of each side kept; 1 for none.
    """

    chance: float = Field(default=0.5, ge=0, le=1)
    least_time: float = Field(default=1.0, gt=0, le=1)
    least_side: float = Field(default=1.0, gt=0, le=1)


TINY_VIEW = ViewSettings(max_frames=4, min_frame_pixels=28 * 28, max_frame_pixels=112 * 84)
TINY_FORM = FormSettings(explanation=False, per="video")


def tiny_fields(base: Path, out: Path) -> dict[str, Any]:
    """What the tiny trainings have in common (`--tiny`): a tiny base, and the example clips, to learn and to measure.

    Raises:
        DataError: the clips are not here.
    """
    clips = DataPart(path=str(_example_clips()), split="all")
    model = ModelSettings(base=str(base), dtype="float32", attention="sdpa", checkpointing=False)
    view = TINY_VIEW.model_copy(update={"cache": base.parent / "frames"})
    return {"model": model, "data": [clips], "validation": clips, "view": view, "form": TINY_FORM, "out": out}


def _example_clips() -> Path:
    """The folder of the example clips: of the clone that this code is in, or of the working directory."""
    for folder in (Path(deeptrace.__file__).parents[2] / "examples", Path("examples")):
        if (folder / "all_data.json").is_file() and (folder / "coffee.mp4").is_file():
            return folder
    raise DataError("examples", "the example clips are not here", "Run this in a clone of the repository.")


def detector_settings(view: ViewSettings, form: FormSettings) -> dict[str, Any]:
    """Settings under which `hf:FOLDER` asks a trained model what it was trained to answer, of what it was shown."""
    styles = {Style.SENTENCE: "fine-tuning", Style.TAGS: "zero-shot", Style.JSON: "json"}
    return {
        "form": styles[form.style],
        "without": [part for part in ("box", "time", "explanation") if not getattr(form, part)],
        "space": form.space,
        "times": view.times,
        **view.model_dump(include=set(FrameRequest.model_fields)),
    }
