"""From presence to the chance that footage was edited, and that an edit lies in a tube; fitted on planted traces."""

from __future__ import annotations

import numpy as np

from deeptrace.detectors.tracenet.tubes import presence_tubes
from deeptrace.train.tracenet.clip_score import logistic
from deeptrace.train.tracenet.clips import Kind
from deeptrace.train.tracenet.crossfit import ScoredClip
from deeptrace.train.tracenet.crossfit_planted import NO_TRACE, PlantedScores

__all__ = ["fit_edits"]

_EDITED_CLIPS = 0.05
_EDITED_STRETCHES = 0.2
_HIT_IOU = 0.3


def fit_edits(scored: list[ScoredClip], planted: PlantedScores | None) -> dict[str, float]:
    """The fields of a `Calibration` that say how presence becomes chances; those that say "never" without `planted`.

    Negatives are footage as it is, whole (the real ones of `scored`) and the stretches that traces were planted in, and
    decoys. An edit counts as much as it is severe. Odds are moved to one edited clip in twenty for the clip, so that
    only strong signs move p_fake, and one in five for a tube.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    if planted is None or not (planted.category != NO_TRACE).any():
        return {"edited": 0.0, "edited_bias": -60.0, "local": 0.0, "local_edited": 0.0, "local_bias": -60.0}
    real = [s for s in scored if s.clip.kind is Kind.REAL]
    pooled = np.concatenate([planted.pooled, [s.scores.clip for s in real]])
    heat = np.concatenate([planted.heat, [_best_heat(s) for s in real]])
    severity = np.concatenate([planted.severity, np.zeros(len(real))])
    hit = np.concatenate([planted.iou, np.zeros(len(real))]) >= _HIT_IOU
    traced = np.concatenate([planted.category != NO_TRACE, np.zeros(len(real), bool)])
    (edited,), edited_bias = logistic(pooled[:, None], traced, _weights(traced, severity, _EDITED_CLIPS))
    features = np.stack([_logit(heat), pooled], axis=1)
    clear = ~traced | hit | (severity >= np.median(severity[traced]))  # a faint trace that was missed teaches nothing
    weights = _weights(traced, severity, _EDITED_STRETCHES)
    (local, local_edited), local_bias = logistic(features[clear], hit[clear], weights[clear])
    return {
        "edited": float(edited), "edited_bias": edited_bias,
        "local": float(local), "local_edited": float(local_edited), "local_bias": local_bias,
    }  # fmt: skip


def _weights(traced: np.ndarray, severity: np.ndarray, share: float) -> np.ndarray:
    """Weights of mean 1 with which traced stretches make up `share`, each by its severity."""
    weights = np.where(traced, severity, 1.0)
    for value, wanted in ((True, share), (False, 1.0 - share)):
        weights[traced == value] *= wanted * len(weights) / weights[traced == value].sum()
    return weights


def _best_heat(scored: ScoredClip) -> float:
    times = scored.scores.times_s
    tubes = presence_tubes(scored.scores.present.astype(np.float64), times, float(times[-1]) + 0.125)
    return tubes[0].heat if tubes else 0.0


def _logit(chance: np.ndarray) -> np.ndarray:
    return np.asarray(np.log((chance + 1e-4) / (1 - chance + 1e-4)))
