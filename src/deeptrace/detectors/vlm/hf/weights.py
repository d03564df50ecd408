"""Load a model's weights: dtype, device, quantization, adapter; every failure as one clear line."""

from __future__ import annotations

import importlib.util
from typing import Any

import torch
import transformers

from deeptrace.detectors.vlm.hf import model_classes
from deeptrace.detectors.vlm.hf.checkpoint import Source
from deeptrace.detectors.vlm.hf.settings import Options
from deeptrace.errors import ModelError, SettingsError, install_command

__all__ = ["device_of", "dtype_of", "load_model"]


def device_of(options: Options) -> str:
    """The device that "auto" means here, or the one asked for."""
    if options.device != "auto":
        return options.device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def dtype_of(options: Options, config: dict[str, Any]) -> torch.dtype:
    """The dtype that "auto" means for a model with `config`, here, or the one asked for."""
    if options.dtype != "auto":
        found: torch.dtype = getattr(torch, options.dtype)
        return found
    if device_of(options) == "cpu" and options.device_map is None:
        return torch.float32
    stated = config.get("dtype") or config.get("torch_dtype")
    known = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
    return known.get(str(stated), torch.bfloat16)


def load_model(source: Source) -> Any:
    """The model, ready to generate.

    Raises:
        SettingsError: a device that is not here, quantization without bitsandbytes.
        ModelError: the weights cannot be loaded, or do not fit.
    """
    options, name = source.options, source.base
    device = _checked_device(options)
    dtype = dtype_of(options, source.config)
    attention: dict[str, Any] = {"attn_implementation": options.attention} if options.attention else {}
    shown = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()  # bars are the command line's
    try:
        model: Any = model_classes.load_model(
            name,
            dtype=dtype,
            device_map=options.device_map or device,
            quantization_config=_quantization(options, dtype),
            **attention,
        )
        _see_both_ways(model)
        return _with_adapter(model, options).eval() if options.adapter is not None else model
    except torch.cuda.OutOfMemoryError as error:
        raise ModelError(name, "does not fit into the GPU's memory", _SMALLER) from error
    finally:
        if shown:
            transformers.utils.logging.enable_progress_bar()


_SMALLER = "Try --set quantization=4, or device_map=auto over several GPUs."


def _see_both_ways(model: Any) -> None:
    """Let every patch of Phi-4's frames see every other one.

    Its attention in transformers 5.24 calls itself causal. That is without effect while a mask says otherwise, but
    frames that fill their tiles have none under SDPA: then patches would see only those before them.
    """
    for module in model.modules():
        if type(module).__name__ == "Phi4MultimodalVisionAttention":
            module.is_causal = False


def _checked_device(options: Options) -> str:
    device = device_of(options)
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise SettingsError(f"hf: device={device}", "torch finds no such GPU here", "Use device=cpu.")
    return device


def _quantization(options: Options, dtype: torch.dtype) -> Any:
    if options.quantization is None:
        return None
    if importlib.util.find_spec("bitsandbytes") is None:
        raise SettingsError(
            f"hf: quantization={options.quantization}",
            "needs bitsandbytes, which is not installed",
            f"Install it with: {install_command('qlora')}",
        )
    if options.quantization == 8:
        return transformers.BitsAndBytesConfig(load_in_8bit=True)
    return transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype, bnb_4bit_use_double_quant=True
    )


def _with_adapter(model: Any, options: Options) -> Any:
    adapted = model_classes.load_adapters(model, options.adapter or "", subfolder=options.adapter_folder)
    if options.merge and options.quantization is None:
        return adapted.merge_and_unload()
    return adapted
