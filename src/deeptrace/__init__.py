"""deeptrace: is this video AI-generated, and where, when, which and why.

    import deeptrace
    verdict = deeptrace.detect("clip.mp4")

Names are loaded when first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deeptrace.lazy import lazy_names

if TYPE_CHECKING:
    from deeptrace.benchmark.run import evaluate
    from deeptrace.detectors import Detector, load_detector
    from deeptrace.errors import DeeptraceError
    from deeptrace.geometry import Box, Interval, Keyframe, Tube
    from deeptrace.inference import detect
    from deeptrace.reward.reward import Reward
    from deeptrace.schema import Category, DetectorInfo, Label, Media, Outcome, Sample, Trace, Verdict

__all__ = [
    "Box",
    "Category",
    "DeeptraceError",
    "Detector",
    "DetectorInfo",
    "Interval",
    "Keyframe",
    "Label",
    "Media",
    "Outcome",
    "Reward",
    "Sample",
    "Trace",
    "Tube",
    "Verdict",
    "__version__",
    "detect",
    "evaluate",
    "load_detector",
]

_load = lazy_names(
    __name__,
    {
        "deeptrace.detectors": ("Detector", "load_detector"),
        "deeptrace.errors": ("DeeptraceError",),
        "deeptrace.benchmark.run": ("evaluate",),
        "deeptrace.inference": ("detect",),
        "deeptrace.geometry": ("Box", "Interval", "Keyframe", "Tube"),
        "deeptrace.reward.reward": ("Reward",),
        "deeptrace.schema": ("Category", "DetectorInfo", "Label", "Media", "Outcome", "Sample", "Trace", "Verdict"),
    },
)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        from deeptrace.errors import DISTRIBUTION

        try:
            return version(DISTRIBUTION)
        except PackageNotFoundError:  # imported from a source tree that is not installed
            return "0+unknown"
    return _load(name)


def __dir__() -> list[str]:
    return sorted(__all__)
