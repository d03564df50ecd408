"""Tiny checkpoints with random weights and a tokenizer of their own, saved as the real ones are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers

from deeptrace.train.vlm.tiny import TEXT_CONFIG, VISION_CONFIG, make_tiny_model, special_ids
from deeptrace.train.vlm.tiny import tiny_config as qwen_config
from deeptrace.train.vlm.tiny import tiny_tokenizer as qwen_tokenizer

KINDS = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "video_llama_3")

_SYSTEM = (
    "{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
)


def tiny_tokenizer(kind: str) -> Any:
    """The tiny tokenizer of the Qwen family, with the chat template of the kind."""
    made = qwen_tokenizer()
    if kind == "video_llama_3":
        template = made.chat_template.replace(_SYSTEM, "")
        for part in ("video", "image"):
            template = template.replace(f"<|vision_start|><|{part}_pad|><|vision_end|>", f"<|{part}_pad|>\n")
        made.chat_template = template
    return made


def tiny_config(kind: str, tokenizer: Any) -> Any:
    """The config of a model of about 100,000 weights."""
    if kind == "qwen2_5_vl":
        return qwen_config(tokenizer)
    ids, special = special_ids(tokenizer)
    text = TEXT_CONFIG | special
    mrope = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 3, 3]}
    vision = VISION_CONFIG
    if kind == "qwen2_vl":
        return transformers.Qwen2VLConfig(
            text_config=text | {"rope_parameters": mrope},
            vision_config=vision | {"embed_dim": 32, "hidden_size": 64, "mlp_ratio": 2},
            **ids,
        )
    if kind == "qwen3_vl":
        own: dict[str, Any] = {"patch_size": 16, "hidden_size": 32, "intermediate_size": 48, "out_hidden_size": 64}
        own |= {"deepstack_visual_indexes": [0], "num_position_embeddings": 64}
        return transformers.Qwen3VLConfig(
            text_config=text | {"rope_parameters": mrope | {"mrope_interleaved": True}, "head_dim": 16},
            vision_config=vision | own,
            **ids,
        )
    own = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    return transformers.VideoLlama3Config(
        text_config=text | {"model_type": "qwen2"},
        vision_config=own | {"patch_size": 14},
        image_token_id=ids["image_token_id"],
        video_token_id=ids["video_token_id"],
    )


_CLASSES = {
    "qwen2_vl": "Qwen2VLForConditionalGeneration",
    "qwen3_vl": "Qwen3VLForConditionalGeneration",
    "video_llama_3": "VideoLlama3ForConditionalGeneration",
}
_PIXELS = {
    "qwen2_vl": ("Qwen2VLVideoProcessor", [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]),
    "qwen3_vl": ("Qwen3VLVideoProcessor", [0.5] * 3, [0.5] * 3),
    "video_llama_3": ("VideoLlama3VideoProcessor", [0.5] * 3, [0.5] * 3),
}


def save_tiny(kind: str, folder: Path, *, seed: int = 0) -> Path:
    """A tiny checkpoint of `kind` (see `KINDS`) in `folder`: weights, config, tokenizer, preprocessor configs."""
    if kind == "qwen2_5_vl":
        return make_tiny_model(folder, seed=seed)
    tokenizer = tiny_tokenizer(kind)
    config = tiny_config(kind, tokenizer)
    torch.manual_seed(seed)
    model = getattr(transformers, _CLASSES[kind])(config).eval()
    model.generation_config.update(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    processor, mean, std = _PIXELS[kind]
    pixels = {
        "image_mean": mean,
        "image_std": std,
        "rescale_factor": 1 / 255,
        "resample": 3,
        "patch_size": 16 if kind == "qwen3_vl" else 14,
        "temporal_patch_size": 1 if kind == "video_llama_3" else 2,
        "merge_size": 2,
        "video_processor_type": processor,
    }
    (folder / "video_preprocessor_config.json").write_text(json.dumps(pixels))
    return folder
