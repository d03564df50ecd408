"""Measures that the reward never sees: three small nets, fitted on footage that neither generator nor test shares.

- Features, for a Fréchet distance: of a net that learned, without labels, to tell what was done to a clip.
- A discriminator: footage against samples of the generator before it was improved, how real a clip looks to it.
- A second detector: where synthetic traces were put into footage, and so how many flaws it counts in a clip.

All three are the same net with another head. None has seen a weight, a score or a training clip of the reward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from scipy.linalg import sqrtm
from torch import Tensor, nn

from closing_the_loop.footage import Footage, cropped
from closing_the_loop.generator import Generator, sample, to_clips
from closing_the_loop.pretrain import save_state
from closing_the_loop.world import FPS, FRAMES, SIDE
from deeptrace.errors import SynthError
from deeptrace.schema import Category
from deeptrace.synth import Scene, inject

__all__ = ["CHANGES", "Looker", "Unseen", "changed", "fit_unseen", "frechet_of"]

CHANGES = ("as it is", "shuffled", "every other frame held", "half the sharpness", "a place from later")
"""What the net without labels tells apart."""

_FEATURES = 16
_BATCH = 16
_RATE = 2e-3
_CHANGED = 14  # grey levels by which a synthetic trace shows
_CLEAN_SHARE = 0.01  # of the cells of footage that the second detector may take for a flaw


class Looker(nn.Module):
    """A small net over clips: what it sees cell by cell (B, width, T, 6, 6), and its answers.

    Args:
        answers: how many numbers are asked for a clip; 0: one for each cell and frame.
    """

    def __init__(self, answers: int) -> None:
        super().__init__()
        self.answers = answers
        self.still = nn.Conv2d(6, 24, 5, 2, 2)
        self.middle = nn.Conv2d(24, 48, 3, 2, 1)
        self.time = nn.Conv3d(48, 48, (3, 1, 1), padding=(1, 0, 0))
        self.small = nn.Conv2d(48, 64, 3, 2, 1)
        self.later = nn.Conv3d(64, 64, (3, 1, 1), padding=(1, 0, 0))
        self.features = nn.Linear(128, _FEATURES)
        self.head = nn.Linear(_FEATURES, answers) if answers else nn.Conv3d(64, 1, 1)

    def forward(self, clips: Tensor) -> Tensor:
        """(B, answers), or (B, T, 6, 6), of clips (B, T, 3, SIDE, SIDE) in [-1, 1]."""
        cells = self._cells(clips)
        if not self.answers:
            return torch.as_tensor(self.head(cells)[:, 0])
        return torch.as_tensor(self.head(F.relu(self._summed(cells))))

    def described(self, clips: Tensor) -> Tensor:
        """(B, 16): what its answers are read off."""
        return self._summed(self._cells(clips))

    def _cells(self, clips: Tensor) -> Tensor:
        count = len(clips)
        change = torch.diff(clips, dim=1, prepend=clips[:, :1]) * 4
        y = F.relu(self.still(torch.cat([clips, change], 2).flatten(0, 1)))
        y = F.relu(self.middle(y)).unflatten(0, (count, -1)).transpose(1, 2)
        y = F.relu(y + self.time(y))
        y = F.relu(self.small(y.transpose(1, 2).flatten(0, 1))).unflatten(0, (count, -1)).transpose(1, 2)
        return F.relu(y + self.later(y))

    def _summed(self, cells: Tensor) -> Tensor:
        flat = cells.flatten(2)
        return torch.as_tensor(self.features(torch.cat([flat.mean(2), flat.amax(2)], 1)))


class Unseen(NamedTuple):
    """The fitted nets, and where the second detector sees a flaw."""

    features: Looker
    discriminator: Looker
    spots: Looker
    limit: float

    def described(self, clips: np.ndarray) -> np.ndarray:
        """(B, 16) features of clips (B, FRAMES, SIDE, SIDE, 3) uint8."""
        return _in_parts(self.features.described, clips)

    def realness(self, clips: np.ndarray) -> np.ndarray:
        """(B,): log odds of being footage, by the discriminator."""
        return _in_parts(self.discriminator, clips)[:, 0]

    def flaws(self, clips: np.ndarray) -> np.ndarray:
        """(B,): how many separate places and times the second detector calls flawed."""
        return np.array([_regions(heat > self.limit) for heat in _in_parts(self.spots, clips)], float)


@dataclass(frozen=True)
class Fitting:
    """How much the nets learn from.

    Attributes:
        steps: of each net.
        samples: of the generator, for the discriminator.
        traces: synthetic ones, for the second detector.
    """

    steps: int = 300
    samples: int = 192
    traces: int = 120


def fit_unseen(footage: Footage, checkpoints: dict[str, Generator], folder: Path, how: Fitting) -> Unseen:
    """Fit the three nets on the footage "judges", or read what an earlier call fitted.

    Args:
        footage: of "judges".
        checkpoints: generators that the discriminator is to know, by name.
        folder: for the nets and the samples.
        how: much.
    """
    nets = {
        "features": (Looker(len(CHANGES)), lambda: _changes(footage)),
        "discriminator": (Looker(1), lambda: _real_or_not(footage, checkpoints, how.samples)),
        "spots": (Looker(0), lambda: _traces(footage, how.traces)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, (net, batches)) in enumerate(nets.items()):
        path = folder / f"{name}.pt"
        if not path.is_file():
            torch.manual_seed(number)
            net.load_state_dict(Looker(net.answers).state_dict())
            print(f"{name}: loss {_fit(net, batches(), how.steps):.3f} at the end", flush=True)
            save_state(net.state_dict(), path)
        net.load_state_dict(torch.load(path, weights_only=True))
        net.eval()
    features, discriminator, spots = (net for net, _ in nets.values())
    clean = footage.draw_clips(np.random.default_rng(74), 64)
    limit = float(np.quantile(_in_parts(spots, clean), 1 - _CLEAN_SHARE))
    return Unseen(features, discriminator, spots, limit)


def frechet_of(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Fréchet distance of two sets of features (N, D): of normal distributions with their means and covariances, each
    feature in spreads of `theirs`."""
    spread = theirs.std(axis=0) + 1e-6
    ours, theirs = ours / spread, theirs / spread
    ridge = 1e-6 * np.eye(ours.shape[1])
    first, second = np.cov(ours.T) + ridge, np.cov(theirs.T) + ridge
    apart = ours.mean(axis=0) - theirs.mean(axis=0)
    return float(apart @ apart + np.trace(first + second - 2 * np.real(sqrtm(first @ second))))


