"""Find the encoder of a checkpoint by its config."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Literal

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
}
"""`model_type` of a config to "module:class" of its encoder, made of a `Checkpoint` and a `Manner`."""


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
        ModelError: no checkpoint there, or one of an architecture without an encoder.
    """
    name = str(folder_or_id)
    config = read_config(name)
    kind = config.get("model_type")
    if kind not in ENCODERS:
        raise ModelError(name, f"no encoder for models of type {kind!r}", f"There is one for {', '.join(ENCODERS)}.")
    module, _, attribute = ENCODERS[kind].partition(":")
    made: Encoder = getattr(importlib.import_module(module), attribute)(
        Checkpoint(name, config), Manner(budget or PixelBudget(), times, compress)
    )
    return made
