"""LoRA adapters: on their base, merged or not, alone by their folder; and the settings kept beside a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.needs import needs

torch = needs("torch")
needs("transformers")
peft = needs("peft")

from deeptrace.detectors import load_detector  # noqa: E402
from deeptrace.detectors.vlm.hf.checkpoint import resolve  # noqa: E402
from deeptrace.detectors.vlm.hf.hub import SETTINGS_FILE  # noqa: E402
from deeptrace.detectors.vlm.hf.model_classes import load_model  # noqa: E402
from deeptrace.errors import ModelError, SettingsError  # noqa: E402
from deeptrace.inference import detect  # noqa: E402

ASKED = {"form": "fine-tuning", "without": ["box", "explanation"], "constrained": True}
ASKED |= {"max_new_tokens": 56, "max_frame_pixels": 4900}


@pytest.fixture(scope="module")
def adapter(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of Qwen2.5-VL with weights that change answers."""
    base = checkpoints["qwen2_5_vl"]
    torch.manual_seed(3)
    config = peft.LoraConfig(r=4, lora_alpha=32, target_modules=["q_proj", "v_proj", "down_proj"])
    model = peft.get_peft_model(load_model(str(base), dtype="float32"), config)
    for name, weights in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights, std=0.2)
    folder = tmp_path_factory.mktemp("adapter")
    model.save_pretrained(folder)
    return folder


def test_an_adapter_changes_answers_the_same_way_merged_and_apart(
    checkpoints: dict[str, Path], adapter: Path, clips: list[Path]
) -> None:
    base = f"hf:{checkpoints['qwen2_5_vl']}"
    plain = detect(clips[0], load_detector(base, **ASKED))
    merged = detect(clips[0], load_detector(base, adapter=str(adapter), **ASKED))
    apart = detect(clips[0], load_detector(base, adapter=str(adapter), merge=False, **ASKED))
    assert abs(merged.p_fake - plain.p_fake) > 1e-3
    assert merged.raw == apart.raw
    assert merged.p_fake == pytest.approx(apart.p_fake, abs=1e-4)
    assert merged.detector.settings["adapter"] == str(adapter)
    assert merged.detector.settings["weights"] != plain.detector.settings["weights"]


def test_an_adapters_folder_is_enough(checkpoints: dict[str, Path], adapter: Path, clips: list[Path]) -> None:
    alone = detect(clips[0], load_detector(f"hf:{adapter}", **ASKED))
    named = load_detector(f"hf:{checkpoints['qwen2_5_vl']}", adapter=str(adapter), **ASKED)
    assert alone.p_fake == pytest.approx(detect(clips[0], named).p_fake, abs=1e-6)


def test_an_adapter_without_its_base_says_how_to_name_it(
    checkpoints: dict[str, Path], adapter: Path, tmp_path: Path
) -> None:
    for path in adapter.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = None
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="Name it: --set base="):
        resolve(str(tmp_path), {})
    assert resolve(str(tmp_path), {"base": str(checkpoints["qwen2_5_vl"])}).options.adapter == str(tmp_path)


def test_an_adapter_of_another_model_is_refused(checkpoints: dict[str, Path], adapter: Path) -> None:
    with pytest.raises(ModelError, match="adapter"):
        load_detector(f"hf:{checkpoints['llava_onevision']}", adapter=str(adapter), **ASKED)


def test_settings_kept_beside_a_model_hold_until_others_are_given(
    checkpoints: dict[str, Path], adapter: Path, tmp_path: Path
) -> None:
    for path in adapter.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / SETTINGS_FILE).write_text(json.dumps({"form": "fine-tuning", "fps": 1.0, "max_frames": 20}))
    kept = resolve(str(tmp_path), {}).options
    assert (kept.form, kept.fps, kept.max_frames, kept.space) == ("fine-tuning", 1.0, 20, "pixels")
    ours = resolve(str(tmp_path), {"fps": 4.0, "form": "json"}).options
    assert (ours.form, ours.fps, ours.max_frames, ours.space) == ("json", 4.0, 20, "resized_pixels")
    (tmp_path / SETTINGS_FILE).write_text(json.dumps({"fps": -1}))
    with pytest.raises(SettingsError, match="fps"):
        resolve(str(tmp_path), {})


def test_other_weights_in_the_same_folder_have_another_name(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    for path in checkpoints["qwen2_vl"].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    first = resolve(str(tmp_path), {}).digest
    assert first == resolve(str(tmp_path), {"fps": 1.0}).digest
    weights = bytearray((tmp_path / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(weights)
    assert resolve(str(tmp_path), {}).digest != first
