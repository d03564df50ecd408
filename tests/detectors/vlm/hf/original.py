"""Writes a tiny checkpoint in the original layout of VideoLLaMA 3, as its authors' code saves one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

PLACES = (
    ("model.vision_model.", "model.vision_encoder."),
    ("model.projector.", "model.mm_projector."),
    ("model.language_model.", "model."),
)
# Their template writes one placeholder for each frame, of which it must be told.
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for content in message['content'] %}"
    "{% if content['type'] == 'video' %}{% for i in range(content['num_frames']) %}<image>{% endfor %}"
    "{% else %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
)


def original_name(name: str, *, wrapped: bool = False) -> str:
    """The original name of a weight; `wrapped` as the training code saves it, with the tower in a module more."""
    for here, there in PLACES:
        if name.startswith(here):
            tower = "vision_encoder." if wrapped and "vision" in there else ""
            return there + tower + name.removeprefix(here)
    return name


def write_original(native: Path, folder: Path, *, wrapped: bool = False, shards: int = 1, tied: bool = False) -> Path:
    """The checkpoint in `native` once more in `folder`, in the original layout; `tied` leaves lm_head out."""
    folder.mkdir(parents=True)
    weights = {
        original_name(name, wrapped=wrapped): value for name, value in load_file(native / "model.safetensors").items()
    }
    if tied:
        del weights["lm_head.weight"]
    _save(weights, folder, shards)
    (folder / "config.json").write_text(json.dumps(_config(native, tied=tied)))
    for file in ("tokenizer.json", "tokenizer_config.json"):
        text = (native / file).read_text().replace("<|image_pad|>", "<image>")
        (folder / file).write_text(text)
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    pixels = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "rescale_factor": 1 / 255, "patch_size": 14}
    (folder / "preprocessor_config.json").write_text(json.dumps(pixels))
    return folder


def _config(native: Path, *, tied: bool) -> dict[str, Any]:
    config = json.loads((native / "config.json").read_text())
    text, vision = config["text_config"], config["vision_config"]
    rope = text.pop("rope_parameters")
    return text | {
        "model_type": "videollama3_qwen2",
        "architectures": ["Videollama3Qwen2ForCausalLM"],
        "rope_theta": rope["rope_theta"],
        "vision_encoder": None,
        "vision_encoder_config": vision | {"model_type": "videollama3_vision_encoder"},
        "mm_projector_type": "mlp2x_gelu",
        "image_token_index": config["image_token_id"],
        "use_token_compression": True,
        "tie_word_embeddings": tied,
    }


def _save(weights: dict[str, torch.Tensor], folder: Path, shards: int) -> None:
    names = sorted(weights)
    if shards == 1:
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return
    where = {name: f"model-{index % shards + 1:05d}-of-{shards:05d}.safetensors" for index, name in enumerate(names)}
    for file in set(where.values()):
        part = {name: weights[name] for name in names if where[name] == file}
        save_file(part, folder / file, metadata={"format": "pt"})
    size = sum(value.numel() * value.element_size() for value in weights.values())
    index = {"metadata": {"total_size": size}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
