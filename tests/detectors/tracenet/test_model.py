from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.detectors.tracenet.clips import HOT, STEEP, USUAL, write_model

from deeptrace.detectors.tracenet.appearance import DIMENSIONS
from deeptrace.detectors.tracenet.evidence import CHANNELS, GRID
from deeptrace.detectors.tracenet.model import CARD_NAME, MODEL_NAME, Calibration, TraceNetModel, shipped_folder
from deeptrace.detectors.tracenet.texture import texture_names
from deeptrace.detectors.tracenet.windows import Window
from deeptrace.errors import ModelError


@pytest.fixture
def folder(model_folder: Path, tmp_path: Path) -> Path:
    """A copy of the model that a test may spoil."""
    return Path(shutil.copytree(model_folder, tmp_path / "model"))


def window(frames: int, known: bool = True) -> Window:
    evidence = np.random.default_rng(0).normal(0, 1, (frames, len(CHANNELS), GRID, GRID)).astype(np.float32)
    statistics = [np.zeros(size, np.float32) if known else None for size in (len(texture_names()), DIMENSIONS)]
    return Window(np.arange(frames) / 8, evidence, *statistics, 0)


@pytest.mark.parametrize("frames", [1, 2, 7, 24])
def test_a_window_of_any_length_is_scored(model_folder: Path, frames: int) -> None:
    scores = TraceNetModel.load(model_folder).score(window(frames))
    assert scores.where.shape == scores.present.shape == (frames, GRID, GRID)
    assert scores.kinds.shape == (frames, 9, GRID // 2, GRID // 2)
    assert (scores.texture, scores.appearance) == (pytest.approx(-USUAL * STEEP), 0.0)
    assert 0.0 <= scores.where.min() <= scores.where.max() <= 1.0


def test_without_statistics_there_is_no_score(model_folder: Path) -> None:
    scores = TraceNetModel.load(model_folder).score(window(2, known=False))
    assert (scores.texture, scores.appearance) == (None, None)


def test_the_model_sees_what_it_is_given(model_folder: Path) -> None:
    """The model of these tests says where the residual is: its heat can be computed by hand."""
    given_window = window(3)
    residual = given_window.evidence[:, CHANNELS.index("residual")]
    heat = 1 / (1 + np.exp(-4 * (residual - np.log(HOT))))
    np.testing.assert_allclose(TraceNetModel.load(model_folder).score(given_window).where, heat, atol=1e-5)


def refusal(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        TraceNetModel.load(folder)
    line = str(caught.value)
    assert "\n" not in line
    assert str(folder) in line
    return line


@pytest.mark.parametrize("name", [CARD_NAME, MODEL_NAME])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert f"no {name} there" in refusal(folder)


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    assert "no tracenet.json there" in refusal(tmp_path / "nowhere")


def test_a_folder_that_is_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    refusal(tmp_path / "file")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"name": "tracenet"}', b"\xff\xfe\x00"])
def test_a_damaged_card_is_no_card(folder: Path, content: bytes) -> None:
    (folder / CARD_NAME).write_bytes(content)
    assert "not a model card" in refusal(folder)


def test_weights_that_the_card_does_not_describe_are_refused(folder: Path) -> None:
    with open(folder / MODEL_NAME, "ab") as file:
        file.write(b"\0")
    assert "not the one its card describes" in refusal(folder)


@pytest.mark.parametrize("weights", [b"", b"not a network", b"\x08\x08\x12\x04abcd"])
def test_a_file_that_is_no_network_is_refused(folder: Path, weights: bytes) -> None:
    write_model(folder, weights)
    assert "cannot be run" in refusal(folder)


@pytest.mark.parametrize(
    "changes", [{"channels": list(CHANNELS[:-1])}, {"texture_statistics": 7}, {"appearance_statistics": 7}]
)
def test_a_model_of_other_evidence_is_refused(folder: Path, changes: dict[str, Any]) -> None:
    card = json.loads((folder / CARD_NAME).read_text())
    (folder / CARD_NAME).write_text(json.dumps(card | changes))
    assert "other evidence" in refusal(folder)


def test_the_shipped_model_loads_and_says_what_it_is() -> None:
    if not (shipped_folder() / CARD_NAME).is_file():
        pytest.skip("this checkout holds no weights")
    model = TraceNetModel.load()
    calibration = model.card.calibration
    assert (shipped_folder() / MODEL_NAME).stat().st_size <= 10 * 2**20
    assert calibration.threshold_balanced <= calibration.threshold_fpr_5 <= calibration.threshold_fpr_1
    assert min(calibration.texture, calibration.appearance) > 0
    assert len(calibration.category_thresholds) == 9
    first, again = model.score(window(24)), model.score(window(24))
    np.testing.assert_array_equal(first.where, again.where)


def test_the_shipped_files_do_not_tell_where_they_were_made() -> None:
    for path in shipped_folder().glob("*.onnx"):
        assert b'File "' not in path.read_bytes(), path.name


LOGITS = st.floats(-1e4, 1e4)
CALIBRATION = Calibration(
    texture=0.7, appearance=0.3, bias=-0.1, threshold_fpr_1=0.9, threshold_fpr_5=0.7, threshold_balanced=0.5,
    heat=2.0, presence=1.0, trace_generated=0.5, trace_bias=-1.0, sharpen=1.0,
)  # fmt: skip


@given(LOGITS, LOGITS, st.floats(0, 1e4))
def test_p_fake_is_a_probability_that_rises_with_both_scores(texture: float, appearance: float, more: float) -> None:
    p = CALIBRATION.p_fake(texture, appearance, 0.0)
    assert 0.0 <= p <= 1.0
    assert CALIBRATION.p_fake(texture + more, appearance, 0.0) >= p
    assert CALIBRATION.p_fake(texture, appearance + more, 0.0) >= p


EDITS = {"edited": 0.8, "edited_bias": -3.0, "local": 1.0, "local_edited": 0.5, "local_bias": -1.0}


@given(LOGITS, LOGITS, LOGITS, st.floats(0, 1e4), st.floats(0, 1))
def test_signs_of_an_edit_only_raise_p_fake(
    texture: float, appearance: float, pooled: float, more: float, presence: float
) -> None:
    edits = CALIBRATION.model_copy(update=EDITS)
    p = edits.p_fake(texture, appearance, pooled)
    assert CALIBRATION.p_fake(texture, appearance, pooled) - 1e-9 <= p <= 1.0
    assert edits.p_fake(texture, appearance, pooled + more) >= p - 1e-9
    assert p >= edits.p_edited(pooled) - 1e-9
    assert edits.local_score(presence, pooled + more) >= edits.local_score(presence, pooled)


def test_kinds_are_weighed_by_what_annotators_name() -> None:
    kinds = np.full(9, 0.05)
    kinds[3] = 0.6
    prior = (0.6, *(0.05,) * 8)
    for trust, likeliest in ((0.0, 0), (0.3, 0), (2.0, 3)):
        chances = CALIBRATION.model_copy(update={"kinds_prior": prior, "kinds_trust": trust}).kinds_marked(kinds)
        assert chances.sum() == pytest.approx(1.0)
        assert chances.argmax() == likeliest
    np.testing.assert_array_equal(CALIBRATION.kinds_marked(kinds), kinds)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_trace_score_is_a_probability_that_rises_with_each(heat: float, presence: float, p: float, q: float) -> None:
    low, high = sorted((p, q))
    score = CALIBRATION.trace_score(heat, presence, low)
    assert 0.0 < score < 1.0
    assert CALIBRATION.trace_score(heat, presence, high) >= score
    assert CALIBRATION.trace_score(min(heat + 0.1, 1.0), presence, low) >= score
    assert CALIBRATION.trace_score(heat, min(presence + 0.1, 1.0), low) >= score
    given = CALIBRATION.model_copy(update={"trace_of_generated": True})
    assert given.trace_score(heat, presence, low) == pytest.approx(low * given.trace_score(heat, presence, 1.0))
