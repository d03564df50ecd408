"""A whole training, small: made clips in, a model that the detector runs out."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.detectors.tracenet.clips import write_encoder
from tests.needs import needs
from tests.train.tracenet.made import make_data, write_clip

needs("torch", "onnxscript", "sklearn")

from deeptrace.detectors import load_detector  # noqa: E402
from deeptrace.detectors.tracenet.appearance import VIEWS, shipped_folder  # noqa: E402
from deeptrace.errors import DataError, ModelError, SettingsError  # noqa: E402
from deeptrace.io.run_store import hold_folder  # noqa: E402
from deeptrace.schema import Outcome  # noqa: E402
from deeptrace.train.tracenet.config import TraceNetConfig, encoder_of  # noqa: E402
from deeptrace.train.tracenet.run import train_tracenet  # noqa: E402
from deeptrace.video import open_video  # noqa: E402


def config_for(root: Path, **changes: Any) -> TraceNetConfig:
    small = {
        "variants": 2, "injections": 2, "synthetic_variants": (0,), "folds": 2, "heads": 1, "head_steps": 2,
        "head_batch": 2, "steps": 2, "generated": 1, "real": 1, "synthetic": 1, "frames": 4,
    }  # fmt: skip
    return TraceNetConfig(data=root, edited="", out=root / "out", **{**small, **changes})


def test_too_few_generators_are_said_before_anything_is_measured(tmp_path: Path) -> None:
    root = make_data(tmp_path, generators=1, sources=1, each=1)
    with pytest.raises(DataError, match="fewer than 2 generators"):
        train_tracenet(config_for(root), lambda *_: None)
    assert not (root / "out" / "measured").exists()


def test_two_trainings_in_one_folder_are_refused(tmp_path: Path) -> None:
    config = config_for(tmp_path)
    with hold_folder(config.out), pytest.raises(SettingsError, match="another run is writing"):
        train_tracenet(config, lambda *_: None)


@pytest.mark.slow
def test_a_training_ends_in_a_model_that_runs_and_resumes_where_it_was(tmp_path: Path) -> None:
    root = make_data(tmp_path)
    config, told = config_for(root), []
    folder = train_tracenet(config, lambda *what: told.append(what))
    assert ("fitted", 3, 3) in told
    assert told[-1] == ("flaws measured", 4, 4)
    assert [what for what in told if what[0] == "measured"] == [("measured", k, 8) for k in range(1, 9)]

    card = json.loads((folder / "tracenet.json").read_text())
    assert card["trained_on"]["clips"] == 8
    assert sum(card["trained_on"]["generated"].values()) == sum(card["trained_on"]["real"].values()) == 4
    figures = card["cross_fitted_figures"]["as they are"]
    assert (figures["real_clips"], figures["generated_clips"], figures["box"]["rows"]) == (4, 4, 4)
    assert 0.0 <= figures["auroc"] <= 1.0
    assert all(card["calibration"][f"threshold_{name}"] <= 1.0 for name in ("fpr_1", "fpr_5", "balanced"))

    write_clip(tmp_path / "new.mp4", 99, flicker=True)
    with open_video(tmp_path / "new.mp4") as video:
        verdict = load_detector(f"tracenet:{folder}").detect(video)
    assert verdict.outcome is Outcome.SCORED
    assert 0.0 <= verdict.p_fake <= 1.0
    assert verdict.detector.settings["weights"] == card["sha256"][:12]

    fits = {path: path.stat().st_mtime_ns for path in (config.out / "fits").iterdir()}
    train_tracenet(config, lambda *_: None)
    assert {path: path.stat().st_mtime_ns for path in (config.out / "fits").iterdir()} == fits


@pytest.mark.slow
def test_a_probability_is_learned_on_two_eras_beside_nets_that_are_kept(tmp_path: Path) -> None:
    for name in ("old", "new"):
        make_data(tmp_path / name, generators=4, sources=4, each=1, names=name)
    config = TraceNetConfig(
        data=(tmp_path / "old", tmp_path / "new"), edited="", nets="shipped", out=tmp_path / "out",
        variants=2, folds=2, texture_dimensions=8, appearance_dimensions=8,
    )  # fmt: skip
    folder = train_tracenet(config, lambda *_: None)
    card = json.loads((folder / "tracenet.json").read_text())
    shipped = json.loads((shipped_folder() / "tracenet.json").read_text())
    assert card["nets_kept_from"]["sha256"] == shipped["sha256"] != card["sha256"]
    assert set(card["protocol"]["by_era"]) == {"old", "new"}
    assert len(card["protocol"]["by_fold"]) == 3
    assert len(card["trained_on"]["clips_sha256"]) == card["trained_on"]["clips"] == 16
    calibration = card["calibration"]
    assert calibration["threshold_real"] <= calibration["threshold_balanced"]
    assert calibration["heat"] == shipped["calibration"]["heat"]
    assert (folder / "flaws.json").read_bytes() == (shipped_folder() / "flaws.json").read_bytes()
    with open_video(tmp_path / "old" / "generated" / "0_0.mp4") as video:
        ours, theirs = (load_detector(name).analyse(video, heat=True) for name in (f"tracenet:{folder}", "tracenet"))
    assert ours.verdict.outcome is Outcome.SCORED
    assert ours.verdict.p_fake != theirs.verdict.p_fake
    for mine, shipped_one in zip(ours.heat, theirs.heat, strict=True):
        np.testing.assert_allclose(mine.heat, shipped_one.heat, atol=1e-5)

    fits = {path: path.stat().st_mtime_ns for path in (config.out / "fits").iterdir()}
    train_tracenet(config, lambda *_: None)
    assert {path: path.stat().st_mtime_ns for path in (config.out / "fits").iterdir()} == fits


@pytest.mark.slow
def test_another_encoder_takes_the_place_of_the_shipped_one(tmp_path: Path) -> None:
    for name in ("old", "new"):
        make_data(tmp_path / name, generators=4, sources=4, each=1, names=name)
    encoder = write_encoder(tmp_path / "colours.onnx", output="tokens")
    config = TraceNetConfig(
        data=(tmp_path / "old", tmp_path / "new"), edited="", nets="shipped", out=tmp_path / "out",
        variants=2, folds=2, appearance=str(encoder), appearance_dimensions=2, texture_dimensions=4,
    )  # fmt: skip
    folder = train_tracenet(config, lambda *_: None)
    assert (folder / "appearance.onnx").read_bytes() == encoder.read_bytes()
    card = json.loads((folder / "tracenet.json").read_text())
    assert card["appearance_statistics"] == 3 * VIEWS
    assert card["encoder"] == {
        "sha256": hashlib.sha256(encoder.read_bytes()).hexdigest(),
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    }
    encoder.unlink()  # the model has its own
    with open_video(tmp_path / "old" / "real" / "4_0.mp4") as video:
        verdict = load_detector(f"tracenet:{folder}").detect(video)
    assert 0.0 < verdict.p_fake < 1.0

    write_encoder(encoder, output="vector")
    encoder_of.cache_clear()  # as in a process of its own
    with pytest.raises(SettingsError, match="another appearance"):
        train_tracenet(config, lambda *_: None)
    (folder / "appearance.onnx").write_bytes(encoder.read_bytes())
    with pytest.raises(ModelError, match="not the one that its card describes"):
        load_detector(f"tracenet:{folder}")


def test_a_model_to_keep_that_is_not_there_is_said_before_anything_is_measured(tmp_path: Path) -> None:
    root = make_data(tmp_path, generators=2, sources=2, each=1)
    with pytest.raises(ModelError, match="nowhere"):
        train_tracenet(config_for(root, nets=str(tmp_path / "nowhere")), lambda *_: None)
    assert not (root / "out" / "measured").exists()
