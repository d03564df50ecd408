"""A tiny Qwen2.5-VL with random weights, made on the spot: to try a training where there is no GPU and no network.

It has 200,000 weights and a tokenizer of its own, and is saved as the real ones are, so that everything but the size is
as with a real model. It can learn a few clips by heart, and nothing else.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import pre_tokenizers, trainers

from deeptrace.prompts import FINE_TUNING, JSON, ZERO_SHOT, question

__all__ = ["TEXT_CONFIG", "VISION_CONFIG", "make_tiny_model", "special_ids", "tiny_config", "tiny_tokenizer"]

_SPECIAL = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"),
    *("<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
)
_WORDS = [
    *(question(form) for form in (FINE_TUNING, ZERO_SHOT, JSON)),
    "FAKE. The video is AI-generated. The unnatural part is at [10, 20, 30, 40] starting 1.25 seconds.",
    "REAL. The video is real. There is no unnatural part. user assistant system You are a helpful assistant.",
]
_TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}"
    "{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXT_CONFIG: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 8192,
}
VISION_CONFIG: dict[str, Any] = {
    "depth": 2,
    "num_heads": 2,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
}
_PIXELS = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "rescale_factor": 1 / 255,
    "resample": 3,
    "patch_size": 14,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "video_processor_type": "Qwen2VLVideoProcessor",
}


def tiny_tokenizer() -> Any:
    """A byte-level tokenizer with the special tokens of the Qwen family; REAL and FAKE are one token each."""
    tokenizer = transformers.Qwen2Tokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=700, initial_alphabet=sorted(map(str, pre_tokenizers.ByteLevel.alphabet())), show_progress=False
    )
    blank = tokenizer.backend_tokenizer
    blank.train_from_iterator(_WORDS * 2, trainer)
    model = json.loads(blank.to_str())["model"]
    vocab = {token: index for token, index in model["vocab"].items() if token not in _SPECIAL}
    merges: Any = [tuple(pair) for pair in model["merges"]]
    made: Any = transformers.Qwen2Tokenizer(
        vocab={token: index for index, token in enumerate(vocab)},
        merges=merges,
        eos_token="<|im_end|>",
    )
    made.add_special_tokens({"additional_special_tokens": list(_SPECIAL)})
    made.chat_template = _TEMPLATE
    return made


def special_ids(tokenizer: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The ids of special tokens as configs name them: those of pictures, and those of the language model."""
    seen = (("image", "image_pad"), ("video", "video_pad"), ("vision_start", "vision_start"))
    ids: dict[str, Any] = {
        f"{name}_token_id": int(tokenizer.convert_tokens_to_ids(f"<|{token}|>"))
        for name, token in (*seen, ("vision_end", "vision_end"))
    }
    text = {
        "vocab_size": len(tokenizer),
        "eos_token_id": tokenizer.convert_tokens_to_ids("<|im_end|>"),
        "bos_token_id": tokenizer.convert_tokens_to_ids("<|endoftext|>"),
        "pad_token_id": tokenizer.pad_token_id,
    }
    return ids, text


def tiny_config(tokenizer: Any) -> Any:
    """The model's config."""
    ids, text = special_ids(tokenizer)
    mrope = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 3, 3]}
    own: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "out_hidden_size": 64, "window_size": 112}
    own |= {"tokens_per_second": 2, "fullatt_block_indexes": [1]}
    return transformers.Qwen2_5_VLConfig(
        text_config=TEXT_CONFIG | text | {"rope_parameters": mrope}, vision_config=VISION_CONFIG | own, **ids
    )


def make_tiny_model(folder: Path, *, seed: int = 0) -> Path:
    """The checkpoint in `folder`, where there is none yet; it appears whole or not at all."""
    if (folder / "config.json").is_file():
        return folder
    tokenizer = tiny_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = transformers.Qwen2_5_VLForConditionalGeneration(tiny_config(tokenizer)).eval()
    model.generation_config.update(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    scratch = folder.with_name(f"{folder.name}.part-{os.getpid()}")
    scratch.mkdir(parents=True)
    try:
        model.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        (scratch / "video_preprocessor_config.json").write_text(json.dumps(_PIXELS), encoding="utf-8")
        scratch.replace(folder)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return folder
