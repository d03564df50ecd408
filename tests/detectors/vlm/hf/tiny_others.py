"""Tiny random checkpoints of the architectures with fixed frames or images: own tokenizer, saved as real ones are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from tests.detectors.vlm.hf.tiny import tiny_tokenizer
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, trainers

from deeptrace.prompts import FINE_TUNING, ZERO_SHOT, question
from deeptrace.train.vlm.tiny import TEXT_CONFIG

OTHERS = ("llava_onevision", "video_llava", "phi4_multimodal", "llava")
"""The last has no encoder of its own: it goes through the stock processor, with frames as images."""

_VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "patch_size": 14,
    "image_size": 56,
}
_ONEVISION = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }} "
    "{% if message['content'] is string %}\n{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'video' %}<video>{% endif %}{% endfor %}{% for part in message['content'] %}"
    "{% if part['type'] == 'text' %}\n{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_LLAVA = (
    "{% for message in messages %}{% if message['role'] == 'user' %}USER: {% else %} ASSISTANT: {% endif %}"
    "{% if message['content'] is string %}{{ message['content'] }}</s>{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>\n{% elif part['type'] == 'video' %}<video>\n"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)


def llama_tokenizer(*special: str) -> Any:
    """As Llama 2's: spaces are marked, unknown characters are written byte by byte, a text begins with <s>."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    basic = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=basic,
        show_progress=False,
        initial_alphabet=[chr(code) for code in range(0x20, 0x7F)],
    )
    words = [question(FINE_TUNING), question(ZERO_SHOT), "FAKE. REAL. The video is real.", "USER: ASSISTANT:"]
    tokenizer.train_from_iterator(words * 2, trainer)
    made = json.loads(tokenizer.to_str())
    made["added_tokens"] = made["added_tokens"][:3]  # bytes are ordinary tokens
    made["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [made["model"]["vocab"]["<s>"]], "tokens": ["<s>"]}},
    }
    found = transformers.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(made)),
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<unk>",
    )
    found.add_tokens([AddedToken(word, special=True) for word in special])
    return found


def save_other(kind: str, folder: Path, *, seed: int = 0) -> Path:
    """A tiny checkpoint of `kind` (see `OTHERS`) in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer, config = _MADE[kind]()
    text = getattr(config, "text_config", config)
    text.vocab_size = len(tokenizer)
    torch.manual_seed(seed)
    model = transformers.AutoModelForMultimodalLM.from_config(config).eval()
    model.generation_config.update(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    pixels = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4], "rescale_factor": 1 / 255, "resample": 3}
    if kind == "llava":
        sizes = {"size": {"shortest_edge": 56}, "crop_size": {"height": 56, "width": 56}}
        image_processor = transformers.CLIPImageProcessorPil(**sizes)
        transformers.LlavaProcessor(
            image_processor=image_processor,
            tokenizer=tokenizer,
            patch_size=14,
            vision_feature_select_strategy="default",
            num_additional_image_tokens=1,
            chat_template=tokenizer.chat_template,
        ).save_pretrained(folder)
    else:
        (folder / "preprocessor_config.json").write_text(json.dumps(pixels))
    return folder


def _onevision() -> tuple[Any, Any]:
    tokenizer = tiny_tokenizer("qwen2_vl")
    tokenizer.add_tokens([AddedToken(word, special=True) for word in ("<image>", "<video>")])
    tokenizer.chat_template = _ONEVISION
    config = transformers.LlavaOnevisionConfig(
        text_config=TEXT_CONFIG | {"model_type": "qwen2"},
        vision_config=_VISION | {"model_type": "siglip_vision_model", "vision_use_head": False, "image_size": 70},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
    )
    return tokenizer, config


def _video_llava() -> tuple[Any, Any]:
    tokenizer = llama_tokenizer("<image>", "<video>")
    tokenizer.chat_template = _LLAVA
    config = transformers.VideoLlavaConfig(
        text_config=TEXT_CONFIG | {"model_type": "llama", "num_key_value_heads": 4},
        vision_config=_VISION | {"model_type": "clip_vision_model", "projection_dim": 16},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
    )
    return tokenizer, config


def _llava() -> tuple[Any, Any]:
    tokenizer = llama_tokenizer("<image>")
    tokenizer.chat_template = _LLAVA
    config = transformers.LlavaConfig(
        text_config=TEXT_CONFIG | {"model_type": "llama", "num_key_value_heads": 4},
        vision_config=_VISION | {"model_type": "clip_vision_model", "projection_dim": 16},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    return tokenizer, config


def _phi4() -> tuple[Any, Any]:
    tokenizer = tiny_tokenizer("qwen2_vl")
    words = ("<|user|>", "<|assistant|>", "<|end|>", "<|image|>", "<|audio|>")
    tokenizer.add_tokens([AddedToken(word, special=True) for word in words])
    image, audio = (tokenizer.convert_tokens_to_ids(word) for word in ("<|image|>", "<|audio|>"))
    config = transformers.Phi4MultimodalConfig(
        **TEXT_CONFIG,
        vision_config=_VISION | {"crop_size": 56, "image_token_id": image},
        audio_config={
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_blocks": 1,
            "num_attention_heads": 2,
            "ext_pw_out_channel": 16,
            "depthwise_separable_out_channel": 16,
            "nemo_conv_channels": 16,
            "audio_token_id": audio,
        },
        bos_token_id=tokenizer.convert_tokens_to_ids("<|endoftext|>"),
        eos_token_id=tokenizer.convert_tokens_to_ids("<|end|>"),
        pad_token_id=tokenizer.pad_token_id,
        vocab_size=len(tokenizer),
    )
    return tokenizer, config


_MADE = {"llava_onevision": _onevision, "video_llava": _video_llava, "phi4_multimodal": _phi4, "llava": _llava}
