"""What `hf:NAME` names: a checkpoint, or an adapter with its base; with the settings kept beside them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deeptrace.detectors.vlm.hf.hub import kept_settings
from deeptrace.detectors.vlm.hf.processors.checkpoint import read_config, read_json
from deeptrace.detectors.vlm.hf.settings import Options
from deeptrace.detectors.vlm.paper_models import PAPER_SAMPLING, paper_model
from deeptrace.detectors.vlm.settings import read_settings
from deeptrace.errors import ModelError, SettingsError
from deeptrace.video.sampling import FrameRequest

__all__ = ["Source", "resolve"]

_SPACES = {"qwen2_vl": "permille", "qwen2_5_vl": "resized_pixels", "qwen3_vl": "permille", "qwen3_vl_moe": "permille"}
_SAMPLING = {
    "video_llava": FrameRequest(frames=8),
    "llava_onevision": FrameRequest(fps=1.0, max_frames=20),
}
_EDGE = 1 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """A model, found.

    Attributes:
        name: as the user gave it.
        base: folder or hub id of the weights.
        config: its config.json, as transformers' own class has it.
        options: settings, complete: the user's, then those kept beside adapter and checkpoint, then the model's.
    """

    name: str
    base: str
    config: dict[str, Any]
    options: Options

    @property
    def digest(self) -> str:
        """A short name of the weights in a local folder, by sizes and ends of the files; the id of a model on the hub.

        A folder that was trained again has another one, so that no earlier answer is taken for its own.
        """
        return "+".join(_digest(part) for part in (self.base, self.options.adapter) if part)


def resolve(rest: str, settings: dict[str, Any]) -> Source:
    """What `hf:rest` names, with complete settings. Reads small JSON files only.

    Raises:
        SettingsError: no model is named, or a setting is invalid.
        ModelError: there is no model there.
    """
    if not rest:
        raise SettingsError("hf:", "names no model", "As in hf:Qwen/Qwen2.5-VL-7B-Instruct, or hf:FOLDER.")
    base, given = rest, dict(settings)
    if read_json(rest, "config.json") is None:
        adapter = read_json(rest, "adapter_config.json")
        if adapter is None:
            raise ModelError(rest, "no model there: it has neither config.json nor adapter_config.json")
        base = str(given.pop("base", None) or adapter.get("base_model_name_or_path") or "")
        given["adapter"] = rest
        _check_base(rest, base)
    elif "base" in given:
        raise SettingsError("hf: base", "applies to adapters only")
    kept = kept_settings(base) | (kept_settings(str(given["adapter"])) if given.get("adapter") else {})
    options = read_settings(Options, "hf", {name: value for name, value in (kept | given).items() if name != "base"})
    if options.adapter is not None:
        _check_adapter(options.adapter, options.adapter_folder)
    config = read_config(base)
    kind = str(config.get("model_type"))
    known = paper_model(base)
    sampling = known.sampling if known is not None else _SAMPLING.get(kind, PAPER_SAMPLING)
    return Source(rest, base, config, options.completed(space=_SPACES.get(kind, "resized_pixels"), sampling=sampling))


def _check_base(adapter: str, base: str) -> None:
    """Raise ModelError when the base of an adapter is not there."""
    why = "has no config.json" if base else "is not stated"
    try:
        if base and read_json(base, "config.json") is not None:
            return
    except ModelError as error:
        why = error.problem
    raise ModelError(adapter, f"its base model {base!r}: {why}", "Name it: --set base=FOLDER_OR_ID.")


def _check_adapter(adapter: str, folder: str | None) -> None:
    """Raise ModelError when there is no adapter, before the model that it belongs to is loaded."""
    file = "adapter_config.json" if folder is None else f"{folder}/adapter_config.json"
    try:
        found = read_json(adapter, file)
    except ModelError as error:
        raise ModelError(f"adapter {adapter}", error.problem) from error
    if found is None:
        raise ModelError(f"adapter {adapter}", f"has no {file}", "Name the adapter's folder, or its id on the hub.")


def _digest(name: str) -> str:
    if not Path(name).is_dir():
        return name
    found = hashlib.sha256()
    for path in sorted(Path(name).iterdir()):
        if path.suffix in (".safetensors", ".bin", ".json") and path.is_file():
            size = path.stat().st_size
            found.update(json.dumps([path.name, size]).encode())
            with path.open("rb") as file:
                found.update(file.read(_EDGE))
                if size > _EDGE:
                    file.seek(max(size - _EDGE, _EDGE))
                    found.update(file.read(_EDGE))
    return found.hexdigest()[:16]
