"""Training examples of the presence net: footage with and without a synthetic trace, jittered and zoomed alike."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
import torch.nn.functional as F

from deeptrace.detectors.tracenet.evidence import CHANNELS, GRID
from deeptrace.detectors.tracenet.temporal_extent import coverage
from deeptrace.schema import Category, Trace
from deeptrace.train.tracenet.clips import Clip, Kind
from deeptrace.train.tracenet.config import TraceNetConfig
from deeptrace.train.tracenet.feature_cache import AS_IS, Measured, load_measured, synthetic_sets

__all__ = ["ROLES", "Batch", "Batches", "Role", "marked_share", "target_heat", "weight_by_group"]

_DROPPED = 0.05
_HIGHER = 0.7  # share of traces seen at the higher of their two severities
_TOGETHER = ((0, 1, 2), (3,), (4, 5), (6, 7), (8, 9, 10), (11,), (12,), (13, 14), (15,), (16,), (17,))
_AT = {name: index for index, name in enumerate(CHANNELS)}


class Role(IntEnum):
    """What an example of a batch is."""

    BASE = 0
    SYNTHETIC = 1
    HARD_NEGATIVE = 2
    FOOTAGE = 3
    MARKED = 4


ROLES = (Role.BASE, Role.SYNTHETIC, Role.HARD_NEGATIVE)
"""The examples of one synthetic set, in the order in which they lie in a batch."""


@dataclass(frozen=True)
class Batch:
    """One batch: first the sets, three examples each (see ROLES), then plain footage, then marked generated clips.

    Attributes:
        evidence: (B, T, channels, GRID, GRID).
        heat: (B, T, GRID, GRID) ground truth, 0 to 1.
        role: (B,) a `Role`.
        categories: (B, 9) 0 or 1.
        severity: (B,) of the trace, 0 without a synthetic one.
    """

    evidence: torch.Tensor
    heat: torch.Tensor
    role: torch.Tensor
    categories: torch.Tensor
    severity: torch.Tensor


class Batches:
    """An endless source of batches over the given clips, read from disk as needed; one seed, one sequence."""

    def __init__(self, clips: list[Clip], config: TraceNetConfig, seed: int) -> None:
        self._config, self._rng = config, np.random.default_rng(seed)
        usable = [clip for clip in clips if load_measured(clip, AS_IS, config) is not None]
        self._real = [clip for clip in usable if clip.kind is Kind.REAL]
        self._marked = [clip for clip in usable if clip.is_marked]
        self._share = {kind: weight_by_group(found) for kind, found in ((0, self._real), (1, self._marked))}
        sets = [one for clip in self._real for one in synthetic_sets(clip, config)]
        # by kind, so that kinds that few clips allow are seen as often as the others
        self._by_kind = {
            kind: [(one, i) for one in sets for i, k in enumerate(one.categories) if k is kind] for kind in Category
        }
        self._kinds = [kind for kind, members in self._by_kind.items() if members]

    def channel_statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and spread (channels,) over the training clips."""
        some = [
            m.evidence[1:6].astype(np.float32) for c in self._real + self._marked if (m := self._measured(c, AS_IS))
        ]
        values = np.concatenate([x.transpose(1, 0, 2, 3).reshape(len(CHANNELS), -1)[:, ::7] for x in some], axis=1)
        return torch.from_numpy(values.mean(axis=1)), torch.from_numpy(values.std(axis=1) + 1e-3)

    def draw(self, filler: torch.Tensor) -> Batch:
        """The next batch; dropped groups of channels are set to `filler` (channels,)."""
        rows: list[tuple[np.ndarray, np.ndarray, Role, np.ndarray, float]] = []
        for _ in range(self._config.synthetic if self._kinds else 0):
            rows += self._synthetic()
        for _ in range(self._config.real):
            rows.append(self._plain(self._real, 0, Role.FOOTAGE))
        for _ in range(self._config.generated if self._marked else 0):
            rows.append(self._plain(self._marked, 1, Role.MARKED))
        evidence = torch.from_numpy(np.stack([x for x, *_ in rows]))
        self._drop(evidence, [role for _, _, role, _, _ in rows], filler)
        return Batch(
            evidence,
            torch.from_numpy(np.stack([heat for _, heat, *_ in rows])),
            torch.tensor([int(role) for _, _, role, _, _ in rows]),
            torch.from_numpy(np.stack([marks for *_, marks, _ in rows])),
            torch.tensor([severity for *_, severity in rows], dtype=torch.float32),
        )

    def _synthetic(self) -> list[tuple[np.ndarray, np.ndarray, Role, np.ndarray, float]]:
        """One trace of a set at one severity, beside its footage and a hard negative, all changed in the same way."""
        rng = self._rng
        kind = self._kinds[int(rng.integers(len(self._kinds)))]
        members = self._by_kind[kind]
        one, index = members[int(rng.integers(len(members)))]
        level = int(rng.random() < _HIGHER)
        with_trace, truth = one.trace(index, level)
        picked = self._pick(len(truth), truth)
        state, nothing = int(rng.integers(2**32)), np.zeros_like(truth)
        found = (
            (one.base(), nothing, Role.BASE, mark_vector([]), 0.0),
            (with_trace, truth, Role.SYNTHETIC, mark_vector([kind]), float(one.severities[index, level])),
            (
                one.hard_negative(int(rng.integers(one.hard_negatives))),
                nothing,
                Role.HARD_NEGATIVE,
                mark_vector([]),
                0.0,
            ),
        )
        return [
            (*changed(x[picked].astype(np.float32), heat[picked], np.random.default_rng(state)), role, marks, severity)
            for x, heat, role, marks, severity in found
        ]

    def _plain(
        self, clips: list[Clip], share: int, role: Role
    ) -> tuple[np.ndarray, np.ndarray, Role, np.ndarray, float]:
        clip = clips[int(self._rng.choice(len(clips), p=self._share[share]))]
        measured = self._measured(clip, int(self._rng.integers(self._config.variants))) or self._measured(clip, AS_IS)
        assert measured is not None
        heat = target_heat(clip.traces, measured.times_s)
        picked = self._pick(len(heat), heat)
        x, heat = changed(measured.evidence[picked].astype(np.float32), heat[picked], self._rng)
        marks = mark_vector([category for trace in clip.traces for category in trace.categories])
        return x, heat, role, marks, 0.0

    def _measured(self, clip: Clip, variant: int) -> Measured | None:
        measured = load_measured(clip, variant, self._config)
        return measured if measured is not None and len(measured.times_s) >= 4 else None

    def _drop(self, evidence: torch.Tensor, roles: list[Role], filler: torch.Tensor) -> None:
        """Blank groups of channels; all examples of a set alike."""
        together = [range(i, i + len(ROLES)) if role is Role.BASE else [i] for i, role in enumerate(roles)
                    if role in (Role.BASE, Role.FOOTAGE, Role.MARKED)]  # fmt: skip
        for group in _TOGETHER:
            for rows in together:
                if self._rng.random() < _DROPPED:
                    for channel in group:
                        evidence[list(rows), :, channel] = filler[channel]

    def _pick(self, length: int, heat: np.ndarray) -> np.ndarray:
        """Indices of `config.frames` neighbours, some with heat if any has; a shorter clip is run to and fro."""
        wanted = self._config.frames
        if length < wanted:
            there_and_back = np.concatenate([np.arange(length), np.arange(length - 2, 0, -1)])
            return np.resize(there_and_back, wanted)
        alive = np.concatenate([[0], np.cumsum(heat.any(axis=(1, 2)))])
        starts = np.arange(length - wanted + 1)
        most = (alive[starts + wanted] - alive[starts]).astype(float)
        good = starts[most >= 0.6 * most.max()]
        return np.arange(wanted) + int(good[int(self._rng.integers(len(good)))])