def changed(clip: np.ndarray, other: np.ndarray, change: str, rng: np.random.Generator) -> np.ndarray:
    """A clip (FRAMES, SIDE, SIDE, 3) uint8 after one of `CHANGES`; `other` is a later part of the same footage."""
    if change == "shuffled":
        return clip[rng.permutation(len(clip))]
    if change == "every other frame held":
        return clip[np.arange(len(clip)) // 2 * 2]
    if change == "half the sharpness":
        small = [cv2.resize(f, (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA) for f in clip]
        return np.stack([cv2.resize(f, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR) for f in small])
    if change == "a place from later":
        top, left = rng.integers(0, SIDE - SIDE // 3, 2)
        mixed = clip.copy()
        mixed[:, top : top + SIDE // 3, left : left + SIDE // 3] = other[
            :, top : top + SIDE // 3, left : left + SIDE // 3
        ]
        return mixed
    return clip


_Batches = Iterator[tuple[Tensor, Callable[[Tensor], Tensor]]]
"""Clips and the loss of a net's answer to them."""


def _changes(footage: Footage) -> _Batches:
    rng = np.random.default_rng(71)
    while True:
        crops = footage.draw_clips(rng, _BATCH)
        labels = rng.integers(len(CHANGES), size=_BATCH)
        clips = [changed(crop, crop[::-1], CHANGES[label], rng) for crop, label in zip(crops, labels, strict=True)]
        yield as_input(np.stack(clips)), partial(_wrong_answer, torch.from_numpy(labels))


def _wrong_answer(due: Tensor, said: Tensor) -> Tensor:
    return F.cross_entropy(said, due)


def _wrong_odds(due: Tensor, said: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(said, due)


def _real_or_not(footage: Footage, checkpoints: dict[str, Generator], count: int) -> _Batches:
    rng = np.random.default_rng(72)
    share, made = count // len(checkpoints), []
    for number, net in enumerate(checkpoints.values()):
        scenes = footage.draw(rng, share)
        made.append(to_clips(sample(net, scenes.condition, seed=73 + number), scenes.condition))
    generated = np.concatenate(made)
    while True:
        fake = generated[rng.choice(len(generated), _BATCH // 2)]
        flip = rng.random(len(fake)) < 0.5
        fake[flip] = fake[flip][:, :, :, ::-1]
        clips = np.concatenate([footage.draw_clips(rng, _BATCH // 2), fake])
        real = torch.cat([torch.ones(_BATCH // 2), torch.zeros(_BATCH // 2)])
        yield as_input(clips), partial(_wrong_odds, real[:, None])


def _traces(footage: Footage, count: int) -> _Batches:
    rng = np.random.default_rng(75)
    pairs = list(_with_trace(footage, count, rng))
    while True:
        clips, marks = [], []
        for number in rng.choice(len(pairs), _BATCH):
            before, after = cropped(pairs[number], rng)
            clips.append(after)
            apart = np.abs(after.astype(np.int16) - before).max(axis=3) > _CHANGED
            marks.append(apart.reshape(FRAMES, 6, SIDE // 6, 6, SIDE // 6).mean(axis=(2, 4)) > 0.25)
        due = torch.from_numpy(np.stack(marks)).float()
        yield as_input(np.stack(clips)), partial(_wrong_odds, due)


def _with_trace(footage: Footage, count: int, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Clips without and with a synthetic trace."""
    kinds = list(Category)
    for number in range(count):
        clip = footage.clips[int(rng.integers(len(footage.clips)))]
        times = np.arange(len(clip)) / FPS
        try:
            scene = Scene.of(clip, times)
            severity = float(rng.uniform(0.4, 1.0))
            made = inject(clip, times, kinds[number % len(kinds)], severity=severity, rng=rng, scene=scene)
        except SynthError:
            continue
        yield clip, made.frames


def _fit(net: Looker, batches: _Batches, steps: int) -> float:
    optimizer = torch.optim.AdamW(net.parameters(), lr=_RATE, weight_decay=0.01)
    late = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = _RATE * (1 - step / steps)
        clips, loss_of = next(batches)
        loss = loss_of(net(clips))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step >= steps * 3 // 4:
            late.append(float(loss.detach()))
    return float(np.mean(late))


def as_input(clips: np.ndarray) -> Tensor:
    """Clips (B, T, SIDE, SIDE, 3) uint8 as the nets take them."""
    return torch.from_numpy(np.ascontiguousarray(clips)).permute(0, 1, 4, 2, 3).float() / 127.5 - 1


@torch.no_grad()
def _in_parts(asked: Callable[[Tensor], Tensor], clips: np.ndarray) -> np.ndarray:
    parts = [asked(as_input(clips[start : start + _BATCH])) for start in range(0, len(clips), _BATCH)]
    return np.asarray(torch.cat(parts).numpy())


def _regions(mask: np.ndarray) -> int:
    """Connected places and times in (T, 6, 6)."""
    from scipy.ndimage import label

    return int(label(mask)[1])
