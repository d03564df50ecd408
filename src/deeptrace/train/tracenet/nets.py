"""TraceNet's nets in torch: two small U-Nets over evidence maps, and what is exported of them.

*Where* an annotator would mark a generated clip hardly depends on the moment, and little is known of it (a few hundred
marked clips): the heat-map heads see each map's average, spread and peak over a window, not its frames, and several of
them are averaged. *Whether* something was done to footage, when and of which kind, shows in how maps change from frame
to frame: the presence net sees every frame, and its layers exchange channels with the frames before and after (temporal
shift, Lin et al. 2019), where 3-D convolutions are slow on CPUs.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deeptrace.detectors.tracenet.evidence import CHANNELS
from deeptrace.schema import Category
from deeptrace.train.tracenet.kernel_machine import CLIP, KernelMachine

__all__ = ["POOLED", "Exported", "Heads", "HeatMapHead", "Machines", "Places", "PresenceNet", "TraceNet", "pooled_maps"]

POOLED = 3 * len(CHANNELS)
"""Maps a heat-map head sees: mean, spread and peak of each channel over time."""

_HEAD_WIDTH = 16
_WIDTHS = (28, 44, 60)
_SHIFTED = 4  # a quarter of the channels comes from the frame before, a quarter from the one after
_NOWHERE = -100.0  # a logit
_SEVERAL = 4  # cells a side of the regions whose presence is pooled, at half resolution

Heads = tuple[Tensor, Tensor, Tensor, Tensor]


class _Conv(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(self.norm(self.conv(x)))


class HeatMapHead(nn.Module):
    """Pooled maps (B, POOLED, GRID, GRID) to the logit (B, GRID, GRID) that a trace of a generated clip lies there."""

    mean: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        w = _HEAD_WIDTH
        self.register_buffer("mean", torch.zeros(POOLED))
        self.register_buffer("spread", torch.ones(POOLED))
        self.mix = nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(POOLED + 4, w, 1))
        self.same = _Conv(w, w)
        self.down1, self.down2, self.down3 = _Conv(w, 2 * w, 2), _Conv(2 * w, 2 * w, 2), _Conv(2 * w, 2 * w, 2)
        self.up2, self.up1 = _Conv(4 * w, 2 * w), _Conv(4 * w, w)
        self.drop = nn.Dropout2d(0.3)
        self.heat = nn.Conv2d(2 * w, 1, 1)

    def forward(self, pooled: Tensor) -> Tensor:
        """See the class."""
        x = ((pooled - self.mean[:, None, None]) / self.spread[:, None, None]).clamp(-4, 4)
        place = _places(x)
        at0 = self.same(self.mix(torch.cat([x, place, place.square()], 1)))
        at1 = self.down1(at0)
        at2 = self.down2(self.drop(at1))
        at3 = self.down3(at2)
        at3 = at3 + at3.mean((2, 3), keepdim=True)
        to2 = self.up2(torch.cat([_double(at3), at2], 1))
        to1 = self.up1(torch.cat([_double(to2), at1], 1))
        heat: Tensor = self.heat(self.drop(torch.cat([_double(to1), at0], 1)))
        return heat[:, 0]

    def mark_nowhere(self) -> None:
        """Say of every picture that no trace lies anywhere: where no clip is marked, nothing can be learned."""
        with torch.no_grad():
            self.heat.weight.zero_()
            self.heat.bias.fill_(_NOWHERE)  # type: ignore[union-attr]


class PresenceNet(nn.Module):
    """Evidence maps (B, T, channels, GRID, GRID) to presence and kinds.

    Output:
        pooled: (B,) logit that something was done to the clip: a soft maximum of `present` over regions and moments.
        present: (B, T, GRID, GRID) logit that a trace lies there.
        kinds: (B, T, 9, GRID / 2, GRID / 2) logits of the categories, to be compared with each other.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        a, b, c = _WIDTHS
        self.register_buffer("mean", torch.zeros(len(CHANNELS)))
        self.register_buffer("spread", torch.ones(len(CHANNELS)))
        self.mix = nn.Conv2d(5 * len(CHANNELS) + 2, a, 1)
        self.stem, self.same0 = _Conv(a, a), _Conv(a, a)
        self.down1, self.same1 = _Conv(a, b, 2), _Conv(b, b)
        self.down2, self.same2 = _Conv(b, c, 2), _Conv(c, c)
        self.context = nn.Linear(c, c)
        self.up1, self.up0 = _Conv(c + b, b), _Conv(b + a, a)
        self.drop_maps = nn.Dropout2d(0.1)
        self.heat = nn.Conv2d(a, 1, 1)
        self.kinds = nn.Conv2d(a, len(Category), 1)
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, evidence: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See the class."""
        batch, frames = evidence.shape[:2]
        # at half resolution all costs a quarter; a cell's highest is kept beside its average
        x = ((evidence - self.mean[:, None, None]) / self.spread[:, None, None]).flatten(0, 1).clamp(-8, 8)
        mean, peak = (_by_clip(pool(x, 2), frames) for pool in (F.avg_pool2d, F.max_pool2d))
        # what is odd is odd for this clip, and for this place in it
        spread = _std(mean, (1, 3, 4))[:, None, :, None, None] + 0.1
        in_clip = (mean - mean.mean((1, 3, 4), keepdim=True)) / spread
        in_time, peak_in_time = ((maps - maps.mean(1, keepdim=True)) / spread for maps in (mean, peak))
        x = torch.cat([mean, in_clip, in_time, peak - mean, peak_in_time], 2).flatten(0, 1).clamp(-8, 8)
        at0 = self.same0(_shift(self.stem(self.mix(torch.cat([x, _places(x)], 1))), frames))
        at1 = self.same1(_shift(self.down1(self.drop_maps(at0)), frames))
        at2 = self.same2(_shift(self.down2(at1), frames))
        whole = self.context(_by_clip(at2, frames).mean((1, 3, 4)))
        at2 = F.silu(at2 + whole.repeat_interleave(frames, 0)[:, :, None, None])
        to1 = self.up1(_shift(torch.cat([_double(at2), at1], 1), frames))
        to0 = self.up0(torch.cat([_double(to1), at0], 1))
        heat = self.heat(to0)
        regions = F.avg_pool2d(heat, _SEVERAL, _SEVERAL // 2).reshape(batch, -1)
        pooled = regions.float().exp().mean(1).log() + self.offset
        present = _by_clip(_double(heat)[:, 0], frames)
        return pooled, present, _by_clip(self.kinds(to0), frames)


class TraceNet(nn.Module):
    """Evidence maps to heads.

    Input (B, T, channels, GRID, GRID). Output:
        generated: (B,) logit that something was done to the clip, see `PresenceNet`.
        where: (B, T, GRID, GRID) logit that a trace lies there, *given* that the clip is generated.
        present: (B, T, GRID, GRID) logit that a trace lies there.
        kinds: (B, T, 9, GRID / 2, GRID / 2) logits of the categories.
    """

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(HeatMapHead() for _ in range(heads))
        self.presence = PresenceNet()

    def forward(self, evidence: Tensor) -> Heads:
        """See the class."""
        maps = pooled_maps(evidence)
        where = torch.stack([head(maps) for head in self.heads]).mean(0)
        pooled, present, kinds = self.presence(evidence)
        return pooled, where[:, None].expand_as(present), present, kinds


def pooled_maps(evidence: Tensor) -> Tensor:
    """(B, T, channels, GRID, GRID) to (B, POOLED, GRID, GRID): mean, spread and peak over time."""
    return torch.cat([evidence.mean(1), _std(evidence, (1,)), evidence.amax(1)], 1)


class Exported(nn.Module):
    """What the ONNX file holds: the trace net for one window, and the two kernel machines.

    Inputs: evidence (T, channels, GRID, GRID), texture (D,), appearance (A,). Outputs: generated () a logit,
    texture_score (), where and present (T, GRID, GRID) and kinds (T, 9, GRID / 2, GRID / 2) as probabilities,
    appearance_score (), texture_nearness () from 0 to 1.
    """

    def __init__(self, net: TraceNet, texture: KernelMachine, appearance: KernelMachine) -> None:
        super().__init__()
        self.net, self.texture, self.appearance = net, Kernel(texture), Kernel(appearance)

    def forward(self, evidence: Tensor, texture: Tensor, appearance: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        generated, where, present, kinds = self.net(evidence[None])
        maps = (where[0].sigmoid(), present[0].sigmoid(), kinds[0].softmax(1))
        (of_texture, nearness), (of_appearance, _) = self.texture(texture), self.appearance(appearance)
        return generated[0], of_texture, *maps, of_appearance, nearness


class Places(nn.Module):
    """The heat-map heads alone: evidence (T, channels, GRID, GRID) to the heat `where` (T, GRID, GRID)."""

    def __init__(self, heads: Iterable[nn.Module]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)

    def forward(self, evidence: Tensor) -> Tensor:
        """See the class."""
        maps = pooled_maps(evidence[None])
        heat = torch.stack([head(maps) for head in self.heads]).mean(0).sigmoid()
        return heat.expand(evidence.shape[0], -1, -1)


class Machines(nn.Module):
    """The two kernel machines alone: texture (D,), appearance (A,) to the score () of each, and texture's nearness."""

    def __init__(self, texture: KernelMachine, appearance: KernelMachine) -> None:
        super().__init__()
        self.texture, self.appearance = Kernel(texture), Kernel(appearance)

    def forward(self, texture: Tensor, appearance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See the class."""
        of_texture, nearness = self.texture(texture)
        return of_texture, self.appearance(appearance)[0], nearness


class Kernel(nn.Module):
    """A fitted kernel machine: statistics (D,) to its score () and its nearness (), see `KernelMachine`."""

    center: Tensor
    scale: Tensor
    projection: Tensor
    support: Tensor
    step: Tensor
    weights: Tensor
    gamma: Tensor

    def __init__(self, machine: KernelMachine) -> None:
        super().__init__()
        self.bias = machine.bias
        for name in ("center", "scale", "projection", "step", "weights", "gamma"):
            self.register_buffer(name, torch.from_numpy(getattr(machine, name).astype("float32")))
        self.register_buffer("support", torch.from_numpy(machine.support))

    def forward(self, statistics: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        views = ((statistics - self.center) * self.scale).clamp(-CLIP, CLIP).reshape(len(self.projection), 1, -1)
        z = (views @ self.projection)[:, 0]
        likeness = (-self.gamma * (self.support.float() * self.step - z).square().sum(2)).exp().mean(1)
        return (likeness * self.weights).sum() + self.bias, likeness.amax(0)

    def example(self) -> Tensor:
        """Statistics (D,) as they may be, drawn at random."""
        return self.center + torch.randn(len(self.center)) / self.scale


def _shift(x: Tensor, frames: int) -> Tensor:
    """Take a quarter of the channels from the frame before and a quarter from the one after; zeros at the ends."""
    part = x.shape[1] // _SHIFTED
    clip = _by_clip(x, frames)
    nothing = torch.zeros_like(clip[:, :1])
    before = torch.cat([nothing[:, :, :part], clip[:, :-1, :part]], 1)
    after = torch.cat([clip[:, 1:, part : 2 * part], nothing[:, :, part : 2 * part]], 1)
    return torch.cat([before, after, clip[:, :, 2 * part :]], 2).flatten(0, 1)


def _by_clip(x: Tensor, frames: int) -> Tensor:
    """(B * frames, ...) to (B, frames, ...)."""
    clips: Tensor = x.unflatten(0, (-1, frames))  # type: ignore[no-untyped-call]
    return clips


def _std(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    # not torch.std: it is undefined for one frame, and does not export as plain operators
    return ((x - x.mean(dims, keepdim=True)).square().mean(dims) + 1e-6).sqrt()


def _places(x: Tensor) -> Tensor:
    """Column and row of every cell, -1 to 1, for square pictures (N, C, S, S): (N, 2, S, S)."""
    size = x.shape[-1]
    line = torch.linspace(-1, 1, size, dtype=x.dtype, device=x.device)
    place = torch.stack([line[None, :].expand(size, size), line[:, None].expand(size, size)])
    return place[None].expand(x.shape[0], -1, -1, -1)


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
