"""TraceNet's nets in torch: the trace net over evidence maps, and what is exported of it.

The trace net is a small U-Net over each frame's maps whose layers exchange channels with the frames before and after
(temporal shift, Lin et al. 2019): temporal context at no cost, where 3-D convolutions are slow on CPUs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deeptrace.detectors.tracenet.evidence import CHANNELS, GRID
from deeptrace.trace import Category
from deeptrace.train.tracenet.kernel_fit import CLIP, KernelMachine

__all__ = ["Exported", "Heads", "TraceNet"]

_WIDTHS = (24, 40, 56, 72)
_SHIFTED = 4  # a quarter of the channels comes from the frame before, a quarter from the one after

Heads = tuple[Tensor, Tensor, Tensor, Tensor]


class _Conv(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(self.norm(self.conv(x)))


class TraceNet(nn.Module):
    """Evidence maps to heads.

    Input (B, T, channels, GRID, GRID). Output:
        generated: (B,) logit that the clip is generated.
        where: (B, T, GRID, GRID) logit that a trace lies there, *given* that the clip has one.
        present: (B, T, GRID, GRID) logit that a trace lies there.
        kinds: (B, T, 9, GRID / 2, GRID / 2) logits of the categories.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        a, b, c, d = _WIDTHS
        self.register_buffer("mean", torch.zeros(len(CHANNELS)))
        self.register_buffer("spread", torch.ones(len(CHANNELS)))
        self.stem = _Conv(len(CHANNELS) + 2, a)
        self.down1, self.same1 = _Conv(a, b, 2), _Conv(b, b)
        self.down2, self.same2, self.more2 = _Conv(b, c, 2), _Conv(c, c), _Conv(c, c)
        self.down3, self.same3 = _Conv(c, d, 2), _Conv(d, d)
        self.context = nn.Linear(d, d)
        self.up2, self.up1, self.up0 = _Conv(d + c, c), _Conv(c + b, b), _Conv(b + a, 24)
        self.heat = nn.Conv2d(24, 2, 1)
        self.kinds = nn.Conv2d(b, len(Category), 1)
        self.drop_maps = nn.Dropout2d(0.1)
        self.clip = nn.Sequential(
            nn.Dropout(0.3), nn.Linear(2 * (c + d), 32), nn.SiLU(), nn.Dropout(0.3), nn.Linear(32, 1)
        )

    def forward(self, evidence: Tensor) -> Heads:
        """See the class."""
        batch, frames = evidence.shape[:2]
        x = ((evidence - self.mean[:, None, None]) / self.spread[:, None, None]).flatten(0, 1)
        line = torch.linspace(-1, 1, GRID, dtype=x.dtype, device=x.device)
        place = torch.stack([line[None, :].expand(GRID, GRID), line[:, None].expand(GRID, GRID)])
        at0 = self.stem(torch.cat([x, place[None].expand(x.shape[0], -1, -1, -1)], 1))
        at1 = self.same1(_shift(self.down1(at0), frames))
        at2 = self.more2(self.same2(_shift(self.down2(self.drop_maps(at1)), frames)))
        at3 = self.same3(_shift(self.down3(at2), frames))
        generated = self.clip(torch.cat([_pool(at2, frames), _pool(at3, frames)], 1))[:, 0]
        whole = self.context(at3.unflatten(0, (batch, frames)).mean((1, 3, 4)))
        at3 = F.silu(at3 + whole.repeat_interleave(frames, 0)[:, :, None, None])
        to2 = self.up2(torch.cat([_double(at3), at2], 1))
        to1 = self.up1(torch.cat([_double(to2), at1], 1))
        heat = self.heat(self.up0(torch.cat([_double(to1), at0], 1))).unflatten(0, (batch, frames))
        return generated, heat[:, :, 0], heat[:, :, 1], self.kinds(to1).unflatten(0, (batch, frames))


class Exported(nn.Module):
    """What the ONNX file holds: the trace net for one window, and the two kernel machines.

    Inputs: evidence (T, channels, GRID, GRID), texture (D,), appearance (A,). Outputs: generated () a logit,
    texture_score (), where and present (T, GRID, GRID) and kinds (T, 9, GRID / 2, GRID / 2) as probabilities,
    appearance_score ().
    """

    def __init__(self, net: TraceNet, texture: KernelMachine, appearance: KernelMachine) -> None:
        super().__init__()
        self.net, self.texture, self.appearance = net, Kernel(texture), Kernel(appearance)

    def forward(self, evidence: Tensor, texture: Tensor, appearance: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        generated, where, present, kinds = self.net(evidence[None])
        maps = (where[0].sigmoid(), present[0].sigmoid(), kinds[0].sigmoid())
        return generated[0], self.texture(texture), *maps, self.appearance(appearance)


class Kernel(nn.Module):
    """A fitted kernel machine: statistics (D,) to its score ()."""

    center: Tensor
    scale: Tensor
    projection: Tensor
    support: Tensor
    weights: Tensor

    def __init__(self, machine: KernelMachine) -> None:
        super().__init__()
        self.gamma, self.bias = machine.gamma, machine.bias
        for name in ("center", "scale", "projection", "support", "weights"):
            self.register_buffer(name, torch.from_numpy(getattr(machine, name).astype("float32")))

    def forward(self, statistics: Tensor) -> Tensor:
        """See the class."""
        z = ((statistics - self.center) * self.scale).clamp(-CLIP, CLIP) @ self.projection
        distance = (self.support - z).square().sum(1)
        return ((-self.gamma * distance).exp() * self.weights).sum() + self.bias

    def example(self) -> Tensor:
        """Statistics (D,) as they may be, drawn at random."""
        return self.center + torch.randn(len(self.center)) / self.scale


def _shift(x: Tensor, frames: int) -> Tensor:
    """Take a quarter of the channels from the frame before and a quarter from the one after; zeros at the ends."""
    part = x.shape[1] // _SHIFTED
    clip: Tensor = x.unflatten(0, (-1, frames))  # type: ignore[no-untyped-call]
    nothing = torch.zeros_like(clip[:, :1])
    before = torch.cat([nothing[:, :, :part], clip[:, :-1, :part]], 1)
    after = torch.cat([clip[:, 1:, part : 2 * part], nothing[:, :, part : 2 * part]], 1)
    return torch.cat([before, after, clip[:, :, 2 * part :]], 2).flatten(0, 1)


def _pool(x: Tensor, frames: int) -> Tensor:
    """Mean of each channel, and how much it varies over time and over the picture."""
    clip: Tensor = x.unflatten(0, (-1, frames))  # type: ignore[no-untyped-call]
    over_time = _std(clip.mean((3, 4)), (1,))
    over_picture = _std(clip, (3, 4)).mean(1)
    return torch.cat([clip.mean((1, 3, 4)), over_time + over_picture], 1)


def _std(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    # not torch.std: it is undefined for one frame, and does not export as plain operators
    return ((x - x.mean(dims, keepdim=True)).square().mean(dims) + 1e-6).sqrt()


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
