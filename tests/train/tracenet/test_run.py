"""A whole training, small: made clips in, a model that the detector runs out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.train.tracenet.made import make_data, write_clip

pytest.importorskip("torch", reason="needs torch (pip install 'deeptrace[train]')")
pytest.importorskip("onnxscript", reason="needs onnxscript (pip install 'deeptrace[train]')")
pytest.importorskip("sklearn", reason="needs scikit-learn (pip install 'deeptrace[train]')")

from deeptrace.detectors import load_detector
from deeptrace.errors import DataError, SettingsError
from deeptrace.folder_lock import FolderLock
from deeptrace.trace import Outcome
from deeptrace.train.tracenet.config import TraceNetConfig
from deeptrace.train.tracenet.run import train_tracenet
from deeptrace.video import open_video


def config_for(root: Path, **changes: Any) -> TraceNetConfig:
    small = {
        "variants": 2, "injections": 2, "planted_variants": (0,), "folds": 2, "spots": 1, "spot_steps": 2,
        "spot_batch": 2, "steps": 2, "generated": 1, "real": 1, "planted": 1, "frames": 4,
    }  # fmt: skip
    return TraceNetConfig(data=root, edited="", out=root / "out", **{**small, **changes})


def test_too_few_generators_are_said_before_anything_is_measured(tmp_path: Path) -> None:
    root = make_data(tmp_path, generators=1, sources=1, each=1)
    with pytest.raises(DataError, match="fewer than 2 generators"):
        train_tracenet(config_for(root), lambda *_: None)
    assert not (root / "out" / "measured").exists()


def test_two_trainings_in_one_folder_are_refused(tmp_path: Path) -> None:
    config = config_for(tmp_path)
    with FolderLock(config.out), pytest.raises(SettingsError, match="another run is writing"):
        train_tracenet(config, lambda *_: None)


@pytest.mark.slow
def test_a_training_ends_in_a_model_that_runs_and_resumes_where_it_was(tmp_path: Path) -> None:
    root = make_data(tmp_path)
    config, told = config_for(root), []
    folder = train_tracenet(config, lambda *what: told.append(what))
    assert told[-1] == ("fitted", 3, 3)
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
