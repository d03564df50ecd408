"""From traces seen by eye to when a marked trace lives: the coefficients of `Lives`."""

from __future__ import annotations

import numpy as np

from deeptrace.detectors.tracenet.lives import LIFE_FEATURES, Lives, life_features
from deeptrace.train.tracenet.clip_score import logistic
from deeptrace.train.tracenet.clips import Kind
from deeptrace.train.tracenet.config import TraceNetConfig
from deeptrace.train.tracenet.crossfit import ScoredClip
from deeptrace.train.tracenet.measure import load_measured

__all__ = ["fit_lives"]

_PENALTY = 10.0  # few traces, many features
_FEWEST_TRACES = 20
_FEWEST_FRAMES = 4


def fit_lives(scored: dict[int, list[ScoredClip]], config: TraceNetConfig) -> Lives | None:
    """Fit on the frames of every trace seen by eye, each trace counting alike; None with too few of them.

    Args:
        scored: cross-fitted, by variant.
        config: of the training, for what was measured.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    rows: list[np.ndarray] = []
    alive: list[np.ndarray] = []
    for variant, clips in scored.items():
        for s in clips:
            clip_rows, clip_alive = _examples(s, variant, config)
            rows += clip_rows
            alive += clip_alive
    if len(rows) < _FEWEST_TRACES:
        return None
    features, labels = np.concatenate(rows), np.concatenate(alive)
    weights = np.concatenate([np.full(len(part), 1.0 / len(part)) for part in rows])
    weights *= len(weights) / weights.sum()
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    unit = Lives(mean=_short(mean), spread=_short(spread), weights=(0.0,) * LIFE_FEATURES, bias=0.0)
    coefficients, bias = logistic(unit.standardised(features), labels, weights, penalty=_PENALTY)
    return unit.model_copy(update={"weights": _short(coefficients), "bias": round(bias, 6)})


def _examples(s: ScoredClip, variant: int, config: TraceNetConfig) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Of each trace of a clip, its features (T, LIFE_FEATURES) and when it is there (T,)."""
    traces = [t for t in s.clip.traces if t.box is not None and t.interval is not None]
    times = s.scores.times_s
    if s.clip.kind is not Kind.GENERATED or not traces or len(times) < _FEWEST_FRAMES:
        return [], []
    measured = load_measured(s.clip, variant, config)
    if measured is None:
        return [], []
    end_s = 2 * float(times[-1]) - float(times[-2])
    rows, alive = [], []
    for trace in traces:
        assert trace.box is not None
        assert trace.interval is not None
        rows.append(life_features(measured.evidence, s.scores.present, trace.box, times, end_s))
        alive.append((times >= trace.interval.onset_s) & (times < trace.interval.offset_s))
    return rows, alive


def _short(numbers: np.ndarray) -> tuple[float, ...]:
    """What a card can show."""
    return tuple(round(float(number), 6) for number in numbers)
