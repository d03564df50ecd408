"""Load a language model for training, give it adapters, and write what was trained so that `hf:FOLDER` reads it."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import PreTrainedModel
from transformers.utils.hub import cached_file

from deeptrace.detectors.vlm.hf.hub import SETTINGS_FILE
from deeptrace.detectors.vlm.hf.model_classes import check_weights, load_adapters, load_model
from deeptrace.detectors.vlm.hf.processors import Processor
from deeptrace.errors import MissingExtraError, ModelError, SettingsError
from deeptrace.io.atomic import atomic_path
from deeptrace.train.vlm.attention import VARLEN, use_attention
from deeptrace.train.vlm.settings import ModelSettings

__all__ = ["base_model", "complete_folder", "load_trainable", "merge_adapters", "restore_weights", "save_trained"]

_VISION = ("visual", "vision_model", "vision_tower", "image_embed")
# What a checkpoint needs beside weights, config and tokenizer, so that its processor works as its base's does.
_SMALL_FILES = (
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "processor_config.json",
    "chat_template.json",
)


def load_trainable(settings: ModelSettings) -> Any:
    """The model with what learns set apart: all weights, all but the vision tower, or adapters (a `PeftModel`).

    Raises:
        ModelError: no such checkpoint, or one that transformers cannot load.
        MissingExtraError: 4-bit weights without bitsandbytes, adapters without peft.
        SettingsError: no layer has a name as in `targets`.
    """
    model: Any = _load(settings)
    use_attention(model, VARLEN if settings.attention == "varlen" else settings.attention)
    if settings.tuning == "full":
        for name, weight in model.named_parameters():
            weight.requires_grad_(not (settings.freeze_vision and _is_vision(name)))
    else:
        model = _with_adapters(model, settings)
    if settings.checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return model


def base_model(model: Any) -> PreTrainedModel:
    """The model of transformers within adapters, or the model itself."""
    found: PreTrainedModel = model.get_base_model() if hasattr(model, "get_base_model") else model
    return found


def restore_weights(model: Any, checkpoint: Path) -> None:
    """Put the weights that a training kept back into its model: every one of them, and no other.

    Checkpoints of whole models have the names that their architecture is published under (`visual.blocks.0`), which
    for some are not the names in the model (`model.visual.blocks.0`). So they are read as `hf:` reads them, by a loader
    that knows both; torch's own `load_state_dict` does not, and transformers' Trainer leaves it at a warning.

    Args:
        model: of `load_trainable`, with the settings that the training had.
        checkpoint: folder.

    Raises:
        ModelError: weights are missing, unknown or of another shape; names the checkpoint and the first few.
    """
    if hasattr(model, "load_adapter") and hasattr(model, "get_base_model"):
        try:
            found = model.load_adapter(str(checkpoint), model.active_adapters[0], is_trainable=True)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            why = " ".join(str(error).split())[:300] or type(error).__name__
            raise ModelError(str(checkpoint), f"does not load: {why}", _GO_ON) from error
        check_weights(str(checkpoint), _GO_ON, missing=found.missing_keys, unknown=found.unexpected_keys)
        return
    try:
        kept = load_model(str(checkpoint), dtype=model.dtype, exact=True).state_dict()
    except ModelError as error:
        raise ModelError(error.subject, error.problem, _GO_ON) from error
    own = model.state_dict()
    check_weights(
        str(checkpoint),
        _GO_ON,
        missing=own.keys() - kept.keys(),
        unknown=kept.keys() - own.keys(),
        reshaped=[name for name in own.keys() & kept.keys() if own[name].shape != kept[name].shape],
    )
    model.load_state_dict(kept)


_GO_ON = "Remove it to go on from the checkpoint before it, or use a new folder."


def merge_adapters(settings: ModelSettings, adapters: Path, folder: Path) -> None:
    """Write the base with the adapters' weights added to its own, in the base's precision.

    Raises:
        ModelError: as `load_trainable`.
    """
    merged = load_adapters(_load(settings, quantized=False), str(adapters))
    merged.merge_and_unload().save_pretrained(folder)


def save_trained(model: Any, base: str, processor: Processor, detector: Mapping[str, Any], folder: Path) -> None:
    """Write weights (of adapters alone, where the model has some) and all else that `hf:FOLDER` needs.

    Args:
        model: of `load_trainable`.
        base: checkpoint that it started from.
        processor: of the model.
        detector: of `detector_settings`.
        folder: made if missing.
    """
    model.save_pretrained(folder)
    complete_folder(folder, base, processor, detector)


def complete_folder(folder: Path, base: str, processor: Processor, detector: Mapping[str, Any]) -> None:
    """Put tokenizer, the preprocessor's files of the base and the detector's settings beside weights in `folder`."""
    processor.tokenizer.save_pretrained(folder)
    for name in _SMALL_FILES:
        found: str | Path | None = Path(base) / name
        if not Path(base).is_dir():
            found = cached_file(base, name, _raise_exceptions_for_missing_entries=False)
        if found is not None and Path(found).is_file():
            shutil.copyfile(found, folder / name)
    with atomic_path(folder / SETTINGS_FILE) as scratch:
        scratch.write_text(json.dumps(dict(detector), indent=1) + "\n", encoding="utf-8")


def _load(settings: ModelSettings, *, quantized: bool = True) -> PreTrainedModel:
    bits = _four_bits() if settings.tuning == "qlora" and quantized else None
    return load_model(settings.base, dtype=getattr(torch, settings.dtype), quantization_config=bits)


def _four_bits() -> Any:
    from transformers import BitsAndBytesConfig

    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingExtraError("tuning qlora", "qlora")
    config: Any = BitsAndBytesConfig
    return config(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def _with_adapters(model: PreTrainedModel, settings: ModelSettings) -> Any:
    try:
        from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
    except ImportError:
        raise MissingExtraError(f"tuning {settings.tuning}", "mllm") from None
    prepare: Any = prepare_model_for_kbit_training
    if settings.tuning == "qlora":
        model = prepare(model, use_gradient_checkpointing=False)
    adapters = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=settings.targets,
        task_type="CAUSAL_LM",
    )
    try:
        found = get_peft_model(model, adapters)
    except ValueError as error:
        raise SettingsError("targets", str(error), "Name linear layers of the model.") from error
    return found


def _is_vision(name: str) -> bool:
    return any(f"{part}." in name for part in _VISION)
