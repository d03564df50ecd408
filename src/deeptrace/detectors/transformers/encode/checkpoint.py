"""What an encoder must know of a checkpoint, read from its small JSON files: nothing large is touched."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer
from transformers.utils.hub import cached_file

from deeptrace.detectors.transformers.encode.prompt import CHATML
from deeptrace.detectors.transformers.hub import hub_answers
from deeptrace.detectors.transformers.original_layout import ORIGINAL_TYPES, native_config
from deeptrace.errors import ModelError

__all__ = ["Checkpoint", "Processing", "is_original", "read_config", "read_json"]

_PROCESSOR_FILES = ("video_preprocessor_config.json", "preprocessor_config.json")


@dataclass(frozen=True, slots=True)
class Processing:
    """How pixels become numbers, as the checkpoint was trained.

    Attributes:
        mean, std: by channel.
        scale: factor of the pixels before that.
        resample: filter, PIL's number.
        patch: side of a patch, in pixels.
        merge: patches merged into one token, by side.
        temporal: frames in a patch.
        compress: drop tokens that hardly differ from the frame before (VideoLLaMA 3).
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float
    resample: int
    patch: int
    merge: int
    temporal: int
    compress: bool


class Checkpoint:
    """A folder, or a model id on the hub, of which only small files are read.

    Args:
        name: folder or id.
        config: its config.json, in the layout of transformers' own class.
    """

    def __init__(self, name: str, config: dict[str, Any]) -> None:
        self.name, self.config = name, config

    @property
    def vision(self) -> dict[str, Any]:
        """The config of the vision tower."""
        return dict(self.config.get("vision_config") or {})

    @cached_property
    def tokenizer(self) -> Any:
        """The checkpoint's tokenizer.

        Raises:
            ModelError: there is none that loads.
        """
        try:
            return AutoTokenizer.from_pretrained(self.name)
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise ModelError(self.name, f"its tokenizer does not load: {error}") from error

    def chat_template(self, video: str, *, fallback: str | None = None) -> str:
        """Its chat template: the tokenizer's, that of chat_template.json, `fallback`, or a plain one with `video`.

        The plain one is also what VideoLLaMA 3 was trained with; the template that its authors publish says the same
        in more words, and wants to be told the number of frames.
        """
        own = self.tokenizer.chat_template or (read_json(self.name, "chat_template.json") or {}).get("chat_template")
        if not isinstance(own, str) or not own or "num_frames" in own:
            return fallback or CHATML.replace("VIDEO", video)
        return own

    def processing(self, *, mean: tuple[float, ...], std: tuple[float, ...], temporal: int, merge: int) -> Processing:
        """How it prepares pixels; what its files do not say is the family's, given here."""
        said: dict[str, Any] = (read_json(self.name, "processor_config.json") or {}).get("video_processor") or {}
        for file in _PROCESSOR_FILES:
            said = said or read_json(self.name, file) or {}
        vision = self.vision
        return Processing(
            mean=tuple(said.get("image_mean") or mean),
            std=tuple(said.get("image_std") or std),
            scale=float(said.get("rescale_factor") or 1 / 255),
            resample=int(said.get("resample") or 3),
            patch=int(vision.get("patch_size") or said.get("patch_size") or 14),
            merge=int(vision.get("spatial_merge_size") or merge),
            temporal=int(vision.get("temporal_patch_size") or temporal),
            compress=bool(self.config.get("use_token_compression", said.get("use_token_compression", True))),
        )


def is_original(name: str) -> bool:
    """Whether a checkpoint is in the original layout of VideoLLaMA 3.

    Raises:
        ModelError: see `read_json`.
    """
    return (read_json(name, "config.json") or {}).get("model_type") in ORIGINAL_TYPES


def read_config(name: str) -> dict[str, Any]:
    """The config.json of a checkpoint, as transformers' own class has it.

    Raises:
        ModelError: it has none; see also `read_json`.
    """
    config = read_json(name, "config.json")
    if config is None:
        raise ModelError(name, "no model there: it has no config.json")
    return native_config(config) if config.get("model_type") in ORIGINAL_TYPES else config


def read_json(name: str, file: str) -> dict[str, Any] | None:
    """A small JSON file of a checkpoint in a folder or on the hub; None where it has none.

    Raises:
        ModelError: no such folder or model (see `hub_answers`), or the file is no JSON object.
    """
    path: str | Path | None = Path(name) / file
    if not Path(name).is_dir():
        kept = {"local_files_only": True} if not hub_answers(name) else {}
        try:
            path = cached_file(name, file, _raise_exceptions_for_missing_entries=False, **kept)
        except OSError as error:
            raise ModelError(name, f"{file} cannot be had from the hub: {error}") from error
    if path is None or not Path(path).is_file():
        return None
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{name}/{file}", f"no JSON: {error}") from error
    if not isinstance(found, dict):
        raise ModelError(f"{name}/{file}", "no JSON object")
    return found
