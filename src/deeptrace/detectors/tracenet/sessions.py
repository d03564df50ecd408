"""ONNX Runtime sessions of the shipped nets."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from deeptrace.errors import ModelError

__all__ = ["open_session", "shipped_folder"]

_UNUSABLE = tuple(
    getattr(ort_errors, name)
    for name in ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented", "RuntimeException")
)


def shipped_folder() -> Path:
    """Where the package keeps its nets."""
    return Path(str(files("deeptrace.detectors.tracenet") / "weights"))


def open_session(path: Path, weights: bytes) -> onnxruntime.InferenceSession:
    """A session on one thread.

    Args:
        path: what to call it in errors.
        weights: the file's bytes.

    Raises:
        ModelError: ONNX Runtime cannot run it.
    """
    options: Any = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # videos are the unit of parallel work; spinning threads would fight over cores
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
    except _UNUSABLE as error:
        raise ModelError(str(path), f"cannot be run: {str(error).splitlines()[0]}", "Reinstall deeptrace.") from None
