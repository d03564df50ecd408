"""Detectors: what judges a video, found by name."""

from __future__ import annotations

from deeptrace.detectors.base import (
    BatchDetector,
    Detector,
    Estimate,
    EvidenceCurves,
    EvidenceDetector,
    Planner,
    Prepared,
)
from deeptrace.detectors.registry import DEFAULT_DETECTOR, Family, families, load_detector, load_planner

__all__ = [
    "DEFAULT_DETECTOR",
    "BatchDetector",
    "Detector",
    "Estimate",
    "EvidenceCurves",
    "EvidenceDetector",
    "Family",
    "Planner",
    "Prepared",
    "families",
    "load_detector",
    "load_planner",
]