def target_heat(traces: tuple[Trace, ...], times_s: np.ndarray) -> np.ndarray:
    """(T, GRID, GRID): the share of each cell that lies in a trace present then, times the trace's weight (`score`)."""
    heat = np.zeros((len(times_s), GRID, GRID), np.float32)
    for trace in traces:
        if trace.box is None or trace.onset_s is None or trace.offset_s is None:
            continue
        alive = (times_s >= trace.onset_s - 0.07) & (times_s <= trace.offset_s + 0.01)
        weight = 1.0 if trace.score is None else trace.score
        heat[alive] = np.maximum(heat[alive], weight * coverage(trace.box))
    return heat


def marked_share(traces: tuple[Trace, ...]) -> np.ndarray:
    """(GRID, GRID): the share of each cell that traces cover, averaged over them by their weights (`score`)."""
    known = [(1.0 if trace.score is None else trace.score, trace.box) for trace in traces if trace.box is not None]
    total = sum(weight for weight, _ in known)
    share = sum((weight / total * coverage(box) for weight, box in known), np.zeros((GRID, GRID)))
    return np.asarray(share, np.float32)


def weight_by_group(clips: list[Clip]) -> np.ndarray:
    """Chances (N,): a group's falls with the root of its size, so that large ones do not drown small ones."""
    sizes = Counter(clip.group for clip in clips)
    chances = np.array([sizes[clip.group] ** -0.5 for clip in clips])
    return chances / chances.sum() if len(chances) else chances


def mark_vector(categories: list[Category]) -> np.ndarray:
    """(9,) with a one for each of `categories`."""
    return np.array([category in categories for category in Category], np.float32)


def changed(evidence: np.ndarray, heat: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """An example (T, channels, GRID, GRID) jittered, mirrored and zoomed with its ground truth (T, GRID, GRID)."""
    return _zoomed(*_mirrored(_jittered(evidence, rng), heat, rng), rng)


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
