from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeptrace.detectors.tracenet.detector import explanation
from deeptrace.detectors.tracenet.evidence import CHANNELS, FLOW_SIDE, GRID, REFERENCE_DT_S
from deeptrace.geometry import Box
from deeptrace.schema import Category

BOX = Box(x0=0.0, y0=0.0, x1=0.25, y1=0.25)
TIMES = np.arange(8) * 0.125
MASK = np.zeros((8, GRID, GRID), bool)
MASK[2:6, :8, :8] = True


def evidence_with(**values: float | tuple[float, float]) -> np.ndarray:
    """Evidence of rate 1 everywhere but for channels given as (inside, outside) of the mask, before the logarithm."""
    evidence = np.full((8, len(CHANNELS), GRID, GRID), np.log(1.05), np.float32)
    evidence[:, CHANNELS.index("motion")] = evidence[:, CHANNELS.index("camera_motion")] = np.log(0.05)
    for name, value in values.items():
        inside, outside = value if isinstance(value, tuple) else (value, value)
        evidence[:, CHANNELS.index(name)] = np.log(np.where(MASK, inside, outside) + 0.05)
    return evidence


def said(evidence: np.ndarray, mask: np.ndarray = MASK, kind: Category | None = Category.OBJECT_DISTORTION) -> str:
    return explanation(evidence, TIMES, mask, BOX, kind)


@given(st.floats(2.0, 40.0), st.floats(0.5, 4.0))
@settings(max_examples=25)
def test_a_ratio_quoted_is_the_ratio_measured(ratio: float, outside: float) -> None:
    for channel in ("residual", "inconsistency", "acceleration"):
        text = said(evidence_with(**{channel: (ratio * outside, outside)}))
        (number,) = re.findall(r"(\d+\.\d) times", text)
        assert float(number) == pytest.approx(ratio, abs=0.06)


def test_a_fall_of_sharpness_is_quoted_with_its_time() -> None:
    evidence = evidence_with()
    sharpness = np.array([20, 20, 20, 20, 8, 8, 8, 8], float)
    evidence[:, CHANNELS.index("sharpness_fine")] = np.log(sharpness)[:, None, None]
    text = said(evidence, kind=Category.SUDDEN_BLURRING)
    assert "loses sharpness" in text
    assert "its sharpness falls by 60 %" in text
    start, stop = (float(t) for t in re.search(r"from (\d\.\d\d) s to (\d\.\d\d) s", text).groups())
    assert start < TIMES[4] <= stop + 0.01
    assert stop - start <= 0.5


def test_motion_of_its_own_is_quoted_in_shares_of_the_frame() -> None:
    pixels = 3.0
    text = said(evidence_with(motion=(pixels, 0.0)), kind=Category.UNEXPECTED_MOVE)
    share = 100 * pixels / (FLOW_SIDE * REFERENCE_DT_S)
    assert f"moves by {share:.0f} % of the frame a second while the camera stands still" in text


def test_motion_is_not_quoted_while_the_camera_moves() -> None:
    assert "camera stands still" not in said(evidence_with(motion=(3.0, 0.0), camera_motion=2.0))


def test_at_most_two_facts_the_clearest_first() -> None:
    text = said(evidence_with(residual=(20.0, 1.0), inconsistency=(4.0, 1.0), acceleration=(2.0, 1.0)))
    assert re.findall(r"(\d+\.\d) times", text) == ["20.0", "4.0"]


def test_without_a_clear_fact_none_is_made_up() -> None:
    text = said(evidence_with())
    assert "no single measurement stands out" in text
    assert not re.search(r"\d", text)


def test_the_first_frame_counts_for_nothing() -> None:
    """It has no frame before it: its maps are zeros, which read as a rate of almost one."""
    evidence, mask = evidence_with(residual=(5.0, 1.0)), MASK.copy()
    mask[0] = mask[3]
    evidence[0, 6:] = 0.0
    (number,) = re.findall(r"(\d+\.\d) times", said(evidence, mask))
    assert float(number) == 5.0


def test_a_trace_over_the_whole_picture_is_compared_with_nothing() -> None:
    assert "than elsewhere" not in said(evidence_with(residual=(9.0, 1.0)), np.ones_like(MASK))


@pytest.mark.parametrize("kind", [*Category, None])
def test_it_is_one_plain_sentence_that_names_the_place(kind: Category | None) -> None:
    text = said(evidence_with(residual=(9.0, 1.0)), kind=kind)
    assert text.startswith("The region in the upper left ")
    assert text.endswith(".")
    assert text.count(". ") == 0


def test_a_trace_nearly_everywhere_is_in_no_region() -> None:
    wide = Box(x0=0.0, y0=0.1, x1=1.0, y1=0.9)
    text = explanation(evidence_with(), TIMES, MASK, wide, Category.SUDDEN_BLURRING)
    assert text.startswith("Nearly the whole picture loses sharpness")
