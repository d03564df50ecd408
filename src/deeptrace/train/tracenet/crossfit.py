"""Scores of clips by models that never saw their generator or source; the ground of every figure in the model card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deeptrace.detectors.tracenet.windows import LENGTH
from deeptrace.errors import MissingExtraError
from deeptrace.train.tracenet.clips import Clip, Kind
from deeptrace.train.tracenet.config import TraceNetConfig
from deeptrace.train.tracenet.measure import Measured, load_measured
from deeptrace.train.tracenet.nets import TraceNet

__all__ = ["Scores", "TextureModel", "fit_texture", "score_clip", "windows_of"]

_EDITED_WEIGHT = 0.6


@dataclass(frozen=True)
class TextureModel:
    """The linear texture classifier: logit = clip((x - center) * scale, -4, 4) @ weights + bias."""

    center: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    bias: float

    def score(self, texture: np.ndarray) -> float:
        """Mean logit over windows (W, D); 0 without any."""
        if not len(texture):
            return 0.0
        return float(self._standard(texture).mean(axis=0) @ self.weights + self.bias)

    def _standard(self, texture: np.ndarray) -> np.ndarray:
        return np.asarray(np.clip((texture - self.center) * self.scale, -4, 4))


@dataclass(frozen=True)
class Scores:
    """What the models say of one variant of one clip.

    Attributes:
        texture: logit of the texture classifier.
        clip: logit of the trace net, mean over windows.
        where, present: (T, GRID, GRID) float16 probabilities.
        kinds: (T, 9, GRID / 2, GRID / 2) float16 probabilities.
        times_s: (T,).
    """

    texture: float
    clip: float
    where: np.ndarray
    present: np.ndarray
    kinds: np.ndarray
    times_s: np.ndarray

    def save(self, path: Path) -> None:
        """Write to an .npz file."""
        np.savez_compressed(path, **vars(self))

    @classmethod
    def load(cls, path: Path) -> Scores:
        """Read from an .npz file."""
        with np.load(path) as data:
            arrays = {name: data[name] for name in data.files}
        return cls(float(arrays.pop("texture")), float(arrays.pop("clip")), **arrays)


def fit_texture(clips: list[Clip], config: TraceNetConfig) -> TextureModel:
    """Fit the texture classifier on every variant of `clips`, edited versions counting as generated.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise MissingExtraError("train tracenet", "train") from None
    rows, labels, weights = [], [], []
    for clip in clips:
        for variant in range(config.variants):
            measured = load_measured(clip, variant, config)
            if measured is None or not len(measured.texture):
                continue
            rows.append(measured.texture)
            labels += [clip.kind is not Kind.REAL] * len(measured.texture)
            weight = _EDITED_WEIGHT if clip.kind is Kind.EDITED else 1.0
            weights += [weight / len(measured.texture)] * len(measured.texture)
    texture = np.concatenate(rows).astype(np.float64)
    center, scale = texture.mean(axis=0), 1.0 / (texture.std(axis=0) + 1e-6)
    model: Any = LogisticRegression(C=config.texture_strength, max_iter=1000, class_weight="balanced")
    model.fit(np.clip((texture - center) * scale, -4, 4), np.array(labels), sample_weight=np.array(weights))
    return TextureModel(center, scale, model.coef_[0], float(model.intercept_[0]))


def windows_of(measured: Measured) -> list[np.ndarray]:
    """Frame indices of the windows that a detector would see: LENGTH each, the last one reaching back."""
    count = len(measured.times_s)
    ends = list(range(LENGTH, count + 1, LENGTH))
    if not ends or ends[-1] < count:
        ends.append(count)
    return [np.arange(max(end - LENGTH, 0), end) for end in ends]


def score_clip(net: TraceNet, texture: TextureModel, measured: Measured) -> Scores:
    """Score one variant of one clip, window by window, as the detector does."""
    clip_logits, parts, done = [], [], 0
    for frames in windows_of(measured):
        evidence = torch.from_numpy(measured.evidence[frames].astype(np.float32))
        with torch.no_grad():
            generated, where, present, kinds = net(evidence[None])
        clip_logits.append(float(generated[0]))
        fresh = max(done - int(frames[0]), 0)
        done = int(frames[-1]) + 1
        parts.append([head[0, fresh:].sigmoid().numpy().astype(np.float16) for head in (where, present, kinds)])
    where, present, kinds = (np.concatenate(maps) for maps in zip(*parts, strict=True))
    return Scores(texture.score(measured.texture), float(np.mean(clip_logits)), where, present, kinds, measured.times_s)
