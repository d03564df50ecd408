"""The user's own encoder in the place of the one in the package: what the papers have, where its weights are at hand.

`baseline:NAME` with `backbone=FOLDER`: a folder as transformers saves a model, with `config.json` and its weights.

| `model_type` | rows of a clip | after |
|---|---|---|
| `xclip` | one a frame, seen with the others | X-CLIP (Ni et al., ECCV 2022, arXiv 2208.02816): DeMamba's, D3's |
| `videomae` | one a tubelet of frames, mean of patches | VideoMAE (Tong et al., NeurIPS 2022, arXiv 2203.12602) |
| `clip`, `clip_vision_model` | one a frame | CLIP (Radford et al., arXiv 2103.00020): the linear probe's, DeMamba's |
| `dinov2` | one a frame | DINOv2 (Oquab et al., arXiv 2304.07193): ReStraV's |

Only weights that are on the disk are read, and no code of a checkpoint is run. It needs torch and transformers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from deeptrace.errors import MissingExtraError, ModelError
from deeptrace.io.fingerprint import sha256_of

__all__ = ["Backbone", "backbone_digest", "load_backbone"]

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CLASSES = {
    "xclip": "XCLIPModel",
    "videomae": "VideoMAEModel",
    "clip": "CLIPModel",
    "clip_vision_model": "CLIPVisionModel",
    "dinov2": "Dinov2Model",
}
_WEIGHTS = ("*.safetensors", "*.bin")
_DIGITS = 12
_IMAGES_AT_ONCE = 16
_LEAST_ROWS = 4
"""Steps through time that the baselines' features need."""


@dataclass(frozen=True)
class Backbone:
    """An encoder of frames that is loaded.

    Attributes:
        kind: its `model_type`.
        side: pixels of the square that it takes.
        frames: that it sees at once; None where each frame is seen alone.
        mean, std: (3,) of its pixels, in [0, 1].
        run: pixels (1, T, 3, side, side) float32 to rows (n, D).
    """

    kind: str
    side: int
    frames: int | None
    mean: np.ndarray
    std: np.ndarray
    run: Callable[[np.ndarray], np.ndarray]

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """(n, D) float32 rows, rising in time, of square frames (T, S, S, 3) uint8.

        One that sees several frames at once gets as many as it was made for, spread over those given.
        """
        if self.frames is not None:
            frames = frames[np.linspace(0, len(frames) - 1, self.frames).round().astype(int)]
        shrinks = frames.shape[1] > self.side
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        small = np.stack([cv2.resize(frame, (self.side, self.side), interpolation=how) for frame in frames])
        pixels = ((small.astype(np.float32) / 255.0 - self.mean) / self.std).transpose(0, 3, 1, 2)
        step = len(pixels) if self.frames is not None else _IMAGES_AT_ONCE
        parts = [self.run(np.ascontiguousarray(pixels[None, at : at + step])) for at in range(0, len(pixels), step)]
        return np.concatenate(parts).astype(np.float32)


def backbone_digest(folder: str | Path) -> str:
    """What stands for the encoder in a folder: its weights and its config.

    Raises:
        ModelError: there is no config, or there are no weights.
    """
    place = Path(folder)
    files = sorted({file for pattern in _WEIGHTS for file in place.glob(pattern)})
    if not (place / "config.json").is_file() or not files:
        mend = "Name a folder with config.json and *.safetensors, as transformers saves a model."
        raise ModelError(str(folder), "holds no encoder", mend)
    read = [place / "config.json", *files]
    return _digest(tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in read))


@cache
def _digest(files: tuple[tuple[str, int, int], ...]) -> str:
    return hashlib.sha256("\n".join(sha256_of(Path(name)) for name, _, _ in files).encode()).hexdigest()[:_DIGITS]


@cache
def load_backbone(folder: str) -> Backbone:
    """The encoder in a folder, loaded once a process.

    Raises:
        ModelError: there is none, one of another kind, or its weights do not fit its config.
        MissingExtraError: torch or transformers is not installed.
    """
    backbone_digest(folder)
    try:
        import torch
        import transformers
    except ImportError as error:
        raise MissingExtraError("backbone", "hf") from error
    try:
        config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        kind = str(config["model_type"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder}/config.json", f"is no model's config: {error}") from error
    if kind not in _CLASSES:
        raise ModelError(f"{folder}/config.json", f"is of a {kind}", f"Encoders can be: {', '.join(_CLASSES)}.")
    transformers.utils.logging.disable_progress_bar()
    said = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity_error()  # a head left aside is no news; what is missing is said below
    try:
        model, loaded = getattr(transformers, _CLASSES[kind]).from_pretrained(
            folder, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(folder, f"cannot be loaded: {' '.join(str(error).split())[:200]}") from error
    finally:
        transformers.utils.logging.set_verbosity(said)
    if missing := sorted(name for name in loaded["missing_keys"] if "pooler" not in name):
        raise ModelError(folder, f"lacks {len(missing)} of its weights, {missing[0]} among them")
    model = getattr(model, "vision_model", model).eval()
    made = model.config
    frames = getattr(made, "num_frames", None)
    tubelet = int(getattr(made, "tubelet_size", 1))
    if frames is not None and frames // tubelet < _LEAST_ROWS:
        raise ModelError(folder, f"sees {frames} frames at once", f"At least {_LEAST_ROWS * tubelet} are needed.")
    side = made.image_size if isinstance(made.image_size, int) else made.image_size[0]

    def run(pixels: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            given = torch.from_numpy(pixels)
            if frames is not None and kind == "videomae":
                tokens = model(pixel_values=given).last_hidden_state[0]
                return np.asarray(tokens.reshape(frames // tubelet, -1, tokens.shape[-1]).mean(dim=1))
            return np.asarray(model(pixel_values=given[0]).pooler_output)

    mean, std = _normalisation(Path(folder))
    return Backbone(kind, int(side), frames, np.array(mean, np.float32), np.array(std, np.float32), run)


def _normalisation(folder: Path) -> tuple[Any, Any]:
    """Mean and spread of the pixels that it learned from: what its processor says, else those of ImageNet."""
    try:
        stated = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return IMAGENET_MEAN, IMAGENET_STD
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder}/preprocessor_config.json", f"cannot be read: {error}") from error
    mean, std = stated.get("image_mean") or IMAGENET_MEAN, stated.get("image_std") or IMAGENET_STD
    if len(mean) != 3 or len(std) != 3:
        raise ModelError(f"{folder}/preprocessor_config.json", "expected a mean and a spread for each of three colours")
    return mean, std
