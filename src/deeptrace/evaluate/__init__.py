"""Runs: a detector over many videos, kept on disk, shown as a page; and measured against RewardData.

The package is its function, too: `deeptrace.evaluate("data/", detector="tracenet")` calls `run.evaluate`.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from deeptrace.evaluate.detect import Job, Judged, detect, judge
from deeptrace.evaluate.detect_folder import read_verdicts
from deeptrace.evaluate.detect_inputs import Input, expand_inputs
from deeptrace.evaluate.detect_run import DetectRun

if TYPE_CHECKING:
    from deeptrace.evaluate.run import Evaluation

__all__ = ["DetectRun", "Input", "Job", "Judged", "detect", "expand_inputs", "judge", "read_verdicts"]


class _CallablePackage(ModuleType):
    """A package that can be called: its public function has its name, and both must go on working."""

    def __call__(self, *args: Any, **kwargs: Any) -> Evaluation:
        """Measure a detector or a predictions file; see `deeptrace.evaluate.run.evaluate` for the arguments."""
        from deeptrace.evaluate.run import evaluate

        return evaluate(*args, **kwargs)


sys.modules[__name__].__class__ = _CallablePackage
