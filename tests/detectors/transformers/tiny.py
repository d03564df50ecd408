"""Tiny checkpoints with random weights and a tokenizer of their own, saved as the real ones are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import pre_tokenizers, trainers

from deeptrace.protocol import FINE_TUNING, JSON, ZERO_SHOT, question

KINDS = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "video_llama_3")

_SPECIAL = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"),
    *("<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
)
_WORDS = [
    *(question(form) for form in (FINE_TUNING, ZERO_SHOT, JSON)),
    "FAKE. The video is AI-generated. The unnatural part is at [10, 20, 30, 40] starting 1.25 seconds.",
    "REAL. The video is real. There is no unnatural part. user assistant system You are a helpful assistant.",
]
_VIDEO = {"qwen": "<|vision_start|><|video_pad|><|vision_end|>", "video_llama_3": "<|video_pad|>\n"}
_IMAGE = {"qwen": "<|vision_start|><|image_pad|><|vision_end|>", "video_llama_3": "<|image_pad|>\n"}
_TEMPLATE = (
    "{% for message in messages %}"
    "SYSTEM<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'video' %}VIDEO{% elif part['type'] == 'image' %}IMAGE{% else %}{{ part['text'] }}"
    "{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_SYSTEM = (
    "{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
)


def tiny_tokenizer(kind: str) -> Any:
    """A byte-level tokenizer with the special tokens of the Qwen family; REAL and FAKE are one token each."""
    tokenizer = transformers.Qwen2Tokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=700, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    blank = tokenizer.backend_tokenizer
    blank.train_from_iterator(_WORDS * 2, trainer)
    model = json.loads(blank.to_str())["model"]
    vocab = {token: index for token, index in model["vocab"].items() if token not in _SPECIAL}
    made = transformers.Qwen2Tokenizer(
        vocab={token: index for index, token in enumerate(vocab)},
        merges=[tuple(pair) for pair in model["merges"]],
        eos_token="<|im_end|>",
    )
    made.add_special_tokens({"additional_special_tokens": list(_SPECIAL)})
    style = "video_llama_3" if kind == "video_llama_3" else "qwen"
    template = _TEMPLATE.replace("SYSTEM", "" if kind == "video_llama_3" else _SYSTEM)
    made.chat_template = template.replace("VIDEO", _VIDEO[style]).replace("IMAGE", _IMAGE[style])
    return made


def tiny_config(kind: str, tokenizer: Any) -> Any:
    """The config of a model of about 100,000 weights."""
    ids = {
        f"{name}_token_id": tokenizer.convert_tokens_to_ids(f"<|{token}|>")
        for name, token in (
            *(("image", "image_pad"), ("video", "video_pad")),
            *(("vision_start", "vision_start"), ("vision_end", "vision_end")),
        )
    }
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 8192,
        "eos_token_id": tokenizer.convert_tokens_to_ids("<|im_end|>"),
        "bos_token_id": tokenizer.convert_tokens_to_ids("<|endoftext|>"),
        "pad_token_id": tokenizer.pad_token_id,
    }
    mrope = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 3, 3]}
    vision = {"depth": 2, "num_heads": 2, "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2}
    if kind == "qwen2_vl":
        return transformers.Qwen2VLConfig(
            text_config=text | {"rope_parameters": mrope},
            vision_config=vision | {"embed_dim": 32, "hidden_size": 64, "mlp_ratio": 2},
            **ids,
        )
    if kind == "qwen2_5_vl":
        own = {"hidden_size": 32, "intermediate_size": 48, "out_hidden_size": 64, "window_size": 112}
        own |= {"tokens_per_second": 2, "fullatt_block_indexes": [1]}
        return transformers.Qwen2_5_VLConfig(
            text_config=text | {"rope_parameters": mrope}, vision_config=vision | own, **ids
        )
    if kind == "qwen3_vl":
        own = {"patch_size": 16, "hidden_size": 32, "intermediate_size": 48, "out_hidden_size": 64}
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
    "qwen2_5_vl": "Qwen2_5_VLForConditionalGeneration",
    "qwen3_vl": "Qwen3VLForConditionalGeneration",
    "video_llama_3": "VideoLlama3ForConditionalGeneration",
}
_PIXELS = {
    "qwen2_vl": ("Qwen2VLVideoProcessor", [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]),
    "qwen2_5_vl": ("Qwen2VLVideoProcessor", [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]),
    "qwen3_vl": ("Qwen3VLVideoProcessor", [0.5] * 3, [0.5] * 3),
    "video_llama_3": ("VideoLlama3VideoProcessor", [0.5] * 3, [0.5] * 3),
}


def save_tiny(kind: str, folder: Path, *, seed: int = 0) -> Path:
    """A tiny checkpoint of `kind` (see `KINDS`) in `folder`: weights, config, tokenizer, preprocessor configs."""
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
