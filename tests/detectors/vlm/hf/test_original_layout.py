"""The layout of the published reward model: another arrangement of the same model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.needs import needs

torch = needs("torch")
needs("transformers")

from safetensors.torch import load_file, save_file  # noqa: E402
from tests.detectors.vlm.hf.original import original_name, write_original  # noqa: E402
from tests.detectors.vlm.hf.tiny import save_tiny  # noqa: E402

from deeptrace.detectors.vlm.hf.model_classes import load_model  # noqa: E402
from deeptrace.detectors.vlm.hf.processors import collate, load_processor  # noqa: E402
from deeptrace.detectors.vlm.hf.videollama3_layout import native_config  # noqa: E402
from deeptrace.errors import ModelError  # noqa: E402
from deeptrace.prompts import FINE_TUNING, question  # noqa: E402


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny("video_llama_3", tmp_path_factory.mktemp("native"))


def logits(folder: Path) -> torch.Tensor:
    processor = load_processor(folder)
    frames = np.random.default_rng(0).integers(0, 255, (4, 60, 90, 3), dtype=np.uint8)
    sample = processor.process(frames, [0.0, 0.5, 1.0, 1.5], question(FINE_TUNING), "FAKE.")
    with torch.no_grad():
        return load_model(str(folder))(**collate([sample], pad_id=processor.pad_id)).logits


@pytest.mark.parametrize(("wrapped", "shards"), [(False, 1), (True, 1), (False, 3)])
def test_outputs_equal_those_of_the_native_checkpoint(wrapped, shards, native, tmp_path):
    folder = write_original(native, tmp_path / "original", wrapped=wrapped, shards=shards)
    assert torch.equal(logits(folder), logits(native))


def test_tied_embeddings_stand_for_the_missing_head(native, tmp_path):
    folder = write_original(native, tmp_path / "original", tied=True)
    model = load_model(str(folder))
    assert torch.equal(model.lm_head.weight, model.get_input_embeddings().weight)


def test_saved_again_it_is_the_native_layout(native, tmp_path):
    folder = write_original(native, tmp_path / "original")
    load_model(str(folder)).save_pretrained(tmp_path / "again")
    saved, first = (load_file(path / "model.safetensors") for path in (tmp_path / "again", native))
    assert saved.keys() == first.keys()
    assert all(torch.equal(saved[name], first[name]) for name in first)


def test_missing_unknown_and_misshapen_weights_are_named(native, tmp_path):
    folder = write_original(native, tmp_path / "original")
    weights = load_file(folder / "model.safetensors")
    del weights["model.mm_projector.readout.0.bias"]
    weights["model.audio_tower.weight"] = torch.zeros(2)
    weights["model.norm.weight"] = torch.zeros(3)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError) as caught:
        load_model(str(folder))
    said = str(caught.value)
    assert "1 weights missing: model.projector.readout.0.bias" in said
    assert "1 weights unknown: model.audio_tower.weight" in said
    assert "a shape other than the model's: model.language_model.norm.weight" in said


def test_a_missing_shard_and_no_checkpoint_are_said(native, tmp_path):
    folder = write_original(native, tmp_path / "original", shards=2)
    next(folder.glob("model-00002*")).unlink()
    with pytest.raises(ModelError, match="does not load"):
        load_model(str(folder))
    with pytest.raises(ModelError, match=r"no config\.json"):
        load_model(str(tmp_path))


def test_a_config_of_the_training_code_gets_the_published_tower():
    config = native_config(
        {"model_type": "videollama3_qwen2", "hidden_size": 3584, "mm_hidden_size": 1152, "image_token_index": 151665}
    )
    assert config["vision_config"]["num_hidden_layers"] == 27
    assert config["video_token_id"] == 151665
    assert config["text_config"] == {"hidden_size": 3584, "model_type": "qwen2"}


def test_names_are_those_of_the_original_code():
    assert original_name("model.vision_model.encoder.layers.3.mlp.fc1.bias") == (
        "model.vision_encoder.encoder.layers.3.mlp.fc1.bias"
    )
    assert original_name("model.language_model.layers.0.mlp.up_proj.weight") == "model.layers.0.mlp.up_proj.weight"
