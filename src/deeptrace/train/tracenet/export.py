"""Write the model and its card, and check that ONNX Runtime says what torch says."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deeptrace.detectors.tracenet.evidence import CHANNELS, GRID
from deeptrace.detectors.tracenet.model import CARD_NAME, MODEL_NAME, Calibration
from deeptrace.errors import MissingExtraError, ModelError
from deeptrace.train.tracenet.kernel_fit import KernelMachine
from deeptrace.train.tracenet.nets import Exported, TraceNet
from deeptrace.train.tracenet.onnx_notes import without_notes

__all__ = ["export_model"]

_TOLERANCE = 1e-3
_LIMIT_BYTES = 10 * 2**20
_INPUTS = ["evidence", "texture", "appearance"]
_OUTPUTS = ["generated", "texture_score", "where", "present", "kinds", "appearance_score"]


def export_model(
    net: TraceNet,
    texture: KernelMachine,
    appearance: KernelMachine,
    calibration: Calibration,
    card: dict[str, Any],
    folder: Path,
) -> None:
    """Write `tracenet.onnx` and `tracenet.json` to `folder`, both or neither new.

    Args:
        net: trained.
        texture, appearance: fitted.
        calibration: fitted on cross-fitted scores.
        card: what else the model card says.
        folder: made if missing.

    Raises:
        MissingExtraError: onnx is not installed.
        ModelError: the exported file differs from torch, or is larger than 10 MB.
    """
    module = Exported(net.eval(), texture, appearance).eval()
    weights = _onnx_of(module)
    _check(module, weights)
    folder.mkdir(parents=True, exist_ok=True)
    facts = {
        "name": "tracenet",
        **card,
        "sha256": hashlib.sha256(weights).hexdigest(),
        "channels": list(CHANNELS),
        "texture_statistics": len(texture.center),
        "appearance_statistics": len(appearance.center),
        "calibration": calibration.model_dump(),
    }
    for name, content in ((MODEL_NAME, weights), (CARD_NAME, json.dumps(facts, indent=1).encode() + b"\n")):
        part = folder / f"{name}.part"
        part.write_bytes(content)
        part.replace(folder / name)


def _onnx_of(module: Exported) -> bytes:
    example = (torch.randn(7, len(CHANNELS), GRID, GRID), module.texture.example(), module.appearance.example())
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401 - what torch.onnx.export needs

        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / MODEL_NAME
            torch.onnx.export(
                module,
                example,
                str(path),
                input_names=_INPUTS,
                output_names=_OUTPUTS,
                dynamic_shapes={
                    "evidence": {0: torch.export.Dim("frames", min=2, max=4096)},
                    "texture": {},
                    "appearance": {},
                },
                external_data=False,
                verbose=False,
            )
            return without_notes(path.read_bytes())
    except ImportError:
        raise MissingExtraError("export of TraceNet", "train") from None


def _check(module: Exported, weights: bytes) -> None:
    import onnxruntime

    if len(weights) > _LIMIT_BYTES:
        raise ModelError(MODEL_NAME, f"{len(weights)} bytes is more than the {_LIMIT_BYTES} that may be shipped")
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
