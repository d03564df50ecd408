"""`deeptrace train autoencoder`: a small autoencoder of the user's own camera footage, for laundering.

It keeps LATENT numbers of 8 x 8 pixels, 12 to 1, where the autoencoder of Stable Diffusion keeps 48 to 1, and is asked
for the picture back (mean absolute difference of pixels, and of their differences to their neighbours). Trained on
camera footage alone it has no fingerprint of a generator to give, which is the idea of GANprintR (arXiv 1911.05351);
theirs is larger, and of faces.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from deeptrace.data import read_reward_data, resolve_path
from deeptrace.errors import DataError, DeeptraceError, MissingExtraError, ModelError
from deeptrace.io.atomic import atomic_path
from deeptrace.schema import Label
from deeptrace.video import open_video

__all__ = ["LATENT", "TrainedAutoencoder", "train_autoencoder"]

LATENT = 16
_WIDTH = 48
_PATCH_PIXELS = 64
_PATCHES_A_FRAME, _FRAMES_A_CLIP = 6, 3
_HELD_OUT = 0.1
_BATCH = 16
_LEARNING_RATE = 2e-3

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class TrainedAutoencoder:
    """What a training made.

    Attributes:
        path: of the ONNX file.
        clips: number of clips that it learned from.
        psnr_db: peak signal to noise ratio on patches of clips that it did not learn from.
    """

    path: Path
    clips: int
    psnr_db: float


def train_autoencoder(
    data: Sequence[Path], out: Path, progress: Progress, *, most_clips: int = 200, steps: int = 1500, seed: int = 0
) -> TrainedAutoencoder:
    """Train on the camera clips of RewardData folders, and write one ONNX file.

    Args:
        data: RewardData folders.
        out: the file.
        progress: told what is being done, how much is done and how much there is.
        most_clips: that are looked at.
        steps: of the optimizer, BATCH patches each.
        seed: of every random choice.

    Raises:
        DataError: too few real clips can be read.
        MissingExtraError: onnxscript is not installed.
    """
    rng = np.random.default_rng(seed)
    clips = _patches(data, rng, most_clips, progress)
    held = max(round(_HELD_OUT * len(clips)), 1)
    learned, unseen = (np.concatenate(part) for part in (clips[held:], clips[:held]))
    torch.manual_seed(seed)
    net = _net()
    optimizer = torch.optim.Adam(net.parameters(), lr=_LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps)
    for step in range(steps):
        batch = _batch(learned[rng.integers(0, len(learned), _BATCH)])
        loss = _loss(net(batch), batch)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        progress("step", step + 1, steps)
    net.eval()
    with torch.no_grad():
        wanted = _batch(unseen)
        error = float(((net(wanted).clamp(0, 1) - wanted) ** 2).mean())
    progress("writing", 0, 1)
    _export(net, out)
    return TrainedAutoencoder(out, len(clips) - held, -10 * math.log10(max(error, 1e-10)))


def _patches(data: Sequence[Path], rng: np.random.Generator, most: int, progress: Progress) -> list[np.ndarray]:
    """Patches (P, SIDE, SIDE, 3) uint8 of each camera clip."""
    paths = [
        resolve_path(sample, folder)
        for folder in data
        for sample in read_reward_data(folder)
        if sample.label is Label.REAL
    ]
    chosen = [paths[place] for place in rng.permutation(len(paths))[:most]]
    found = []
    for number, path in enumerate(chosen):
        progress("clips read", number, len(chosen))
        try:
            found.append(np.stack(list(_patches_of(path, rng))))
        except (DeeptraceError, ValueError):  # unreadable, or smaller than a patch
            continue
    if len(found) < 2:
        raise DataError(", ".join(map(str, data)), "has fewer than two real clips that can be read")
    return found


def _patches_of(path: str, rng: np.random.Generator) -> Iterator[np.ndarray]:
    with open_video(path) as video:
        times = np.sort(rng.random(_FRAMES_A_CLIP)) * min(video.media.duration_s, 10.0)
        frames = video.frames_at([float(time) for time in times])
    for frame in frames:
        height, width = frame.image.shape[:2]
        for _ in range(_PATCHES_A_FRAME):
            top, left = (int(rng.integers(0, side - _PATCH_PIXELS + 1)) for side in (height, width))
            yield frame.image[top : top + _PATCH_PIXELS, left : left + _PATCH_PIXELS]


def _batch(patches: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(patches.transpose(0, 3, 1, 2))).float() / 255


def _loss(made: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    difference = made - wanted
    edges = difference.diff(dim=2).abs().mean() + difference.diff(dim=3).abs().mean()
    return difference.abs().mean() + 0.5 * edges


class _Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1)
        self.second = nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1)

    def forward(self, levels: torch.Tensor) -> torch.Tensor:
        """(B, WIDTH, H, W) in and out."""
        added: torch.Tensor = self.second(nn.functional.silu(self.first(levels)))
        return levels + added


def _net() -> nn.Sequential:
    """(B, 3, H, W) in [0, 1] in and out; H and W are multiples of 8."""
    return nn.Sequential(
        nn.PixelUnshuffle(4),
        nn.Conv2d(48, _WIDTH, 3, padding=1),
        _Residual(),
        nn.PixelUnshuffle(2),
        nn.Conv2d(4 * _WIDTH, LATENT, 1),
        nn.Conv2d(LATENT, 4 * _WIDTH, 3, padding=1),
        nn.PixelShuffle(2),
        _Residual(),
        _Residual(),
        nn.Conv2d(_WIDTH, 48, 3, padding=1),
        nn.PixelShuffle(4),
    )


def _export(net: nn.Sequential, out: Path) -> None:
    """Write the file, and check that what reads it says the same.

    Raises:
        MissingExtraError: onnxscript is not installed.
        ModelError: the file says something else than the net.
    """
    from deeptrace.train.tracenet.export import without_notes
    from deeptrace.video.transforms.launder import MULTIPLE, Autoencode

    rows, columns = (MULTIPLE * torch.export.Dim(name, min=2, max=1024) for name in ("rows", "columns"))
    with atomic_path(out) as scratch:
        try:
            torch.onnx.export(
                net,
                (torch.rand(1, 3, 64, 96),),
                str(scratch),
                input_names=["picture"],
                output_names=["made"],
                dynamic_shapes=({2: rows, 3: columns},),
                external_data=False,
                verbose=False,
            )
        except ImportError:
            raise MissingExtraError("train autoencoder", "train") from None
        scratch.write_bytes(without_notes(scratch.read_bytes()))
        picture = np.random.default_rng(0).integers(0, 256, (48, 80, 3), dtype=np.uint8)
        with torch.no_grad():
            wanted = net(_batch(picture[None])).clamp(0, 1)[0].permute(1, 2, 0).numpy() * 255
        made = Autoencode(str(scratch)).on_picture(picture, np.random.default_rng(0))
        if np.abs(made - wanted).max() > 1:
            raise ModelError(str(out), "the exported file says something else than the net")
