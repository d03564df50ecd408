"""Load a model: transformers' own class for its config, also from the original layout of VideoLLaMA 3."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedModel

from deeptrace.detectors.transformers.encode.checkpoint import is_original, read_config
from deeptrace.detectors.transformers.original_layout import KEY_MAPPING
from deeptrace.errors import ModelError

__all__ = ["load_model"]

_SHOWN = 8


def load_model(
    name: str,
    *,
    dtype: torch.dtype | str = "auto",
    device_map: Any = None,
    quantization_config: Any = None,
    **options: Any,
) -> PreTrainedModel:
    """The model in a folder or on the hub, in evaluation mode.

    Weights in several files and tied embeddings are taken as they come. A checkpoint whose weights do not fill the
    model to the last one is an error here, not a warning: parts left at random would still answer.

    Args:
        name: folder, or model id on the hub.
        dtype: of the weights; "auto" for that of the checkpoint.
        device_map: see transformers; None for the CPU.
        quantization_config: see transformers (bitsandbytes).
        options: anything else `from_pretrained` takes.

    Raises:
        ModelError: no checkpoint there, or one that the model's class does not take; names the weights at fault.
    """
    config, original = read_config(name), is_original(name)
    kind: Any = next(
        (getattr(transformers, named) for named in config.get("architectures") or () if hasattr(transformers, named)),
        AutoModelForImageTextToText,
    )
    if original:
        options |= {"config": AutoConfig.for_model(**config), "key_mapping": KEY_MAPPING}
    try:
        model, report = kind.from_pretrained(
            name,
            dtype=dtype,
            device_map=device_map,
            quantization_config=quantization_config,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below, with the others
            **options,
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise ModelError(name, f"does not load: {error}") from error
    _whole(name, report, unknown=original)
    if original:
        # Saved later, it is transformers' own layout, which any tool reads, and not the one it came in.
        model._weight_conversions = []
    loaded: PreTrainedModel = model.eval()
    return loaded


def _whole(name: str, report: dict[str, Any], *, unknown: bool) -> None:
    """Check what loading reported; weights that the model has no place for are an error where `unknown` says so.

    Raises:
        ModelError: weights are missing, unknown, or of another shape.
    """
    shapes = [entry[0] if isinstance(entry, tuple) else entry for entry in report.get("mismatched_keys") or ()]
    faults = (
        ("missing", sorted(report.get("missing_keys") or ())),
        ("unknown", sorted(report.get("unexpected_keys") or ()) if unknown else []),
        ("of another shape than the config says", sorted(shapes)),
    )
    said = [f"{len(keys)} weights {fault}: {_listed(keys)}" for fault, keys in faults if keys]
    if said:
        raise ModelError(name, "; ".join(said), "Is every file of the checkpoint there, and the config its own?")


def _listed(keys: list[str]) -> str:
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return ", ".join(keys[:_SHOWN]) + more
