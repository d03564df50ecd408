"""Training examples of the trace net: drawn by group, jittered, mirrored and zoomed with their truth."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from deeptrace.detectors.tracenet.evidence import CHANNELS, GRID
from deeptrace.trace import Category, Trace
from deeptrace.train.tracenet.clips import Clip, Kind
from deeptrace.train.tracenet.config import TraceNetConfig
from deeptrace.train.tracenet.measure import Measured, Planted, coverage, load_measured, load_planted

__all__ = ["PLANTED", "Batch", "Batches", "target_heat"]

PLANTED = 3
"""Kind of an example with a synthetic trace, after the three of `Kind`."""

_EDITED_SHARE = 0.1
_DROPPED = 0.08
_TOGETHER = ((0, 1, 2), (3,), (4, 5), (6, 7), (8, 9, 10), (11,), (12,), (13, 14), (15,), (16,), (17,))
_AT = {name: index for index, name in enumerate(CHANNELS)}


@dataclass(frozen=True)
class Batch:
    """One batch.

    Attributes:
        evidence: (B, T, channels, GRID, GRID).
        heat: (B, T, GRID, GRID) truth, 0 to 1.
        kind: (B,) a `Kind` or PLANTED.
        categories: (B, 9) 0 or 1.
    """

    evidence: torch.Tensor
    heat: torch.Tensor
    kind: torch.Tensor
    categories: torch.Tensor


class Batches:
    """An endless source of batches over the given clips; one seed, one sequence."""

    def __init__(self, clips: list[Clip], config: TraceNetConfig, seed: int) -> None:
        self._config, self._rng = config, np.random.default_rng(seed)
        self._measured: dict[str, list[Measured]] = {}
        for clip in clips:
            variants = (load_measured(clip, v, config) for v in range(config.variants))
            self._measured[clip.name] = [m for m in variants if m is not None and len(m.times_s) >= 4]
        usable = [clip for clip in clips if self._measured[clip.name]]
        self._of = {kind: [clip for clip in usable if clip.kind is kind] for kind in Kind}
        self._share = {kind: _by_group(members) for kind, members in self._of.items()}
        self._planted = [p for clip in self._of[Kind.REAL] for p in load_planted(clip, config) if p.target.max() > 100]

    def channel_statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and spread (channels,) over the training clips."""
        some = [m[0].evidence[1:6].astype(np.float32) for m in self._measured.values() if m]
        values = np.concatenate([x.transpose(1, 0, 2, 3).reshape(len(CHANNELS), -1)[:, ::7] for x in some], axis=1)
        return torch.from_numpy(values.mean(axis=1)), torch.from_numpy(values.std(axis=1) + 1e-3)

    def draw(self, filler: torch.Tensor) -> Batch:
        """The next batch; dropped groups of channels are set to `filler` (channels,)."""
        config, rng = self._config, self._rng
        rows: list[tuple[np.ndarray, np.ndarray, int, np.ndarray]] = []
        for index in range(config.generated + config.real):
            kind = Kind.GENERATED if index < config.generated else Kind.REAL
            if kind is Kind.GENERATED and self._of[Kind.EDITED] and rng.random() < _EDITED_SHARE:
                kind = Kind.EDITED
            members = self._of[kind]
            clip = members[int(rng.choice(len(members), p=self._share[kind]))]
            variants = self._measured[clip.name]
            rows.append(
                (*self._stretch(variants[int(rng.integers(len(variants)))], clip), int(kind), _marks(clip.traces))
            )
        for _ in range(config.planted if self._planted else 0):
            planted = self._planted[int(rng.integers(len(self._planted)))]
            rows.append((*self._planted_stretch(planted), PLANTED, _mark_vector([planted.category])))
        changed = [_zoomed(*_mirrored(_jittered(x, rng), heat, rng), rng) for x, heat, _, _ in rows]
        evidence = torch.from_numpy(np.stack([x for x, _ in changed]))
        for group in _TOGETHER:
            dropped = torch.from_numpy(np.flatnonzero(rng.random(len(rows)) < _DROPPED))
            for channel in group:
                evidence[dropped, :, channel] = filler[channel]
        return Batch(
            evidence,
            torch.from_numpy(np.stack([heat for _, heat in changed])),
            torch.tensor([kind for _, _, kind, _ in rows]),
            torch.from_numpy(np.stack([marks for _, _, _, marks in rows])),
        )

    def _stretch(self, measured: Measured, clip: Clip) -> tuple[np.ndarray, np.ndarray]:
        picked = self._pick(len(measured.times_s))
        return measured.evidence[picked].astype(np.float32), target_heat(clip.traces, measured.times_s[picked])

    def _planted_stretch(self, planted: Planted) -> tuple[np.ndarray, np.ndarray]:
        picked = self._pick(len(planted.times_s))
        return planted.evidence[picked].astype(np.float32), planted.target[picked].astype(np.float32) / 255

    def _pick(self, length: int) -> np.ndarray:
        """Indices of `config.frames` neighbours; a shorter clip is run to and fro."""
        wanted = self._config.frames
        if length >= wanted:
            return np.arange(wanted) + int(self._rng.integers(0, length - wanted + 1))
        there_and_back = np.concatenate([np.arange(length), np.arange(length - 2, 0, -1)])
        return np.resize(there_and_back, wanted)


