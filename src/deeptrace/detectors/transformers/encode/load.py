"""Find the encoder of a checkpoint by its config."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Literal

from transformers.models.auto.modeling_auto import MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES

from deeptrace.detectors.transformers.encode.base import Encoder, Manner, PixelBudget
from deeptrace.detectors.transformers.encode.checkpoint import Checkpoint, read_config
from deeptrace.errors import ModelError

__all__ = ["ENCODERS", "load_encoder"]

_HERE = "deeptrace.detectors.transformers.encode"
ENCODERS = {
    "qwen2_vl": f"{_HERE}.qwen:QwenEncoder",
    "qwen2_5_vl": f"{_HERE}.qwen:QwenEncoder",
    "qwen3_vl": f"{_HERE}.qwen:QwenEncoder",
    "video_llama_3": f"{_HERE}.video_llama3:VideoLlama3Encoder",
    "llava_onevision": f"{_HERE}.llava:LlavaEncoder",
    "video_llava": f"{_HERE}.llava:LlavaEncoder",
    "phi4_multimodal": f"{_HERE}.phi4_multimodal:Phi4MultimodalEncoder",
}
"""`model_type` of a config to "module:class" of its encoder, made of a `Checkpoint` and a `Manner`."""
_OTHERS = f"{_HERE}.stock:StockEncoder"


def load_encoder(
    folder_or_id: str | Path,
    *,
    budget: PixelBudget | None = None,
    times: Literal["auto", "text"] = "auto",
    compress: bool | None = None,
) -> Encoder:
    """The encoder of a checkpoint; only its config.json is read before a sample is encoded.

    Args:
        folder_or_id: folder, or model id on the hub.
        budget: how large frames may be.
        times, compress: see `Manner`.

    Raises:
        ModelError: no checkpoint there, or one of a model that does not see.
    """
    name = str(folder_or_id)
    config = read_config(name)
    kind = str(config.get("model_type"))
    if kind not in ENCODERS and kind not in MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES:
        raise ModelError(name, f"no encoder for models of type {kind!r}: transformers has no such model that sees")
    module, _, attribute = ENCODERS.get(kind, _OTHERS).partition(":")
    made: Encoder = getattr(importlib.import_module(module), attribute)(
        Checkpoint(name, config), Manner(budget or PixelBudget(), times, compress)
    )
    return made
