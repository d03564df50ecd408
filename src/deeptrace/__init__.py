"""deeptrace: is this video AI-generated, and where, when, which and why.

    import deeptrace
    verdict = deeptrace.detect("clip.mp4")

Names are loaded when first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deeptrace.detectors import Detector, load_detector
    from deeptrace.errors import DeeptraceError
    from deeptrace.evaluate import detect
    from deeptrace.evaluate.run import evaluate
    from deeptrace.geometry import Box, Interval, Keyframe, Tube
    from deeptrace.reward.rewarder import Reward
    from deeptrace.trace import Category, DetectorInfo, Label, Media, Outcome, Sample, Trace, Verdict

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

_HOMES = {
    "deeptrace.detectors": ("Detector", "load_detector"),
    "deeptrace.errors": ("DeeptraceError",),
    "deeptrace.evaluate": ("detect", "evaluate"),
    "deeptrace.geometry": ("Box", "Interval", "Keyframe", "Tube"),
    "deeptrace.reward.rewarder": ("Reward",),
    "deeptrace.trace": ("Category", "DetectorInfo", "Label", "Media", "Outcome", "Sample", "Trace", "Verdict"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("deeptrace")
        except PackageNotFoundError:  # imported from a source tree that is not installed
            return "0+unknown"
    if name not in _HOME_OF:
        raise AttributeError(f"module 'deeptrace' has no attribute {name!r}")
    module = importlib.import_module(_HOME_OF[name])
    value = module if name == "evaluate" else getattr(module, name)  # that package can be called
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