def target_heat(traces: tuple[Trace, ...], times_s: np.ndarray) -> np.ndarray:
    """(T, GRID, GRID): the share of each cell that lies in a trace alive then, times the trace's weight (`score`)."""
    heat = np.zeros((len(times_s), GRID, GRID), np.float32)
    for trace in traces:
        if trace.box is None or trace.onset_s is None or trace.offset_s is None:
            continue
        alive = (times_s >= trace.onset_s - 0.07) & (times_s <= trace.offset_s + 0.01)
        weight = 1.0 if trace.score is None else trace.score
        heat[alive] = np.maximum(heat[alive], weight * coverage(trace.box))
    return heat


def _by_group(clips: list[Clip]) -> np.ndarray:
    """Chances (N,): a group's falls with the root of its size, so that large ones do not drown small ones."""
    sizes = Counter(clip.group for clip in clips)
    chances = np.array([sizes[clip.group] ** -0.5 for clip in clips])
    return chances / chances.sum() if len(chances) else chances


def _marks(traces: tuple[Trace, ...]) -> np.ndarray:
    return _mark_vector([category for trace in traces for category in trace.categories])


def _mark_vector(categories: list[Category]) -> np.ndarray:
    return np.array([category in categories for category in Category], np.float32)


def _jittered(evidence: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Other exposure, colour, sharpness and speed: what differs between sources for no interesting reason."""
    x = evidence.copy()

    def shift(spread: float, *names: str, by: float = 0.0) -> None:
        for name in names:
            x[:, _AT[name]] += by + rng.normal(0, spread)

    x[:, 0] = x[:, 0] * rng.uniform(0.75, 1.25) + rng.uniform(-0.15, 0.15)
    x[:, 1:3] = x[:, 1:3] * rng.uniform(0.5, 1.4) + rng.uniform(-0.06, 0.06, (1, 2, 1, 1))
    sharper = rng.normal(0, 0.3)
    shift(0.25, "sharpness_fine", by=sharper)
    shift(0.0, "sharpness_mid", "sharpness_coarse", by=sharper)
    shift(0.3, "residual", "acceleration", "colour_change")
    shift(0.2, "residual_to_texture", "inconsistency")
    faster = rng.normal(0, 0.4)
    x[:, 8:10] *= np.exp(faster / 2)
    shift(0.0, "motion", "camera_motion", "divergence", "curl", by=faster)
    x[:, _AT["sharpness_change"]] *= rng.uniform(0.6, 1.4)
    return x


def _mirrored(evidence: np.ndarray, heat: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    if rng.random() < 0.5:
        evidence, heat = evidence[..., ::-1].copy(), heat[..., ::-1].copy()
        evidence[:, _AT["motion_x"]] *= -1
    return evidence, heat


def _zoomed(evidence: np.ndarray, heat: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Often: a random part of the picture, enlarged to the whole grid."""
    if rng.random() >= 0.7:
        return evidence, heat
    wide = rng.uniform(0.65, 1.0)
    high = float(np.clip(wide * rng.uniform(0.85, 1.18), 0.6, 1.0))
    left, top = rng.uniform(0, 1 - wide), rng.uniform(0, 1 - high)
    matrix = torch.tensor([[[wide, 0, 2 * left + wide - 1], [0, high, 2 * top + high - 1]]], dtype=torch.float32)
    sampling = F.affine_grid(matrix, [1, 1, GRID, GRID], align_corners=False)
    stacked = np.concatenate([evidence.reshape(1, -1, GRID, GRID), heat.reshape(1, -1, GRID, GRID)], axis=1)
    zoomed = F.grid_sample(torch.from_numpy(stacked), sampling, padding_mode="border", align_corners=False)[0].numpy()
    maps = evidence.shape[0] * evidence.shape[1]
    evidence = zoomed[:maps].reshape(evidence.shape).copy()
    evidence[:, _AT["motion_x"]] /= wide
    evidence[:, _AT["motion_y"]] /= high
    return evidence, zoomed[maps:].reshape(heat.shape).copy()
