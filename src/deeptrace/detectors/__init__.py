"""Detectors: what judges a video, found by name."""

from __future__ import annotations

from deeptrace.detectors.base import Detector, EvidenceCurves, EvidenceDetector
from deeptrace.detectors.registry import DEFAULT_DETECTOR, Family, families, load_detector

__all__ = [
    "DEFAULT_DETECTOR",
    "Detector",
    "EvidenceCurves",
    "EvidenceDetector",
    "Family",
    "families",
    "load_detector",
]
