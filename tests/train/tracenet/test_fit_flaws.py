"""What the flaw ranker is fitted to take no notice of, on statistics with a known cause."""

from __future__ import annotations

import numpy as np
import pytest

from deeptrace.detectors.tracenet.flaws import MEASURED, STATISTICS
from deeptrace.errors import DataError
from deeptrace.train.tracenet.flaws import FlawExamples, fit_flaws

NAMES = list(STATISTICS)
FLAW, MOTION = NAMES.index("residual.q97"), [NAMES.index(f"motion.q{quantile}") for quantile in (90, 97)]
WIDTH = len(NAMES) + MEASURED


def examples(seed: int) -> FlawExamples:
    """Ladders that show in one statistic, camera clips in which it has nothing to do with motion."""
    rng = np.random.default_rng(seed)
    severity = np.tile([0.2, 0.6, 1.0], 40)
    change = 0.05 * rng.normal(size=(120, WIDTH))
    change[:, FLAW] += severity
    camera = rng.normal(size=(60, WIDTH))
    return FlawExamples(severity, change, 0.01 * rng.normal(size=(80, WIDTH)), camera)


def torn_where_they_move(seed: int) -> np.ndarray:
    """(400, F) samples of a generator, less their prompt's mean: what moves more is torn more."""
    rng = np.random.default_rng(seed)
    rows = 0.2 * rng.normal(size=(100, 4, WIDTH))
    more = rng.normal(size=(100, 4, 1))
    rows[:, :, MOTION] += more
    rows[:, :, [FLAW]] += more
    return np.asarray((rows - rows.mean(axis=1, keepdims=True)).reshape(400, WIDTH))


def severities(ranker_weights: tuple[float, ...], rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows[:, : len(NAMES)] @ np.array(ranker_weights))


def test_a_ranker_orders_the_rungs_it_learned_from() -> None:
    ranker = fit_flaws(examples(0))
    unseen = examples(1)
    assert np.corrcoef(severities(ranker.weights, unseen.change), unseen.severity)[0, 1] > 0.8
    assert ranker.fitted_on["rung_above_clean"] > 0.9


def test_moving_more_is_no_flaw_among_the_samples_of_the_generator_it_is_made_for() -> None:
    """Without the generator's samples the ranker prefers the stillest of a prompt's; with them it does not."""
    unseen = torn_where_they_move(3)
    moves = unseen[:, MOTION].mean(axis=1)
    plain = fit_flaws(examples(0))
    made_for_it = fit_flaws(examples(0), samples=torn_where_they_move(2))
    before, after = (np.corrcoef(severities(r.weights, unseen), moves)[0, 1] for r in (plain, made_for_it))
    assert before > 0.7
    assert abs(after) < 0.25
    rungs = examples(1)
    assert np.corrcoef(severities(made_for_it.weights, rungs.change), rungs.severity)[0, 1] > 0.5


def test_too_few_clips_teach_nothing() -> None:
    few = examples(0)
    with pytest.raises(DataError, match="2 clips and 120 rungs are too few"):
        fit_flaws(FlawExamples(few.severity, few.change, few.benign, few.camera[:2]))
