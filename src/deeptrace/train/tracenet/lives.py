"""When traces are there, learned from those seen by eye and from planted ones: the coefficients of `Lives`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from deeptrace.detectors.tracenet.lives import LIFE_FEATURES, MOMENT_FEATURES, Lives, life_features
from deeptrace.detectors.tracenet.windows import RATE_FPS
from deeptrace.train.tracenet.arrays import KeptArrays
from deeptrace.train.tracenet.clip_score import logistic
from deeptrace.train.tracenet.clips import Clip
from deeptrace.train.tracenet.config import TraceNetConfig
from deeptrace.train.tracenet.crossfit import ScoredClip
from deeptrace.train.tracenet.crossfit_planted import box_of
from deeptrace.train.tracenet.measure import load_measured, planted_sets
from deeptrace.train.tracenet.nets import PresenceNet

__all__ = ["LifeExamples", "fit_lives", "marked_examples", "planted_examples"]

_PENALTY = 10.0  # few traces, many features
_FEWEST = 200  # frames
_FEWEST_OF_A_CLIP = 4


@dataclass(frozen=True)
class LifeExamples(KeptArrays):
    """Moments of traces.

    Attributes:
        features: (N, LIFE_FEATURES), see `life_features`.
        alive: (N,) bool, whether the trace is there.
        weights: (N,) how much each counts; of one trace they add up to its severity, or to 1.
    """

    features: np.ndarray
    alive: np.ndarray
    weights: np.ndarray

    @classmethod
    def of_trace(cls, features: np.ndarray, alive: np.ndarray, severity: float = 1.0) -> LifeExamples:
        """The moments of one trace."""
        weights = np.full(len(alive), severity / len(alive))
        return cls(features.astype(np.float32), alive, weights)

    @classmethod
    def joined(cls, parts: Sequence[LifeExamples]) -> LifeExamples:
        """All of several."""
        none = cls(np.zeros((0, LIFE_FEATURES), np.float32), np.zeros(0, bool), np.zeros(0))
        columns = zip(*((p.features, p.alive, p.weights) for p in (none, *parts)), strict=True)
        return cls(*(np.concatenate(column) for column in columns))


def fit_lives(examples: LifeExamples, *, moments: bool) -> Lives | None:
    """Fit `Lives`; None with too few examples.

    Args:
        examples: to learn from.
        moments: whether the moment itself may say anything; where synthetic traces begin is no news.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    if len(examples.alive) < _FEWEST or examples.alive.all():
        return None
    mean, spread = examples.features.mean(axis=0), examples.features.std(axis=0) + 1e-6
    unit = Lives(mean=_short(mean), spread=_short(spread), weights=(0.0,) * LIFE_FEATURES, bias=0.0)
    first = 0 if moments else MOMENT_FEATURES
    known = unit.standardised(examples.features)[:, first:]
    weights = examples.weights / examples.weights.mean()
    coefficients, bias = logistic(known, examples.alive, weights, penalty=_PENALTY)
    return unit.model_copy(update={"weights": (0.0,) * first + _short(coefficients), "bias": round(bias, 6)})


def marked_examples(scored: list[ScoredClip], variant: int, config: TraceNetConfig) -> LifeExamples:
    """Traces seen by eye, each counting alike.

    Args:
        scored: clips, cross-fitted.
        variant: what was scored.
        config: of the training, for what was measured.
    """
    return LifeExamples.joined([example for s in scored for example in _marked(s, variant, config)])


def planted_examples(net: PresenceNet, clips: list[Clip], config: TraceNetConfig) -> LifeExamples:
    """Planted traces that come or go, each by its severity, in `clips`, real ones that `net` never saw."""
    return LifeExamples.joined([example for clip in clips for example in _planted(net, clip, config)])


def _marked(s: ScoredClip, variant: int, config: TraceNetConfig) -> Iterator[LifeExamples]:
    times = s.scores.times_s
    if not s.clip.is_marked or len(times) < _FEWEST_OF_A_CLIP:
        return
    measured = load_measured(s.clip, variant, config)
    if measured is None:
        return
    end_s = 2 * float(times[-1]) - float(times[-2])
    for trace in s.clip.traces:
        if trace.box is not None and trace.interval is not None:
            features = life_features(measured.evidence, s.scores.present, trace.box, times, end_s)
            alive = (times >= trace.interval.onset_s) & (times < trace.interval.offset_s)
            yield LifeExamples.of_trace(features, alive)


def _planted(net: PresenceNet, clip: Clip, config: TraceNetConfig) -> Iterator[LifeExamples]:
    for one in planted_sets(clip, config):
        for index in range(len(one.categories)):
            for level in (0, 1):
                evidence, truth = one.trace(index, level)
                alive = truth.max(axis=(1, 2)) > 0.0
                if alive.all() or not alive.any():
                    continue
                with torch.no_grad():
                    _, present, _ = net(torch.from_numpy(evidence.astype(np.float32))[None])
                times = np.arange(len(alive)) / RATE_FPS
                chance = present[0].sigmoid().numpy()
                features = life_features(evidence, chance, box_of(truth), times, len(alive) / RATE_FPS)
                yield LifeExamples.of_trace(features, alive, float(one.severities[index, level]))


def _short(numbers: np.ndarray) -> tuple[float, ...]:
    """What a card can show."""
    return tuple(round(float(number), 6) for number in numbers)
