"""Load a model or its adapters, with not one weight left out: transformers' own class for the config, also from the
original layout of VideoLLaMA 3.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedModel

from deeptrace.detectors.vlm.hf.processors.checkpoint import is_original, read_config
from deeptrace.detectors.vlm.hf.videollama3_layout import KEY_MAPPING
from deeptrace.errors import ModelError

__all__ = ["check_weights", "load_adapters", "load_model"]

_SHOWN = 8


def load_model(
    name: str,
    *,
    dtype: torch.dtype | str = "auto",
    device_map: Any = None,
    quantization_config: Any = None,
    exact: bool = False,
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
        exact: whether weights that the model has no place for are an error too; published checkpoints may hold some
            (buffers of older versions, parts for training), one of our own trainings may not.
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
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        raise ModelError(name, f"does not load: {error}") from error
    unknown = report.get("unexpected_keys") or () if exact or original else ()
    shapes = [entry[0] if isinstance(entry, tuple) else entry for entry in report.get("mismatched_keys") or ()]
    mend = "Check that all its files are there and the config is its own."
    check_weights(name, mend, missing=report.get("missing_keys") or (), unknown=unknown, reshaped=shapes)
    if original:
        # Saved later, it is transformers' own layout, which any tool reads, and not the one it came in.
        model._weight_conversions = []
    loaded: PreTrainedModel = model.eval()
    return loaded


def load_adapters(model: PreTrainedModel, name: str, *, subfolder: str | None = None) -> Any:
    """The model with the adapters of a folder or of the hub on it (a `PeftModel`), not merged.

    Args:
        model: base that the adapters were trained on.
        name: folder, or id on the hub.
        subfolder: where in it they are.

    Raises:
        ModelError: no adapters there, or ones that do not fit this model to the last weight.
    """
    import peft

    where: dict[str, Any] = {"subfolder": subfolder} if subfolder else {}
    unknown: list[str] = []
    # PEFT warns of missing weights; what it has no place for it drops without a word, but torch tells the model's hook.
    hook = model.register_load_state_dict_post_hook(lambda _, keys: unknown.extend(keys.unexpected_keys))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Found missing adapter keys")
            adapted = peft.PeftModel.from_pretrained(model, name, **where)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, UserWarning, SafetensorError) as error:
        why = " ".join(str(error).split())[:300] or type(error).__name__
        raise ModelError(f"adapter {name}", f"does not load: {why}", _OTHER_BASE) from error
    finally:
        hook.remove()
    check_weights(f"adapter {name}", _OTHER_BASE, unknown=unknown)
    return adapted


_OTHER_BASE = "Is it an adapter of this base?"


def check_weights(
    name: str,
    mend: str,
    *,
    missing: Iterable[str] = (),
    unknown: Iterable[str] = (),
    reshaped: Iterable[str] = (),
) -> None:
    """Refuse weights that do not fill their model, or do not fit into it; the first few of each fault are named.

    Args:
        name: checkpoint that they are of.
        mend: what to do about it.
        missing: names of weights that the model has and the checkpoint lacks.
        unknown: names of weights that the model has no place for.
        reshaped: names of weights that have another shape in the model.

    Raises:
        ModelError: any of them is not empty.
    """
    faults = (
        ("missing", sorted(missing)),
        ("unknown", sorted(unknown)),
        ("of a shape other than the model's", sorted(reshaped)),
    )
    said = [f"{len(keys)} weights {fault}: {_listed(keys)}" for fault, keys in faults if keys]
    if said:
        raise ModelError(name, "; ".join(said), mend)


def _listed(keys: list[str]) -> str:
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return ", ".join(keys[:_SHOWN]) + more
