"""A tiny vision model that has learned one thing, saved for a real server: bright clips are FAKE, dark ones REAL.

A LLaVA, because its processor needs no torchvision; it sees each frame as one image of 28 x 28 pixels.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from tests.detectors.vlm.hf.tiny import tiny_tokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from deeptrace.detectors.vlm.openai.budget import show
from deeptrace.detectors.vlm.openai.profiles import profile_of
from deeptrace.detectors.vlm.openai.request import request_body
from deeptrace.detectors.vlm.openai.settings import read_options
from deeptrace.prompts import View, question
from deeptrace.video import open_video

IMAGE = "<|image_pad|>"
FAKE = "FAKE <coordinates>[10, 20, 30, 40]</coordinates> <start_time>0.50</start_time>"
_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}IMAGE{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def _processor(tokenizer: Any) -> Any:
    images = CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    return transformers.LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token=IMAGE,
        chat_template=_TEMPLATE.replace("IMAGE", IMAGE),
    )


def _model(tokenizer: Any) -> Any:
    size = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 48, "intermediate_size": 96}
    config = transformers.LlavaConfig(
        text_config=size
        | {"model_type": "qwen2", "vocab_size": len(tokenizer), "num_key_value_heads": 2, "bos_token_id": None}
        | {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id},
        vision_config=size | {"model_type": "clip_vision_model", "image_size": 28, "patch_size": 14},
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        vision_feature_layer=-1,
        image_seq_length=4,
    )
    torch.manual_seed(0)
    model = transformers.LlavaForConditionalGeneration(config)
    model.generation_config.update(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=False
    )
    return model


def prompt_of(clip: Path, **settings: Any) -> list[dict[str, Any]]:
    """The content that `openai:` sends for a clip, with the images decoded, as a processor takes it."""
    profile = profile_of("tiny")
    options = read_options(settings, profile)
    with open_video(clip) as video:
        shown = show(video, options, profile)
    body = request_body("tiny", question(options.answer_form), shown, options, View.of(shown.media, resized=shown.size))
    parts = []
    for part in body["messages"][0]["content"]:
        if part["type"] == "image_url":
            data = base64.b64decode(part["image_url"]["url"].partition("base64,")[2])
            parts.append({"type": "image", "image": Image.open(io.BytesIO(data)).convert("RGB")})
        else:
            parts.append(part)
    return parts


def teach(folder: Path, clips: dict[Path, str], *, steps: int = 80, **settings: Any) -> Path:
    """A model that has learned the answers to these clips at any shade near theirs, saved in `folder`."""
    tokenizer = tiny_tokenizer("qwen2_vl")
    processor, model = _processor(tokenizer), _model(tokenizer).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    shades = np.random.default_rng(0)
    asked = [(prompt_of(clip, **settings), answer) for clip, answer in clips.items()]
    for _ in range(steps):
        loss = torch.stack([_loss(model, processor, parts, answer, shades) for parts, answer in asked]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _loss(model: Any, processor: Any, parts: list[dict[str, Any]], answer: str, shades: Any) -> torch.Tensor:
    shift = int(shades.integers(-12, 13))
    moved = [
        part | {"image": part["image"].point(lambda level: min(max(level + shift, 0), 255))}
        if "image" in part
        else part
        for part in parts
    ]
    images = [part["image"] for part in moved if "image" in part]
    text = processor.apply_chat_template([{"role": "user", "content": parts}], add_generation_prompt=True)
    prompt = processor(text=text, images=images, return_tensors="pt")
    said = processor.tokenizer(answer + "<|im_end|>", add_special_tokens=False, return_tensors="pt")["input_ids"]
    ids = torch.cat([prompt["input_ids"], said], dim=1)
    labels = torch.cat([torch.full_like(prompt["input_ids"], -100), said], dim=1)
    mask = torch.ones_like(ids)
    found: torch.Tensor = model(
        input_ids=ids, attention_mask=mask, pixel_values=prompt["pixel_values"], labels=labels
    ).loss
    return found
