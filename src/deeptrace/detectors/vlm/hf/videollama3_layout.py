"""VideoLLaMA 3 as its authors' own code lays it out, which the paper's published reward model keeps: names, config.

Their model code (`videollama3_qwen2`) has the language model at the top, with `vision_encoder` and `mm_projector`
inside it; transformers' own class (`video_llama_3`) has the three side by side. The weights are the same.
"""

from __future__ import annotations

from typing import Any

__all__ = ["KEY_MAPPING", "ORIGINAL_TYPES", "native_config"]

ORIGINAL_TYPES = ("videollama3_qwen2",)
"""`model_type` of configs in this layout."""

KEY_MAPPING = {
    # Checkpoints of the training code wrap the tower once more than those converted for the hub.
    r"^model\.vision_encoder\.vision_encoder\.": "model.vision_model.",
    r"^model\.vision_encoder\.": "model.vision_model.",
    r"^model\.mm_projector\.": "model.projector.",
    r"^model\.embed_tokens\.": "model.language_model.embed_tokens.",
    r"^model\.layers\.": "model.language_model.layers.",
    r"^model\.norm\.": "model.language_model.norm.",
}
"""Beginnings of names in this layout, and what they are in transformers' class."""

_VISION = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "patch_size": 14,
}
"""The one vision tower that was published with VideoLLaMA 3; configs of the training code only name it."""

_NOT_TEXT = (
    *("architectures", "auto_map", "model_type", "vision_encoder", "vision_encoder_config", "image_token_index"),
    *("use_token_compression", "use_mm_proj", "tokenizer_model_max_length", "tokenizer_padding_side"),
    *("use_flash_loss", "transformers_version"),
)


def native_config(original: dict[str, Any]) -> dict[str, Any]:
    """The config.json of transformers' own class for a config.json in the original layout.

    Frames and images share one placeholder there, `<image>`, whose id is `image_token_index`.
    """
    text = {
        name: value for name, value in original.items() if name not in _NOT_TEXT and not name.startswith(("mm_", "_"))
    }
    vision = dict(original.get("vision_encoder_config") or _VISION)
    for name in ("auto_map", "model_type", "architectures"):
        vision.pop(name, None)
    placeholder = original.get("image_token_index")
    return {
        "model_type": "video_llama_3",
        "architectures": ["VideoLlama3ForConditionalGeneration"],
        "text_config": text | {"model_type": "qwen2"},
        "vision_config": vision | {"model_type": "video_llama_3_vision"},
        "image_token_id": placeholder,
        "video_token_id": placeholder,
        "tie_word_embeddings": bool(original.get("tie_word_embeddings", False)),
        "use_token_compression": bool(original.get("use_token_compression", True)),
        **{name: original[name] for name in ("dtype", "torch_dtype", "eos_token_id") if name in original},
    }
