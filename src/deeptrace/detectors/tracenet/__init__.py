"""TraceNet: the default detector. Small, on the CPU, with measured reasons and honest errors."""

from __future__ import annotations

from deeptrace.detectors.tracenet.detector import TraceNet, load
from deeptrace.detectors.tracenet.model import Card, TraceNetModel

__all__ = ["Card", "TraceNet", "TraceNetModel", "load"]
