"""Encoders of the user's in the baselines' slots: small random ones of each kind, saved as transformers saves them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.needs import needs

needs("sklearn", "torch", "transformers")

import torch  # noqa: E402
import transformers  # noqa: E402
from tests.train.baselines.made import make_folder, write_clip  # noqa: E402

from deeptrace.detectors import load_detector  # noqa: E402
from deeptrace.detectors.baselines.backbones import backbone_digest, load_backbone  # noqa: E402
from deeptrace.errors import ModelError, SettingsError  # noqa: E402
from deeptrace.schema import Outcome  # noqa: E402
from deeptrace.train.baselines.comparison import compare_detectors  # noqa: E402
from deeptrace.train.baselines.run import train_baselines  # noqa: E402
from deeptrace.video import open_video  # noqa: E402

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
TEXT = SMALL | {"vocab_size": 40}
PICTURE = SMALL | {"image_size": 32, "patch_size": 16}
MIT = {"mit_hidden_size": 16, "mit_intermediate_size": 16, "mit_num_attention_heads": 2}


def quiet(*_: object) -> None:
    """No progress."""


def made(kind: str, folder: Path) -> Path:
    torch.manual_seed(0)
    if kind == "xclip":
        vision = PICTURE | MIT | {"num_frames": 8}
        about = {"projection_dim": 16, "prompt_layers": 1, "prompt_num_attention_heads": 2}
        config = transformers.XCLIPConfig(text_config=TEXT, vision_config=vision, **MIT, **about)
        model = transformers.XCLIPModel(config)
    elif kind == "videomae":
        model = transformers.VideoMAEForPreTraining(
            transformers.VideoMAEConfig(
                **PICTURE, num_frames=16, tubelet_size=2, decoder_hidden_size=16, decoder_num_attention_heads=2,
                decoder_num_hidden_layers=1, decoder_intermediate_size=16,
            )
        )  # fmt: skip
    elif kind == "clip":
        model = transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**PICTURE))
    else:
        shape = {name: value for name, value in PICTURE.items() if name != "intermediate_size"}
        model = transformers.Dinov2Model(transformers.Dinov2Config(**shape, mlp_ratio=1))
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("backbones")
    return {kind: made(kind, root / kind) for kind in ("xclip", "videomae", "clip", "dinov2")}


@pytest.mark.parametrize(("kind", "rows"), [("xclip", 8), ("videomae", 8), ("clip", 11), ("dinov2", 11)])
def test_each_kind_gives_rows_that_rise_in_time(kind: str, rows: int, backbones: dict[str, Path]) -> None:
    rng = np.random.default_rng(0)
    frames = np.repeat(rng.integers(0, 256, (1, 216, 216, 3), np.uint8), 11, axis=0)
    frames[6:] = rng.integers(0, 256, (216, 216, 3), np.uint8)
    found = load_backbone(str(backbones[kind]))(frames)
    assert found.shape == (rows, 16)
    steps = np.abs(np.diff(found, axis=0)).sum(axis=1)
    if rows == 11:  # each frame by itself: equal ones have equal rows
        assert steps.argmax() == 5
        np.testing.assert_allclose(np.delete(steps, 5), 0.0, atol=1e-4)
    else:  # frames know of each other, and of their places
        still = load_backbone(str(backbones[kind]))(np.repeat(frames[:1], 11, axis=0))
        assert np.abs(still - found).max() > 1e-3


def test_videomae_says_what_transformers_says(backbones: dict[str, Path]) -> None:
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 256, (16, 32, 32, 3), np.uint8)
    model = transformers.VideoMAEModel.from_pretrained(backbones["videomae"]).eval()
    processor = transformers.VideoMAEImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, do_resize=False
    )
    pixels = processor(list(frames), return_tensors="pt")["pixel_values"]
    assert pixels.shape == (1, 16, 3, 32, 32)
    with torch.inference_mode():
        tokens = model(pixel_values=pixels).last_hidden_state
    expected = tokens.reshape(8, 4, 16).mean(dim=1).numpy()
    load_backbone.cache_clear()
    given = {"image_mean": list(processor.image_mean), "image_std": list(processor.image_std)}
    (backbones["videomae"] / "preprocessor_config.json").write_text(json.dumps(given))
    np.testing.assert_allclose(load_backbone(str(backbones["videomae"]))(frames), expected, atol=1e-4)


def test_a_baseline_learns_and_is_asked_through_it(backbones: dict[str, Path], tmp_path: Path) -> None:
    data, folder = [make_folder(tmp_path / "data", 0, "a", each=1)], backbones["xclip"]
    names = ["probe", "d3", "frame-skip"]
    files = train_baselines(names, data, tmp_path / "out", quiet, backbone=folder).files
    write_clip(tmp_path / "clip.mp4", 9000, doubled=True)
    for name, path in files.items():
        detector = load_detector(f"baseline:{name}", weights=str(path), backbone=str(folder))
        with open_video(tmp_path / "clip.mp4") as video:
            said = detector.detect(video)
        assert (said.outcome, said.segment_scores) == (Outcome.SCORED, ())
        assert detector.info.settings["backbone"] == backbone_digest(folder)
    with pytest.raises(SettingsError, match="backbone=FOLDER"):
        load_detector("baseline:probe", weights=str(files["probe"]))
    with pytest.raises(SettingsError, match="is not the encoder"):
        load_detector("baseline:probe", weights=str(files["probe"]), backbone=str(backbones["clip"]))
    plain = train_baselines(["probe"], data, tmp_path / "out", quiet).files["probe"]  # beside what was measured by it
    with pytest.raises(SettingsError, match="the encoder in the package"):
        load_detector("baseline:probe", weights=str(plain), backbone=str(folder))
    found = compare_detectors(["probe"], data, tmp_path / "out", quiet, degraded_clips=0, backbone=folder)
    assert any("xclip" in note for note in found.notes)


def test_what_is_no_encoder_is_one_clear_line(backbones: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no encoder"):
        load_backbone(str(tmp_path))
    with pytest.raises(SettingsError, match="npr sees through no encoder"):
        train_baselines(["npr"], [tmp_path], tmp_path / "out", quiet, backbone=backbones["clip"])
    other, torn = tmp_path / "other", tmp_path / "torn"
    for place in (other, torn):
        place.mkdir()
        (place / "model.safetensors").write_bytes((backbones["clip"] / "model.safetensors").read_bytes())
    config = json.loads((backbones["clip"] / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    with pytest.raises(ModelError, match="is of a bert"):
        load_backbone(str(other))
    (torn / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 2}))
    with pytest.raises(ModelError, match="of its weights"):
        load_backbone(str(torn))
