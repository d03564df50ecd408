"""What marks teach is learned anew beside all else of another model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.needs import needs
from tests.train.tracenet.made import make_data

needs("torch", "onnxscript", "sklearn")

from deeptrace.detectors import load_detector  # noqa: E402
from deeptrace.detectors.tracenet.appearance import shipped_folder  # noqa: E402
from deeptrace.detectors.tracenet.trace_kinds import KIND_FEATURES  # noqa: E402
from deeptrace.errors import DataError, SettingsError  # noqa: E402
from deeptrace.schema import Category  # noqa: E402
from deeptrace.train.tracenet.config import TraceNetConfig  # noqa: E402
from deeptrace.train.tracenet.marks import fit_trace_kinds  # noqa: E402
from deeptrace.train.tracenet.run import train_tracenet  # noqa: E402
from deeptrace.video import open_video  # noqa: E402


@pytest.mark.slow
def test_heads_times_and_kinds_are_new_and_the_probability_is_kept(tmp_path: Path) -> None:
    for name in ("old", "new"):
        make_data(tmp_path / name, generators=4, sources=1, each=1, names=name)
    config = TraceNetConfig(
        data=(tmp_path / "old", tmp_path / "new"), edited="", nets="shipped", marks=True, out=tmp_path / "out",
        variants=2, folds=2, heads=1, head_steps=2, head_batch=2,
    )  # fmt: skip
    folder = train_tracenet(config, lambda *_: None)
    card = json.loads((folder / "tracenet.json").read_text())
    shipped = json.loads((shipped_folder() / "tracenet.json").read_text())
    assert card["all_but_marks_kept_from"]["sha256"] == shipped["sha256"] != card["sha256"]
    assert card["protocol"] == shipped["protocol"]
    assert set(card["marks"]["by_era"]) == {"old", "new"}
    assert [part["clips"] for part in card["marks"]["by_fold"]] == [4, 4]
    for name in ("texture", "appearance", "bias", "threshold_fpr_5", "threshold_real", "local", "local_bias"):
        assert card["calibration"][name] == shipped["calibration"][name]
    assert card["calibration"]["extent_marked"] != shipped["calibration"]["extent_marked"]
    with open_video(tmp_path / "old" / "generated" / "0_0.mp4") as video:
        ours, theirs = (load_detector(name).analyse(video, heat=True) for name in (f"tracenet:{folder}", "tracenet"))
    assert ours.verdict.p_fake == theirs.verdict.p_fake
    assert any(not np.allclose(a.heat, b.heat, atol=1e-3) for a, b in zip(ours.heat, theirs.heat, strict=True))


def test_marks_without_a_model_to_keep_or_without_marks_are_refused(tmp_path: Path) -> None:
    root = make_data(tmp_path, generators=2, sources=2, each=1)
    config = TraceNetConfig(data=root, edited="", out=tmp_path / "out", folds=2, marks=True)
    with pytest.raises(SettingsError, match="no model to keep"):
        train_tracenet(config, lambda *_: None)
    rows = json.loads((root / "all_data.json").read_text())
    for row in rows:
        row |= {name: None for name in row if name.startswith("faketrace")}
    (root / "all_data.json").write_text(json.dumps(rows))
    with pytest.raises(DataError, match="no generated clip has a marked trace"):
        train_tracenet(config.model_copy(update={"nets": "shipped"}), lambda *_: None)
    assert not (tmp_path / "out" / "measured").exists()


def test_a_kind_that_shows_is_named_beside_the_usual_one() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(0, 1, (200, KIND_FEATURES))
    marks = np.zeros((200, len(Category)), bool)
    marks[:, 0] = rng.random(200) < 0.9
    second = list(Category).index(Category.REDUNDANT_OBJECT)
    marks[:60, second] = True
    features[:60, 7] += 6.0
    kinds = fit_trace_kinds(features, marks, np.ones(200))
    assert kinds is not None
    usual = np.zeros(KIND_FEATURES)
    telling = usual.copy()
    telling[7] = 8.0
    assert kinds.named(usual) == [Category.OBJECT_DISTORTION]
    assert set(kinds.named(telling)) == {Category.OBJECT_DISTORTION, Category.REDUNDANT_OBJECT}
    assert kinds.chances(telling)[list(Category).index(Category.OBJECT_MERGING)] < 0.01  # nobody named it


def test_a_few_marks_teach_no_kinds() -> None:
    marks = np.zeros((4, len(Category)), bool)
    marks[0, 0] = True
    assert fit_trace_kinds(np.zeros((4, KIND_FEATURES)), marks, np.ones(4)) is None
