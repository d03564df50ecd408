"""TraceNet: the default detector. Small, on the CPU, with measured reasons and honest errors."""

from __future__ import annotations

from deeptrace.detectors.tracenet.detector import TraceNet, load
from deeptrace.detectors.tracenet.model import HASH_DIGITS, Card, TraceNetModel, shipped_learned_from

__all__ = ["HASH_DIGITS", "Card", "TraceNet", "TraceNetModel", "load", "shipped_learned_from"]
