"""Write the model and its card, and check that ONNX Runtime says what torch says."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deeptrace.detectors.tracenet.appearance import BACKBONE_NAME, AppearanceNet
from deeptrace.detectors.tracenet.evidence import CHANNELS, GRID
from deeptrace.detectors.tracenet.model import CARD_NAME, MODEL_NAME, Calibration, Card
from deeptrace.errors import MissingExtraError, ModelError
from deeptrace.io.atomic import atomic_path
from deeptrace.train.tracenet.kernel_machine import KernelMachine
from deeptrace.train.tracenet.nets import Exported, HeatMapHead, Machines, Places, TraceNet

__all__ = ["export_model", "export_with_kept_nets", "export_with_new_heads", "without_notes"]

_TOLERANCE = 1e-3
_LIMIT_BYTES = 10 * 2**20
_INPUTS = ["evidence", "texture", "appearance"]
_OUTPUTS = ["generated", "texture_score", "where", "present", "kinds", "appearance_score", "texture_nearness"]
_MACHINE_OUTPUTS = ["texture_score", "appearance_score", "texture_nearness"]
_NET_OUTPUTS = ["generated", "where", "present", "kinds"]
_PLACE_OUTPUTS = ["where"]


def export_model(
    net: TraceNet,
    texture: KernelMachine,
    appearance: KernelMachine,
    calibration: Calibration,
    card: dict[str, Any],
    folder: Path,
    encoder: AppearanceNet | None = None,
) -> None:
    """Write `tracenet.onnx` and `tracenet.json` to `folder`, both or neither new.

    Args:
        net: trained.
        texture, appearance: fitted.
        calibration: fitted on cross-fitted scores.
        card: what else the model card says.
        folder: made if missing.
        encoder: what appearance was read off, copied beside the model; None: the shipped net.

    Raises:
        MissingExtraError: onnx is not installed.
        ModelError: the exported file differs from torch, or is larger than 10 MB.
    """
    module = Exported(net.eval(), texture, appearance).eval()
    evidence = torch.randn(7, len(CHANNELS), GRID, GRID)
    free = {"evidence": {0: torch.export.Dim("frames", min=2, max=4096)}, "texture": {}, "appearance": {}}
    given = (evidence, module.texture.example(), module.appearance.example())
    weights = _onnx_of(module, given, _INPUTS, _OUTPUTS, free)
    _check(module, weights)
    _write(weights, (len(texture.center), len(appearance.center)), calibration, card, folder, encoder)


def export_with_kept_nets(
    kept: Path,
    texture: KernelMachine,
    appearance: KernelMachine,
    calibration: Calibration,
    card: dict[str, Any],
    folder: Path,
    encoder: AppearanceNet | None = None,
) -> None:
    """Write a model with the trace nets of another one and these kernel machines, as `export_model` does.

    Args:
        kept: folder of the model whose nets are kept, to the bit.
        texture, appearance, calibration, card, folder, encoder: as of `export_model`.

    Raises:
        MissingExtraError: onnx is not installed.
        ModelError: the new file differs from the kept nets or from the machines, or is larger than 10 MB.
    """
    module = Machines(texture, appearance).eval()
    given = (module.texture.example(), module.appearance.example())
    machines = _onnx_of(module, given, _INPUTS[1:], _MACHINE_OUTPUTS, {"texture": {}, "appearance": {}})
    before = (kept / MODEL_NAME).read_bytes()
    weights = _joined(before, _INPUTS[:1], _NET_OUTPUTS, machines)
    _check_kept(before, module, weights)
    _write(weights, (len(texture.center), len(appearance.center)), calibration, card, folder, encoder)


def export_with_new_heads(
    kept: Path, heads: Sequence[HeatMapHead], calibration: Calibration, card: dict[str, Any], folder: Path
) -> None:
    """Write a model with other heat-map heads and all else of another one: presence net, kernel machines, encoder.

    Args:
        kept: folder of that other model.
        heads: trained; their average is the heat.
        calibration: of the new model.
        card: what else the model card says.
        folder: made if missing.

    Raises:
        MissingExtraError: onnx is not installed.
        ModelError: the new file differs from its parts, or is larger than 10 MB.
    """
    module = Places(heads).eval()
    free = {"evidence": {0: torch.export.Dim("frames", min=2, max=4096)}}
    places = _onnx_of(module, (torch.randn(7, len(CHANNELS), GRID, GRID),), _INPUTS[:1], _PLACE_OUTPUTS, free)
    before = (kept / MODEL_NAME).read_bytes()
    weights = _joined(before, _INPUTS, [name for name in _OUTPUTS if name not in _PLACE_OUTPUTS], places)
    _check_heads(before, module, weights)
    sizes = Card.model_validate_json((kept / CARD_NAME).read_bytes())
    encoder = None
    if sizes.encoder is not None:
        encoder = AppearanceNet(kept / BACKBONE_NAME, sizes.encoder)
    _write(weights, (sizes.texture_statistics, sizes.appearance_statistics), calibration, card, folder, encoder)


def _joined(model: bytes, inputs: list[str], outputs: list[str], new: bytes) -> bytes:
    """Those parts of a model that lead from `inputs` to `outputs`, with new ones beside them."""
    import onnx
    from onnx.compose import merge_models
    from onnx.utils import Extractor

    old = Extractor(onnx.load_model_from_string(model)).extract_model(inputs, outputs)
    second = onnx.load_model_from_string(new)
    second.ir_version = old.ir_version
    taken = {name for node in old.graph.node for name in (*node.input, *node.output)}  # an earlier joining's too
    prefix = next(p for p in map("part{}.".format, count()) if not any(name.startswith(p) for name in taken))
    joined = merge_models(old, second, io_map=[], prefix2=prefix)
    plain = {f"{prefix}{name}": name for name in (*_INPUTS, *_OUTPUTS)}
    for node in joined.graph.node:
        for names in (node.input, node.output):
            names[:] = [plain.get(name, name) for name in names]
    for value in (*joined.graph.input, *joined.graph.output):
        value.name = plain.get(value.name, value.name)
    for values, order in ((joined.graph.input, _INPUTS), (joined.graph.output, _OUTPUTS)):
        by_name = {value.name: value for value in reversed(values)}
        ordered = [by_name[name] for name in order]
        del values[:]
        values.extend(ordered)
    return without_notes(joined.SerializeToString())


def _check_heads(before: bytes, places: Places, weights: bytes) -> None:
    import onnxruntime

    _check_size(weights)
    old, new = (onnxruntime.InferenceSession(one, providers=["CPUExecutionProvider"]) for one in (before, weights))
    rng = np.random.default_rng(0)
    kept = [name for name in _OUTPUTS if name not in _PLACE_OUTPUTS]
    for frames in (2, 24, 31):
        given = {value.name: rng.random(value.shape).astype(np.float32) for value in old.get_inputs()[1:]}
        given["evidence"] = rng.standard_normal((frames, len(CHANNELS), GRID, GRID)).astype(np.float32)
        with torch.no_grad():
            wanted = places(torch.from_numpy(given["evidence"])).numpy()
        worst = float(np.abs(new.run(_PLACE_OUTPUTS, given)[0] - wanted).max())
        same = (np.array_equal(a, b) for a, b in zip(old.run(kept, given), new.run(kept, given), strict=True))
        if worst > _TOLERANCE or not all(same):
            raise ModelError(MODEL_NAME, f"the joined file says something else than its parts with {frames} frames")


def _check_kept(before: bytes, machines: Machines, weights: bytes) -> None:
    import onnxruntime

    _check_size(weights)
    old, new = (onnxruntime.InferenceSession(one, providers=["CPUExecutionProvider"]) for one in (before, weights))
    statistics = (machines.texture.example(), machines.appearance.example())
    rng = np.random.default_rng(0)
    given = {
        "evidence": rng.standard_normal((24, len(CHANNELS), GRID, GRID)).astype(np.float32),
        "texture": statistics[0].numpy(),
        "appearance": statistics[1].numpy(),
    }
    with torch.no_grad():
        wanted = [float(score) for score in machines(*statistics)]
    got = new.run(_MACHINE_OUTPUTS, given)
    worst = max(abs(a - float(b)) for a, b in zip(wanted, got, strict=True))
    # the old machines may measure other statistics; the nets see the evidence alone
    zeros = {v.name: np.zeros(v.shape, np.float32) for v in old.get_inputs() if v.name != "evidence"}
    kept = zip(
        old.run(_NET_OUTPUTS, zeros | {"evidence": given["evidence"]}), new.run(_NET_OUTPUTS, given), strict=True
    )
    if worst > _TOLERANCE or any(not np.array_equal(a, b) for a, b in kept):
        raise ModelError(MODEL_NAME, "the joined file says something else than its parts")


def _write(
    weights: bytes,
    statistics: tuple[int, int],
    calibration: Calibration,
    card: dict[str, Any],
    folder: Path,
    encoder: AppearanceNet | None = None,
) -> None:
    facts = {
        "name": "tracenet",
        **card,
        "sha256": hashlib.sha256(weights).hexdigest(),
        "channels": list(CHANNELS),
        "texture_statistics": statistics[0],
        "appearance_statistics": statistics[1],
        "calibration": calibration.model_dump(),
    }
    if encoder is not None:
        facts["encoder"] = encoder.stated.model_dump()
        with atomic_path(folder / BACKBONE_NAME) as scratch:
            shutil.copyfile(encoder.path, scratch)
    for name, content in ((MODEL_NAME, weights), (CARD_NAME, json.dumps(facts, indent=1).encode() + b"\n")):
        with atomic_path(folder / name) as scratch:
            scratch.write_bytes(content)


def _onnx_of(
    module: torch.nn.Module,
    example: tuple[torch.Tensor, ...],
    inputs: list[str],
    outputs: list[str],
    free: dict[str, Any],
) -> bytes:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401 - what torch.onnx.export needs

        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / MODEL_NAME
            torch.onnx.export(
                module,
                example,
                str(path),
                input_names=inputs,
                output_names=outputs,
                dynamic_shapes=free,
                external_data=False,
                verbose=False,
            )
            return without_notes(path.read_bytes())
    except ImportError:
        raise MissingExtraError("export of TraceNet", "train") from None


def _check(module: Exported, weights: bytes) -> None:
    import onnxruntime

    _check_size(weights)
    session = onnxruntime.InferenceSession(weights, providers=["CPUExecutionProvider"])
    for frames in (2, 24, 31):
        evidence = torch.randn(frames, len(CHANNELS), GRID, GRID)
        given = (evidence, module.texture.example(), module.appearance.example())
        with torch.no_grad():
            wanted = module(*given)
        got = session.run(_OUTPUTS, {name: x.numpy() for name, x in zip(_INPUTS, given, strict=True)})
        worst = max(float(np.abs(a.numpy() - b).max()) for a, b in zip(wanted, got, strict=True))
        if worst > _TOLERANCE:
            raise ModelError(MODEL_NAME, f"ONNX Runtime differs from torch by {worst:.1e} with {frames} frames")


def _check_size(weights: bytes) -> None:
    if len(weights) > _LIMIT_BYTES:
        raise ModelError(MODEL_NAME, f"{len(weights)} bytes is more than the {_LIMIT_BYTES} that may be shipped")


def without_notes(weights: bytes) -> bytes:
    """The model without the exporter's notes: where each node came from, with paths of the machine it was made on."""
    import onnx

    model = onnx.load_model_from_string(weights)
    for part in (model.graph, *model.functions):
        for item in (part, *part.node):
            item.doc_string = ""
            del item.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer):
        value.doc_string = ""
        del value.metadata_props[:]
    del model.metadata_props[:]
    return bytes(model.SerializeToString())
