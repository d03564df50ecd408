from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch (pip install 'deeptrace[train]')")
pytest.importorskip("sklearn", reason="needs scikit-learn (pip install 'deeptrace[train]')")

from deeptrace.detectors.tracenet.model import Calibration
from deeptrace.train.tracenet.crossfit_planted import NO_TRACE, PlantedScores
from deeptrace.train.tracenet.edits import fit_edits


def planted_scores(apart: float) -> PlantedScores:
    """1,000 stretches, half with a trace that lifts the pooled logit by `apart` and is found where it is."""
    rng = np.random.default_rng(0)
    traced = np.arange(1000) % 2 == 1
    pooled = rng.normal(0, 1, 1000) + apart * traced
    return PlantedScores(
        pooled=pooled,
        heat=1 / (1 + np.exp(-pooled)),
        iou=np.where(traced, 0.6, 0.0),
        severity=np.where(traced, 0.8, 0.0),
        category=np.where(traced, 2, NO_TRACE),
        told=np.zeros(1000, int),
    )


def calibrated(planted: PlantedScores | None) -> Calibration:
    return Calibration(
        texture=1, appearance=1, bias=0, threshold_fpr_1=1, threshold_fpr_5=1, threshold_balanced=1,
        heat=0, presence=0, trace_generated=0, trace_bias=0, sharpen=1, **fit_edits([], planted),
    )  # fmt: skip


def test_strong_signs_count_and_usual_footage_hardly_does() -> None:
    calibration = calibrated(planted_scores(4.0))
    assert calibration.p_edited(0.0) < 0.05 < 0.5 < calibration.p_edited(5.0)
    assert calibration.local_score(0.5, 0.0) < 0.2 < 0.8 < calibration.local_score(0.99, 5.0)


def test_a_net_that_sees_nothing_says_the_prior() -> None:
    calibration = calibrated(planted_scores(0.0))
    assert calibration.p_edited(0.0) == pytest.approx(0.05, abs=0.02)
    assert calibration.p_edited(2.0) == pytest.approx(0.05, abs=0.02)


@pytest.mark.parametrize("edits", ["none", "no traces"])
def test_without_planted_traces_nothing_is_ever_called_edited(edits: str) -> None:
    scores = planted_scores(1.0)
    without = PlantedScores(**{**vars(scores), "category": np.full(1000, NO_TRACE)})
    calibration = calibrated(None if edits == "none" else without)
    assert calibration.p_edited(20.0) < 1e-20
    assert calibration.local_score(1.0, 20.0) < 1e-20
    assert calibration.p_fake(0.0, 0.0, 20.0) == 0.5
