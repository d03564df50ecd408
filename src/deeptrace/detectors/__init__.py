"""Detectors, found by name."""

from __future__ import annotations

from deeptrace.detectors.base import (
    AnalysingDetector,
    Analysis,
    AskableDetector,
    BatchDetector,
    Detector,
    Estimate,
    EvidenceCurves,
    Execution,
    HeatMap,
    Planner,
    Prepared,
)
from deeptrace.detectors.registry import (
    DEFAULT_DETECTOR,
    Family,
    check_detector,
    families,
    load_detector,
    load_planner,
)

__all__ = [
    "DEFAULT_DETECTOR",
    "AnalysingDetector",
    "Analysis",
    "AskableDetector",
    "BatchDetector",
    "Detector",
    "Estimate",
    "EvidenceCurves",
    "Execution",
    "Family",
    "HeatMap",
    "Planner",
    "Prepared",
    "check_detector",
    "families",
    "load_detector",
    "load_planner",
]
