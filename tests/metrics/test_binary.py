"""Ranking and calibration against scikit-learn and torchmetrics."""

from __future__ import annotations

import numpy as np
import pytest
from tests.needs import needs

from deeptrace.metrics import auroc, average_precision, brier_score, expected_calibration_error, tpr_at_fpr

metrics = needs("sklearn.metrics")


def data(seed: int, *, ties: bool = False, videos: int = 400) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, videos)
    p = np.clip(rng.normal(0.45 + 0.15 * y, 0.2), 0.001, 0.999)
    return y, np.round(p, 1) if ties else p


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_against_scikit_learn(seed: int, ties: bool) -> None:
    y, p = data(seed, ties=ties)
    w = np.random.default_rng(seed).integers(0, 4, len(y)).astype(float)
    assert auroc(y, p) == pytest.approx(metrics.roc_auc_score(y, p))
    assert auroc(y, p, weights=w) == pytest.approx(metrics.roc_auc_score(y, p, sample_weight=w))
    assert average_precision(y, p) == pytest.approx(metrics.average_precision_score(y, p))
    assert average_precision(y, p, weights=w) == pytest.approx(metrics.average_precision_score(y, p, sample_weight=w))
    assert brier_score(y, p) == pytest.approx(metrics.brier_score_loss(y, p))
    for limit in (0.001, 0.01, 0.1, 0.5):
        fpr, tpr, _ = metrics.roc_curve(y, p, drop_intermediate=False)
        assert tpr_at_fpr(y, p, max_fpr=limit) == pytest.approx(tpr[fpr <= limit].max())


@pytest.mark.parametrize("seed", range(3))
def test_against_torchmetrics(seed: int) -> None:
    torch = needs("torch")
    functional = needs("torchmetrics.functional.classification")
    y, p = data(seed)
    target, preds = torch.tensor(y), torch.tensor(p)
    assert expected_calibration_error(y, p) == pytest.approx(
        float(functional.binary_calibration_error(preds, target, n_bins=15, norm="l1")), abs=1e-6
    )
    assert auroc(y, p) == pytest.approx(float(functional.binary_auroc(preds, target)), abs=1e-6)
    sensitivity, _ = functional.binary_sensitivity_at_specificity(preds, target, min_specificity=0.9)
    assert tpr_at_fpr(y, p, max_fpr=0.1) == pytest.approx(float(sensitivity), abs=1e-6)


def test_many_resamples_at_once_equal_one_at_a_time() -> None:
    y, p = data(7, ties=True)
    w = np.random.default_rng(1).integers(0, 3, (6, len(y))).astype(float)
    for measure in (auroc, average_precision, brier_score, expected_calibration_error):
        assert measure(y, p, weights=w) == pytest.approx([float(measure(y, p, weights=row)) for row in w])
    assert tpr_at_fpr(y, p, max_fpr=0.1, weights=w) == pytest.approx(
        [float(tpr_at_fpr(y, p, max_fpr=0.1, weights=row)) for row in w]
    )


def test_weights_are_copies() -> None:
    y, p = data(3, ties=True, videos=60)
    w = np.random.default_rng(2).integers(0, 4, len(y))
    assert auroc(y, p, weights=w) == pytest.approx(float(auroc(np.repeat(y, w), np.repeat(p, w))))


@pytest.mark.parametrize("labels", [[], [1, 1], [0, 0]])
def test_one_class_alone_has_no_ranking(labels: list[int]) -> None:
    scores = [0.5] * len(labels)
    assert np.isnan(auroc(labels, scores))
    assert np.isnan(tpr_at_fpr(labels, scores, max_fpr=0.01))
    if not any(labels):
        assert np.isnan(average_precision(labels, scores))


def test_fake_is_positive_everywhere() -> None:
    assert auroc([0, 1], [0.1, 0.9]) == 1
    assert auroc([0, 1], [0.9, 0.1]) == 0


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="same shape"):
        auroc([0, 1], [0.5])
    with pytest.raises(ValueError, match="weights of shape"):
        auroc([0, 1], [0.5, 0.6], weights=[1])
