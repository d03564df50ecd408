"""What a processor must know of a checkpoint, read from its small JSON files, and which processor that is.

Nothing large is touched.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from transformers import AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES
from transformers.utils.hub import cached_file

from deeptrace.detectors.vlm.hf.hub import hub_answers, read_object
from deeptrace.detectors.vlm.hf.processors.base import Manner, Processor
from deeptrace.detectors.vlm.hf.processors.prompt import CHATML
from deeptrace.detectors.vlm.hf.videollama3_layout import ORIGINAL_TYPES, native_config
from deeptrace.errors import ModelError
from deeptrace.video.sampling import FrameRequest

__all__ = [
    "PROCESSORS",
    "Checkpoint",
    "OwnProcessor",
    "Processing",
    "is_original",
    "load_processor",
    "read_config",
    "read_json",
]

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
        in more words, and requires the number of frames.
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


class OwnProcessor:
    """What the processors of our own share: the checkpoint's tokenizer, and the frames asked for.

    Args:
        checkpoint: whose files say how it prepares pixels.
        manner: how clips are shown.
    """

    def __init__(self, checkpoint: Checkpoint, manner: Manner) -> None:
        self.checkpoint, self.request = checkpoint, manner.request

    @property
    def tokenizer(self) -> Any:
        """The checkpoint's tokenizer."""
        return self.checkpoint.tokenizer

    @property
    def pad_id(self) -> int:
        """The token that fills a batch up."""
        return int(self.tokenizer.pad_token_id or 0)


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
            raise ModelError(name, f"{file} cannot be fetched from the hub: {error}") from error
    return None if path is None else read_object(Path(path), f"{name}/{file}")


_HERE = "deeptrace.detectors.vlm.hf.processors"
PROCESSORS = {
    "qwen2_vl": f"{_HERE}.qwen:QwenProcessor",
    "qwen2_5_vl": f"{_HERE}.qwen:QwenProcessor",
    "qwen3_vl": f"{_HERE}.qwen:QwenProcessor",
    "video_llama_3": f"{_HERE}.video_llama3:VideoLlama3Processor",
    "llava_onevision": f"{_HERE}.llava:LlavaProcessor",
    "video_llava": f"{_HERE}.llava:LlavaProcessor",
    "phi4_multimodal": f"{_HERE}.phi4_multimodal:Phi4MultimodalProcessor",
}
"""`model_type` of a config to "module:class" of its processor, made of a `Checkpoint` and a `Manner`."""
_OTHERS = f"{_HERE}.stock:StockProcessor"


def load_processor(
    folder_or_id: str | Path,
    *,
    request: FrameRequest | None = None,
    times: Literal["auto", "text"] = "auto",
    compress: bool | None = None,
) -> Processor:
    """The processor of a checkpoint; only its config.json is read before a sample is encoded.

    Args:
        folder_or_id: folder, or model id on the hub.
        request, times, compress: see `Manner`.

    Raises:
        ModelError: no checkpoint there, or one of a model that does not see.
    """
    name = str(folder_or_id)
    config = read_config(name)
    kind = str(config.get("model_type"))
    if kind not in PROCESSORS and kind not in MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES:
        raise ModelError(
            name, f"no processor for models of type {kind!r}: transformers has no vision model of this type"
        )
    module, _, attribute = PROCESSORS.get(kind, _OTHERS).partition(":")
    made: Processor = getattr(importlib.import_module(module), attribute)(
        Checkpoint(name, config), Manner(request or FrameRequest(), times, compress)
    )
    return made
